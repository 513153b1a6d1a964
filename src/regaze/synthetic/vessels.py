"""The vascular tree of a synthetic eye: where arteries and veins run and how thick they are.

Invariant: everything is in shares of the photograph's side (x to the right, y down, 0..1), so that the same seed grows
the same tree at any size. Left and right eyes differ by `toward`, the sign of x from the disc to the fovea.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

_STEP = 0.01  # distance of two points on a vessel
_AVASCULAR = 0.045  # vessels keep this far from the fovea
_THINNEST = 0.0012
_DEEPEST = 3  # generations of branches after the trunk
_TONES = (1.0, 0.8, 0.62, 0.5)  # a thin vessel holds less blood and absorbs less; by generation
_RASTER = 1024  # vessels are drawn at least this large, then averaged down: widths are whole pixels in OpenCV


@dataclass(frozen=True)
class Vessel:
    """One unbranched vessel.

    Attributes:
        points: (N, 2) float64 x, y in shares of the side, from the disc outwards, N >= 2.
        widths: (N,) float64 full width in shares of the side, never growing.
        artery: False: a vein.
        generation: 0 for a trunk that leaves the disc, 1 for its branches, and so on.
    """

    points: NDArray[np.float64]
    widths: NDArray[np.float64]
    artery: bool
    generation: int


@dataclass(frozen=True)
class _Shoot:
    """What a vessel is about to do: angles in radians, 0 = temporal, pi/2 = up."""

    start: NDArray[np.float64]
    heading: float
    turn: float
    length: float
    width: float
    generation: int


@dataclass(frozen=True)
class _Ground:
    """Where a tree grows."""

    rng: np.random.Generator
    toward: float
    fovea: tuple[float, float]
    artery: bool


def _walk(shoot: _Shoot, ground: _Ground) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (N, 2) and headings (N,) of one vessel, cut where it meets the fovea or leaves the picture."""
    steps = max(3, int(shoot.length / _STEP))
    share = np.arange(steps) / (steps - 1)
    wander = (ground.rng.standard_normal(steps) * (0.085 + 0.02 * shoot.generation)).cumsum()
    wander -= share * wander[-1] * 0.6  # a vessel strays, but keeps to its course
    waves = 0.12 * np.sin(share * ground.rng.uniform(8, 22) + ground.rng.uniform(0, 6.3))
    headings = shoot.heading + shoot.turn * share**0.75 + wander + waves
    points = np.empty((steps, 2))
    points[0] = shoot.start
    points[1:, 0] = shoot.start[0] + (np.cos(headings[:-1]) * (ground.toward * _STEP)).cumsum()
    points[1:, 1] = shoot.start[1] - (np.sin(headings[:-1]) * _STEP).cumsum()
    near = ((points - ground.fovea) ** 2).sum(axis=1) < _AVASCULAR**2
    outside = ((points - 0.5) ** 2).sum(axis=1) > 0.53**2
    stop = near | outside
    end = int(stop.argmax()) if stop.any() else steps
    return points[:end], headings[:end]


def _grow(shoot: _Shoot, ground: _Ground) -> list[Vessel]:
    """The vessel that the shoot becomes, and all its branches."""
    points, headings = _walk(shoot, ground)
    if len(points) < 3:
        return []
    share = np.arange(len(points)) * _STEP / shoot.length
    widths = np.maximum(shoot.width * (1.0 - 0.6 * np.minimum(share, 1)), _THINNEST)
    grown = [Vessel(points, widths, ground.artery, shoot.generation)]
    if shoot.generation >= _DEEPEST:
        return grown
    rng = ground.rng
    distance = rng.uniform(0.04, 0.12)  # along the vessel, to its next branch
    side = float(rng.choice((-1.0, 1.0)))
    while distance < len(points) * _STEP:
        index = min(int(distance / _STEP), len(points) - 1)
        branch = _Shoot(
            start=points[index],
            heading=float(headings[index] + side * rng.uniform(0.45, 1.0)),
            turn=float(-side * rng.uniform(-0.2, 0.8)),
            length=float(shoot.length * rng.uniform(0.25, 0.6)),
            width=float(widths[index] * rng.uniform(0.42, 0.72)),
            generation=shoot.generation + 1,
        )
        if branch.width > _THINNEST:
            grown.extend(_grow(branch, ground))
        distance += rng.uniform(0.055, 0.17)
        side = -side if rng.random() < 0.75 else side
    return grown


def _trunks(rng: np.random.Generator, disc: tuple[float, float], radius: float, toward: float) -> list[_Shoot]:
    """The four arcades and the small vessels that leave the disc on their own."""
    shoots = []
    for up in (1.0, -1.0):
        root = np.array([disc[0] - toward * radius * rng.uniform(0, 0.3), disc[1] - up * radius * 0.15])
        shoots += [
            _Shoot(root, up * rng.uniform(1.25, 1.6), -up * rng.uniform(1.5, 2.1), rng.uniform(0.75, 0.95), 1.0, 0),
            _Shoot(root, up * rng.uniform(1.75, 2.4), up * rng.uniform(-0.3, 0.7), rng.uniform(0.3, 0.45), 0.7, 0),
        ]
    for _ in range(rng.integers(2, 6)):
        heading = rng.uniform(-0.9, 0.9) + (np.pi if rng.random() < 0.6 else 0.0)
        root = np.array(disc) + rng.uniform(-0.3, 0.3, 2) * radius
        shoots.append(_Shoot(root, heading, rng.uniform(-0.5, 0.5), rng.uniform(0.12, 0.28), 0.3, 1))
    return shoots


def grow_vessels(
    rng: np.random.Generator, disc: tuple[float, float], radius: float, fovea: tuple[float, float]
) -> tuple[Vessel, ...]:
    """Grow arteries and veins that leave the disc in the four arcades, branch and taper.

    Args:
        rng: The stream of the vessels.
        disc: Centre of the optic disc, shares of the side.
        radius: Radius of the disc, share of the side.
        fovea: Centre of the fovea, shares of the side; vessels keep away from it.

    Returns:
        Veins first, then arteries, which are about a third thinner.
    """
    toward = 1.0 if fovea[0] > disc[0] else -1.0
    vein_width = rng.uniform(0.0125, 0.016)
    artery_width = vein_width * rng.uniform(0.6, 0.75)
    grown: list[Vessel] = []
    for artery, width in ((False, vein_width), (True, artery_width)):
        ground = _Ground(rng, toward, fovea, artery)
        for trunk in _trunks(rng, disc, radius, toward):
            grown.extend(_grow(replace(trunk, width=trunk.width * width), ground))
    return tuple(grown)


def draw_vessels(vessels: tuple[Vessel, ...], size: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Share of every pixel that the vessels cover, less for finer vessels.

    Args:
        vessels: What to draw.
        size: Side of the result in pixels.
        scale: Factor on the widths.

    Returns:
        (size, size) float32 in 0..1.
    """
    factor = max(1, -(-_RASTER // size))
    side = size * factor
    layer = np.zeros((side, side), np.uint8)
    # The finest first: a trunk covers the pale roots of its branches.
    for vessel in sorted(vessels, key=lambda vessel: -vessel.generation):
        tone = int(255 * _TONES[vessel.generation])
        corners = np.round((vessel.points * side - 0.5) * 16).astype(np.int32)
        thick = np.maximum(1, np.round(vessel.widths * scale * side)).astype(int)
        # Stretches of one width are one call: a call per segment took half of the whole painting time.
        edges = np.flatnonzero(np.diff(thick)) + 1
        for first, last in zip([0, *edges], [*edges, len(thick) - 1], strict=True):
            if last > first:
                cv2.polylines(layer, [corners[first : last + 1]], False, tone, int(thick[first]), cv2.LINE_8, 4)
    if factor > 1:
        layer = cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)
    return layer.astype(np.float32) / np.float32(255)
