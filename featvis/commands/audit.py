"""`featvis audit`: how strong the checkerboard in a model's gradients is."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from featvis.commands.help import command
from featvis.commands.options import (
    BatchSize,
    Finite,
    bars,
    check_writable,
    gradient_options,
    model_options,
)
from featvis.commands.report import command_line
from featvis.commands.tables import print_notes, print_table, say, say_pairs
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from featvis.audit.record import Audit
    from featvis.commands.asked import GradientAsked, NetworkAsked
    from featvis.measure.sums import Energies


@command(
    short_help="How strong the checkerboard is, and which layer makes it.",
    examples=(
        "featvis audit resnet50 photos/ --culprits --html page.html",
        "featvis audit nets.py:Net photos/ --weights net.pth --score layer3:17 --json -",
        "featvis audit resnet50 val/ --workers 4 --state state/ --until-error .001",
        "torchrun --nproc-per-node 2 -m featvis audit resnet50 ImageNet/val",
    ),
)
@model_options
@gradient_options
@click.option("--culprits", is_flag=True, help="Also find the layers that make it: the audit is repeated for each.")
@click.option(
    "--batch-size", type=BatchSize(), default="8", show_default=True, help="Pictures at a time; auto: what fits."
)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read ahead.")
@click.option("--until-error", type=Finite(0, min_open=True), help="Stop once E(total stride) is known this well.")
@click.option("--state", "folder", type=click.Path(), help="Keep what is done in this folder; deleted at the end.")
@click.option("--save-every", type=click.IntRange(1), default=50, show_default=True, help="Batches between two saves.")
@click.option("--resume", is_flag=True, help="Go on with what --state holds.")
@click.option("--fail-above", type=Finite(0), help="Exit code 1 where E(total stride) minus two errors is above this.")
@click.option("--baseline", type=click.Path(), help="Exit code 1 where an energy is above that of this --json file.")
@click.option("--json", "json_path", type=click.Path(), help="Write the audit here.")
@click.option("--html", "html_path", type=click.Path(), help="Write a page with verdict, gradients and numbers here.")
@click.option("--save-profile", "profile_path", type=click.Path(), help="Write the phase profile here, for equalise.")
@click.pass_context
def audit(
    context: click.Context,
    network: NetworkAsked,
    gradient: GradientAsked,
    culprits: bool,
    batch_size: int | None,
    workers: int,
    until_error: float | None,
    folder: str | None,
    save_every: int,
    resume: bool,
    fail_above: float | None,
    baseline: str | None,
    json_path: str | None,
    html_path: str | None,
    profile_path: str | None,
) -> None:
    """Measure the checkerboard in a model's input gradients at PICTURES (files, folders, globs), by period."""
    from featvis.audit.distributed import joined
    from featvis.audit.record import save_profile
    from featvis.audit.request import UNWATCHED, Request, Running, Watching
    from featvis.audit.run import audit_pictures
    from featvis.files import write_text

    check_writable(json_path, html_path, profile_path)
    if resume and folder is None:
        raise FeatvisError("--resume needs the folder of the unfinished audit; give it with --state")
    before = None if baseline is None else _read_audit(baseline)
    paths = gradient.paths()
    with joined() as group, stop_signals() as stop:
        if group.size > 1 and network.device == "auto":
            network = replace(network, device=group.device)
        model = network.model()
        attribution = gradient.attribution()
        request = Request(gradient.score, attribution, network.seed, batch_size, gradient.skip_bad, culprits)
        running = Running(workers, until_error, folder, save_every, resume, group)
        gathered = None
        if html_path:
            from featvis.report import Gathered

            gathered = Gathered(model)
        total = len(paths) * (2 if culprits else 1)

        def write(result: Audit) -> None:
            if json_path:
                write_text(json_path, result.to_json())
            if profile_path:
                save_profile(result, profile_path)
            if html_path and gathered is not None:
                from featvis.report import write_report

                gathered.equalise(result)
                write_report(
                    html_path,
                    result,
                    pictures=gathered.views(),
                    command=command_line(context),
                    layers=gathered.layers,
                )

        with audit_bar(total, shown=group.leads) as (progress, energies):
            seen = UNWATCHED.seen if gathered is None else gathered.add_beside_plain
            watching = Watching(progress, seen, energies, stop, write)
            result = audit_pictures(model, paths, request, running, watching)
    if not group.leads:
        return
    print_audit(result, model.spec)
    if result.culprits:
        print_culprits(result)
    judge(context, result, fail_above, before)


def _read_audit(path: str) -> Audit:
    """The audit in a file; raises FeatvisError that names it."""
    from featvis.audit.record import Audit
    from featvis.files import read_saved

    return read_saved(path, "the baseline ", Audit.from_json)


def judge(context: click.Context, result: Audit, limit: float | None, baseline: Audit | None) -> None:
    """Print what fails, and end with exit code 1 where something does."""
    from featvis.audit.gate import exceeded, grown

    failures = [] if limit is None else exceeded(result, limit)
    failures += [] if baseline is None else grown(result, baseline)
    for failure in failures:
        say(f"failed: {failure}")
    if failures:
        context.exit(1)


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether the run was asked to end, by Ctrl-C or by another process; a second Ctrl-C ends it at once.

    Schedulers and torchrun both send SIGTERM, so that it comes twice where one of them starts the other.
    """
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def audit_bar(total: int, shown: bool) -> Iterator[tuple[Callable[[int], None], Callable[[Energies], None]]]:
    """A progress bar with pictures, rate, remaining time and the energy so far; nothing where nobody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with bars(*columns, shown=shown) as bar:
        task = bar.add_task("audit", total=total, rate="")

        def progress(done: int) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, completed=done, rate="" if speed is None else f"{speed:.1f} pictures/s")

        def watch(energies: Energies) -> None:
            estimate = energies.energy.get(energies.total_stride)
            if estimate is not None:
                bar.update(task, description=f"E({energies.total_stride}) = {estimate}")

        yield progress, watch


def print_audit(result: Audit, name: str) -> None:
    """The verdict, the table by period, and what stands beside it."""
    from featvis.measure.by_period import lines_by_period
    from featvis.measure.finding import counted
    from featvis.measure.spectra import white_flatness

    say(result.finding.sentence())
    rows = [
        (
            line.period if line.kind == "period" else f"{line.period}  {line.kind}",
            line.energy,
            "" if line.exact is None else line.exact,
            "" if line.kind != "period" else line.signed_comb,
        )
        for line in lines_by_period(result)
    ]
    what = "picture" if result.finding.told.network else "map"
    errors = f"{what}s" if result.replicates == "pictures" else result.replicates
    title = f"{name}: {counted(result.pictures, what)}, errors from {errors}"
    print_table(title, ("period", "energy E", "of exactly this period", "signed comb S"), rows)
    white = white_flatness(len(result.profile), len(result.profile[0]))
    say_pairs(
        {
            "high-frequency share": f"{result.high_frequency_share}  (white noise 0.75)",
            "mean gradient flatness": f"{result.mean_gradient_flatness:.3f}  (white noise {white:.2f})",
        }
    )
    print_notes(result.notes, result.skipped)


def print_culprits(result: Audit) -> None:
    """The layers that change the resolution, strongest first, and what their shares leave unexplained."""
    total = result.total_stride
    rows = [
        (
            culprit.layer,
            "x".join(map(str, dict.fromkeys(culprit.kernel))),
            "x".join(map(str, dict.fromkeys(culprit.stride))),
            "x".join(map(str, dict.fromkeys(culprit.remainder))),
            f"{culprit.period}",
            "-" if culprit.injected is None else f"{culprit.injected:.4f}",
            culprit.measured,
            culprit.left[total],
            *(f"{share:+.0%}" for share in culprit.shares.values()),
            f"{culprit.share:+.0%}",
        )
        for culprit in result.culprits
    ]
    periods = [f"period {period}" for period in result.exact_periods]
    columns = (
        *("layer", "kernel", "stride", "k mod s", "period", "own E, predicted", "own E, measured", f"E({total}) left"),
        *periods,
        "share",
    )
    print_table("culprits: what is left when this layer alone passes its gradient back evenly", columns, rows)
    say("the layers that make each period, and what is left of it when the first of them alone is made even:")
    for said in result.blamed():
        say(f"  {said}")
    summed = [sum(culprit.shares[period] for culprit in result.culprits) for period in result.exact_periods]
    present = [estimate.value / result.energy[total].value for estimate in result.exact_periods.values()]
    for text, shares in (
        ("the shares add up to", summed),
        ("not explained by single layers", [all_ - known for all_, known in zip(present, summed, strict=True)]),
    ):
        by_period = ", ".join(
            f"{share:+.0%} of period {period}" for period, share in zip(result.exact_periods, shares, strict=True)
        )
        say(f"{text}: {sum(shares):+.0%} of E({total}) ({by_period})")
    if result.interacting():
        say(result.interacting())
