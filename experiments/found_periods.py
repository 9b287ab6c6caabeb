"""How often a period is found where there is one, and where there is none.

    python experiments/found_periods.py ../shared/data/images/imagenet --seeds 200 --audits 1000

Run in the checkout. First the bestiary of the tests: each network with weights of so many seeds, at 32 pictures of noise; how often its
true period is found where E there, by plain autograd, is at least .01, and how often any is where there is none. Then so many audits of
each kind that holds no period: energies of white noise, and with a 1/f spectrum and a bright centre; networks without a stride at
the pictures, resized and cropped as a Model does; networks whose gradient hardly depends on the picture; networks of five 2 x 2
max-poolings at 32 x 32 and 48 x 160 pixels of noise. Writes
experiments/results/found_periods.csv and the table of docs/reading.md; networks that are in found_periods_networks.csv
with as many seeds are not tried again, so it goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from shared.command_line import parser_of
from shared.tables import DOCS, RESULTS, markdown_table, put_table, read_rows, row_of, write_rows
from torch import Tensor, nn

from featvis.data.pictures import find_pictures
from featvis.measure.maps import Found, MeanMaps
from featvis.models.model import Model
from featvis.tracing.trace import trace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.bestiary import BESTIARY, Beast, built, energy_maps, plain_energy

TABLE, PAGE = RESULTS / "found_periods.csv", DOCS / "reading.md"
COLUMNS = ("what", "tried", "found", "wrong")
NETWORKS = RESULTS / "found_periods_networks.csv"
NETWORK_COLUMNS = (
    *("network", "period", "traced", "seeds", "tried", "found", "nothing", "other"),
    *("least E missed", "largest E missed"),
)
LEAST = 0.01
PICTURES = 32


def found_in(maps: Tensor) -> tuple[Found, ...]:
    """The periods that pictures' energy maps (N, H, W) show."""
    sums = MeanMaps((maps.shape[1], maps.shape[2]))
    sums.update(maps.double(), range(len(maps)))
    return sums.found()


def traced_of(beast: Beast) -> str:
    """What the trace of a network says of its period: "right", "unknown", or the wrong period itself."""
    traced = trace(built(beast), torch.randn(1, *beast.shape)).periods()
    if traced.period is None:
        return "drifting" if traced.drifting else "unknown"
    return "right" if traced.period == beast.period else " x ".join(map(str, traced.period))


def of_network(name: str, beast: Beast, seeds: int) -> dict[str, str]:
    """How often a network's period is found where E is at least LEAST, or any where it has none, over so many seeds of its weights."""
    energies, missed = list[float](), list[float]()
    counts = Counter[str]()
    for seed in range(seeds):
        maps = energy_maps(built(beast, seed), beast.shape, PICTURES, seed + 1)
        energy = 0.0 if beast.period in (None, (1, 1)) else plain_energy(maps, beast.period)
        if beast.period not in (None, (1, 1)) and energy < LEAST:
            continue
        periods = [one.period for one in found_in(maps)]
        right = not periods if beast.period == (1, 1) else beast.period in periods
        counts.update(
            tried=1, found=right, nothing=not periods, other=any(not _within(p, beast.period) for p in periods)
        )
        energies.append(energy)
        missed += [] if right else [energy]
    period = "drifts" if beast.period is None else " x ".join(map(str, beast.period))
    least, largest = (
        ("", "") if not missed or period in ("drifts", "1 x 1") else (f"{min(missed):.4f}", f"{max(missed):.4f}")
    )
    numbers = (counts[key] for key in ("tried", "found", "nothing", "other"))
    return row_of(NETWORK_COLUMNS, name, period, traced_of(beast), seeds, *numbers, least, largest)


def bestiary(seeds: int) -> Iterator[dict[str, str]]:
    """A row for the networks with a period, where E is at least LEAST, and one for those without; each network's own row is kept."""
    rows = [row for row in read_rows(NETWORKS) if row["network"] in BESTIARY and row["seeds"] == str(seeds)]
    for name, beast in BESTIARY.items():
        if name not in {row["network"] for row in rows}:
            rows.append(of_network(name, beast, seeds))
            write_rows(NETWORKS, NETWORK_COLUMNS, rows)
            print(rows[-1], flush=True)
    even = [row for row in rows if row["period"] == "1 x 1"]
    uneven = [row for row in rows if row["period"] != "1 x 1"]

    def total(column: str, of: list[dict[str, str]]) -> int:
        return sum(int(row[column]) for row in of)

    tried = total("tried", uneven)
    yield row_of(
        COLUMNS, f"bestiary, E at least {LEAST}: its period", tried, total("found", uneven), total("other", uneven)
    )
    yield row_of(COLUMNS, "the same: none at all", tried, total("nothing", uneven), 0)
    alarms = total("tried", even) - total("found", even)
    yield row_of(COLUMNS, "bestiary, without a period: any", total("tried", even), alarms, alarms)


def _within(period: tuple[int, int] | None, true: tuple[int, int] | None) -> bool:
    """Whether a period that was found divides the true one."""
    if period is None or true is None:
        return period == true
    return all(longer % own == 0 for longer, own in zip(true, period, strict=True))


def white(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """Energies of white noise in three channels."""
    return torch.randn(count, 3, height, width, generator=random).square().sum(1)


def natural(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """Energies with a 1/f spectrum and a bright centre, the same in all pictures."""
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    spectrum = torch.fft.rfft2(torch.randn(count, height, width, generator=random))
    spectrum /= (rows.square() + columns.square()).sqrt().clamp_min(1 / max(height, width))
    texture = torch.fft.irfft2(spectrum, s=(height, width))
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    centre = 0.2 + 3 * torch.exp(-2 * (down.square() + across.square()))
    return (texture / texture.std((1, 2), keepdim=True)).exp() * centre * white(count, height, width, random)


def pooled() -> nn.Module:
    """Five times a convolution and 2 x 2 max-pooling, whose windows do not overlap."""
    layers: list[nn.Module] = []
    for number in range(5):
        layers += [nn.Conv2d(16 if number else 3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()


def energies_at(network: nn.Module, pixels: Tensor) -> Tensor:
    """Squared gradients of the top logit, summed over channels, (N, H, W)."""
    pixels = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(pixels).amax(1).sum(), pixels)
    return gradient.double().square().sum(1)


def audits_without_a_period(folder: Path) -> dict[str, Callable[[int], Tensor]]:
    """Energy maps of one audit of each kind, by its number."""
    reader = Model(nn.Identity(), input_size=(3, 96, 96), resize=110, mean=(0.45,), std=(0.225,))
    pixels = torch.stack([reader.normalise(reader.load(path)[1]) for path in find_pictures(folder)])
    flat = [name for name in BESTIARY if name.startswith("stride 1")]

    def at_pictures(number: int) -> Tensor:
        chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(number))[:PICTURES]
        return energies_at(built(BESTIARY[flat[number % len(flat)]], number), pixels[chosen])

    def of_pooling(height: int, width: int) -> Callable[[int], Tensor]:
        def measured(number: int) -> Tensor:
            torch.manual_seed(number)
            return energies_at(pooled(), torch.randn(PICTURES, 3, height, width))

        return measured

    def of_one_gradient(number: int) -> Tensor:
        torch.manual_seed(number)
        network = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU(0.2)),
            *(nn.Flatten(), nn.Linear(8 * 32 * 32, 1)),
        )
        return energies_at(network, torch.randn(3, 1, 1) + 0.3 * torch.randn(PICTURES, 3, 32, 32))

    return {
        "white noise, 96 x 96": lambda n: white(PICTURES, 96, 96, torch.Generator().manual_seed(n)),
        "white noise, 8 pictures of 96 x 96": lambda n: white(8, 96, 96, torch.Generator().manual_seed(n)),
        "1/f and a bright centre, 96 x 96": lambda n: natural(PICTURES, 96, 96, torch.Generator().manual_seed(n)),
        "networks of stride 1 at photographs, 96 x 96": at_pictures,
        "networks of one linear layer at the end, alike at all pictures, 32 x 32": of_one_gradient,
        "2 x 2 max-pooling five times, 32 x 32": of_pooling(32, 32),
        "2 x 2 max-pooling five times, 48 x 160": of_pooling(48, 160),
    }


def table(rows: list[dict[str, str]]) -> str:
    """The rows as Markdown, with shares."""
    cells = [(row["what"], row["tried"], f"{int(row['found']) / int(row['tried']):.2%}") for row in rows]
    return markdown_table(("what was tried", "audits", "found"), cells)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--audits", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [*bestiary(arguments.seeds)]
    for what, maps_of in audits_without_a_period(arguments.pictures).items():
        alarms = sum(bool(found_in(maps_of(number))) for number in range(arguments.audits))
        rows.append(row_of(COLUMNS, f"{what}: any", arguments.audits, alarms, alarms))
        print(rows[-1], flush=True)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "found-periods", table(rows))


if __name__ == "__main__":
    main()
