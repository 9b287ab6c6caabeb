"""What `featvis dream` writes and prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featvis.commands.options import check_writable
from featvis.commands.tables import print_notes, print_table, say
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor

    from featvis.dream.comparison import Measured
    from featvis.measure.sums import Energies
    from featvis.plots.dream import DreamView

FILES = (
    click.option(
        "--out",
        default="dream.png",
        show_default=True,
        type=click.Path(),
        help="The picture; a .json with all settings is beside it.",
    ),
    click.option(
        "--figure", type=click.Path(), help="Also draw the dream, enlarged, with its mean tile: .png, .pdf, .svg."
    ),
    click.option("--gif", type=click.Path(), help="Also write how the picture came about."),
    click.option(
        "--html", "html_path", type=click.Path(), help="Also write a page with verdict, pictures and numbers."
    ),
)


@dataclass(frozen=True)
class FilesAsked:
    """Where results go; None where an option was not given."""

    out: str
    figure: str | None
    gif: str | None
    html_path: str | None

    @property
    def record(self) -> str:
        """The file of numbers and settings."""
        return str(Path(self.out).with_suffix(".json"))

    @property
    def given(self) -> list[str]:
        """All that is written."""
        return [path for path in (self.out, self.figure, self.gif, self.html_path, self.record) if path is not None]

    def check(self, several: str) -> None:
        """Raises FeatvisError for names that end otherwise and for what cannot be written; several: what makes more than one dream."""
        from featvis.plots import FORMATS

        figures = tuple(FORMATS)
        for path, suffixes in (
            (self.out, figures if several else (".png", ".npy")),
            (self.figure, figures),
            (self.gif, (".gif",)),
        ):
            if path is not None and Path(path).suffix.lower() not in suffixes:
                raise FeatvisError(f"cannot write {path!r}: its name must end in {' or '.join(suffixes)}")
        single = {"--gif": self.gif, "--figure": self.figure}
        if several == "several channels":
            single["--html"] = self.html_path
        for option, path in single.items():
            if several and path is not None:
                raise FeatvisError(f"{option} shows a single dream; leave it out with {several}")
        check_writable(self.out, self.record, self.figure, self.gif, self.html_path)

    def check_channels(self, channels: int) -> None:
        """Raises FeatvisError where a picture of so many channels would have to be shown."""
        if channels not in (1, 3) and (self.gif or self.figure or Path(self.out).suffix.lower() != ".npy"):
            raise FeatvisError(
                f"{channels} channels are no colours; give --out NAME.npy, without --gif, --figure and --compare"
            )


@dataclass(frozen=True)
class Made:
    """What dreams have in common.

    start: the photograph, (C, H, W), None for noise. title, caption: of their figure. settings: for their record.
    """

    start: Tensor | None
    title: str
    caption: str
    settings: dict[str, Any]


def write_dream(files: FilesAsked, made: Made, one: Measured, notes: Sequence[str]) -> None:
    """A single dream: its picture, and the animation and figure that were asked for."""
    from functools import partial

    from featvis.data.pictures import save_picture
    from featvis.files import write_atomically
    from featvis.plots.dream import save_animation

    picture = one.dream.picture
    if Path(files.out).suffix.lower() == ".npy":
        write_atomically(files.out, partial(_save_array, picture))
    else:
        save_picture(picture, files.out)
    if files.gif is not None:
        frames = one.dream.frames
        if not (frames and frames[-1].equal(picture)):
            frames = (*frames, picture)
        save_animation([_shown(frame) for frame in frames], files.gif)
    if files.figure is not None:
        _draw(files.figure, made, [one])
    _record(files, made, [one], notes)


def write_comparison(files: FilesAsked, made: Made, found: Sequence[Measured], notes: Sequence[str]) -> None:
    """Dreams side by side, as a figure."""
    _draw(files.out, made, found)
    _record(files, made, found, notes)


def write_sheet(files: FilesAsked, made: Made, found: Sequence[Measured], notes: Sequence[str]) -> None:
    """Dreams of several channels on one sheet."""
    from featvis.dream.comparison import plain
    from featvis.dream.verdict import finding, mean_tile, spoken_period, together, verdict_of_all
    from featvis.plots import save_figure
    from featvis.plots.dream import sheet_figure

    energies = together(found)
    period = spoken_period(energies)
    # Where nothing stands above its error, a tile would show noise.
    tile = mean_tile(energies, period) if energies is not None and finding(energies).period is not None else None
    figure = sheet_figure(
        [_view(one, period) for one in found],
        made.title,
        made.caption,
        verdict_of_all(energies),
        None if tile is None else tile.numpy(),
    )
    save_figure(figure, files.out)
    _record(files, made, found, notes, together=plain(energies))


def _draw(path: str, made: Made, found: Sequence[Measured]) -> None:
    from featvis.dream.verdict import spoken_period
    from featvis.plots import save_figure
    from featvis.plots.dream import dream_figure

    period = spoken_period(found[0].picture)
    save_figure(dream_figure([_view(one, period) for one in found], made.title, made.caption), path)


def _record(files: FilesAsked, made: Made, found: Sequence[Measured], notes: Sequence[str], **more: Any) -> None:
    """The record, and the page where one was asked for."""
    from featvis.dream.comparison import record_of
    from featvis.files import write_document

    write_document(files.record, {**record_of(found, made.settings, notes), **more})
    if files.html_path is None:
        return
    from featvis.commands.report import command_line
    from featvis.dream.resizing import resized
    from featvis.report import write_dreams

    start = made.start
    if start is not None:
        start = resized(start.unsqueeze(0), found[0].dream.picture.shape[-2:])[0]
    settings = {"start": made.settings["photo"] or "noise", "fix": made.settings["fix"]}
    write_dreams(files.html_path, found, start, settings, notes, command_line(click.get_current_context()))


def print_dreams(written: str, found: Sequence[Measured], sheet: bool, notes: Sequence[str]) -> None:
    """A table of all dreams, and the verdict at the end."""
    from featvis.dream.verdict import energy_of, spoken_period, together, verdict, verdict_of_all

    energies: Energies | None = together(found) if sheet else found[0].picture
    period = spoken_period(energies) if energies is not None else found[0].dream.total_stride
    rows = [
        (
            one.title,
            f"{one.dream.history[0]:.4g}",
            f"{one.objective:.4g}",
            f"{one.seconds:.1f}",
            one.gradient and one.gradient.energy.get(period),
            energy_of(one, period),
        )
        for one in found
    ]
    heads = (
        "dream",
        "objective, first",
        "last",
        "seconds",
        f"E({period}) of the gradient",
        f"E({period}) of the picture",
    )
    print_table(written, heads, rows)
    say(verdict_of_all(energies) if sheet else verdict(found))
    print_notes((*notes, *(note for one in found for note in one.notes)))


def _save_array(picture: Tensor, path: Path) -> None:
    import numpy as np

    # Through a file: given a name that ends otherwise, such as .NPY, numpy would add an ending.
    with path.open("wb") as file:
        np.save(file, picture.numpy())


def _shown(picture: Tensor) -> Any:
    """(C, H, W) as an array (H, W, 3) or (H, W)."""
    return picture.permute(1, 2, 0).squeeze(2).numpy()


def _view(one: Measured, period: int) -> DreamView:
    from featvis.dream.verdict import energy_of, mean_tile
    from featvis.plots.dream import DreamView

    energy, tile = energy_of(one, period), mean_tile(one.picture, period)
    return DreamView(
        title=one.title,
        picture=_shown(one.dream.picture),
        period=period,
        energy=None if energy is None else (energy.value, energy.error),
        tile=None if tile is None else tile.numpy(),
    )
