"""featvis's render loop beside Lucent's, in one run.

    python benchmarks/dream.py

ResNet-50 with random weights at 224, batch 1, two threads; the same channel, parameterisation, size and steps as
`lucent.optvis.render.render_vis`. The renders alternate, so that a noisy machine slows all of them; a step's time is that between two
calls of the first transform, without the first step of each render; medians and ratios are what counts. "plain" is featvis with
Lucent's own transforms and the network as it is, "prepared" the same with batch norms folded and memory channels last, "resampled" that
with featvis's transforms, "bfloat16" that under autocast. Writes benchmarks/results/dream.json.
"""

from __future__ import annotations

import argparse
import copy
import random
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from timing import medians, surroundings, write_result
from torch import Tensor, nn

from featvis.compat import import_torchvision
from featvis.dream.dreaming import Dream, dream
from featvis.dream.transforms import standard
from featvis.models.model import Model

torchvision = import_torchvision()
from lucent.optvis import objectives, param, transform  # noqa: E402, it imports torchvision by itself
from lucent.optvis.render import render_vis  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Those that Lucent takes for every network."""

CHANNEL = 3


class Clock:
    """A transform that changes nothing and notes when it is called."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, pictures: Tensor) -> Tensor:
        self.times.append(time.perf_counter())
        return pictures

    def steps(self) -> list[float]:
        """Seconds of each step but the first."""
        return [after - before for before, after in zip(self.times[1:-1], self.times[2:], strict=True)]


def by_lucent(network: nn.Module, layer: str, size: int, steps: int, transforms: Sequence[Any]) -> Tensor:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002, Lucent draws from it
    random.seed(0)
    (picture,) = render_vis(
        network,
        objectives.channel(layer, CHANNEL),
        lambda: param.image(size),
        transforms=list(transforms),
        thresholds=(steps,),
        progress=False,
        show_image=False,
    )
    return torch.from_numpy(picture)[0].permute(2, 0, 1)


def by_featvis(
    network: nn.Module, layer: str, size: int, steps: int, transforms: Sequence[Any], **choices: Any
) -> Dream:
    model = Model(network, "benchmark", mean=MEAN, std=STD)
    return dream(
        model,
        objectives.channel(layer, CHANNEL),
        param=lambda: param.image(size),
        steps=steps,
        transforms=transforms,
        **choices,
    )


def contestants(network: nn.Module, layer: str, size: int, steps: int) -> dict[str, Callable[[Clock], object]]:
    lucents = transform.standard_transforms
    # Lucent leaves its hooks on the network: each of its renders gets a fresh one.
    return {
        "lucent": lambda clock: by_lucent(copy.deepcopy(network), layer, size, steps, [clock, *lucents]),
        "plain": lambda clock: by_featvis(network, layer, size, steps, [clock, *lucents], prepare=False),
        "prepared": lambda clock: by_featvis(network, layer, size, steps, [clock, *lucents]),
        "resampled": lambda clock: by_featvis(network, layer, size, steps, [clock, standard()]),
        "bfloat16": lambda clock: by_featvis(network, layer, size, steps, [clock, standard()], precision="bfloat16"),
    }


def speed(network: nn.Module, layer: str, size: int, steps: int, rounds: int) -> dict[str, Any]:
    """Median seconds of a step and of what comes before the second one, and how many times as fast as Lucent."""
    seconds: dict[str, list[float]] = {}
    before: dict[str, list[float]] = {}
    for round_ in range(rounds + 1):
        for name, run in contestants(network, layer, size, steps).items():
            clock = Clock()
            started = time.perf_counter()
            run(clock)
            if round_ > 0:
                seconds.setdefault(name, []).extend(clock.steps())
                before.setdefault(name, []).append(clock.times[1] - started)
    of_a_step = medians(seconds)
    return {
        "median_seconds_of_a_step": of_a_step,
        "median_seconds_before_the_second_step": medians(before),
        "times_as_fast_as_lucent": {name: of_a_step["lucent"] / value for name, value in of_a_step.items()},
    }


def drift(network: nn.Module, layer: str, size: int, steps: int) -> dict[str, float]:
    """Largest difference of a pixel between two ways to the same picture, after so many steps."""

    def in_double(pictures: Tensor) -> Tensor:
        return pictures.double()

    transforms = [*transform.standard_transforms, in_double]
    double = copy.deepcopy(network).double()
    exact = by_featvis(double, layer, size, steps, transforms, prepare=False).picture
    lucent_exact = by_lucent(double, layer, size, steps, transforms)
    transforms = transform.standard_transforms
    lucent = by_lucent(copy.deepcopy(network), layer, size, steps, transforms)
    plain = by_featvis(network, layer, size, steps, transforms, prepare=False).picture
    prepared = by_featvis(network, layer, size, steps, transforms).picture
    bfloat16 = by_featvis(network, layer, size, steps, transforms, precision="bfloat16").picture
    pairs = {
        "float64, not folded, against Lucent": (exact, lucent_exact),
        "float32, not folded, against Lucent": (plain, lucent),
        "float32, prepared, against Lucent": (prepared, lucent),
        "Lucent in float32 against float64": (lucent, lucent_exact),
        "float32, prepared, against float64": (prepared, exact),
        "bfloat16, prepared, against float64": (bfloat16, exact),
    }
    return {name: float((first - second).abs().max()) for name, (first, second) in pairs.items()}


def hooks(network: nn.Module) -> int:
    """Forward hooks on a network and its layers."""
    return sum(len(part._forward_hooks) for part in network.modules())


def leftovers(renders: int) -> dict[str, Any]:
    """Hooks on ResNet-18 after renders of one step, and whether it can still be copied."""
    found: dict[str, Any] = {"renders": renders}
    runs: dict[str, Callable[..., object]] = {"featvis": by_featvis, "lucent": by_lucent}
    for name, run in runs.items():
        network = torchvision.models.resnet18(weights=None).eval()
        for _ in range(renders):
            run(network, "layer1", 64, 1, transform.standard_transforms)
        found[name] = {"hooks": hooks(network)}
        try:
            copy.deepcopy(network)
            found[name]["deepcopy"] = "works"
        except RuntimeError as error:
            found[name]["deepcopy"] = str(error).partition(".")[0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--layers", nargs="+", default=["layer1", "layer3", "layer4"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(2)
    torch.manual_seed(0)
    network = torchvision.models.get_model(arguments.model, weights=None).eval()
    size = arguments.size
    result = {
        **surroundings(),
        "setting": {
            "model": arguments.model,
            "size": size,
            "batch": 1,
            "steps": arguments.steps,
            "rounds": arguments.rounds,
        },
        "layers": {layer: speed(network, layer, size, arguments.steps, arguments.rounds) for layer in arguments.layers},
        "largest_difference_after_8_steps": {layer: drift(network, layer, size, 8) for layer in arguments.layers[:2]},
        "after_ten_renders": leftovers(10),
    }
    write_result("dream", result)


if __name__ == "__main__":
    main()
