"""Adversarial pairs: what a discriminator's gradients carry, what a generator's pictures show, and what one teaches the other."""

from featvis.gan.discriminator import audit_discriminator, check_limits, sources_of
from featvis.gan.generator import GeneratorAudit, audit_generator, fine_detail, limits_of, power_beside, samples_of
from featvis.gan.networks import LATENTS
from featvis.gan.neutral import Agreement, NeutralAudit, agreement, neutral_pictures
from featvis.gan.pictures import (
    PictureAudit,
    PictureMeter,
    audit_picture_files,
    high_pass,
    jpeg_notes,
    measure_pictures,
    radial_power,
)
from featvis.gan.record import DiscriminatorAudit, Resolution, SourceAudit
from featvis.measure.phases import period_parts
from featvis.measure.standing_out import Surroundings, Verdict, chances

__all__ = [
    "LATENTS",
    "Agreement",
    "DiscriminatorAudit",
    "GeneratorAudit",
    "NeutralAudit",
    "PictureAudit",
    "PictureMeter",
    "Resolution",
    "SourceAudit",
    "Surroundings",
    "Verdict",
    "agreement",
    "audit_discriminator",
    "audit_generator",
    "audit_picture_files",
    "chances",
    "check_limits",
    "fine_detail",
    "high_pass",
    "jpeg_notes",
    "limits_of",
    "measure_pictures",
    "neutral_pictures",
    "period_parts",
    "power_beside",
    "radial_power",
    "samples_of",
    "sources_of",
]
