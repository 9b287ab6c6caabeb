"""A network run as far as some of its layers: copied, traced, and in its fastest form that has proven to be the same."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from featvis.errors import FeatvisError
from featvis.tracing.folding import prepare_network
from featvis.tracing.networks import as_input, copy_module, home, in_precision
from featvis.tracing.outputs import output_tensor
from featvis.tracing.refusals import check_traceable, refusals
from featvis.tracing.trace import Trace, trace

SAME = 1e-4
"""Two forms of a network agree where what they give differs by less than this, relative to its norm."""

Made = TypeVar("Made")


class _Reached(Exception):  # noqa: N818, not an error: it ends a forward pass at the deepest layer that was asked for
    pass


class Run:
    """One form of a network, which runs until the deepest of its layers returns for the last time.

    calls: the layers that are read, by dotted name, with how often each runs; the one that returns last stands last. "" is the
    network itself. output: names the output that is taken where the network returns several.
    """

    def __init__(
        self, network: nn.Module, calls: Mapping[str, int], dtype: torch.dtype | None, output: Callable[[], str]
    ) -> None:
        self.network, self._calls, self._output = network, calls, output
        self._device, own = home(network)
        self._dtype = dtype or own
        self._seen: Counter[str] = Counter()
        self._held: dict[str, Tensor] = {}
        for name in calls:
            if name:
                network.get_submodule(name).register_forward_hook(self._keeping(name))
        for part in network.modules():
            if isinstance(part, _BatchNorm):
                part.register_forward_hook(_with_plain_gradient)

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """What each layer returned last. pixels: (B, C, H, W) or (B, C, L). Raises FeatvisError where the network refuses them."""
        self._seen.clear()
        self._held = {}
        # A copy, as the first layer may work in place; laid out plainly, as its layout would go on to all layers.
        own = pixels.to(device=self._device, dtype=self._dtype, copy=True, memory_format=torch.contiguous_format)
        with refusals(pixels), contextlib.suppress(_Reached):
            output = self.network(own)
            if "" in self._calls:
                self._held[""] = output if isinstance(output, Tensor) else output_tensor(output, self._output())
        held, self._held = self._held, {}
        for name in self._calls:
            if name not in held:
                raise _did_not_run(name)
        return held

    def _keeping(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            self._seen[name] += 1
            if name == list(self._calls)[-1] and self._seen[name] == self._calls[name]:
                self._held[name] = output_tensor(output)
                raise _Reached
            # A copy: what follows may work in place.
            self._held[name] = output_tensor(output).clone()

        return hook


class Handles:
    """The handles of one hook on all forms of a network, at a layer of each."""

    def __init__(self, layer: str, function: Callable[[nn.Module, tuple[Any, ...]], Any]) -> None:
        self.layer, self.function = layer, function
        self.removed = False
        self._handles: list[RemovableHandle] = []

    def attach(self, network: nn.Module) -> None:
        """Register the hook, a forward pre-hook, at one more form."""
        self._handles.append(network.get_submodule(self.layer).register_forward_pre_hook(self.function))

    def remove(self) -> None:
        """Take the hook off all forms."""
        self.removed = True
        for handle in self._handles:
            handle.remove()


class Prepared:
    """A frozen twin of a network, in eval mode, that runs as far as some of its layers, in one of two forms.

    module: stays as it is, in every respect. stop: the layers that are read, by dotted name, "" the network itself; each is read at its
    last call, and the pass ends at the deepest. pixels: an input, (B, C, H, W) or (B, C, L), on which it is found out how often they
    run. dtype: of the twin, where not the network's own. record: the network's trace, where there is one already.

    `plain` is the network as it is. `prepare` makes a faster form, with batch norms folded and memory laid out channels last, and keeps it
    where it proves to be the same; `prepared` says whether it is in use and `notes` say why not. Raises FeatvisError for a
    layer that does not run, and where the network refuses the input.
    """

    def __init__(
        self,
        module: nn.Module,
        stop: Sequence[str],
        pixels: Tensor,
        dtype: torch.dtype | None = None,
        record: Trace | None = None,
    ) -> None:
        check_traceable(module)
        self.module, self.notes = module, list[str]()
        self._stop, self._example, self._dtype, self._record = stop, pixels[:1], dtype, record
        self._calls = self._counted(pixels)
        self.plain = self._run(self._copy(dtype), dtype)
        self._fast: Run | None = None

    @property
    def prepared(self) -> bool:
        """Whether the faster form is in use."""
        return self._fast is not None

    @cached_property
    def record(self) -> Trace:
        """The trace of the whole network. Raises FeatvisError where it cannot be traced, with the network's own words."""
        if self._record is not None:
            return self._record
        network = self.module if self._dtype is None else self._copy(self._dtype)
        return trace(network, as_input(network, self._example))

    @cached_property
    def total_stride(self) -> int:
        """The period in pixels of everything between the input and the layers. Raises FeatvisError as `record` does."""
        return math.lcm(1, *(self.record.total_stride(name or None) for name in self._stop))

    def prepare(self, results: Callable[[Run], Sequence[Tensor]], expected: Sequence[Tensor] | None = None) -> None:
        """Make the faster form and take it where it gives the same results.

        results: what is made of a form of the network, such as its gradient at an input. expected: what the plain one gives, where known.
        Raises FeatvisError where the plain one fails.
        """
        expected = results(self.plain) if expected is None else expected
        reason = ""
        for channels_last in (True, False):
            try:
                fast = self._folded(self._dtype, channels_last)
                same = _agree(results(fast), expected) or self._agree_in_double(results, channels_last)
            except Exception as error:
                same, said = False, f"fails: {_said(error)}"
            else:
                said = "gives other results"
            if same:
                self._fast = fast
                if reason:
                    self.notes.append(f"memory is not laid out channels last, as the network then {reason}")
                return
            reason = reason or said
        self.notes.append(f"the network could not be prepared (its folded form {said}); used as it is")

    def use(self, task: Callable[[Run], Made]) -> Made:
        """What a task makes of the network: of its faster form, or where that raises anything, of the plain one, which stays in use."""
        if self._fast is None:
            return task(self.plain)
        try:
            return task(self._fast)
        except Exception as error:
            said = _said(error)
        # Where this raises too, the fault is not the faster form's.
        made = task(self.plain)
        self._fast = None
        self.notes.append(
            f"the prepared form of the network failed on a later input ({said}); used as it is from there on"
        )
        return made

    def attach(self, hook: Handles) -> None:
        """Register a hook at a layer of each form."""
        for run in [self.plain] if self._fast is None else [self.plain, self._fast]:
            hook.attach(run.network)

    def in_double(self) -> Run:
        """The plain network in float64, where rounding hardly ever flips a rectifier."""
        return self._run(self._copy(torch.float64), torch.float64)

    def _agree_in_double(self, results: Callable[[Run], Sequence[Tensor]], channels_last: bool) -> bool:
        """Whether the faster form is the same function: rounding can flip a rectifier, in float64 hardly ever."""
        try:
            return _agree(results(self._folded(torch.float64, channels_last)), results(self.in_double()))
        except Exception:
            return False

    def _copy(self, dtype: torch.dtype | None) -> nn.Module:
        network = copy_module(self.module)
        return network if dtype is None else in_precision(network, dtype)

    def _folded(self, dtype: torch.dtype | None, channels_last: bool) -> Run:
        network = prepare_network(self._copy(dtype), self.record, self._stop, channels_last)
        return self._run(network, dtype)

    def _run(self, network: nn.Module, dtype: torch.dtype | None) -> Run:
        return Run(network, self._calls, dtype, lambda: self.record.form.name)

    def _counted(self, pixels: Tensor) -> dict[str, int]:
        """How often each layer runs, in the order of their last return; the network itself returns after all of them."""
        calls: dict[str, int] = {}

        def counting(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, arguments: Any, output: Any) -> None:
                calls[name] = calls.pop(name, 0) + 1

            return hook

        layers = [name for name in self._stop if name]
        if layers:
            whole = self._copy(self._dtype)
            for name in layers:
                whole.get_submodule(name).register_forward_hook(counting(name))
            try:
                with torch.no_grad():
                    Run(whole, {"": 1}, self._dtype, str)(pixels)
            except FeatvisError:
                # A picture may be too small for layers that nobody reads.
                if not all(name in calls for name in layers):
                    raise
            for name in layers:
                if name not in calls:
                    raise _did_not_run(name)
        return {**calls, "": 1} if "" in self._stop else calls


def _with_plain_gradient(module: nn.Module, arguments: Any, output: Tensor) -> None:
    """Lays the gradient of one picture out plainly: torch's batch norm misreads one that comes from tokens, on the CPU."""
    if output.requires_grad and len(output) == 1:
        output.register_hook(
            lambda gradient: gradient if gradient.stride(0) == gradient.numel() else gradient.contiguous()
        )


def _did_not_run(layer: str) -> FeatvisError:
    return FeatvisError(
        f"the layer {layer!r} did not run on this input, or returned no tensor; `featvis layers` lists those that do"
    )


def _said(error: Exception) -> str:
    """What a network said, in one line, without what `refusals` made of it."""
    cause = error.__cause__ or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(difference(tensor, reference) < SAME for tensor, reference in zip(found, expected, strict=True))


def difference(tensor: Tensor, reference: Tensor) -> float:
    """Distance relative to the reference's norm; 0 where both are zero."""
    norm = float(reference.norm())
    distance = float((tensor - reference).norm())
    return distance / norm if norm > 0 else (0.0 if distance == 0 else math.inf)
