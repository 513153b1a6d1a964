"""The healthy eye of a synthetic fundus photograph: camera, retina, disc, macula, vessels and harmless marks.

Invariant: geometry is in shares of the photograph's side (0..1, x to the right, y down) and every noise field is drawn
on a grid of fixed size, so that one seed shows the same eye at any size.

Proportions: the disc is 2.5 disc diameters from the fovea (centre to centre) and about 0.15 of the field's diameter, as
in IDRiD (https://doi.org/10.3390/data3030025): 20 of its disc masks have areas near 14,000 pixels in a field 850 pixels
wide, which is a disc 0.16 of the field wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.synthetic.vessels import Vessel, draw_vessels, grow_vessels

Seed = int | Sequence[int]
Floats = NDArray[np.float32]

# Every part of the picture has a stream of its own: painting fewer or other lesions leaves the eye as it was.
STREAMS = ("camera", "anatomy", "vessels", "surface", "marks", "lesions", "development")


def rgb(red: float, green: float, blue: float) -> Floats:
    """A colour or a factor per channel: (3,) float32."""
    return np.array([red, green, blue], np.float32)


_VEIN = rgb(0.76, 0.47, 0.64)  # what is left of the light that passes the vessel
_ARTERY = rgb(0.90, 0.62, 0.66)


@dataclass(frozen=True)
class Speck:
    """A round mark: centre and radius in shares of the side, amount 0..1."""

    x: float
    y: float
    radius: float
    amount: float


@dataclass(frozen=True)
class Camera:
    """What stays the same for both eyes of a patient.

    Attributes:
        radius: Radius of the round field, share of the side.
        cut: Half height that remains of the field over its radius; below 1: cut at top and bottom.
        tab: Angle of the registration tab on the field's edge in radians; None: no tab.
        gain: Red, green, blue factors.
        vignette: Loss of light at the edge, 0..1.
        noise: Standard deviation of the sensor noise in grey levels of 255.
        quality: JPEG quality inside the camera; None: not compressed there.
        dust: Dark marks of dust in the optics.
    """

    radius: float
    cut: float
    tab: float | None
    gain: tuple[float, float, float]
    vignette: float
    noise: float
    quality: int | None
    dust: tuple[Speck, ...]


@dataclass(frozen=True)
class Eye:
    """A healthy eye in front of a camera.

    Attributes:
        left: A left eye: its disc lies left of its fovea in the photograph.
        disc: Centre of the optic disc, shares of the side.
        disc_radius: Share of the side.
        fovea: Centre of the fovea, shares of the side.
        base: (3,) float32 colour of the bare retina, 0..1.
        canvas: (size, size, 3) float32 RGB, light that the retina returns under even light; about 0..1.
        light: (size, size) float32, how much light reaches the retina; about 0.4..1.3.
        field: (size, size) float32, share of the pixel inside the field of view, 0..1.
    """

    left: bool
    camera: Camera
    disc: tuple[float, float]
    disc_radius: float
    fovea: tuple[float, float]
    vessels: tuple[Vessel, ...]
    base: Floats
    canvas: Floats
    light: Floats
    field: Floats

    @property
    def size(self) -> int:
        """Side of the photograph in pixels."""
        return int(self.canvas.shape[0])

    def room(self, x: float, y: float) -> float:
        """Distance of a point from the edge of the field, share of the side; negative outside."""
        round_edge = self.camera.radius - float(np.hypot(x - 0.5, y - 0.5))
        return min(round_edge, self.camera.radius * self.camera.cut - abs(y - 0.5))


def streams(seed: Seed) -> dict[str, np.random.Generator]:
    """Independent random generators, one per name in `STREAMS`."""
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    return {name: np.random.default_rng(child) for name, child in zip(STREAMS, children, strict=True)}


def draw_camera(rng: np.random.Generator) -> Camera:
    """Choose a camera: three in five cut the field at top and bottom as IDRiD's Kowa VX-10 does."""
    cut = float(rng.uniform(0.8, 0.88)) if rng.random() < 0.6 else 1.0
    dust = tuple(
        Speck(rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0.002, 0.007), rng.uniform(0.08, 0.3))
        for _ in range(int(rng.poisson(1.5)))
    )
    return Camera(
        radius=float(rng.uniform(0.47, 0.495)),
        cut=cut,
        tab=float(rng.uniform(-0.75, -0.4)) if rng.random() < 0.5 else None,
        gain=(float(rng.uniform(0.88, 1.1)), float(rng.uniform(0.88, 1.1)), float(rng.uniform(0.6, 1.25))),
        vignette=float(rng.uniform(0.1, 0.45)),
        noise=float(rng.uniform(0.8, 3.0)),
        quality=int(rng.integers(72, 92)) if rng.random() < 0.4 else None,
        dust=dust,
    )


def _clouds(rng: np.random.Generator, size: int, cells: int) -> Floats:
    """Smooth noise with about `cells` humps along a side: (size, size) float32, mean 0."""
    grid = rng.standard_normal((cells, cells), dtype=np.float32)
    method = cv2.INTER_CUBIC if size > cells else cv2.INTER_AREA
    return np.asarray(cv2.resize(grid, (size, size), interpolation=method), np.float32)


def axes(size: int) -> tuple[Floats, Floats]:
    """Pixel centres in shares of the side: x as (1, size), y as (size, 1), to be broadcast."""
    centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return centres[None, :], centres[:, None]


def _step(distance: Floats, width: float) -> Floats:
    """Smooth step: 0 below -width, 1 above width."""
    share = np.clip(distance / np.float32(2 * width) + np.float32(0.5), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _blend(canvas: Floats, amount: Floats, colour: Floats) -> None:
    """Move the canvas towards a colour, in place; amount (H, W) 0..1."""
    canvas += amount[..., None] * (colour - canvas)


def _field(camera: Camera, size: int) -> Floats:
    """(size, size) share of every pixel inside the field of view."""
    x, y = axes(size)
    inside = np.clip((camera.radius - np.hypot(x - 0.5, y - 0.5)) * size + 0.5, 0, 1)
    if camera.tab is not None:
        tab_x = 0.5 + camera.radius * 1.005 * math.cos(camera.tab)
        tab_y = 0.5 + camera.radius * 1.005 * math.sin(camera.tab)
        tab = np.clip((0.008 - np.maximum(np.abs(x - tab_x), np.abs(y - tab_y))) * size + 0.5, 0, 1)
        inside = np.maximum(inside, tab)
    band = np.clip((camera.radius * camera.cut - np.abs(y - 0.5)) * size + 0.5, 0, 1)
    return np.asarray(inside * band, np.float32)


def _light(camera: Camera, rng: np.random.Generator, size: int) -> Floats:
    """Uneven light: vignette, a tilt, a bright spot and slow clouds."""
    x, y = axes(size)
    tilt = rng.uniform(-0.35, 0.35, 2).tolist()  # plain floats: NumPy's own would make the picture float64
    spot = rng.uniform(0.3, 0.7, 2).tolist()
    distance = (x - 0.5) ** 2 + (y - 0.5) ** 2
    light = 1 - camera.vignette * (distance / camera.radius**2) ** np.float32(rng.uniform(0.9, 1.8))
    light = light + tilt[0] * (x - 0.5) + tilt[1] * (y - 0.5)
    hot = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / np.float32(rng.uniform(0.02, 0.08)))
    light = light + np.float32(rng.uniform(0, 0.2)) * hot
    light = light + np.float32(rng.uniform(0.02, 0.08)) * _clouds(rng, size, 5)
    return np.asarray(np.maximum(light, 0.15), np.float32)


def _retina(rng: np.random.Generator, base: Floats, size: int) -> Floats:
    """Bare retina: pigment clouds, the streaks of the choroid and fine grain."""
    shade = 1 + np.float32(0.05) * _clouds(rng, size, 7) + np.float32(0.025) * _clouds(rng, size, 24)
    shade += np.float32(0.02) * _clouds(rng, size, 90)
    canvas = shade[..., None] * base
    ridge = 1 - np.abs(_clouds(rng, size, 17) + np.float32(0.4) * _clouds(rng, size, 40))
    ridge = np.clip(ridge, 0, 1) ** 3 * np.clip(0.4 + _clouds(rng, size, 4), 0, 1)
    strength = rng.uniform(0, 0.1) if rng.random() < 0.6 else rng.uniform(0.08, 0.22)
    canvas *= 1 + np.float32(strength) * (ridge - np.float32(0.3))[..., None] * rgb(1.0, 1.1, 0.8)
    canvas[..., 1] *= 1 + np.float32(0.05) * _clouds(rng, size, 6)
    return np.asarray(canvas, np.float32)


def _macula(canvas: Floats, rng: np.random.Generator, fovea: tuple[float, float]) -> None:
    """Darken and redden the macula, in place."""
    x, y = axes(canvas.shape[0])
    distance = (x - fovea[0]) ** 2 + (y - fovea[1]) ** 2
    wide = np.exp(-distance / np.float32(2 * rng.uniform(0.05, 0.08) ** 2)) * np.float32(rng.uniform(0.25, 0.5))
    pit = np.exp(-distance / np.float32(2 * rng.uniform(0.014, 0.024) ** 2)) * np.float32(rng.uniform(0.1, 0.35))
    dark = np.maximum(wide, 0) + pit * (1 - wide)
    canvas *= 1 - dark[..., None] * rgb(0.45, 0.85, 0.7)
    if rng.random() < 0.3:  # the reflex in the pit of a young fovea
        reflex = np.exp(-distance / np.float32(2 * 0.003**2)) * np.float32(rng.uniform(0.1, 0.3))
        canvas += reflex[..., None]


def _disc(
    canvas: Floats, rng: np.random.Generator, base: Floats, disc: tuple[float, float], radius: float, toward: float
) -> None:
    """Paint the optic disc in place: halo, rim, paler cup; `toward`: the sign of x from the disc to the fovea."""
    disc_x, disc_y = disc
    x, y = axes(canvas.shape[0])
    # The halo has faded to less than a grey level at 4.5 radii: painting the rest of the picture is waste.
    rows, columns = (np.abs(y[:, 0] - disc_y) < 4.5 * radius), (np.abs(x[0] - disc_x) < 4.5 * radius)
    x, y = x[:, columns], y[rows]
    top, left = int(rows.argmax()), int(columns.argmax())
    canvas = canvas[top : top + y.shape[0], left : left + x.shape[1]]  # a view
    across, up = (x - disc_x) * np.float32(rng.uniform(1.02, 1.15)), y - disc_y
    distance = np.hypot(across, up)
    halo = np.exp(-((np.maximum(distance - radius, 0) / np.float32(radius * rng.uniform(0.5, 1.3))) ** 2))
    _blend(canvas, halo * np.float32(rng.uniform(0.08, 0.3)), base * rgb(1.2, 1.35, 1.6) + 0.03)
    pale = np.float32(rng.uniform(0.9, 1.15))
    rim = np.minimum(base * rgb(1.32, 1.62, 1.9) * pale + rgb(0.03, 0.03, 0.05), 1.05)
    ring = _step(radius * np.float32(1.1) - np.hypot(across - toward * radius * 0.06, up), radius * 0.1)
    _blend(canvas, ring * np.float32(rng.uniform(0.15, 0.55)), rim * rgb(1.0, 1.05, 1.0))
    _blend(canvas, _step(radius - distance, radius * rng.uniform(0.05, 0.12)) * np.float32(0.92), rim)
    cup = radius * rng.uniform(0.3, 0.6)
    shift = toward * radius * rng.uniform(0.0, 0.15)
    inner = _step(cup - np.hypot(across - np.float32(shift), up), cup * rng.uniform(0.2, 0.45))
    _blend(canvas, inner * np.float32(rng.uniform(0.6, 0.95)), np.minimum(rim * rgb(1.06, 1.28, 1.45), 1.1))


def stain(canvas: Floats, speck: Speck, factor: Floats, sharp: bool = False) -> None:
    """Multiply a round spot of the canvas by a factor per channel, as far as the amount says.

    Args:
        canvas: (size, size, 3) float32, changed in place.
        speck: Where, how large and how much.
        factor: (3,) float32.
        sharp: With an edge; otherwise it fades.
    """
    size = canvas.shape[0]
    reach = speck.radius * (1.3 if sharp else 2.6) + 1.0 / size
    x0, x1 = (int(np.clip(edge * size, 0, size)) for edge in (speck.x - reach, speck.x + reach + 1.0 / size))
    y0, y1 = (int(np.clip(edge * size, 0, size)) for edge in (speck.y - reach, speck.y + reach + 1.0 / size))
    x, y = axes(size)
    distance = np.hypot(x[:, x0:x1] - speck.x, y[y0:y1] - speck.y)
    if sharp:
        shape = _step(np.float32(speck.radius) - distance, max(speck.radius * 0.25, 0.7 / size))
    else:
        shape = np.exp(-0.5 * (distance / np.float32(speck.radius)) ** 2)
    canvas[y0:y1, x0:x1] *= 1 + np.float32(speck.amount) * shape[..., None] * (factor - 1)


def _marks(canvas: Floats, rng: np.random.Generator, vessels: tuple[Vessel, ...], fovea: tuple[float, float]) -> None:
    """Paint what is no diabetic lesion, in place: drusen-like and pigment spots, reflexes of young eyes."""
    size = canvas.shape[0]
    if rng.random() < 0.3:
        spread = rng.uniform(0.05, 0.13)
        for _ in range(int(rng.integers(4, 28))):
            x, y = rng.normal(fovea, spread).tolist()
            speck = Speck(x, y, rng.uniform(0.0018, 0.005), rng.uniform(0.25, 0.7))
            stain(canvas, speck, rgb(1.12, 1.3, 1.35))
    for _ in range(int(rng.poisson(1.2))):
        x, y = rng.uniform(0.12, 0.88, 2).tolist()
        speck = Speck(x, y, rng.uniform(0.003, 0.012), rng.uniform(0.3, 0.9))
        stain(canvas, speck, rgb(0.62, 0.66, 0.75), sharp=rng.random() < 0.4)
    if rng.random() < 0.35:
        arteries = tuple(v for v in vessels if v.generation < 2)
        along = draw_vessels(arteries, size, scale=0.3) * np.clip(0.15 + _clouds(rng, size, 9), 0, 1)
        canvas += along[..., None] * rgb(0.26, 0.25, 0.2) * np.float32(rng.uniform(0.4, 1.0))
        sheen = np.clip(_clouds(rng, size, 6) - np.float32(0.1), 0, 1)
        canvas += sheen[..., None] * rgb(0.04, 0.05, 0.05) * np.float32(rng.uniform(0.2, 1.0))


def _base(rng: np.random.Generator, camera: Camera) -> Floats:
    """Colour of the bare retina; the spread follows the mean colours of IDRiD's photographs."""
    red = rng.uniform(0.52, 0.86)
    green = red * rng.uniform(0.38, 0.56)
    blue = green * (rng.uniform(0.06, 0.25) if rng.random() < 0.65 else rng.uniform(0.25, 0.55))
    return np.asarray(rgb(red, green, blue) * rgb(*camera.gain), np.float32)


def paint_eye(seed: Seed, size: int, *, camera: Camera | None = None, left: bool | None = None) -> Eye:
    """Paint a healthy eye.

    Args:
        seed: One number or several (see `numpy.random.SeedSequence`); one seed is one eye at any size.
        size: Side of the square photograph in pixels, at least 64.
        camera: The camera; None: one drawn from the seed.
        left: Which eye; None: drawn from the seed.
    """
    rngs = streams(seed)
    camera = draw_camera(rngs["camera"]) if camera is None else camera
    rng = rngs["anatomy"]
    is_left = bool(rng.random() < 0.5)  # drawn in any case, so that the anatomy stays the same
    left = is_left if left is None else left
    toward = 1.0 if left else -1.0
    radius = camera.radius * rng.uniform(0.142, 0.164)
    gap = 2 * radius * rng.uniform(2.35, 2.65)
    fovea = (0.5 + toward * rng.uniform(-0.01, 0.12), 0.5 + rng.uniform(-0.03, 0.05))
    disc = (fovea[0] - toward * gap, fovea[1] - rng.uniform(0.0, 0.05))
    base = _base(rng, camera)
    vessels = grow_vessels(rngs["vessels"], disc, radius, fovea)

    surface = rngs["surface"]
    canvas = _retina(surface, base, size)
    _macula(canvas, surface, fovea)
    _disc(canvas, surface, base, disc, radius, toward)
    for artery, passes in ((False, _VEIN), (True, _ARTERY)):
        layer = draw_vessels(tuple(v for v in vessels if v.artery is artery), size)
        layer = cv2.GaussianBlur(layer, (0, 0), max(0.0009 * size, 0.2))
        canvas *= 1 - layer[..., None] * (1 - passes) * np.float32(surface.uniform(0.75, 1.05))
    _marks(canvas, rngs["marks"], vessels, fovea)
    return Eye(
        left=left,
        camera=camera,
        disc=disc,
        disc_radius=radius,
        fovea=fovea,
        vessels=vessels,
        base=base,
        canvas=np.maximum(canvas, np.float32(0.004)),
        light=_light(camera, surface, size),
        field=_field(camera, size),
    )
