"""Do uneven gradients help an adversary?

    python experiments/adversary.py cifar10_jpeg.zip

Sparse attacks of 1 to 16 pixels and the fast gradient sign method (Goodfellow et al. 2015) on the zoo's trained classifier twins, at 500
test pictures that all of them classify correctly, cropped at random as in training, so that neither JPEG's 8x8 grid nor the middle of a
picture favours a phase; and, as a control with gradients as uneven as they come, on the same twins with random weights, whose own decision
is attacked. Phases are ranked by the gradient at 512 other pictures. Writes experiments/results/adversary.csv, docs/studies/adversary.png
and the table of its page.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from shared.archive import cropped_test_pictures
from shared.averages import difference_of, mean_of, rank_correlation, ranks_of, ratio_of, share_of
from shared.classifiers import trained_twins
from shared.command_line import archive_argument
from shared.figures import BLACK, BLUE, GREEN, GREY, LINE, ORANGE, PINK, RED, SKY, draw_estimates, open_box
from shared.tables import RESULTS, STUDIES, estimate_in, markdown_table, put_table, row_of, write_rows
from torch import Tensor, nn

from featvis.measure.estimates import Estimate, words
from featvis.measure.phases import fold
from featvis.measure.sums import Energies, checkerboard_energy
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.models.zoo.classifiers import DOWNSAMPLING
from featvis.plots import save_figure
from featvis.tracing.folding import prepare_network
from featvis.tracing.networks import copy_module
from featvis.tracing.trace import trace

TABLE = RESULTS / "adversary.csv"
PAGE, FIGURE = STUDIES / "adversary.md", STUDIES / "adversary.png"
COLUMNS = ("twin", "weights", "what", "at", "value", "error")

PICTURES, RANKING, SIDE, STRIDE = 500, 512, 32, 8
"""Pictures attacked, others that rank the phases, their side and the total stride in pixels."""

BUDGETS = (1, 2, 4, 8, 16)
"""Pixels that a sparse attack may change."""

CANDIDATES = 4
"""Pixels that are tried before one is changed."""

FEWER, LOWER = 250, 4
"""Pictures and pixels at the twins with random weights."""

STEPS = (0.5, 1, 2, 4)
"""What the fast gradient sign method adds to every pixel, in grey levels of 255."""

SPARSE = ("gradient", "equalised", "random", "best quarter", "worst quarter")
"""Sparse attacks; see `Victim.sparse`."""

QUARTER = STRIDE**2 // 4
"""Phases of a quarter of the pixels."""

PERIODS = (2, 4, 8)

LEAST = 0.05
"""What a gradient is equalised by is at least this, relative to the mean."""

Found = dict[tuple[str, float], Estimate]
"""Measured values of a network, by what and at what."""

Networks = dict[tuple[str, str], Found]
"""By twin and weights."""


class Victim:
    """A network, and how its gradient falls on the phases.

    The gradient is that of the margin, the logit of the true class less the largest other one, with respect to pixels in [0, 1];
    below 0 the network is fooled.
    """

    def __init__(self, model: Model, pictures: Tensor, classes: Tensor) -> None:
        self.model = model
        record = trace(model.module, model.normalise(pictures[:1]))
        self.network: nn.Module = prepare_network(copy_module(model.module), record)
        self.energies: Energies = checkerboard_energy(self.gradient(pictures, classes)[1], STRIDE)
        # What each pixel of a picture may expect, mean 1.
        self.profile = self.energies.profile.repeat(SIDE // STRIDE, SIDE // STRIDE).float()

    def margins(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """(N,) margins of pictures (N, 3, 32, 32)."""
        logits = self.network(self.model.normalise(pictures))
        true = classes[:, None]
        return logits.gather(1, true)[:, 0] - logits.scatter(1, true, -torch.inf).amax(1)

    def gradient(self, pictures: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (N,), and their gradients (N, 3, 32, 32)."""
        pixels = pictures.detach().requires_grad_()
        margins = self.margins(pixels, classes)
        (gradient,) = torch.autograd.grad(margins.sum(), pixels)
        return margins.detach(), gradient

    def phases(self, period: int, count: int, best: bool = True) -> Tensor:
        """Which pixels (32, 32) have one of the `count` phases of this period with the most, or the least, energy."""
        profile = fold(self.energies.profile, period, period)
        order = profile.flatten().argsort(descending=best)
        chosen = torch.zeros(period * period, dtype=torch.bool)
        chosen[order[:count]] = True
        return chosen.view(period, period).repeat(SIDE // period, SIDE // period)

    def sparse(self, pictures: Tensor, classes: Tensor, attack: str, budget: int) -> tuple[Tensor, Tensor, Tensor]:
        """Change pixel after pixel to the best corner of the colour cube, until the network is fooled.

        Of the four pixels that promise the most by the gradient at each step, the one that lowers the margin most is taken. "random"
        tries four random ones; "equalised" divides the gradient by the root of the phase profile for the choice; "best quarter" and
        "worst quarter" may change the 16 of the 64 phases with the most and the least energy.

        Returns how many pixels it took, (N,), infinity where the budget was not enough; which, (N, budget), -1 where none; and what the
        first one took off the margin, (N,).
        """
        random = torch.Generator().manual_seed(0)
        allowed = torch.ones(len(pictures), SIDE * SIDE, dtype=torch.bool)
        if attack.endswith("quarter"):
            allowed &= self.phases(STRIDE, QUARTER, attack.startswith("best")).flatten()
        weight = self.profile.clamp_min(LEAST).rsqrt() if attack == "equalised" else torch.ones(SIDE, SIDE)
        needed = torch.full((len(pictures),), torch.inf)
        taken = torch.full((len(pictures), budget), -1)
        left, pixels = torch.arange(len(pictures)), pictures
        before, gradient = self.gradient(pixels, classes)
        for step in range(budget):
            corners = (gradient < 0).to(pixels.dtype)
            promise = (gradient * (pixels - corners)).sum(1) * weight
            if attack == "random":
                promise = torch.rand(promise.shape, generator=random)
            candidates = promise.flatten(1).masked_fill(~allowed[left], -1).topk(CANDIDATES).indices
            with torch.no_grad():
                tries = [changed(pixels, corners, candidate) for candidate in candidates.T]
                margins = torch.stack([self.margins(tried, classes[left]) for tried in tries], 1)
            best = candidates.gather(1, margins.argmin(1, keepdim=True))[:, 0]
            pixels = changed(pixels, corners, best)
            allowed[left, best] = False
            taken[left, step] = best
            after, gradient = self.gradient(pixels, classes[left])
            if step == 0:
                drop = before - after
            fooled = after < 0
            needed[left[fooled]] = step + 1
            left, pixels, gradient = left[~fooled], pixels[~fooled], gradient[~fooled]
            if not len(left):
                break
        return needed, taken, drop


def changed(pictures: Tensor, corners: Tensor, places: Tensor) -> Tensor:
    """A copy with one pixel of each picture, by its number, from the corners."""
    chosen = nn.functional.one_hot(places, SIDE * SIDE).view(-1, 1, SIDE, SIDE).bool()
    return torch.where(chosen, corners, pictures)


def measure(victim: Victim, pictures: Tensor, classes: Tensor, attacks: Sequence[str], budget: int) -> Found:
    """Everything at one network, by what it is and at how many pixels, grey levels, or which period."""
    best, worst = (victim.phases(STRIDE, QUARTER, which) for which in (True, False))
    found: Found = {("E", period): victim.energies.energy[period] for period in PERIODS}
    _, gradient = victim.gradient(pictures, classes)
    equal = gradient * victim.profile.clamp_min(LEAST).rsqrt()
    found["participation", 0] = mean_of(participation(gradient))
    found["participation / equalised", 0] = ratio_of(participation(gradient), participation(equal))
    norms = [each.abs().sum((1, 2, 3)) / each.square().sum((1, 2, 3)).sqrt() for each in (gradient, equal)]
    found["L1 norm / equalised", 0] = ratio_of(*norms)
    size = gradient.square().sum(1)
    found["gradient, best / worst quarter", 0] = ratio_of(*(size[:, where].mean(1).sqrt() for where in (best, worst)))

    needed, drops = {}, {}
    for attack in attacks:
        needed[attack], taken, drops[attack] = victim.sparse(pictures, classes, attack, budget)
        found |= {(attack, pixels): share_of(needed[attack] <= pixels) for pixels in BUDGETS if pixels <= budget}
        if attack == "gradient":
            for period in PERIODS:
                hits = victim.phases(period, 1).flatten()[taken.clamp_min(0)] & (taken >= 0)
                found["share in the best phase", period] = ratio_of(hits.sum(1), (taken >= 0).sum(1))
    found["first pixel, best / worst quarter", 1] = ratio_of(drops["best quarter"], drops["worst quarter"])
    for first, second in (("best quarter", "worst quarter"), ("gradient", "equalised")):
        for pixels in BUDGETS:
            if pixels <= budget:
                pair = (needed[attack] <= pixels for attack in (first, second))
                found[f"{first} - {second}", pixels] = difference_of(*pair)

    for step in STEPS:
        fooled = []
        for what, where, levels in (
            ("all", torch.ones(SIDE, SIDE), step),
            ("best", best, 4 * step),
            ("worst", worst, 4 * step),
        ):
            attacked = (pictures - levels / 255 * gradient.sign() * where).clamp(0, 1)
            with torch.no_grad():
                fooled.append(victim.margins(attacked, classes) < 0)
            found[f"sign method, {what}", levels] = share_of(fooled[-1])
        found["sign method, best - worst", 4 * step] = difference_of(fooled[1], fooled[2])
    return found


def participation(gradient: Tensor) -> Tensor:
    """The participation ratio of the energy of each picture's pixels, (N,): 1 where all have the same, 1 / pixels where one has all."""
    energy = gradient.square().sum(1).flatten(1).double()
    return energy.sum(1).square() / (energy.shape[1] * energy.square().sum(1))


def correlation_and_chance(first: list[float], second: list[float]) -> tuple[float, float]:
    """Spearman's rank correlation, and how often random orders give as strong a one."""
    one, two = ((ranks - ranks.mean()) / ranks.std(correction=0) for ranks in map(ranks_of, (first, second)))
    random = torch.Generator().manual_seed(0)
    orders = torch.rand(20_000, len(one), generator=random, dtype=torch.float64).argsort(1)
    found = rank_correlation(first, second)
    chance = (one[orders] * two).mean(1)
    return found, float((chance.abs() >= abs(found) - 1e-9).double().mean())


COLOURS = (RED, BLUE, GREEN, ORANGE, SKY, PINK, BLACK, GREY, "#8c510a")
MARKERS = "os^Dv<>PX"
STYLES = dict(zip(DOWNSAMPLING, zip(COLOURS, MARKERS, strict=True), strict=True))
"""A colour and a marker for each twin."""


def figure(everything: Networks) -> Figure:
    """Success by pixels, attacked phases, what the phases give the adversary, and success against unevenness; open: random weights."""
    drawn = Figure(figsize=(13, 10), layout="constrained")
    (by_pixels, phases), (quarters, between) = drawn.subplots(2, 2)
    trained = {name: found for (name, weights), found in everything.items() if weights == "trained"}
    for name, found in trained.items():
        colour, marker = STYLES[name]
        for attack, line in (("gradient", "-"), ("random", ":")):
            draw_estimates(
                by_pixels, BUDGETS, [found[attack, pixels] for pixels in BUDGETS],
                color=colour, linestyle=line, marker=marker, markersize=4, capsize=2, linewidth=1.2,
            )  # fmt: skip
    by_pixels.set_xscale("log", base=2)
    by_pixels.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    by_pixels.set(
        xlabel="pixels",
        ylabel="share of pictures fooled",
        title="Sparse attacks by the gradient; dotted: random pixels",
    )

    for (name, weights), found in everything.items():
        colour, marker = STYLES[name]
        filled = {"fmt": marker, "color": colour, "capsize": 2, "markersize": 6}
        filled |= {"markerfacecolor": colour if weights == "trained" else "white"}
        energy = found["E", STRIDE]
        share = found["share in the best phase", 2]
        phases.errorbar(energy.value, share.value, share.error, energy.error, **filled)
        size, drop = found["gradient, best / worst quarter", 0], found["first pixel, best / worst quarter", 1]
        quarters.errorbar(size.value, drop.value, drop.error, size.error, **filled)
        if weights == "trained":
            success = found["gradient", 4]
            between.errorbar(energy.value, success.value, success.error, energy.error, **filled)
    for axes in (phases, between):
        axes.set_xscale("symlog", linthresh=0.001)
        axes.set_xlabel("E(8) of the margin's gradient")
    phases.axhline(0.25, color=LINE, linewidth=0.8)
    phases.set(ylabel="share of attacked pixels", title="Attacked pixels in the best of 2x2 phases; line: chance")
    low, high = quarters.get_xlim()
    quarters.plot([low, high], [low, high], color=LINE, linewidth=0.8)
    quarters.set(
        xlabel="size of the gradient in the best quarter of the phases / in the worst",
        ylabel="what the first pixel takes off the margin, best / worst",
        title="The same network, attacked in the best and in the worst quarter",
    )
    between.set(ylabel="share of pictures fooled by 4 pixels", title="Trained twins: success against unevenness")
    for axes in (by_pixels, phases, quarters, between):
        open_box(axes)
    names = dict.fromkeys(name for name, _ in everything)
    handles = [
        Line2D([], [], color=STYLES[name][0], marker=STYLES[name][1], linestyle="", label=name) for name in names
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=9, frameon=False, title="open: random weights")
    return drawn


SHOWN: dict[str, tuple[str, float]] = {
    "E(8)": ("E", 8),
    "participation": ("participation", 0),
    "fooled by 1 pixel": ("gradient", 1),
    "by 4": ("gradient", 4),
    "by 4 random ones": ("random", 4),
    "by 1 grey level of all": ("sign method, all", 1),
    "attacked in the best of 2x2 phases": ("share in the best phase", 2),
    "gradient less equalised, 4 pixels": ("gradient - equalised", 4),
    "best less worst quarter, 4 pixels": ("best quarter - worst quarter", 4),
    "8 grey levels there": ("sign method, best - worst", 8),
    "first pixel, best / worst": ("first pixel, best / worst quarter", 1),
}
"""Head of the table to what is measured."""


def cell(found: Found, what: tuple[str, float]) -> str:
    """A value with its error, empty where it is not measured."""
    return words(found.get(what))


def rows_of(network: tuple[str, str], found: Found) -> list[dict[str, str]]:
    """A row for each value of one network."""
    return [
        row_of(COLUMNS, *network, what, f"{at:g}", f"{value:.5f}", f"{error:.5f}")
        for (what, at), (value, error) in found.items()
    ]


def networks_of(rows: list[dict[str, str]]) -> Networks:
    """The values that rows tell."""
    everything: Networks = {}
    for row in rows:
        found = everything.setdefault((row["twin"], row["weights"]), {})
        estimate = estimate_in(row, "value", "error")
        assert estimate is not None
        found[row["what"], float(row["at"])] = estimate
    return everything


def table(rows: list[dict[str, str]]) -> str:
    """A line for each network, and the rank correlation of each column with E(8) over the trained twins."""
    everything = networks_of(rows)
    lines = [[*key, *(cell(found, what) for what in SHOWN.values())] for key, found in everything.items()]
    trained = [found for (_, weights), found in everything.items() if weights == "trained"]
    energies = [found["E", STRIDE].value for found in trained]
    cells = []
    for what in list(SHOWN.values())[1:]:
        correlation, chance = correlation_and_chance(energies, [found[what].value for found in trained])
        cells.append(f"{correlation:+.2f} (p = {chance:.2f})")
    lines.append(["rank correlation with E(8)", "trained", "", *cells])
    return markdown_table(["twin", "weights", *SHOWN], lines)


def main() -> None:
    archive = archive_argument(__doc__)
    torch.set_num_threads(1)
    pixels, classes = cropped_test_pictures(archive, RANKING + 4 * PICTURES)
    twins = trained_twins()
    victims = {name: Victim(model, pixels[:RANKING], classes[:RANKING]) for name, model in twins.items()}
    right = torch.ones(len(pixels) - RANKING, dtype=torch.bool)
    for victim in victims.values():
        with torch.no_grad():
            right &= victim.margins(pixels[RANKING:], classes[RANKING:]) > 0
    print(
        f"{right.double().mean():.3f} of the pictures are classified correctly by all of {', '.join(victims)}",
        flush=True,
    )
    chosen = RANKING + right.nonzero()[:PICTURES, 0]
    rows: list[dict[str, str]] = []
    for name, victim in victims.items():
        found = measure(victim, pixels[chosen], classes[chosen], SPARSE, max(BUDGETS))
        rows += rows_of((name, "trained"), found)
        print(name, *(cell(found, what) for what in SHOWN.values()), flush=True)
    for name in DOWNSAMPLING:
        model = load_model(f"zoo:twin-{name}", "none")
        with torch.no_grad():
            decisions = torch.cat([model.module(model.normalise(part)).argmax(1) for part in pixels.split(PICTURES)])
        victim = Victim(model, pixels[:RANKING], decisions[:RANKING])
        few = slice(RANKING, RANKING + FEWER)
        attacks = [attack for attack in SPARSE if attack != "random"]
        found = measure(victim, pixels[few], decisions[few], attacks, LOWER)
        rows += rows_of((name, "random"), found)
        print(name, cell(found, ("E", STRIDE)), flush=True)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "adversary", table(rows))
    save_figure(figure(networks_of(rows)), FIGURE)


if __name__ == "__main__":
    main()
