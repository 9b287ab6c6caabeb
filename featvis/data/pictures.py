"""Pictures from files to tensors and back.

A picture is loaded to the channels that a network takes, prepared as torchvision's presets prepare it, and saved
without loss. What was changed on the way stands in its notes. Colours are taken as they are stored: embedded colour
profiles are not applied, as in torchvision.
"""

from __future__ import annotations

import functools
import glob
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from featvis.data.decoding import forgiven
from featvis.errors import FeatvisError
from featvis.files import write_atomically

FORMATS = {
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jp2": "JPEG2000",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pbm": "PPM",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Suffix -> the format as Pillow names it. Others are left out: some have no signature, one runs Ghostscript."""

SUFFIXES = (*FORMATS, ".npy")
"""Which files of a folder or a glob count as pictures; a file that is named itself may end in anything."""

LARGEST_PIXELS = 2**26
"""Pixels of a picture: 8192 by 8192, 0.8 GB as the floats of three channels. Pillow warns only above this."""

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def find_pictures(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """The picture files that files, folders and globs stand for, each once.

    Arguments keep their order; what a folder or a glob holds is sorted by its path with forward slashes. Folders are
    searched to any depth, without hidden files and folders and without following links to folders. A path that exists
    is never read as a glob. Raises FeatvisError where nothing is given, a file is missing or a folder or glob is empty.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> [path.name for path in featvis.find_pictures(PHOTOGRAPH.parent / "*.png")]
    ['cat.png']
    """
    return expanded(paths, SUFFIXES, "pictures")


def expanded(paths: str | Path | Iterable[str | Path], suffixes: tuple[str, ...], what: str) -> list[Path]:
    """The files that files, folders and globs stand for, as `find_pictures` has them. suffixes: which count in folders; what: they are."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise FeatvisError(f"no {what} were given; give files, folders or globs")
    found: dict[str, Path] = {}
    for path in given:
        for file in _expand(os.fspath(path), suffixes, what):
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def listed_pictures(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """A list of files as it is, repetitions too; of a single name all pictures that it stands for.

    Raises FeatvisError for anything else.
    """
    if isinstance(paths, str | Path):
        return find_pictures(paths)
    files = list(paths)
    strange = next((file for file in files if not isinstance(file, str | Path)), None)
    if strange is not None:
        raise FeatvisError(
            f"a picture of type {type(strange).__name__}; expected the name of a file. For tensors, give what input_gradient returns to "
            "checkerboard_energy"
        )
    if not files:
        raise FeatvisError("no pictures were given; give files, or a folder or glob such as 'photos/*.jpg'")
    return [Path(file) for file in files]


def _expand(path: str, suffixes: tuple[str, ...], what: str) -> list[Path]:
    if os.path.isfile(path):
        return [Path(path)]
    if os.path.isdir(path):
        kind, files = "folder", _visible_files(path)
    elif any(character in path for character in "*?["):
        kind, files = "glob", [Path(name) for name in glob.glob(path, recursive=True) if os.path.isfile(name)]
    else:
        raise FeatvisError(
            f"there is no {what.removesuffix('s')} file or folder {path!r}; check its name and the folder it is in"
        )
    wanted = [file for file in files if file.suffix.lower() in suffixes]
    if not wanted:
        raise FeatvisError(f"the {kind} {path!r} holds no {what}; files count that end in {', '.join(suffixes)}")
    return sorted(wanted, key=Path.as_posix)


def _visible_files(folder: str) -> list[Path]:
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    return [file for file in files if file.is_file()]


@dataclass(frozen=True)
class Picture:
    """A loaded picture, where it came from and what loading changed.

    pixels: 8-bit, mode RGB or L; or from an .npy file (C, H, W), float32 in [0, 1].
    """

    pixels: Image.Image | npt.NDArray[np.float32]
    path: Path
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if isinstance(self.pixels, Image.Image):
            return self.pixels.height, self.pixels.width
        return self.pixels.shape[1], self.pixels.shape[2]


def load_picture(path: str | Path, channels: int = 3) -> Picture:
    """Load one picture upright and whole, in RGB for 3 channels and in grey for 1.

    Transparency is composited on white, greys of more than 8 bits are scaled to 8, of several frames the first is
    taken; each leaves a note. An .npy file holds floats (channels, H, W) in [0, 1] and serves any number of channels.
    Raises FeatvisError where the file is missing, empty, damaged (also where the decoder forgives it), too large, or no picture of that
    many channels.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise FeatvisError(f"there is no picture file {str(path)!r}; check its name and the folder it is in")
    if path.stat().st_size == 0:
        raise FeatvisError(f"the picture {str(path)!r} is empty, 0 bytes; copy or save it again")
    if path.suffix.lower() == ".npy":
        return Picture(_load_array(path, channels), path, ())
    if channels not in (1, 3):
        raise FeatvisError(
            f"the picture {str(path)!r} serves networks of 1 or 3 channels, this one takes {channels}; "
            f"give .npy files of floats in [0, 1], shape ({channels}, H, W)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_known_formats()) as image:
                if image.width * image.height > LARGEST_PIXELS:
                    raise Image.DecompressionBombError
                image.load()
                damage = forgiven(image, path)
                pixels, notes = _as_rgb(image)
        except UnidentifiedImageError:
            raise FeatvisError(
                f"{str(path)!r} is no picture, or its beginning is damaged; "
                f"expected {', '.join(sorted(set(FORMATS.values())))} or .npy"
            ) from None
        except Image.DecompressionBombError:
            raise FeatvisError(
                f"the picture {str(path)!r} has more than {LARGEST_PIXELS} pixels; make it smaller first"
            ) from None
        except Exception as error:  # damaged data makes decoders raise anything, struct.error and IndexError included
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FeatvisError(f"cannot read the picture {str(path)!r}: {reason}; copy or save it again") from None
    if damage is not None:
        raise FeatvisError(f"the picture {str(path)!r} is decoded with errors: {damage}; copy or save it again")
    return Picture(pixels if channels == 3 else pixels.convert("L"), path, notes)


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow can read."""
    Image.init()
    return tuple(sorted(Image.OPEN.keys() & set(FORMATS.values())))


def _as_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    notes = ["first of several frames"] if getattr(image, "is_animated", False) else []
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F" or image.mode.startswith("I"):
        image, note = _as_eight_bits(image)
        notes.append(note)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            notes.append("transparency composited on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB"), tuple(notes)


def _as_eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """Whole numbers count from 0 to 65535, floats to 1, 255 or 65535, whichever holds all; others are stretched."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("some of its values are not finite")
    low, high = float(values.min()), float(values.max())
    tops = [top for top in ((1, 255, 65535) if image.mode == "F" else (65535,)) if low >= 0 and high <= top]
    first, last = (0, tops[0]) if tops else (low, high)
    # A constant outside every scale has nothing to stretch and turns black.
    levels = Image.fromarray(np.rint((values - first) / ((last - first) or 1) * 255).astype(np.uint8))
    if "transparency" in image.info:
        opaque = values != image.info["transparency"]
        levels = Image.merge("LA", (levels, Image.fromarray(opaque.astype(np.uint8) * 255)))
    kind = "float" if image.mode == "F" else "16-bit" if tops else "32-bit"
    return levels, f"{kind} grey, {first:g} to {last:g}, {'scaled' if tops else 'stretched'} to 8 bits"


def _load_array(path: Path, channels: int) -> npt.NDArray[np.float32]:
    expected = f"expected floats in [0, 1], shape ({channels}, H, W)"
    try:
        # Mapped, so that a header that promises more than the file holds is an error before it takes memory.
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FeatvisError(f"cannot read {str(path)!r} as an .npy array: {reason}; {expected}") from None
    if array.ndim != 3 or array.shape[0] != channels or array.size == 0:
        raise FeatvisError(f"the array {str(path)!r} has shape {array.shape}; {expected}")
    if array.dtype.kind != "f":
        raise FeatvisError(f"the array {str(path)!r} has values of type {array.dtype}; {expected}")
    if array[0].size > LARGEST_PIXELS:
        raise FeatvisError(f"the array {str(path)!r} has more than {LARGEST_PIXELS} pixels; make it smaller first")
    if not np.isfinite(array).all():
        raise FeatvisError(f"the array {str(path)!r} has values that are not finite; {expected}")
    if array.min() < 0 or array.max() > 1:
        raise FeatvisError(f"the array {str(path)!r} has values from {array.min():g} to {array.max():g}; {expected}")
    return np.array(array, dtype=np.float32)


def prepare(picture: Picture, resize: int | None, crop: tuple[int, int] | None, interpolation: str) -> Tensor:
    """Resize the shorter side, crop the centre, and scale to floats, as torchvision's ImageClassification preset does.

    resize: pixels of the shorter side, the longer one follows; None keeps the size. crop: (rows, columns), padded with
    black where the picture is smaller; None keeps all. interpolation: a key of INTERPOLATIONS, antialiased.
    Returns (C, H, W), float32 in [0, 1]. Raises FeatvisError where an argument is out of range or the result too large.
    """
    if interpolation not in INTERPOLATIONS:
        raise FeatvisError(f"the interpolation {interpolation!r} is unknown; give one of {', '.join(INTERPOLATIONS)}")
    if (resize is not None and resize < 1) or (crop is not None and min(crop) < 1):
        raise FeatvisError(f"cannot resize to {resize} and crop to {crop}; give sizes of at least 1 pixel, or None")
    pixels: Image.Image | Tensor
    pixels = picture.pixels if isinstance(picture.pixels, Image.Image) else torch.from_numpy(picture.pixels)
    size = picture.size
    short, long = sorted(size)
    if resize is not None and resize != short:
        longer = resize * long // short
        if resize * longer > LARGEST_PIXELS:
            raise FeatvisError(
                f"the picture {str(picture.path)!r} of {size[0]} x {size[1]} pixels has more than {LARGEST_PIXELS} "
                f"with its shorter side resized to {resize}; crop it first"
            )
        size = (resize, longer) if size[0] <= size[1] else (longer, resize)
        pixels = _resized(pixels, size, interpolation)
    if crop is not None and tuple(crop) != size:
        pixels = _cropped(pixels, size, crop)
    if isinstance(pixels, Image.Image):
        levels = np.asarray(pixels).reshape(pixels.height, pixels.width, -1).transpose(2, 0, 1)
        return torch.from_numpy(np.divide(levels, 255, dtype=np.float32, order="C"))
    return pixels.clamp(0, 1)  # bicubic overshoots; also a copy where nothing was to do


def _resized(pixels: Image.Image | Tensor, size: tuple[int, int], interpolation: str) -> Image.Image | Tensor:
    if isinstance(pixels, Image.Image):
        return pixels.resize(size[::-1], INTERPOLATIONS[interpolation])
    if interpolation == "nearest":  # of torch's two, this one agrees with Pillow's
        return F.interpolate(pixels[None], size, mode="nearest-exact")[0]
    return F.interpolate(pixels[None], size, mode=interpolation, antialias=True)[0]


def _cropped(pixels: Image.Image | Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Image.Image | Tensor:
    """The centre, with black around it where it is too small; halves go where torchvision's centre crop puts them."""
    top, left = (
        -((wanted - length) // 2) if wanted > length else round((length - wanted) / 2)
        for length, wanted in zip(size, crop, strict=True)
    )
    bottom, right = top + crop[0], left + crop[1]
    if isinstance(pixels, Image.Image):
        return pixels.crop((left, top, right, bottom))
    return F.pad(pixels, (-left, right - size[1], -top, bottom - size[0]))


def save_picture(pixels: Tensor, path: str | Path) -> Path:
    """Save pixels as an 8-bit PNG, whole or not at all.

    pixels: (C, H, W) floats in [0, 1], one channel or three; values outside are clipped. Returns the path.
    Raises FeatvisError where shape, type or suffix are others, a value is NaN, or the place cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FeatvisError(f"cannot save a picture as {str(path)!r}; give a name that ends in .png")
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape or not pixels.is_floating_point():
        raise FeatvisError(
            f"cannot save {pixels.dtype} of shape {tuple(pixels.shape)} as a picture; give floats (1 or 3, H, W) in [0, 1]"
        )
    if pixels.isnan().any():
        raise FeatvisError(f"cannot save {str(path)!r}: some of its values are NaN; give numbers in [0, 1]")
    levels = pixels.detach().cpu().double().clamp(0, 1).mul(255).round().to(torch.uint8)
    image = Image.fromarray((levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)).numpy())
    return write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))
