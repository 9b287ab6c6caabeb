"""featvis beside Captum's Saliency, pytorch-grad-cam and plain inference, in one run.

    python benchmarks/gradients.py

ResNet-50 with random weights at 224, batch 8, two threads. The runs alternate, so that a noisy machine slows all of them; medians and
ratios are what counts. pytorch-grad-cam has no plain input gradient: its guided backpropagation, the nearest thing, takes one
picture at a time, and its GradCAM gives a map of 7 x 7. Writes benchmarks/results/gradients.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from captum.attr import Saliency
from timing import median_seconds, surroundings, write_result
from torch import Tensor, nn

from featvis.compat import import_torchvision
from featvis.gradients.engine import GradientEngine
from featvis.tracing.folding import prepare_network
from featvis.tracing.networks import copy_module
from featvis.tracing.trace import trace


def relative(gradient: Tensor, reference: Tensor) -> float:
    return float((gradient - reference).norm() / reference.norm())


def gradient_in_double(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    pixels = images.double().requires_grad_()
    logits = copy_module(network).double()(pixels)
    (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), pixels)
    return gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    network = import_torchvision().models.get_model(arguments.model, weights=None).eval()
    images = torch.randn(arguments.batch_size, 3, 224, 224)
    record = trace(network, images[:1])
    fastest = prepare_network(copy_module(network), record)
    channels_last = images.to(memory_format=torch.channels_last)
    saliency = Saliency(network)
    with torch.no_grad():
        classes = network(images).argmax(1)

    # After torchvision, which both import by themselves.
    from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    # Copies: both keep hooks or other layers in the network that they are given.
    guided = GuidedBackpropReLUModel(copy_module(network))
    watched = copy_module(network)
    class_map = GradCAM(model=watched, target_layers=[watched.layer4[-1]])
    targets = [ClassifierOutputTarget(index) for index in classes.tolist()]

    def guided_backpropagation() -> None:
        for image, index in zip(images.detach().split(1), classes.tolist(), strict=True):
            guided(image.requires_grad_(), target_category=index)

    started = time.perf_counter()
    engine = GradientEngine(network)
    engine(images)
    first_batch = time.perf_counter() - started

    @torch.inference_mode()
    def inference() -> None:
        fastest(channels_last)

    contestants: dict[str, Callable[[], object]] = {
        "featvis": lambda: engine(images),
        "captum": lambda: saliency.attribute(images.requires_grad_(), target=classes, abs=False),
        "grad-cam, guided backpropagation": guided_backpropagation,
        "grad-cam, GradCAM": lambda: class_map(input_tensor=images, targets=targets),
        "inference": inference,
    }
    medians = median_seconds(contestants, arguments.rounds)
    images.requires_grad_(False)

    one, its_class = images[:1], classes[:1]
    exact = gradient_in_double(network, one, its_class)
    folded = prepare_network(copy_module(network).double(), record)
    pixels = one.double().requires_grad_()
    (prepared_exact,) = torch.autograd.grad(folded(pixels).gather(1, its_class[:, None]).sum(), pixels)
    result = {
        **surroundings(),
        "setting": {"model": arguments.model, "size": 224, "batch": arguments.batch_size, "rounds": arguments.rounds},
        "median_seconds": medians,
        "over_featvis": {
            name: value / medians["featvis"] for name, value in medians.items() if name not in ("featvis", "inference")
        },
        "featvis_over_two_inferences": medians["featvis"] / (2 * medians["inference"]),
        "first_batch_seconds": first_batch,
        "prepared": engine.prepared,
        "relative_difference": {
            "prepared form in float64": relative(prepared_exact, exact),
            "prepared form in float32 against float64": relative(engine(one).double(), exact),
            "plain network in float32 against float64": relative(
                GradientEngine(network, prepare=False)(one).double(), exact
            ),
        },
    }
    write_result("gradients", result)


if __name__ == "__main__":
    main()
