"""The total stride and the table of layers, for what networks do to their resolution, as modules and as functions."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import Function, fingerprint, strided
from torch import nn

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.tracing.layer_table import layer_rows
from featvis.tracing.trace import trace


def conv(kernel=3, stride=1, padding=1, inputs=3, outputs=3, **options):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, **options)


def space_to_depth(images, block=2):
    batch, channels, height, width = images.shape
    blocks = images.view(batch, channels, height // block, block, width // block, block)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * block**2, height // block, width // block)


def depth_to_space(features, block=2):
    batch, channels, height, width = features.shape
    blocks = features.view(batch, channels // block**2, block, block, height, width)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels // block**2, height * block, width * block)


def patches(images, size):
    """Tokens (B, number, channels * size * size), as many transformers cut them."""
    batch, channels, height, width = images.shape
    cut = images.view(batch, channels, height // size, size, width // size, size).permute(0, 2, 4, 3, 5, 1)
    return cut.reshape(batch, height * width // size**2, channels * size**2)


def windows(images, layer, size=8):
    """A layer within windows, put together again, as in Swin."""
    batch, channels, height, width = images.shape
    rows, columns = height // size, width // size
    cut = images.permute(0, 2, 3, 1).view(batch, rows, size, columns, size, channels).permute(0, 1, 3, 2, 4, 5)
    mixed = layer(cut.reshape(batch * rows * columns, size * size, channels))
    whole = mixed.view(batch, rows, columns, size, size, channels).permute(0, 1, 3, 2, 4, 5)
    return whole.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def focus(images, layer):
    parts = [images[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return layer(torch.cat(parts, 1))


class UNet(nn.Module):
    def __init__(self, up):
        super().__init__()
        self.stem, self.down, self.deeper = conv(), conv(stride=2), conv(stride=2)
        self.up = nn.ConvTranspose2d(3, 3, 2, 2) if up == "transposed" else nn.Upsample(scale_factor=2, mode=up)
        self.head = conv(inputs=6)

    def forward(self, images):
        features = self.stem(images)
        down = self.down(features)
        return self.head(torch.cat([features, self.up(down + self.up(self.deeper(down)))], 1))


def branches(images, two, three):
    return torch.cat([two(images).mean((2, 3)), three(images).mean((2, 3))], 1)


NETWORKS = {
    "no stride": (conv(), 1),
    "plain": (nn.Sequential(conv(stride=2), conv(stride=2)), 4),
    "odd": (nn.Sequential(conv(stride=3)), 3),
    "odd and even": (nn.Sequential(conv(stride=3), nn.ReLU(), conv(stride=2)), 6),
    "dilated": (nn.Sequential(conv(padding=2, dilation=2, stride=2), conv(padding=4, dilation=4)), 2),
    "anisotropic": (nn.Sequential(conv(stride=(2, 1)), conv((1, 3), (1, 3), 0)), 6),
    "anisotropic, alike": (nn.Sequential(conv(stride=(2, 1)), conv(stride=(1, 2))), 2),
    "padding as text": (conv(padding="same"), 1),
    "reflection": (conv(stride=2, padding_mode="reflect"), 2),
    "pooling modules": (nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3), nn.LPPool2d(2, 2)), 12),
    "pooling, stride 1": (nn.MaxPool2d(3, 1, 1), 1),
    "pooling, ceil": (nn.MaxPool2d(2, ceil_mode=True), 2),
    "functional max pooling": (Function(lambda x, c: F.max_pool2d(c(x), 2), conv(stride=2)), 4),
    "functional average pooling": (Function(lambda x, c: F.avg_pool2d(c(x), 3), conv(stride=2)), 6),
    "slices": (Function(lambda x, c: c(x)[:, :, ::2, ::2], conv()), 2),
    "slices with a start": (Function(lambda x, c: c(x)[..., 1::3, 2::3], conv()), 3),
    "a crop": (Function(lambda x, c: c(x)[:, :, 2:-2, 1:-3], conv(stride=2)), 2),
    "padding": (Function(lambda x, c: c(F.pad(x, (1, 2, 3, 0), mode="reflect")), conv(stride=2)), 2),
    "pixel unshuffle": (nn.Sequential(nn.PixelUnshuffle(2), conv(inputs=12, stride=2)), 4),
    "pixel shuffle": (nn.Sequential(conv(stride=4, outputs=12), nn.PixelShuffle(2), conv()), 4),
    "space to depth": (Function(lambda x, c: c(space_to_depth(x)), conv(inputs=12, stride=2)), 4),
    "space to depth, last": (Function(space_to_depth), 2),
    "depth to space": (
        Function(lambda x, c, d: d(depth_to_space(c(x))), conv(stride=2, outputs=12), conv(stride=2)),
        2,
    ),
    "focus": (Function(focus, conv(inputs=12, stride=2)), 4),
    "patch embedding": (Function(lambda x, c: c(x).flatten(2).transpose(1, 2).mean(1), conv(8, 8, 0)), 8),
    "patches, linear": (Function(lambda x, a: a(patches(x, 8)).mean(1), nn.Linear(192, 5)), 8),
    "patches, attention": (
        Function(lambda x, a, b: b(a(patches(x, 4)))[:, 0], nn.Linear(48, 8), nn.TransformerEncoderLayer(8, 2, 8)),
        4,
    ),
    "windows": (Function(lambda x, a, c: c(windows(x, a)), nn.Linear(3, 3), conv(stride=2)), 2),
    "windows after space to depth": (
        Function(lambda x, a, c: c(windows(space_to_depth(x), a)), nn.Linear(12, 12), conv(inputs=12, stride=3)),
        6,
    ),
    "columns": (Function(lambda x, a: a(F.unfold(x, 8, stride=8).transpose(1, 2)).mean(1), nn.Linear(192, 5)), 8),
    "unfold": (Function(lambda x: x.unfold(2, 4, 4).unfold(3, 4, 4).amax((4, 5))), 4),
    "channel shuffle": (
        Function(lambda x, c: c(x).unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2), conv(stride=2, outputs=6)),
        2,
    ),
    "channels last": (
        Function(
            lambda x, c, a, d: d(a(c(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
            conv(4, 4, 0),
            nn.Linear(3, 3),
            conv(stride=2),
        ),
        8,
    ),
    "transposed": (nn.Sequential(conv(4, 4, 0), nn.ConvTranspose2d(3, 3, 4, 2, 1), conv()), 4),
    "transposed first": (nn.Sequential(nn.ConvTranspose2d(3, 3, 4, 2, 1), conv(stride=2), conv(stride=2)), 2),
    "upsampling": (nn.Sequential(conv(stride=3), nn.Upsample(scale_factor=1.5), conv(stride=2)), 12),
    "downsampling": (Function(lambda x, c: F.interpolate(c(x), scale_factor=0.5, mode="bilinear"), conv()), 2),
    "U-Net, transposed": (UNet("transposed"), 4),
    "U-Net, bilinear": (UNet("bilinear"), 4),
    "branches": (Function(branches, conv(stride=2), conv(stride=3)), 6),
    "residual": (Function(lambda x, a, b: F.relu_(a(x) + b(x)), conv(stride=2), conv(1, 2, 0)), 2),
    "global pooling": (nn.Sequential(conv(stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2),
    "global, whole kernel": (nn.Sequential(conv(stride=2), nn.AvgPool2d(24)), 2),
    "global, whole convolution": (nn.Sequential(conv(stride=2), conv(24, 1, 0)), 2),
    "global, as in CIFAR networks": (
        Function(lambda x, a, b: F.avg_pool2d(b(a(x)), 4), conv(stride=4), conv(stride=3)),
        12,
    ),
    "global maximum": (Function(lambda x, c: c(x).amax((2, 3)), conv(stride=2)), 2),
    "flattened": (nn.Sequential(conv(stride=2), nn.Flatten(), nn.Linear(3 * 24 * 24, 5)), 2),
    "written into": (Function(lambda x, c: x.new_zeros(1, 3, 24, 24).copy_(c(x)), conv(stride=2)), 2),
    "in double": (conv(stride=2).double(), 2),
}


@pytest.mark.filterwarnings("ignore:.*padding='same'")
@pytest.mark.parametrize(("network", "stride"), NETWORKS.values(), ids=NETWORKS)
def test_total_stride(network, stride):
    example = torch.zeros(1, 3, 48, 48, dtype=next((p.dtype for p in network.parameters()), torch.float32))
    assert trace(network, example).total_stride() == stride


@pytest.mark.parametrize(
    ("network", "stride"),
    [
        (nn.Sequential(nn.Conv1d(3, 3, 3, 2, 1), nn.MaxPool1d(3), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1)), 12),
        (Function(lambda x, c: F.max_pool1d(F.avg_pool1d(c(x), 3), 2), nn.Conv1d(3, 3, 4, 2)), 12),
        (Function(lambda x, c: c(x)[..., ::5], nn.Conv1d(3, 3, 1)), 5),
        (nn.Sequential(nn.Conv1d(3, 3, 4, 4), nn.ConvTranspose1d(3, 3, 2, 2), nn.Conv1d(3, 3, 3)), 4),
        (nn.Sequential(nn.Conv1d(3, 3, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)), None),
    ],
)
def test_signals(network, stride):
    if stride is None:
        with pytest.raises(FeatvisError, match="has no shape yet"):
            trace(network, torch.zeros(1, 3, 96))
    else:
        assert trace(network, torch.zeros(1, 3, 96)).total_stride() == stride


@pytest.mark.parametrize("size", [8, 12, 16, 24, 48])
def test_a_small_picture_does_not_shorten_the_total_stride(size):
    """Padded and small windows stay strides where the map becomes one pixel; only large ones are global pooling."""
    network = nn.Sequential(
        *(conv(stride=2) for _ in range(3)), nn.MaxPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d(1)
    )
    assert trace(network, torch.zeros(1, 3, size, size)).total_stride() == 16


def test_a_kernel_that_is_computed_from_the_picture():
    network = Function(
        lambda x, c, a: F.conv2d(c(x), a(x.mean((2, 3))).view(3, 3, 3, 3), stride=3), conv(stride=2), nn.Linear(3, 81)
    )
    record = trace(network, torch.zeros(1, 3, 48, 48))
    assert record.total_stride() == 6
    assert [(row.kernel, row.stride) for row in layer_rows(record) if row.mark == "strided"] == [
        ((3, 3), (2, 2)),
        ((), (3, 3)),
    ]


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5"])
def test_torchvisions_networks(name):
    import_torchvision()
    from torchvision import models

    record = trace(models.get_model(name, weights=None), torch.zeros(1, 3, 64, 64))
    assert record.total_stride() == 32
    rows = {row.name: row for row in layer_rows(record) if row.mark}
    if name == "resnet18":
        assert list(rows) == [
            "conv1",
            "maxpool",
            *(f"layer{n}.0.{part}" for n in (2, 3, 4) for part in ("conv1", "downsample.0")),
            "avgpool",
        ]
        assert [row.mark for row in rows.values()] == ["strided", "pooling", *["strided"] * 6, "global"]
        assert [record.total_stride(f"layer{n}") for n in (1, 2, 3, 4)] == [4, 8, 16, 32]
        assert rows["layer3.0.downsample.0"].kernel == (1, 1)
        assert rows["layer4.0.conv1"].shape == (1, 512, 2, 2)


def marks(network):
    return [(row.name, row.type, row.mark) for row in layer_rows(trace(network, torch.zeros(1, 3, 48, 48))) if row.mark]


def test_rows_of_layers():
    rows = layer_rows(trace(strided(), torch.zeros(1, 3, 32, 32, dtype=torch.float64)))
    assert [row.name for row in rows] == [str(number) for number in range(9)]
    assert [row.type for row in rows][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert [row.mark for row in rows] == ["strided", "", "", "strided", "", "", "global", "", ""]
    first, last = rows[0], rows[5]
    assert (first.kernel, first.stride, first.total_stride, first.shape) == ((3, 3), (2, 2), (2, 2), (1, 6, 16, 16))
    assert (last.kernel, last.stride, last.total_stride) == ((), (), (Fraction(4), Fraction(4)))
    assert rows[6].total_stride is None
    assert rows[8].shape == (1, 5)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (NETWORKS["functional max pooling"][0], [("layers.0", "Conv2d", "strided"), ("", "(max_pool2d_with_indices)", "pooling")]),
        (NETWORKS["slices"][0], [("", "(slice)", "strided")] * 2),
        (NETWORKS["pixel unshuffle"][0], [("0", "PixelUnshuffle", "strided"), ("1", "Conv2d", "strided")]),
        (nn.Upsample(scale_factor=2), [("", "Upsample", "upsampling")]),
        (nn.Sequential(conv(outputs=12), nn.PixelShuffle(2)), [("1", "PixelShuffle", "upsampling")]),
        (nn.Sequential(conv(), nn.ConvTranspose2d(3, 3, 4, 2, 1)), [("1", "ConvTranspose2d", "upsampling")]),
        (nn.ConvTranspose2d(3, 3, 3), []),
        (NETWORKS["downsampling"][0], [("", "(upsample_bilinear2d)", "strided")]),
        (nn.AdaptiveAvgPool2d(6), [("", "AdaptiveAvgPool2d", "pooling")]),
        (nn.AdaptiveMaxPool2d(1), [("", "AdaptiveMaxPool2d", "global")]),
        (Function(lambda x, c: c(x).mean((2, 3)), conv(stride=2)), [("layers.0", "Conv2d", "strided"), ("", "(mean)", "global")]),
        (NETWORKS["global, whole convolution"][0], [("0", "Conv2d", "strided"), ("1", "Conv2d", "global")]),
        (nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU()), []),
        (nn.Sequential(nn.MaxPool2d(3, 1, 1)), [("0", "MaxPool2d", "pooling")]),
    ],
)  # fmt: skip
def test_marks(network, expected):
    assert marks(network) == expected


class Pools(nn.Module):
    """A layer without children that does two things to the resolution."""

    def forward(self, images):
        return F.avg_pool2d(F.relu(F.max_pool2d(images, 3)), 2).exp()


def test_a_layer_that_does_two_things_has_two_rows():
    rows = layer_rows(trace(nn.Sequential(conv(), Pools()), torch.zeros(1, 3, 48, 48)))
    assert [(row.name, row.type, row.kernel, row.total_stride, row.mark) for row in rows[1:]] == [
        ("1", "Pools", (3, 3), (3, 3), "pooling"),
        ("1", "(avg_pool2d)", (2, 2), (6, 6), "pooling"),
    ]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_exported_program_has_a_row_for_each_change_of_resolution():
    network = nn.Sequential(conv(stride=2), nn.BatchNorm2d(3), nn.MaxPool2d(2), conv(stride=3)).eval()
    program = torch.export.export(network, (torch.zeros(1, 3, 48, 48),)).module()
    record = trace(program, torch.zeros(1, 3, 48, 48))
    assert record.total_stride() == 12
    found = [(row.type, row.total_stride, row.mark) for row in layer_rows(record)]
    assert found == [
        ("(convolution)", (2, 2), "strided"),
        ("(max_pool2d_with_indices)", (4, 4), "pooling"),
        ("(convolution)", (12, 12), "strided"),
    ]


def test_a_normed_convolution_is_one_layer():
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(conv(stride=2)), nn.ReLU())
    rows = layer_rows(trace(network, torch.zeros(1, 3, 48, 48)))
    assert [(row.name, row.type, row.mark) for row in rows] == [
        ("0", "ParametrizedConv2d", "strided"),
        ("1", "ReLU", ""),
    ]


def test_a_layer_that_runs_twice_has_two_rows():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = conv(stride=2)

        def forward(self, images):
            return self.down(self.down(images))

    record = trace(Twice(), torch.zeros(1, 3, 48, 48))
    assert [row.total_stride for row in layer_rows(record)] == [(2, 2), (4, 4)]
    assert record.layer_calls["down"] == 2
    assert record.total_stride("down") == 4


class Auxiliary(nn.Module):
    """A second head with strides of its own, as in GoogLeNet, and a layer that only training uses."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = conv(stride=2), conv(stride=2), conv(stride=3)
        self.aux, self.unused = conv(stride=5), conv(stride=7)

    def forward(self, images):
        features = self.stem(images)
        aux = self.aux(features)
        if self.training:
            aux = self.unused(aux)
        return {"aux": aux.mean((2, 3)), "out": self.head(self.body(features))}


def test_heads_that_the_score_does_not_use_do_not_count():
    record = trace(Auxiliary(), torch.zeros(1, 3, 60, 60))
    assert record.total_stride() == 12
    assert [record.total_stride(name) for name in ("stem", "body", "head", "aux")] == [2, 4, 12, 10]
    assert [operation.layer for operation in record.leading_to(record.layer_outputs["body"])] == ["stem", "body"]


def test_a_layer_that_did_not_run():
    record = trace(Auxiliary(), torch.zeros(1, 3, 60, 60))
    for name in ("unused", "nowhere"):
        with pytest.raises(FeatvisError) as caught:
            record.total_stride(name)
        assert f"the layer {name!r} did not run on this input" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((1, 1, 32, 32), "expected input[1, 1, 32, 32] to have 3 channels"), ((1, 3, 1, 1), "shape (1, 3, 1, 1)")],
)
def test_an_input_that_the_network_refuses(shape, said):
    network = nn.Sequential(conv(), nn.MaxPool2d(4))
    with pytest.raises(FeatvisError) as caught:
        trace(network, torch.zeros(shape))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"the network refuses an input of shape {shape}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raised", [RuntimeError("first\nsecond"), ValueError(), IndexError("i"), KeyError("k"), AttributeError("a")]
)
def test_whatever_the_network_raises_is_one_line(raised):
    def fail(images):
        raise raised

    with pytest.raises(FeatvisError) as caught:
        trace(Function(fail), torch.zeros(1, 3, 8, 8))
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("the network refuses an input of shape (1, 3, 8, 8): ")
    # None of these complains about shapes.
    assert "--size" not in said


def test_the_network_stays_as_it_was():
    network = strided().train()
    before = fingerprint(network)
    trace(network, torch.rand(1, 3, 32, 32, dtype=torch.float64))
    assert fingerprint(network) == before
    with pytest.raises(FeatvisError):
        trace(network, torch.rand(1, 2, 32, 32, dtype=torch.float64))
    assert fingerprint(network) == before


def mean(features):
    return features.exp().mean((2, 3))


UNPADDED = {
    "plain": (lambda x, a, b: mean(b(F.relu(a(x)))), (conv(2, 2, 0), conv(3, 3, 0))),
    "pooling": (lambda x, a: mean(F.avg_pool2d(F.max_pool2d(a(x), 2), 3)), (conv(2, 2, 0),)),
    "slices": (lambda x, a: mean(a(x)[:, :, 1::2, ::2]), (conv(3, 3, 0),)),
    "anisotropic": (lambda x, a: mean(a(x)), (conv((2, 3), (2, 3), 0),)),
    "pixel unshuffle": (lambda x, a: mean(a(F.pixel_unshuffle(x, 2))), (conv(1, 2, 0, inputs=12),)),
    "space to depth": (lambda x, a: mean(a(space_to_depth(x))), (conv(1, 2, 0, inputs=12),)),
    "depth to space": (lambda x, a, b: mean(b(depth_to_space(a(x)))), (conv(4, 4, 0, outputs=12), conv(3, 3, 0))),
    "patches, linear": (lambda x, a: a(patches(x, 4)).exp().mean(1), (nn.Linear(48, 5),)),
    "columns": (lambda x, a: a(F.unfold(x, 4, stride=4).transpose(1, 2)).exp().mean(1), (nn.Linear(48, 5),)),
    "unfold": (lambda x: x.unfold(2, 3, 3).unfold(3, 2, 2).amax((4, 5)).exp().mean((2, 3)), ()),
    "windows": (lambda x, a, b: mean(b(windows(x, a))), (nn.Linear(3, 3), conv(2, 2, 0))),
    "branches": (lambda x, a, b: mean(a(x)) + mean(b(x)), (conv(2, 2, 0), conv(3, 3, 0))),
    "upsampling": (lambda x, a, b: mean(b(F.interpolate(a(x), scale_factor=2))), (conv(4, 4, 0), conv(3, 3, 0))),
    "transposed": (lambda x, a, b: mean(b(a(x))), (conv(6, 6, 0), nn.ConvTranspose2d(3, 3, 2, 2))),
}
"""Networks whose windows do not leave a picture that is rolled by their period, with a mean over all positions at the end."""


@pytest.mark.parametrize(("function", "layers"), UNPADDED.values(), ids=UNPADDED)
def test_the_total_stride_is_the_smallest_shift_that_changes_nothing(function, layers):
    """An oracle that knows nothing of layers: the score of a picture and of the same picture, rolled."""
    torch.manual_seed(0)
    network = Function(function, *layers).double()
    images = torch.randn(1, 3, 48, 48, dtype=torch.float64)
    score = network(images)
    unchanged = [
        shift
        for shift in range(1, 49)
        if all(torch.allclose(network(images.roll(shift, axis)), score, rtol=1e-9) for axis in (2, 3))
    ]
    assert trace(network, images).total_stride() == unchanged[0]
