"""How often a checkerboard stands out where no grid is: noise, natural pictures cropped at random places, and aligned faces.

    python experiments/false_alarms.py set14/ imagenet/ face_generator.pt

Run in the checkout. Sets of pictures are drawn anew each time and judged as `featvis discriminator`, `generator` and `images` do;
the nominal rate is 0.005 for each period. Faces are generated, each enlarged by its own factor from 1.25 to 1.75, so that they stay aligned
and any comb does not. A last source is the gradient of random discriminators without a stride, at faces. Then how strong a comb must be to
be found in 128 faces, and grids of a single harmonic in noise. Writes experiments/results/false_alarms.csv.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from shared.command_line import parser_of
from shared.tables import RESULTS, row_of, write_rows
from torch import Tensor, nn

from featvis.data.pictures import find_pictures, load_picture, prepare
from featvis.gan import Surroundings, Verdict, high_pass, samples_of
from featvis.measure.standing_out import LEVEL
from featvis.models.specs import load_model

TABLE = RESULTS / "false_alarms.csv"
COLUMNS = ("pictures", "comb", "period", "sets", "stands_out")

Make = Callable[[torch.Generator], Tensor]


def crops(pictures: list[Tensor], size: int, each: int) -> Make:
    """Fine detail of crops at random places; those whose middle is flat are left out."""

    def make(random: torch.Generator) -> Tensor:
        cut = []
        for picture in pictures * each:
            row, column = (int(torch.randint(0, side - size + 1, (), generator=random)) for side in picture.shape[-2:])
            cut.append(picture[:, row : row + size, column : column + size])
        detail = high_pass(torch.stack(cut))
        return detail[detail[..., 8:-8, 8:-8].square().mean((1, 2, 3)).sqrt() > 1e-4]

    return make


def one_crop(pictures: list[Tensor], size: int) -> Make:
    """Fine detail of a single crop of one picture."""

    def make(random: torch.Generator) -> Tensor:
        detail = torch.empty(0)
        while not len(detail):
            chosen = int(torch.randint(0, len(pictures), (), generator=random))
            detail = crops(pictures[chosen : chosen + 1], size, 1)(random)
        return detail

    return make


def enlarged(faces: Tensor) -> Make:
    """Fine detail of 128 faces, each enlarged by its own factor about its middle."""

    def make(random: torch.Generator) -> Tensor:
        parts = []
        for number in torch.randperm(len(faces), generator=random)[:128]:
            size = int(32 * (1.25 + 0.5 * float(torch.rand((), generator=random))))
            start = (size - 32) // 2
            face = F.interpolate(faces[number][None], size=(size, size), mode="bicubic")
            parts.append(face[..., start : start + 32, start : start + 32])
        return high_pass(torch.cat(parts))

    return make


def gradients(faces: Tensor) -> Make:
    """The gradients of a random discriminator of three convolutions of stride 1, at 64 faces."""

    def make(random: torch.Generator) -> Tensor:
        torch.manual_seed(random.initial_seed())
        layers: list[nn.Module] = []
        for channels in (3, 8, 8):
            layers += [nn.Conv2d(channels, 8, 3, 1, 1), nn.LeakyReLU(0.2)]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 32 * 32, 1))
        shown = faces[torch.randperm(len(faces), generator=random)[:64]].float().requires_grad_()
        return torch.autograd.grad(network(shown).sum(), shown)[0]

    return make


def judged(values: Tensor, total_stride: int) -> Verdict:
    """The verdict on one set of pictures or gradients."""
    surroundings = Surroundings(total_stride)
    surroundings.update(values)
    return surroundings.verdict()


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("lossless")
    parser.add_argument("photographs")
    parser.add_argument("face_generator")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lossless, photographs = (
        [prepare(load_picture(path), None, None, "bilinear").double().mean(0, keepdim=True) for path in paths]
        for paths in (find_pictures((arguments.lossless,)), find_pictures((arguments.photographs,)))
    )
    generator = load_model("tests/helpers/faces.py:FaceGenerator", arguments.face_generator, device="cpu").module
    faces = samples_of(generator, 2048, "uniform").double()
    blob = torch.exp(-((torch.arange(32.0) - 14) ** 2) / 30)
    content = 0.05 + blob[:, None] * blob
    sources: dict[str, tuple[Make, int, int]] = {
        "white noise, 16 of 32 x 32": (lambda random: torch.randn(16, 1, 32, 32, generator=random), 16, 1000),
        "noise in one blob, 64 of 32 x 32": (
            lambda random: torch.randn(64, 1, 32, 32, generator=random) * content,
            16,
            500,
        ),
        "lossless, two crops of 32 x 32 each": (crops(lossless, 32, 2), 4, 400),
        "lossless, two crops of 64 x 64 each": (crops(lossless, 64, 2), 8, 400),
        "lossless, a single crop of 64 x 64": (one_crop(lossless, 64), 8, 600),
        "photographs, a crop of 64 x 64 each": (crops(photographs, 64, 1), 8, 300),
        "128 faces, each enlarged by its own factor": (enlarged(faces), 16, 200),
        "gradients without a stride at 64 faces": (gradients(faces), 16, 1000),
    }
    rows: list[dict[str, str]] = []
    for name, (make, total_stride, count) in sources.items():
        verdicts = [judged(make(torch.Generator().manual_seed(seed)), total_stride) for seed in range(count)]
        for period in verdicts[0].chances:
            alarms = sum(verdict.chances[period] <= LEVEL for verdict in verdicts)
            rows.append(row_of(COLUMNS, name, "", period, count, f"{alarms / count:.4f}"))
            print(*rows[-1].values(), sep=", ", flush=True)
    for period in (2, 4):
        rows_of, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        places = ((rows_of % period == 0) & (columns % period == 0)).double()
        for strength in (0, 0.02, 0.03, 0.04, 0.08, 0.16, 0.32):
            chosen = [torch.randperm(2048, generator=torch.Generator().manual_seed(seed))[:128] for seed in range(20)]
            verdicts = [judged(high_pass(faces[numbers] + strength * places), 8) for numbers in chosen]
            found = sum(verdict.chances[period] <= LEVEL for verdict in verdicts)
            rows.append(row_of(COLUMNS, "128 faces with a comb", strength, period, 20, f"{found / 20:.4f}"))
            print(*rows[-1].values(), sep=", ", flush=True)
    rows_of, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for name, places in {"a board": (rows_of + columns) % 2, "every other row": rows_of % 2}.items():
        for strength in (0.01, 0.02, 0.05, 0.5):
            signs = 1 + strength * (2 * places - 1)
            noise = [torch.randn(32, 1, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(100)]
            verdicts = [judged(values * signs, 8) for values in noise]
            for period in (2, 4, 8):
                found = sum(verdict.chances[period] <= LEVEL for verdict in verdicts)
                rows.append(row_of(COLUMNS, f"32 of noise times {name}", strength, period, 100, f"{found / 100:.4f}"))
                print(*rows[-1].values(), sep=", ", flush=True)
    write_rows(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()
