"""Small networks of many kinds, with their true periods by construction, and E at these by plain autograd."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.networks import Function

UNKNOWN = "unknown"
"""What a trace must say of a network whose operations cannot be followed, where it does not give the true period."""


@dataclass(frozen=True)
class Beast:
    """One network.

    period: the true one in pixels, (rows, columns), 1 where nothing repeats; None where it drifts over the picture. traced: what the trace
    must say, where that is not the period.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    period: tuple[int, int] | None
    traced: tuple[int, int] | str | None = None

    @property
    def expected(self) -> tuple[int, int] | str | None:
        """What the trace must say; a period that drifts is not given by its trace in whole numbers that fit."""
        return self.period if self.traced is None else self.traced


def head(features: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 6))


def conv(inputs: int, outputs: int, kernel: Any = 3, stride: Any = 1, **options: Any) -> nn.Module:
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = options.pop("padding", tuple(size // 2 for size in sizes))
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, **options), nn.ReLU())


def around(function: Callable[..., Tensor], *layers: nn.Module, outputs: int = 8) -> nn.Module:
    """A convolution of stride 1, what is looked at, another convolution of stride 1, and a head."""

    def forward(x: Tensor, before: nn.Module, after: nn.Module, top: nn.Module, *rest: nn.Module) -> Tensor:
        return top(after(function(before(x), *rest)))

    return Function(forward, conv(3, 8), conv(outputs, 12), head(12), *layers)


def strided(kernel: Any, stride: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(conv(3, 8), conv(8, 12, kernel, stride, **options), head(12))


def through(function: Callable[[Tensor], Tensor], outputs: int = 8) -> Callable[[], nn.Module]:
    return lambda: around(function, outputs=outputs)


def resized(scale: float, mode: str, **options: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, scale_factor=scale, mode=mode, **options)


def to_size(height: int, width: int, mode: str, **options: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, (height, width), mode=mode, **options)


def every(rows: int, columns: int, way: str) -> Callable[[Tensor], Tensor]:
    """Subsampling in one of the ways in which people write it."""

    def taken(x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        down, across = torch.arange(0, height, rows), torch.arange(0, width, columns)
        if way == "slice":
            return x[:, :, ::rows, ::columns]
        if way == "index":
            return x[:, :, down][..., across]
        if way == "select":
            return x.index_select(2, down).index_select(3, across)
        if way == "mask":
            return x[:, :, torch.arange(height) % rows == 0][..., torch.arange(width) % columns == 0]
        if way == "gather":
            x = x.gather(2, down.view(1, 1, -1, 1).expand(*x.shape[:2], len(down), width))
            return x.gather(3, across.view(1, 1, 1, -1).expand(*x.shape[:3], len(across)))
        if way == "as_strided":
            x = x.contiguous()
            steps = (x.stride(0), x.stride(1), rows * x.stride(2), columns * x.stride(3))
            return x.as_strided((*x.shape[:2], len(down), len(across)), steps)
        if way == "unfold":
            return x.unfold(2, 1, rows).unfold(3, 1, columns)[..., 0, 0]
        if way == "chunks":
            x = torch.stack([part[:, :, 0] for part in x.split(rows, 2)], 2)
            return torch.stack([part[..., 0] for part in x.split(columns, 3)], 3)
        raise ValueError(way)

    return taken


def window_means(rows: int, columns: int) -> Callable[[Tensor], Tensor]:
    def means(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        return x.view(batch, channels, height // rows, rows, width // columns, columns).mean((3, 5))

    return means


def window_maxima(size: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.unfold(2, size, size).unfold(3, size, size).amax((4, 5))


def sampled(size: int) -> Callable[[Tensor], Tensor]:
    def sample(x: Tensor) -> Tensor:
        out = x.shape[2] // size
        line = (2 * (torch.arange(out) * size) + 1) / x.shape[2] - 1
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None].expand(len(x), -1, -1, -1)
        return F.grid_sample(x, grid.to(x), mode="bilinear", align_corners=False)

    return sample


class Patches(nn.Module):
    """Patches as tokens, by a convolution, by unfolding or by views, then what is done to tokens."""

    def __init__(self, size: int, way: str, mix: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.size, self.way = size, way
        self.embed = nn.Conv2d(3, 16, size, size) if way == "conv" else nn.Linear(3 * size**2, 16)
        self.mix, self.top = mix(16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        size = self.size
        if self.way == "conv":
            tokens = self.embed(x).flatten(2).transpose(1, 2)
        elif self.way == "unfold":
            tokens = self.embed(F.unfold(x, size, stride=size).transpose(1, 2))
        else:
            x = x.view(batch, channels, height // size, size, width // size, size)
            tokens = self.embed(x.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size**2))
        return self.top(self.mix(tokens).mean(1))


class Mixer(nn.Module):
    """Mixes all tokens by a product of matrices, beside the tokens themselves."""

    def __init__(self, width: int, tokens: int = 144) -> None:
        super().__init__()
        self.across, self.within = nn.Linear(tokens, tokens), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across(x.transpose(1, 2)).transpose(1, 2)
        return x + F.gelu(self.within(x))


class Attention(nn.Module):
    """Attention over tokens by torch's own function, after a head was split off by views."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.inputs, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.inputs(x).view(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, width)
        return x + self.out(mixed)


class WindowAttention(nn.Module):
    """Patches, then attention within windows of them, cut and put together by views, and what comes after."""

    def __init__(self, size: int = 4, patch: int = 2, after: nn.Module | None = None) -> None:
        super().__init__()
        self.size, self.patches, self.mix = size, nn.Conv2d(3, 16, patch, patch), Attention(16)
        self.bias = nn.Parameter(torch.randn(size**2, 16))
        self.top = head(16) if after is None else nn.Sequential(after, head(16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        batch, width, rows, columns = x.shape
        size = self.size
        windows = x.view(batch, width, rows // size, size, columns // size, size).permute(0, 2, 4, 3, 5, 1)
        windows = self.mix(windows.reshape(-1, size**2, width) * self.bias)
        x = windows.view(batch, rows // size, columns // size, size, size, width).permute(0, 5, 1, 3, 2, 4)
        return self.top(x.reshape(batch, width, rows, columns))


class MixedAcross(nn.Module):
    """Patches of 4; twice, pixels are mixed with those at their place of all windows, put beside themselves, and halved."""

    def __init__(self, size: int = 2, width: int = 16) -> None:
        super().__init__()
        self.size = size
        self.patches, self.mixes = nn.Conv2d(3, width, 4, 4), nn.ModuleList(Attention(width) for _ in range(2))
        self.outs = nn.ModuleList(conv(width, width) for _ in range(2))
        self.downs = nn.ModuleList(nn.Sequential(conv(2 * width, width, 3), conv(width, width, 3, 2)) for _ in range(2))
        self.top = head(width)

    def mixed(self, x: Tensor, mix: nn.Module, out: nn.Module) -> Tensor:
        batch, width, rows, columns = x.shape
        size = self.size
        tokens = x.view(batch, width, rows // size, size, columns // size, size).permute(0, 3, 5, 2, 4, 1)
        tokens = mix(tokens.reshape(batch * size**2, -1, width))
        apart = tokens.view(batch, size, size, rows // size, columns // size, width).permute(0, 5, 3, 1, 4, 2)
        return torch.cat([x, out(apart.reshape(x.shape))], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        for mix, out, down in zip(self.mixes, self.outs, self.downs, strict=True):
            x = down(self.mixed(x, mix, out))
        return self.top(x)


class AlongRows(nn.Module):
    """Each row, or each column, of the picture as a signal of its own in the batch."""

    def __init__(self, kernel: int, stride: int, columns: bool = False) -> None:
        super().__init__()
        self.line, self.top, self.columns = nn.Conv1d(3, 12, kernel, stride, kernel // 2), nn.Linear(12, 6), columns

    def forward(self, x: Tensor) -> Tensor:
        if self.columns:
            x = x.transpose(2, 3)
        batch, channels, rows, length = x.shape
        lines = F.relu(self.line(x.transpose(1, 2).reshape(batch * rows, channels, length))).mean(2)
        return self.top(lines.view(batch, rows, -1).mean(1))


class Tiles(nn.Module):
    """Tiles of the picture in the batch, each through a strided convolution of its own padding."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size, self.body, self.top = size, conv(3, 12, 3, 2), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        size = self.size
        tiles = x.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5)
        made = self.body(tiles.reshape(-1, channels, size, size)).mean((2, 3))
        return self.top(made.view(batch, -1, 12).mean(1))


class Gate(nn.Module):
    """A strided convolution, and channels weighed by what all pixels say."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.body = kind, conv(3, 12, 3, 2)
        self.weigh, self.top = nn.Conv2d(12, 12, 1), head(12)
        self.key = nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if self.kind == "squeeze":
            x = x * self.weigh(F.adaptive_avg_pool2d(x, 1)).sigmoid()
        elif self.kind == "view":
            x = x * self.weigh(x.flatten(2).mean(2).view(len(x), 12, 1, 1)).sigmoid()
        elif self.kind == "context":
            context = x.flatten(2) @ self.key(x).flatten(2).softmax(2).mT
            x = x + self.weigh(context.view(len(x), 12, 1, 1))
        elif self.kind == "nonlocal":
            flat = x.flatten(2)
            x = x + (flat @ (flat.mT @ flat).softmax(2)).view_as(x) * 0.1
        else:
            x = x * torch.exp(torch.tanh(self.weigh(x)))
        return self.top(x)


class Decoder(nn.Module):
    """Down by strides and up again, with what was there before beside it."""

    def __init__(self, up: str) -> None:
        super().__init__()
        self.up, self.down = up, conv(3, 8, 3, 2)
        self.back = nn.ConvTranspose2d(8, 8, 3, 2, 1, 1) if up == "transposed" else nn.Conv2d(8, 32, 3, padding=1)
        self.last = nn.Conv2d(11, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        if self.up == "transposed":
            y = self.back(y)
        elif self.up == "shuffle":
            y = F.pixel_shuffle(self.back(y), 2)
        else:
            y = F.interpolate(y, scale_factor=2, mode=self.up)
        return self.last(torch.cat((x, y), 1))


class Spectrum(nn.Module):
    """Patches, a product in the frequency domain, and a stride."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.patches, self.last = nn.Conv2d(3, 12, size, size), conv(12, 12, 3, stride)
        self.top, self.filter = head(12), nn.Parameter(torch.randn(12, 1, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        spectrum = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(self.filter)
        return self.top(self.last(torch.fft.irfft2(spectrum, x.shape[2:], norm="ortho")))


class Frames(nn.Module):
    """Overlapping frames of a waveform, their Fourier transforms, and a head."""

    def __init__(self, length: int, hop: int) -> None:
        super().__init__()
        self.length, self.hop = length, hop
        self.mix, self.top = nn.Linear(length // 2 + 1, 12), nn.Linear(12, 6)
        self.window = nn.Parameter(torch.rand(length) + 0.5, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        spectra = torch.stft(x[:, 0], self.length, self.hop, window=self.window, center=False, return_complex=True)
        return self.top(F.relu(self.mix(spectra.abs().square().transpose(1, 2))).mean(1))


class Folded(nn.Module):
    """A waveform folded into rows of so many samples, and a stride along the other axis."""

    def __init__(self, period: int, stride: int) -> None:
        super().__init__()
        self.period = period
        self.body = nn.Conv2d(1, 12, (3, 1), (stride, 1), (1, 0))
        self.top = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(F.relu(self.body(x.view(len(x), 1, -1, self.period))).mean((2, 3)))


def tokens_every(stride: int) -> Callable[[int], nn.Module]:
    def along(x: Tensor, line: nn.Module) -> Tensor:
        return F.relu(line(x.transpose(1, 2))).transpose(1, 2)

    return lambda width: Function(along, nn.Conv1d(width, width, 3, stride, 1))


def channels_last() -> nn.Module:
    def forward(x: Tensor, embed: nn.Module, norm: nn.Module, mix: nn.Module, top: nn.Module) -> Tensor:
        x = norm(embed(x).permute(0, 2, 3, 1))
        x = torch.cat((x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]), -1)
        return top(F.gelu(mix(x)).mean((1, 2)))

    return Function(forward, nn.Conv2d(3, 12, 3, padding=1), nn.LayerNorm(12), nn.Linear(48, 12), nn.Linear(12, 6))


def signal(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), *layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 6)
    )


def flat(*layers: nn.Module) -> Callable[[], nn.Module]:
    """Layers of stride 1."""
    return lambda: nn.Sequential(conv(3, 8), *layers, conv(8, 12), head(12))


PICTURE, SIGNAL = (3, 96, 96), (1, 3840)


def _strides() -> dict[str, Beast]:
    found: dict[str, Beast] = {}
    for kernel, stride in (
        (1, 2),
        (2, 2),
        (3, 2),
        (4, 2),
        (5, 2),
        (7, 2),
        (1, 3),
        (3, 3),
        (4, 3),
        (5, 3),
        (3, 4),
        (5, 4),
    ):
        found[f"conv k{kernel} s{stride}"] = Beast(strided(kernel, stride), PICTURE, (stride, stride))
    for kernel, stride in (((1, 3), (1, 2)), ((3, 1), (2, 1)), ((3, 3), (2, 3)), ((2, 5), (4, 2)), ((3, 3), (1, 4))):
        rows, columns = stride
        found[f"conv k{kernel} s{stride}"] = Beast(strided(kernel, stride), PICTURE, (rows, columns))
    found["conv dilated"] = Beast(strided(3, 2, dilation=3, padding=3), PICTURE, (2, 2))
    found["conv grouped"] = Beast(strided(3, 2, groups=4), PICTURE, (2, 2))
    found["conv no padding"] = Beast(strided(5, 3, padding=0), PICTURE, (3, 3))
    for depth, stride in ((2, 2), (3, 2), (2, 3)):
        period = stride**depth
        found[f"stack of {depth}, stride {stride}"] = Beast(
            lambda d=depth, s=stride: nn.Sequential(*(conv(3 if n == 0 else 8, 8, 3, s) for n in range(d)), head(8)),
            PICTURE,
            (period, period),
        )
    return found


def _pools() -> dict[str, Beast]:
    pools: dict[str, tuple[Callable[[], nn.Module], int]] = {
        "max 3/2": (lambda: nn.MaxPool2d(3, 2, 1), 2),
        "max 2/2": (lambda: nn.MaxPool2d(2), 2),
        "max 3/3": (lambda: nn.MaxPool2d(3), 3),
        "max 3/2 ceil": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), 2),
        "max dilated": (lambda: nn.MaxPool2d(2, 2, dilation=2), 2),
        "average 3/2": (lambda: nn.AvgPool2d(3, 2, 1), 2),
        "average 2/2": (lambda: nn.AvgPool2d(2), 2),
        "average 5/4": (lambda: nn.AvgPool2d(5, 4, 2), 4),
        "average divisor": (lambda: nn.AvgPool2d(3, 2, 1, divisor_override=2), 2),
        "power 3/2": (lambda: nn.LPPool2d(2, 3, 2), 2),
        "adaptive average": (lambda: nn.AdaptiveAvgPool2d(48), 2),
        "adaptive average third": (lambda: nn.AdaptiveAvgPool2d(32), 3),
        "adaptive average uneven": (lambda: nn.AdaptiveAvgPool2d(64), 3),
        "adaptive maximum": (lambda: nn.AdaptiveMaxPool2d(24), 4),
    }
    return {
        name: Beast(lambda make=make: around(lambda x, pool: pool(x), make()), PICTURE, (period, period))
        for name, (make, period) in pools.items()
    }


def _resizing() -> dict[str, Beast]:
    found: dict[str, Beast] = {}
    for mode, scale in itertools.product(
        ("nearest", "nearest-exact", "bilinear", "bicubic", "area"), (1 / 2, 1 / 3, 1 / 4)
    ):
        period = round(1 / scale)
        found[f"resize {mode} 1/{period}"] = Beast(
            through(to_size(96 // period, 96 // period, mode)), PICTURE, (period, period)
        )
    for mode in ("bilinear", "bicubic"):
        found[f"resize {mode} antialiased"] = Beast(through(to_size(48, 48, mode, antialias=True)), PICTURE, (2, 2))
    found["resize 3/4"] = Beast(through(to_size(72, 72, "bilinear")), PICTURE, (4, 4))
    found["resize 2/3"] = Beast(through(to_size(64, 64, "nearest")), PICTURE, (3, 3))
    found["resize rows"] = Beast(through(to_size(48, 96, "bilinear")), PICTURE, (2, 1))
    found["resize corners"] = Beast(
        through(to_size(112, 112, "bilinear", align_corners=True)), (3, 224, 224), None, (223, 223)
    )
    found["enlarged then strided"] = Beast(
        lambda: around(lambda x, down: down(F.interpolate(x, scale_factor=2)), conv(8, 8, 3, 4)), PICTURE, (2, 2)
    )
    return found


def _indexing() -> dict[str, Beast]:
    ways = ("slice", "index", "select", "mask", "gather", "as_strided", "unfold", "chunks")
    found = {f"every other by {way}": Beast(through(every(2, 2, way)), PICTURE, (2, 2)) for way in ways}
    found |= {f"every 3 x 1 by {way}": Beast(through(every(3, 1, way)), PICTURE, (3, 1)) for way in ways[:4]}
    found["window means"] = Beast(through(window_means(2, 4)), PICTURE, (2, 4))
    found["window maxima"] = Beast(through(window_maxima(3)), PICTURE, (3, 3))
    found["grid sample"] = Beast(through(sampled(3)), PICTURE, (3, 3))
    found["roll then slice"] = Beast(through(lambda x: x.roll((1, 1), (2, 3))[:, :, ::2, ::2]), PICTURE, (2, 2))
    found["flip then slice"] = Beast(through(lambda x: x.flip(2)[:, :, ::4, ::2]), PICTURE, (4, 2))
    found["reflected then strided"] = Beast(
        lambda: around(lambda x, down: down(F.pad(x, (1, 1, 1, 1), mode="reflect")), conv(8, 8, 3, 2, padding=0)),
        PICTURE,
        (2, 2),
    )
    found["space to depth"] = Beast(through(lambda x: F.pixel_unshuffle(x, 2), 32), PICTURE, (2, 2))
    return found


def _tokens() -> dict[str, Beast]:
    found: dict[str, Beast] = {}
    for size, way in itertools.product((4, 8), ("conv", "unfold", "views")):
        mix = lambda width: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())  # noqa: E731
        found[f"patches of {size} by {way}"] = Beast(
            lambda s=size, w=way, m=mix: Patches(s, w, m), PICTURE, (size, size)
        )
    found["mixer"] = Beast(lambda: Patches(8, "conv", lambda width: Mixer(width)), PICTURE, (8, 8))
    found["attention"] = Beast(lambda: Patches(8, "conv", lambda width: Attention(width)), PICTURE, (8, 8))
    found["encoder layer"] = Beast(
        lambda: Patches(8, "conv", lambda width: nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)),
        PICTURE,
        (8, 8),
    )
    found["window attention"] = Beast(WindowAttention, PICTURE, (8, 8))
    found["two windows, smoothed"] = Beast(lambda: WindowAttention(8, 4, conv(16, 16)), (3, 64, 64), (4, 4))
    found["mixed across windows"] = Beast(MixedAcross, (3, 112, 112), (16, 16))
    found["tokens, every other"] = Beast(lambda: Patches(4, "conv", tokens_every(2)), PICTURE, (4, 8))
    found["tokens, every third"] = Beast(lambda: Patches(4, "unfold", tokens_every(3)), PICTURE, (4, 12))
    found["channels last"] = Beast(channels_last, PICTURE, (2, 2))
    for columns in (False, True):
        name = "columns as batch" if columns else "rows as batch"
        found[name] = Beast(lambda c=columns: AlongRows(3, 2, c), PICTURE, (2, 1) if columns else (1, 2))
        found[f"{name}, stride 3"] = Beast(lambda c=columns: AlongRows(4, 3, c), PICTURE, (3, 1) if columns else (1, 3))
    found["tiles as batch"] = Beast(Tiles, PICTURE, (8, 8))
    return found


def _gates() -> dict[str, Beast]:
    gates = ("squeeze", "view", "context", "nonlocal", "exponent")
    found = {f"gate {kind}": Beast(lambda k=kind: Gate(k), PICTURE, (2, 2)) for kind in gates}
    found |= {
        f"decoder {up}": Beast(lambda u=up: Decoder(u), PICTURE, (2, 2))
        for up in ("transposed", "shuffle", "nearest", "bilinear")
    }
    found["spectrum 4, stride 2"] = Beast(lambda: Spectrum(4, 2), PICTURE, (8, 8), UNKNOWN)
    found["spectrum 2, stride 1"] = Beast(lambda: Spectrum(2, 1), PICTURE, (2, 2), UNKNOWN)
    return found


def _signals() -> dict[str, Beast]:
    found: dict[str, Beast] = {}
    for kernel, stride in ((3, 2), (4, 3), (5, 4), (7, 5), (11, 8)):
        found[f"signal k{kernel} s{stride}"] = Beast(
            lambda k=kernel, s=stride: signal(nn.Conv1d(8, 8, k, s, k // 2), nn.ReLU()), SIGNAL, (1, stride)
        )
    found["signal maximum"] = Beast(
        lambda: signal(nn.MaxPool1d(3, 2, 1), nn.Conv1d(8, 8, 3, padding=1)), SIGNAL, (1, 2)
    )
    found["signal average"] = Beast(lambda: signal(nn.AvgPool1d(4, 3), nn.Conv1d(8, 8, 3, padding=1)), SIGNAL, (1, 3))
    for period, stride in ((2, 2), (3, 2), (5, 3)):
        found[f"signal folded by {period}, stride {stride}"] = Beast(
            lambda p=period, s=stride: Folded(p, s), SIGNAL, (1, period * stride)
        )
    for length, hop in ((16, 8), (16, 6), (20, 10)):
        found[f"frames of {length}, hop {hop}"] = Beast(lambda n=length, h=hop: Frames(n, h), SIGNAL, (1, hop))
    return found


def _none() -> dict[str, Beast]:
    flats: dict[str, tuple[nn.Module, ...]] = {
        "nothing": (),
        "dilated": (nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.ReLU()),
        "wide": (nn.Conv2d(8, 8, 7, padding=3), nn.GELU()),
        "depthwise": (nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.SiLU()),
        "batch norm": (nn.BatchNorm2d(8), nn.ReLU()),
        "instance norm": (nn.InstanceNorm2d(8), nn.ReLU()),
        "dense maximum": (nn.MaxPool2d(3, 1, 1),),
        "dense average": (nn.AvgPool2d(5, 1, 2),),
        "softplus": (nn.Conv2d(8, 8, 3, padding=1), nn.Softplus()),
    }
    return {f"stride 1, {name}": Beast(flat(*layers), PICTURE, (1, 1)) for name, layers in flats.items()}


BESTIARY: dict[str, Beast] = {
    **_strides(),
    **_pools(),
    **_resizing(),
    **_indexing(),
    **_tokens(),
    **_gates(),
    **_signals(),
    **_none(),
}


def built(beast: Beast, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The network with random weights of a seed, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return beast.make().eval().to(dtype)


def energy_maps(module: nn.Module, shape: tuple[int, ...], pictures: int = 32, seed: int = 1) -> Tensor:
    """Squared gradients of a map with random signs at white noise, summed over channels, (N, H, W): plain autograd."""
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for _ in range(pictures // 2):
        pixels = torch.randn(2, *shape, generator=generator).to(next(module.parameters())).requires_grad_()
        output = module(pixels)
        signs = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
        (gradient,) = torch.autograd.grad((output * signs).sum(), pixels)
        maps.append(gradient.double().square().sum(1))
    found = torch.cat(maps)
    return found if found.ndim == 3 else found.unsqueeze(1)


def plain_energy(maps: Tensor, period: tuple[int, int]) -> float:
    """E of a period without bias, from its definition: (|sum d|^2 - sum |d|^2) / (N (N - 1) phases)."""
    rows, columns = period
    count, height, width = maps.shape
    top, left = (p if size >= 4 * p else 0 for p, size in ((rows, height), (columns, width)))
    inner = maps[:, top : height - top, left : width - left]
    high, wide = inner.shape[1] // rows, inner.shape[2] // columns
    means = inner[:, : high * rows, : wide * columns].reshape(count, high, rows, wide, columns).mean((1, 3))
    deviations = (means / means.mean((1, 2), keepdim=True) - 1).flatten(1)
    total = deviations.sum(0).square().sum() - deviations.square().sum()
    return float(total / (count * (count - 1) * rows * columns))
