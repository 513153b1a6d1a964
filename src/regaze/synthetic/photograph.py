"""Synthetic fundus photographs: a healthy eye, lesions that fit a grade, and what the camera makes of them.

Invariant: a photograph is a function of its seed, size and grade (and of the camera and side, where given). Everything
but the grain of the sensor is in shares of the side, so the same seed shows the same eye with the same lesions at any
size. The masks are those of `lesions.paint_lesions`: exact before blur, noise and JPEG.

These pictures are imitations for trying the program out and for tests. They say nothing about real patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.errors import OptionError
from regaze.synthetic.eye import Camera, Eye, Floats, Seed, axes, paint_eye, rgb, stain, streams
from regaze.synthetic.lesion_plan import plan_lesions, plan_simple
from regaze.synthetic.lesions import Lesion, paint_lesions

SMALLEST, LARGEST = 64, 4000


@dataclass(frozen=True)
class Task:
    """What the grades of a synthetic set mean.

    Attributes:
        shares: Share of the photographs per grade, from 0; they sum to 1.
        plan: (eye, grade, random generator) -> lesions of that grade.
        size: Side of the photographs in pixels, where a set is asked for by its number alone.
    """

    shares: tuple[float, ...]
    plan: Callable[[Eye, int, np.random.Generator], tuple[Lesion, ...]]
    size: int


TASKS = {
    # IDRiD's 413 training photographs are 134, 20, 136, 74 and 49 of grades 0..4; grade 1 is made commoner.
    "clinical": Task((0.30, 0.11, 0.31, 0.17, 0.11), plan_lesions, 512),
    "simple": Task((0.4, 0.3, 0.3), plan_simple, 256),
}


@dataclass(frozen=True)
class Painted:
    """A synthetic photograph and the truth about it.

    Attributes:
        photo: (S, S, 3) uint8 RGB; black outside the field of view.
        masks: Lesion type of `records.LESION_TYPES` -> (S, S) bool; types that do not occur are absent.
            Preretinal haemorrhages are in `haemorrhages`; beaded stretches of veins are in `lesion`.
        grade: Of the clinical task 0..4 by the international scale, see `lesions.grade_of`; of the simple one 0..2.
    """

    photo: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    grade: int


def _blurred(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32) if sigma > 0.15 else image


def _haze(image: Floats, rng: np.random.Generator) -> Floats:
    """Light scattered in a clouded lens: contrast is lost to the picture's own glow; image (S, S, 3)."""
    amount = rng.uniform(0.0, 0.12) if rng.random() < 0.8 else rng.uniform(0.15, 0.42)
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(small, (0, 0), 4.0), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    glow = glow * rgb(1.0, 1.06, 1.15) + np.float32(0.02)
    return np.asarray(image + np.float32(amount) * (glow - image), np.float32)


def _flare(image: Floats, eye: Eye, rng: np.random.Generator) -> None:
    """A pale crescent at one side of the field's edge, where light leaks past the pupil; in place."""
    if rng.random() > 0.35:
        return
    x, y = axes(eye.size)
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.06)
    distance = np.hypot(x - 0.5 + shift * math.cos(angle), y - 0.5 + shift * math.sin(angle))
    rise = np.clip((distance - np.float32(eye.camera.radius - 0.02)) / np.float32(0.09), 0, 1) ** 1.5
    image += rise[..., None] * rgb(0.45, 0.5, 0.42) * np.float32(rng.uniform(0.3, 1.0))


def develop(eye: Eye, canvas: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take the photograph: uneven light, haze, flare, dust, blur, the field's edge, sensor noise and JPEG.

    Args:
        eye: The eye, for its light, field and camera.
        canvas: (size, size, 3) float32 as `Eye.canvas`, with or without lesions.
        rng: The stream of the development.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    size, camera = eye.size, eye.camera
    image = _haze(canvas * eye.light[..., None], rng)
    _flare(image, eye, rng)
    for speck in camera.dust:
        stain(image, speck, rgb(0.55, 0.6, 0.7), sharp=True)
    spread = rng.gamma(2.0, 0.0003) if rng.random() < 0.86 else rng.uniform(0.0018, 0.0042)
    image = _blurred(image, float(spread) * size)
    image = np.minimum(image, 1 - np.float32(0.02)) * eye.field[..., None]
    image *= np.float32(rng.uniform(0.8, 1.15))
    grain = rng.standard_normal((size, size, 3), dtype=np.float32) * np.float32(camera.noise)
    image = np.clip(image * 255 + _blurred(grain, 0.45) * (0.35 + 0.65 * eye.field[..., None]), 0, 255)
    photo = np.asarray(np.round(image), np.uint8)
    return photo if camera.quality is None else _through_jpeg(photo, camera.quality)


def _through_jpeg(photo: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """What JPEG leaves of a photograph (S, S, 3) RGB."""
    _, coded = cv2.imencode(".jpg", np.ascontiguousarray(photo[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1], np.uint8).copy()


def paint(
    seed: Seed,
    size: int,
    grade: int | None = None,
    *,
    camera: Camera | None = None,
    left: bool | None = None,
    task: str = "clinical",
) -> Painted:
    """Paint one photograph.

    Args:
        seed: One non-negative number or several, e.g. (seed of the set, index).
        size: Side of the square photograph in pixels, 64..4000.
        grade: 0 to the task's highest; None: drawn from the seed with the task's shares.
        camera: The camera; None: one drawn from the seed.
        left: Which eye; None: drawn from the seed.
        task: A key of `TASKS`.

    Raises:
        OptionError: Size or grade lies outside its range.
    """
    if not SMALLEST <= size <= LARGEST:
        raise OptionError(f"size {size} of a synthetic photograph: expected {SMALLEST} to {LARGEST} pixels.")
    shares = TASKS[task].shares
    if grade is not None and grade not in range(len(shares)):
        raise OptionError(f"grade {grade} of a synthetic photograph: expected 0 to {len(shares) - 1}.")
    rngs = streams(seed)
    drawn = int(rngs["lesions"].choice(len(shares), p=shares))  # also where the grade is given: the stream goes on
    grade = drawn if grade is None else grade
    eye = paint_eye(seed, size, camera=camera, left=left)
    canvas, masks = paint_lesions(eye, TASKS[task].plan(eye, grade, rngs["lesions"]))
    return Painted(develop(eye, canvas, rngs["development"]), masks, grade)
