"""The checkerboard in pictures themselves, raw and high-passed, and their power by radial frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.audit.record import Audit
from featvis.data.pictures import listed_pictures, load_picture, prepare
from featvis.errors import FeatvisError
from featvis.files import plain
from featvis.measure.finding import Finding
from featvis.measure.maps import Found
from featvis.measure.phases import expected_profile, interior, period_parts
from featvis.measure.standing_out import Surroundings, Verdict
from featvis.measure.sums import EnergySums

PERIOD = 8
"""The longest period that pictures are measured at, where nothing else is asked for; its divisors are measured with it."""

BINS_PER_CYCLE = 32
"""Radial frequencies are averaged in rings 1/32 cycle per pixel wide, from 0 to the corner at 0.71."""

FLAT = 1e-4
"""A picture whose fine detail has no larger root mean square than this, in units of its range, has none to measure."""


@dataclass(frozen=True)
class PictureAudit:
    """What was measured of some pictures; plain numbers.

    raw: of the picture about each channel's mean; high_passed: of the picture minus its 3 x 3 binomial blur, as natural pictures are strong
    at low frequencies; it holds the periods that stand out, as found, and those too long to be told. spectrum: (frequency in cycles per
    pixel, mean power relative to the mean of all frequencies). verdict: on the high-passed ones. lowest, highest: the pixels' values.
    height: of the comb in the high-passed ones, in grey levels where the range has 255. flat: pictures without detail, which were left out.
    """

    raw: Audit
    high_passed: Audit
    verdict: Verdict
    spectrum: tuple[tuple[float, float], ...]
    lowest: float
    highest: float
    pictures: int
    height: float
    flat: int = 0

    @property
    def finding(self) -> Finding:
        """Whether a checkerboard stands out in the fine detail, and how strong it is."""
        found = Finding.judged_beside(self.high_passed, self.verdict, self.height)
        return replace(found, subject="Fine detail of the pictures")

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        names = (
            "finding",
            "raw",
            "high_passed",
            "verdict",
            "spectrum",
            "lowest",
            "highest",
            "pictures",
            "height",
            "flat",
        )
        return {name: plain(getattr(self, name)) for name in names}


def high_pass(pictures: Tensor) -> Tensor:
    """The pictures (B, C, H, W) minus their 3 x 3 binomial blur, in the same shape; the borders are reflected.

    The response is 1 - cos^2(pi fx) cos^2(pi fy): a period of 2 pixels passes whole, one of 4 along one axis by half.
    """
    binomial = pictures.new_tensor([0.25, 0.5, 0.25])
    blurred = F.pad(pictures, (1, 1, 1, 1), mode="reflect").flatten(0, 1).unsqueeze(1)
    blurred = F.conv2d(blurred, (binomial[:, None] * binomial)[None, None]).view_as(pictures)
    return pictures - blurred


def lively(pictures: Tensor, period: int, span: float) -> tuple[Tensor, Tensor]:
    """The high-passed pictures (B, C, H, W), and which of them hold any detail where periods up to this one are measured, (B,).

    span: the width of the pixels' range.
    """
    detail = high_pass(pictures)
    inside = detail[..., interior(pictures.shape[-2], period), interior(pictures.shape[-1], period)]
    return detail, inside.square().mean((1, 2, 3)).sqrt() > FLAT * span


def radial_power(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over pictures of the mean power in each ring of frequencies, (rings,), and which rings hold any frequency.

    pictures: (B, C, H, W). Each picture, without its mean and under a Hann window, has mean power 1 over all frequencies but 0; the
    azimuthal mean is that of Durall, Keuper and Keuper, CVPR 2020, without the logarithm.
    """
    height, width = pictures.shape[-2:]
    windows = [torch.hann_window(size, periodic=False, dtype=pictures.dtype) for size in (height, width)]
    window = windows[0][:, None] * windows[1]
    centred = pictures - (pictures * window).sum((-2, -1), keepdim=True) / window.sum()
    power = torch.fft.fft2(centred * window).abs().square().sum(1)
    rows, columns = (torch.fft.fftfreq(size, dtype=pictures.dtype) for size in (height, width))
    radius = (rows[:, None].square() + columns.square()).sqrt()
    ring = (radius * BINS_PER_CYCLE).round().long()
    ring[0, 0] = 0
    power[:, 0, 0] = 0
    power = power / (power.sum((-2, -1), keepdim=True) / (height * width - 1)).clamp_min(1e-300)
    rings = int(0.5**0.5 * BINS_PER_CYCLE + 0.5) + 1
    counts = torch.zeros(rings, dtype=pictures.dtype).index_add_(0, ring.flatten(), torch.ones(ring.numel()).to(power))
    sums = torch.zeros(rings, dtype=pictures.dtype).index_add_(0, ring.flatten(), power.sum(0).flatten())
    counts[0] -= 1
    return torch.where(counts > 0, sums / counts.clamp_min(1), 0.0), counts > 0


class PictureMeter:
    """Measures pictures, batch after batch, in constant memory; batches may have different sizes.

    period: the longest period, in pixels. span: the width of the pixels' range, 1 for [0, 1] and 2 for [-1, 1].
    """

    def __init__(self, period: int = PERIOD, span: float = 1.0) -> None:
        self.period, self.span = period, span
        self.metrics = {name: EnergySums(period) for name in ("raw", "high_passed")}
        rings = int(0.5**0.5 * BINS_PER_CYCLE + 0.5) + 1
        self.power, self.seen = torch.zeros(rings, dtype=torch.float64), torch.zeros(rings, dtype=torch.float64)
        self.lowest, self.highest = float("inf"), float("-inf")
        self.surroundings = Surroundings(period)
        self.pictures = self.flat = 0
        self.power_of_detail = 0.0

    def update(self, pictures: Tensor) -> None:
        """Add pictures, (B, C, H, W). Raises FeatvisError for NaN, infinity, and pictures smaller than two periods."""
        pictures = pictures.detach().cpu().double()
        if not bool(pictures.isfinite().all()):
            raise FeatvisError("a picture holds NaN or infinity; nothing can be measured")
        height, width = pictures.shape[-2:]
        if min(height, width) < 2 * self.period:
            raise FeatvisError(
                f"pictures of {height} x {width} pixels hold fewer than two periods of {self.period}; give a smaller --period"
            )
        self.lowest, self.highest = min(self.lowest, float(pictures.min())), max(self.highest, float(pictures.max()))
        detail, alive = lively(pictures, self.period, self.span)
        self.flat += int((~alive).sum())
        if not bool(alive.any()):
            return
        pictures, detail = pictures[alive], detail[alive]
        self.pictures += len(pictures)
        self.power_of_detail += float(detail.square().mean((1, 2, 3)).sum())
        self.metrics["raw"].update(pictures - pictures.mean((-2, -1), keepdim=True))
        self.metrics["high_passed"].update(detail)
        self.surroundings.update(detail)
        power, seen = radial_power(pictures)
        self.power += power
        self.seen += len(pictures) * seen

    def compute(self, notes: Sequence[str] = (), settings: dict[str, Any] | None = None) -> PictureAudit:
        """The audit of all pictures so far; raises FeatvisError where none has any detail."""
        if not self.pictures:
            raise FeatvisError(f"none of {self.flat} pictures has any detail; each is flat")
        said = (*notes, f"{self.flat} flat pictures were left out") if self.flat else tuple(notes)
        raw, detail = (
            Audit.of(metric.compute(), notes=said, settings=settings or {}) for metric in self.metrics.values()
        )
        spectrum = tuple(
            (number / BINS_PER_CYCLE, float(power / seen))
            for number, (power, seen) in enumerate(zip(self.power, self.seen, strict=True))
            if seen > 0
        )
        audit = PictureAudit(
            raw=raw,
            high_passed=detail,
            verdict=self.surroundings.verdict(),
            spectrum=spectrum,
            lowest=self.lowest,
            highest=self.highest,
            pictures=self.pictures,
            height=self._height(detail),
            flat=self.flat,
        )
        return replace(audit, high_passed=_told(audit))

    def _height(self, detail: Audit) -> float:
        """How far the phases of the fine detail lie apart, in their strength or in their mean, whichever is more, in grey levels."""
        strength = 255 / self.span * math.sqrt(self.power_of_detail / self.pictures)
        phases = expected_profile(detail.profile, detail.exact_periods).sqrt()
        comb = detail.signed_comb.get(self.period)
        # A comb of plus and minus one standard deviation is twice as high.
        signed = 0.0 if comb is None else 2 * math.sqrt(max(comb.value, 0.0))
        return strength * max(float(phases.max() - phases.min()), signed)


def _told(audit: PictureAudit) -> Audit:
    """The audit of the fine detail, with the periods that stand out in it, and those that are too long to be told."""
    detail, finding = audit.high_passed, audit.finding
    parts = period_parts(torch.tensor(detail.profile, dtype=torch.float64))
    found = tuple(
        Found(
            (period, period), _strongest_frequency(parts[period]), detail.energy[period], audit.verdict.chances[period]
        )
        for period in finding.parts
    )
    too_long = tuple((period, period) for period in detail.energy if period > audit.verdict.longest)
    return replace(detail, found=found, not_measurable=too_long)


def _strongest_frequency(profile: Tensor) -> tuple[float, float]:
    """Where a profile (P, P) has most power, in cycles per pixel along rows and columns."""
    power = torch.fft.rfft2(profile).abs()
    row, column = divmod(int(power.argmax()), power.shape[1])
    return float(torch.fft.fftfreq(len(profile))[row]), column / len(profile)


def measure_pictures(pictures: Tensor, period: int = PERIOD, batch_size: int = 64) -> PictureAudit:
    """The audit of pictures that are already tensors, (B, C, H, W)."""
    meter = PictureMeter(period, span=float(pictures.max() - pictures.min()) or 1.0)
    for batch in pictures.split(batch_size):
        meter.update(batch)
    return meter.compute()


def audit_picture_files(
    paths: str | Path | Sequence[str | Path], period: int = PERIOD, skip_bad: bool = False
) -> PictureAudit:
    """Measure the checkerboard in picture files, as they are: nothing is resized or cropped to a common size.

    paths: picture files, or a folder or glob. period: the longest period, whose divisors are measured too. Raises FeatvisError for a file
    that is no picture, unless skip_bad.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> found = featvis.audit_picture_files([PHOTOGRAPH])
    >>> abs(found.raw.energy[8].value) < 0.001
    True
    """
    meter = PictureMeter(period)
    notes: list[str] = []
    skipped: list[str] = []
    files = listed_pictures(paths)
    for path in files:
        try:
            picture = load_picture(path)
            pixels = prepare(picture, None, None, "bilinear")
        except FeatvisError as error:
            if not skip_bad:
                raise
            skipped.append(str(error))
            continue
        notes += [f"{path.name}: {note}" for note in picture.notes]
        try:
            meter.update(pixels.unsqueeze(0))
        except FeatvisError as error:
            raise FeatvisError(f"{path.name}: {error}") from None
    if skipped:
        notes.append(f"skipped {len(skipped)} pictures that could not be read; the first: {skipped[0]}")
    return meter.compute([*notes, *jpeg_notes(files)])


def jpeg_notes(paths: Sequence[Path]) -> list[str]:
    """A warning where pictures are JPEG files, whose compression has a grid of its own."""
    count = sum(_is_jpeg(path) for path in paths)
    if not count:
        return []
    share = "all" if count == len(paths) else f"{count} of {len(paths)}"
    return [
        f"{share} pictures are JPEG files: their compression has a grid of 8 x 8 pixels, which shows at the periods 2, 4 and 8; "
        "take lossless pictures, or crop at random places, before a network is blamed"
    ]


def _is_jpeg(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"
    except OSError:
        return False
