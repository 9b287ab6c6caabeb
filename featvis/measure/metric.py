"""The measure as a torchmetrics metric; torchmetrics imports torchvision, so that nothing else here needs either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from featvis.compat import import_torchvision
from featvis.measure.estimates import Estimate
from featvis.measure.sums import Energies, EnergySums

import_torchvision()
from torchmetrics import Metric  # noqa: E402, torchmetrics imports torchvision by itself


class CheckerboardEnergy(Metric):
    """Checkerboard energy of gradients, by period, without bias and with standard errors: `EnergySums` for a training loop.

    total_stride: the product of the strides between the pixels and the score, in pixels. dims: 2 for pictures, 1 for signals.

    `update(gradients)` takes (B, C, H, W), or (B, C, L) for signals, each axis at least one total stride; `compute()` returns
    Energies; `merge_state(other)` adds another's pictures. The measure is defined in Odena, Dumoulin and Olah's terms (Distill 2016): the
    squared coefficient of variation of the phases' mean energy. Raises FeatvisError for gradients with NaN, infinity or nothing but zeros.

    >>> metric = CheckerboardEnergy(total_stride=4)
    >>> for batch in torch.randn(4, 8, 3, 32, 32):
    ...     metric.update(batch)
    >>> energies = metric.compute()
    >>> energies.pictures, abs(energies.energy[4].value) < 0.01
    (32, True)
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, total_stride: int, dims: int = 2, **kwargs: Any) -> None:
        # A cached answer would outlive what is merged or loaded after it.
        super().__init__(**{"compute_with_cache": False, **kwargs})
        self.total_stride, self.dims = total_stride, dims
        for name, empty in EnergySums(total_stride, dims).tensors().items():
            self.add_state(name, empty, dist_reduce_fx="sum", persistent=True)

    @property
    def sums(self) -> EnergySums:
        """The metric's states as sums, not a copy."""
        tensors = {name: value for name, value in self.metric_state.items() if isinstance(value, Tensor)}
        return EnergySums.of(tensors, self.total_stride, self.dims)

    @property
    def update_called(self) -> bool:
        """Whether there is anything to compute; sums that were merged or loaded count."""
        return self.sums.pictures > 0

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        """Moves the sums, which stay in their own precision: float64, whatever the gradients or a network around are in."""

        def moved(tensor: Tensor) -> Tensor:
            made = fn(tensor)
            return made if made.dtype == tensor.dtype else tensor.to(made.device)

        return super()._apply(moved, exclude_state)

    def update(self, gradients: Tensor, indices: Sequence[int] | None = None) -> None:
        """Add the pictures of a batch; see `EnergySums.update`."""
        self.sums.update(gradients, indices)

    def compute(self) -> Energies:
        """Energies of all pictures so far; see `EnergySums.compute`."""
        return self.sums.compute()

    def difference(self, first: CheckerboardEnergy) -> dict[int, Estimate]:
        """E of these gradients minus E of the first ones; see `EnergySums.difference`."""
        return self.sums.difference(first.sums)
