"""Small image classifiers, fully convolutional, so that any picture size works, and twins that differ in how they downsample."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from featvis.repair.layers import BlurPool2d, L2Pool2d


def convolution(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A convolution, batch norm and ReLU; a 4x4 kernel needs a stride of 2."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions of stride 1 beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.activation(features + self.body(features))


class Downsampling(nn.Module):
    """A 3x3 stride-2 convolution beside a shortcut with a 1x1 convolution, whose reduction is given."""

    def __init__(self, inputs: int, outputs: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.activation(self.shortcut(features) + self.body(features))


def _pooled(pool: Callable[[], nn.Module]) -> Callable[[int, int], nn.Module]:
    return lambda inputs, outputs: nn.Sequential(*convolution(inputs, outputs), pool())


DOWNSAMPLING: dict[str, Callable[[int, int], nn.Module]] = {
    "k3s2": lambda inputs, outputs: convolution(inputs, outputs, stride=2),
    "k4s2": lambda inputs, outputs: convolution(inputs, outputs, stride=2, kernel=4),
    "max2": _pooled(lambda: nn.MaxPool2d(2)),
    "max3": _pooled(lambda: nn.MaxPool2d(3, 2, padding=1)),
    "average": _pooled(lambda: nn.AvgPool2d(2)),
    "l2": _pooled(lambda: L2Pool2d(2)),
    "blur": _pooled(lambda: BlurPool2d(4)),
    "shortcut-1x1": lambda inputs, outputs: Downsampling(inputs, outputs, nn.Conv2d(inputs, outputs, 1, 2, bias=False)),
    "shortcut-average": lambda inputs, outputs: Downsampling(
        inputs, outputs, nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False))
    ),
}
"""Halve both sides: (inputs, outputs) to a module. Pooling follows a stride-1 convolution."""


TWIN_WIDTHS = (32, 64, 96)
"""Channels of the twins' three stages."""


class StridedClassifier(nn.Module):
    """Three downsampling layers, each followed by a residual block; total stride 8.

    downsampling: a name in DOWNSAMPLING. images: (B, 3, H, W), H and W at least 8. Returns logits (B, classes).
    """

    def __init__(
        self, widths: tuple[int, int, int] = (32, 64, 128), classes: int = 10, downsampling: str = "k3s2"
    ) -> None:
        super().__init__()
        first, second, third = widths
        down = DOWNSAMPLING[downsampling]
        self.stem = down(3, first)
        self.stage1 = Residual(first)
        self.down2 = down(first, second)
        self.stage2 = Residual(second)
        self.down3 = down(second, third)
        self.stage3 = Residual(third)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(third, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stage1(self.stem(images))
        features = self.stage2(self.down2(features))
        features = self.stage3(self.down3(features))
        return self.head(self.pool(features).flatten(1))
