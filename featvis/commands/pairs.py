"""What the commands for discriminators, generators and pictures share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from featvis.commands import choices
from featvis.commands.asked import as_one
from featvis.commands.options import check_writable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from featvis.models.model import Model


@dataclass(frozen=True)
class PairAsked:
    """What the commands for discriminators and generators share; weights: of the network that is measured."""

    weights: str | None
    real: tuple[str, ...]
    latent: str
    category: int | None
    seed: int
    device: str
    out: str | None
    html_path: str | None
    tensorboard: str | None

    def check_outputs(self, name: str) -> None:
        """Raises FeatvisError before the work where its results, files of this name, could not be written."""
        from featvis.gan.board import check_tensorboard

        check_writable(self.html_path)
        if self.out:
            check_writable(f"{self.out}/{name}.json", f"{self.out}/{name}.png")
        if self.tensorboard:
            check_tensorboard()


pair_options = as_one(
    "pair",
    PairAsked,
    click.option("--weights", help="A .pth or .safetensors file; with `dcgan`, its shapes give the network."),
    click.option("--real", multiple=True, type=click.Path(), help="Real pictures: files, folders, globs."),
    click.option(
        "--latent",
        type=click.Choice(choices.LATENTS),
        default="normal",
        show_default=True,
        help="How latent values are drawn; uniform is in [-1, 1].",
    ),
    click.option("--class", "category", type=click.IntRange(0), help="The class, for networks that take one."),
    click.option("--seed", default=0, show_default=True, help="For every random draw."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
    click.option("--out", type=click.Path(), help="Folder for the figure and the numbers as JSON."),
    click.option("--html", "html_path", type=click.Path(), help="Write a page with pictures and numbers here."),
    click.option("--tensorboard", type=click.Path(), help="Folder for TensorBoard: scalars and the figure."),
)
"""What the commands for discriminators and generators share, as `pair`."""


def network_of(spec: str, weights: str | None, kind: str, seed: int, device: str) -> tuple[nn.Module, int | None]:
    """The network that a spec names, on the device, and its size in pixels where the zoo or its weights' shapes tell."""
    from featvis.errors import FeatvisError
    from featvis.models.checkpoints import check_finite, load_strictly, read_checkpoint
    from featvis.models.dcgan import dcgan_discriminator, dcgan_generator
    from featvis.models.specs import load_model

    if spec != "dcgan":
        if ":" not in spec:
            raise FeatvisError(
                f"the {kind} {spec!r} is no factory; give path/file.py:factory, zoo:NAME, or dcgan with its weights"
            )
        model = load_model(spec, weights, seed, device=device, kind=kind)
        return model.module, model.input_size[1] if spec.startswith("zoo:") else None
    if not weights:
        raise FeatvisError(f"a dcgan {kind} is read off its weights; give a .pth or .safetensors file with them")
    state = read_checkpoint(weights)
    family = (dcgan_discriminator if kind == "discriminator" else dcgan_generator)(state)
    load_strictly(family.network, state, repr(weights))
    check_finite(family.network, repr(weights))
    return family.network.eval().to(load_device(device)), family.size


def load_device(name: str) -> str:
    """The device by its name; auto is the fastest there is."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def real_from(model: Model, given: tuple[str, ...], limit: int) -> tuple[Tensor | None, list[Any]]:
    """Real pictures prepared for a model, (N, C, H, W) on the CPU, and their files; None where none were given."""
    import torch

    from featvis.audit.batches import Loader
    from featvis.data.pictures import find_pictures

    if not given:
        return None, []
    paths = find_pictures(given)[:limit]
    return torch.cat([batch.images.cpu() for batch in Loader(model, paths, 32)]), paths
