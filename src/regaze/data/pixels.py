"""The decoded cache: photographs and lesion planes in cropped pixels, ready for training.

Invariant: what comes from the cache equals what decoding afresh would give. An entry's name is a hash over everything
that decides its content, and it carries a checksum: a damaged one is rebuilt. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regaze.data.colour import normalise_colour
from regaze.data.geometry import Geometry, Rectangle, field_of_view
from regaze.data.images import content_hash, photo_size, read_photo
from regaze.data.masks import lesion_masks
from regaze.errors import DataError
from regaze.files import replacing
from regaze.records import LESION_TYPES, Colour, Sample

# Part of every entry's name: raise it whenever decoding, cropping, masks or the entry's layout change.
_VERSION = 3
_MAGIC = b"regaze pixels\n"
_DIGEST = 16
# The field of view is found on a decode with at least this shorter side, whatever size is asked for, so that one
# photograph has one window at every size.
_FIELD_AT_LEAST = 256

Entry = tuple[NDArray[np.uint8], NDArray[np.uint8], Geometry]


@dataclass(frozen=True, eq=False)
class Pixels:
    """Photographs in cropped pixels.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        lesions: (N, S, S) uint8, bit i set where a pixel holds a lesion of type `LESION_TYPES[i]`.
        geometries: One per photograph.
    """

    images: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    geometries: tuple[Geometry, ...]

    @property
    def union(self) -> NDArray[np.bool_]:
        """(N, S, S) bool: any lesion, whatever its type."""
        return self.lesions > 0

    @property
    def pictures(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each square that hold the photograph, see `Geometry.picture`."""
        return [geometry.picture for geometry in self.geometries]


def load_pixels(
    samples: Sequence[Sample],
    size: int,
    folder: Path | None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    crop: bool = True,
    colour: Colour = "none",
) -> Pixels:
    """Decode, crop and shrink photographs and their lesions, or take them from the cache.

    Threads, not processes: Pillow, OpenCV and NumPy let go of the interpreter's lock while they work.

    Args:
        samples: In the order of the result.
        size: Side of the result in cropped pixels.
        folder: The cache's folder, made where missing; None: no cache.
        workers: Photographs decoded at the same time, at least 1.
        progress: Called with (photographs done, all photographs) in the calling thread.
        crop: Crop to the round field of view; False: pad the whole photograph to a square.
        colour: `normalised`: colour and illumination taken out, see `data.colour`.

    Raises:
        DataError: A photograph or mask cannot be read (the message names the sample), or the cache's folder
            cannot be written.
    """
    total = len(samples)
    images = np.zeros((total, size, size, 3), dtype=np.uint8)
    lesions = np.zeros((total, size, size), dtype=np.uint8)
    geometries: list[Geometry] = []
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"The cache folder {folder} cannot be made ({error.strerror}): choose another folder."
            ) from error
    load = partial(_load, size=size, folder=folder, crop=crop, colour=colour)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        # map's iterator cancels what has not begun once the first error leaves this loop.
        for index, (image, lesion, geometry) in enumerate(pool.map(load, samples)):
            images[index], lesions[index] = image, lesion
            geometries.append(geometry)
            if progress is not None:
                progress(index + 1, total)
    return Pixels(images, lesions, tuple(geometries))


def _load(sample: Sample, size: int, folder: Path | None, crop: bool, colour: Colour) -> Entry:
    """One photograph from the cache, or decoded and put there."""
    try:
        if folder is None:
            return _decode(sample, size, crop, colour)
        path = folder / f"{_key(sample, size, crop, colour)}.pixels"
        entry = _read_entry(path, size)
        if entry is None:
            entry = _decode(sample, size, crop, colour)
            _write_entry(path, entry)
        return entry
    except DataError as error:
        raise DataError(f"{sample.id}: {error}") from error


def _decode(sample: Sample, size: int, crop: bool, colour: Colour) -> Entry:
    """Photograph -> field of view -> geometry -> image (S, S, 3) and lesion planes (S, S)."""
    width, height = photo_size(sample.image)
    photo = read_photo(sample.image, _FIELD_AT_LEAST)
    field = _scaled_up(field_of_view(photo), photo, width, height) if crop else (0, 0, width, height)
    geometry = Geometry.fit(width, height, field, size)
    # The window's side must still have `size` pixels after the reduction.
    enough = -(-size * min(width, height) // geometry.side)
    if min(photo.shape[:2]) < min(enough, width, height):
        photo = read_photo(sample.image, enough)
    lesions = np.zeros((size, size), dtype=np.uint8)
    for lesion, mask in lesion_masks(sample).items():
        lesions |= geometry.mask(mask).astype(np.uint8) << np.uint8(LESION_TYPES.index(lesion))
    return _image(photo, geometry, colour), lesions, geometry


def square_of(photo_HWC: NDArray[np.uint8], size: int, crop: bool, colour: Colour) -> NDArray[np.uint8]:
    """The square (S, S, 3) uint8 of a decoded photograph (H, W, 3) uint8 RGB, as `load_pixels` makes it of a file.

    Of a JPEG many times larger than the square it may differ by little: those are decoded at a reduced size.
    """
    height, width = photo_HWC.shape[:2]
    field = field_of_view(photo_HWC) if crop else (0, 0, width, height)
    return _image(photo_HWC, Geometry.fit(width, height, field, size), colour)


def _image(photo_HWC: NDArray[np.uint8], geometry: Geometry, colour: Colour) -> NDArray[np.uint8]:
    image = geometry.image(photo_HWC)
    if colour == "normalised":
        image[geometry.picture] = normalise_colour(image[geometry.picture])
    return image


def _scaled_up(field: Rectangle, photo_HWC: NDArray[np.uint8], width: int, height: int) -> Rectangle:
    """Bring a field of view from a reduced decode to original pixels, outwards where it does not divide."""
    down, across = -(-height // photo_HWC.shape[0]), -(-width // photo_HWC.shape[1])
    left, top, right, bottom = field
    return left * across, top * down, min(width, right * across), min(height, bottom * down)


def _key(sample: Sample, size: int, crop: bool, colour: Colour) -> str:
    """Hash over everything that decides an entry's content."""
    lesions: list[object] = []
    if sample.origin == "masks":
        lesions = [[lesion, [content_hash(path) for path in sample.masks[lesion]]] for lesion in sorted(sample.masks)]
    elif sample.origin == "boxes":
        lesions = [astuple(box) for box in sample.boxes]
    content = sample.content or content_hash(sample.image)
    how: list[str] = [colour] if colour != "none" else []  # entries of before there was a choice stay good
    if sample.mask_values:
        how.append(json.dumps(sorted(sample.mask_values.items())))
    text = json.dumps([_VERSION, content, sample.origin, lesions, size, crop, *how])
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).hexdigest()


def _write_entry(path: Path, entry: Entry) -> None:
    """Write magic, checksum, then a line with the geometry, the image's bytes and the packed lesion plane."""
    image, lesions, geometry = entry
    # The image is stored as it is, for fast reading; the lesion plane, nearly all zeros, packs well.
    head = json.dumps(asdict(geometry), separators=(",", ":")).encode()
    body = head + b"\n" + image.tobytes() + zlib.compress(lesions.tobytes(), 1)
    digest = hashlib.blake2b(body, digest_size=_DIGEST).digest()
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(_MAGIC + digest + body)
    except OSError as error:
        raise DataError(
            f"The cache entry {path} cannot be written ({error.strerror}): free space or choose another folder."
        ) from error


def _read_entry(path: Path, size: int) -> Entry | None:
    """Read an entry; None where there is none or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST
    body = memoryview(data)[start:]
    digest = hashlib.blake2b(body, digest_size=_DIGEST).digest()
    if data[:start] != _MAGIC + digest:
        return None
    line = data.index(b"\n", start) + 1
    end = line + size * size * 3
    image = np.frombuffer(data, dtype=np.uint8, count=size * size * 3, offset=line)
    lesions = np.frombuffer(zlib.decompress(data[end:]), dtype=np.uint8)
    geometry = Geometry(**json.loads(data[start : line - 1]))
    return image.reshape(size, size, 3), lesions.reshape(size, size), geometry
