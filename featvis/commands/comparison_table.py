"""The table of `featvis compare`, in blocks with a row for each variant, and its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featvis.commands.tables import print_notes, print_table, say

if TYPE_CHECKING:
    from featvis.audit.comparison import Comparison, Row


def print_comparison(result: Comparison) -> None:
    """A verdict, the table in blocks, a row for each variant, and notes."""
    from featvis.measure.finding import counted

    periods = list(result.rows[0].audit.energy)
    first = result.rows[0]
    say(result.verdict())
    title = f"{result.settings.get('model')}: {counted(result.pictures)}, errors from {first.audit.replicates}; {score_words(result)}"
    energies = [
        (row.name, *(row.audit.energy.get(period) for period in periods), worst_control(row)) for row in result.rows
    ]
    print_table(title, ("energy E", *(f"period {period}" for period in periods), "worst control"), energies)
    if len(result.rows) > 1:
        changes = [(row.name, *(row.difference.get(period) for period in periods)) for row in result.rows[1:]]
        head = (f"E minus that of {first.name}", *(f"period {period}" for period in periods))
        print_table("The same pictures paired", head, changes)
    neighbours = [
        (
            row.name,
            *(row.audit.signed_comb.get(period) for period in periods),
            row.audit.high_frequency_share,
            f"{row.audit.mean_gradient_flatness:.3f}",
        )
        for row in result.rows
    ]
    head = ("signed comb S", *(f"period {period}" for period in periods), "high-frequency share", "mean flatness")
    print_table("What E alone would miss (white noise: 0.75 of high frequency)", head, neighbours)
    outputs = [
        (
            row.name,
            row.kind or "-",
            f"{len(row.changed)}" if row.changed else "-",
            row.drift.agreement,
            row.drift.divergence,
            f"{row.drift.rmse:.3g}"
            + (f" ({100 * row.drift.relative:.3g} % of their spread)" if row.drift.relative else ""),
            row.accuracy,
            row.consistency,
        )
        for row in result.rows
    ]
    head = (
        *("outputs", "fix", "layers changed", f"class of {first.name}", "KL divergence, nats", "logit RMSE"),
        *("accuracy", "shift consistency"),
    )
    print_table(f"How far the outputs moved from those of {first.name}", head, outputs)
    costs = [
        (row.name, f"{row.milliseconds:.1f}", f"{row.memory / 2**20:.1f}", f"{row.parameters:,}") for row in result.rows
    ]
    head = ("cost", "ms a picture", "peak MiB of a batch", "parameters")
    print_table("Gradient: median of batches taken in turns, and tensors alive at once", head, costs)
    forward = [row.name for row in result.rows if "forward" in row.kind]
    if forward:
        say(f"note: {', '.join(forward)}: the weights were not made for the fixed layers; retrain before use")
    print_notes((*result.notes, *(note for row in result.rows for note in row.audit.notes)), result.skipped)


def score_words(result: Comparison) -> str:
    """What was differentiated, the same for all variants."""
    score = result.settings.get("score")
    return f"score {score}" + (f", the class that {result.rows[0].name} puts first" if score == "top" else "")


def worst_control(row: Row) -> str:
    """The control that is furthest from 0 in its own errors."""
    controls = row.audit.controls
    if not controls:
        return "-"
    period = max(controls, key=lambda p: abs(controls[p].value) / (controls[p].error or 1))
    return f"{period}: {controls[period]}"
