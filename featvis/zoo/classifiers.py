"""Small image classifiers, fully convolutional, so that any picture size works."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
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


class StridedClassifier(nn.Module):
    """Three 3x3 stride-2 convolutions, each followed by a residual block; total stride 8.

    images: (B, 3, H, W), H and W at least 8. Returns logits (B, classes).
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128), classes: int = 10) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = convolution(3, first, stride=2)
        self.stage1 = Residual(first)
        self.down2 = convolution(first, second, stride=2)
        self.stage2 = Residual(second)
        self.down3 = convolution(second, third, stride=2)
        self.stage3 = Residual(third)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(third, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stage1(self.stem(images))
        features = self.stage2(self.down2(features))
        features = self.stage3(self.down3(features))
        return self.head(self.pool(features).flatten(1))
