"""Which lesions an eye of a grade has, and where: the random part of `lesions`.

Invariant: a plan is drawn in shares of the side before any pixel is painted, its lesions keep apart from each other
(specks of hard exudate within a cluster may touch), and its grade is the grade asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regaze.synthetic.eye import Eye
from regaze.synthetic.lesions import Lesion, Points, count_signs, grade_of, intraretinal_quadrants

_APART = 0.011  # gap between lesions: near 3 pixels at 256, so that each stays one component there
_TRIES = 60


def _blob(rng: np.random.Generator, centre: Points, radius: float, rough: float, corners: int = 18) -> Points:
    """A roundish outline (N, 2): three random harmonics on a circle."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    edge = np.ones(corners)
    for order in (2, 3, 5):
        edge += rough / order**0.5 * rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    edge = radius * np.clip(edge, 0.45, 1.6)
    return centre + np.stack([edge * np.cos(angle), edge * np.sin(angle)], axis=1)


def _ellipse(centre: Points, long: float, short: float, heading: float) -> Points:
    """An ellipse's outline (16, 2)."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    along, across = long * np.cos(angle), short * np.sin(angle)
    rotation = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
    return np.asarray(centre + np.stack([along, across], axis=1) @ rotation, np.float64)


def _flame(rng: np.random.Generator, centre: Points, radius: float, heading: float) -> tuple[Points, ...]:
    """Thin streaks side by side with ends of unequal length, as blood lies between nerve fibres."""
    along = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-along[1], along[0]])
    streaks = []
    for lane in range(-3, 4):
        middle = centre + radius * (across * lane * 0.08 + along * rng.normal(0, 0.12))
        length = radius * rng.uniform(0.5, 1.0) * (1 - 0.15 * abs(lane))
        streaks.append(_ellipse(middle, length, radius * 0.09, heading))
    return tuple(streaks)


class _Plan:
    """Lesions so far and the room that they take."""

    def __init__(self, eye: Eye, rng: np.random.Generator) -> None:
        self.eye, self.rng = eye, rng
        self.contrast = float(rng.uniform(0.55, 1.0))  # of red lesions: fresh or old blood, dark or pale fundus
        self.lesions: list[Lesion] = []
        self._taken: list[tuple[float, float, float]] = []

    def fits(self, point: Points, reach: float, gap: float = _APART) -> bool:
        """Whether a lesion of this reach lies in the field and clear of the others."""
        if self.eye.room(float(point[0]), float(point[1])) < reach + 0.02:
            return False
        if not self._taken:
            return True
        taken = np.array(self._taken)
        return bool(np.all(np.hypot(*(taken[:, :2] - point).T) > taken[:, 2] + reach + gap))

    def _take(self, point: Points, reach: float) -> None:
        """Keep later lesions away from here."""
        self._taken.append((float(point[0]), float(point[1]), reach))

    def _add(self, lesion: Lesion, reach: float) -> None:
        """Keep a lesion, and later ones away from its anchors."""
        self.lesions.append(lesion)
        for anchor in lesion.anchors:
            self._take(anchor, reach)

    def anywhere(self, reach: float, quadrant: int | None = None) -> Points | None:
        """A free point in the field (in one quadrant around the fovea, well inside it); None: none free."""
        radius = self.eye.camera.radius
        for _ in range(_TRIES):
            angle, distance = self.rng.uniform(0, 2 * np.pi), radius * np.sqrt(self.rng.uniform(0, 1))
            point = np.array([0.5 + distance * np.cos(angle), 0.5 + distance * np.sin(angle)])
            offset = point - np.array(self.eye.fovea)
            if quadrant is not None and (
                (offset[0] > 0) + 2 * (offset[1] > 0) != quadrant or np.abs(offset).min() < 0.02
            ):
                continue
            off_disc = np.hypot(*(point - np.array(self.eye.disc))) > self.eye.disc_radius + reach
            if off_disc and self.fits(point, reach):
                return point
        return None

    def microaneurysms(self, count: int) -> None:
        """Tiny red dots, more of them near the macula."""
        for _ in range(count):
            radius = self.rng.uniform(0.0012, 0.0026)
            point = self.anywhere(radius)
            if self.rng.random() < 0.5:
                near = self.rng.normal(self.eye.fovea, 0.12)
                point = near if self.fits(near, radius) and not self._on_disc(near, radius) else point
            if point is not None:
                shape = _blob(self.rng, point, radius, 0.08, 10)
                strength = self.contrast * self.rng.uniform(0.6, 1.0)
                self._add(Lesion("microaneurysms", (shape,), point[None], strength), radius)

    def _on_disc(self, point: Points, reach: float) -> bool:
        return bool(np.hypot(*(point - np.array(self.eye.disc))) < self.eye.disc_radius * 1.1 + reach)

    def haemorrhage(self, quadrant: int | None = None) -> None:
        """A dot, a blot, or a flame that follows the nerve fibres away from the disc."""
        rng = self.rng
        kind = rng.choice(3, p=(0.4, 0.38, 0.22))
        radius = float(rng.uniform(*((0.0032, 0.0055), (0.0055, 0.0125), (0.011, 0.021))[kind]))
        if (point := self.anywhere(radius * 1.3, quadrant)) is None:
            return
        if kind == 2:
            away = point - np.array(self.eye.disc)
            heading = float(np.arctan2(away[1], away[0]) + rng.normal(0, 0.2))
            shapes = _flame(rng, point, radius, heading)
        else:
            shapes = (_blob(rng, point, radius, (0.06, 0.16)[kind]),)
        strength = self.contrast * float(rng.uniform(0.45, 1.0))
        soft = float(rng.uniform(0.0006, 0.0016)) * (0.6, 1.0, 0.8)[kind]
        self._add(Lesion("haemorrhages", shapes, point[None], strength, soft), radius * 1.3)

    def haemorrhages(self, count: int, everywhere: bool = False) -> None:
        """Haemorrhages anywhere, or (`everywhere`) at least three in each quadrant."""
        for index in range(count):
            self.haemorrhage(index % 4 if everywhere and index < 16 else None)

    def blots(self, count: int) -> None:
        """Dark round haemorrhages as large as the disc's half: no eye has them, every network sees them."""
        for _ in range(count):
            radius = float(self.rng.uniform(0.03, 0.05))
            if (point := self.anywhere(radius * 1.3)) is not None:
                shape = _blob(self.rng, point, radius, 0.16)
                strength = float(self.rng.uniform(0.7, 1.0))
                self._add(Lesion("haemorrhages", (shape,), point[None], strength, soft=0.001), radius * 1.3)

    def patches(self, count: int) -> None:
        """Pale soft exudates as large as the blots."""
        for _ in range(count):
            radius = float(self.rng.uniform(0.03, 0.05))
            if (point := self.anywhere(radius * 1.7)) is not None:
                heading = float(self.rng.uniform(0, np.pi))
                shape = _ellipse(point, radius, radius * self.rng.uniform(0.6, 0.9), heading)
                strength = float(self.rng.uniform(0.6, 0.95))
                self._add(Lesion("soft_exudates", (shape,), point[None], strength, soft=0.2 * radius), radius * 1.7)

    def exudates(self, clusters: int, large: bool) -> None:
        """Hard exudates near the macula: clusters and circinate rings of yellow specks."""
        rng = self.rng
        for _ in range(clusters):
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.04, 0.21)
            centre = np.array(self.eye.fovea) + distance * np.array([np.cos(angle), np.sin(angle)])
            number = int(rng.integers(8, 40) * (2.0 if large else 1.0))
            if rng.random() < 0.35:
                angles = rng.uniform(0, 2 * np.pi) + rng.uniform(0, rng.uniform(3.0, 6.3), number)
                ring = rng.uniform(0.025, 0.065) * (1.2 if large else 1.0)
                spread = ring * rng.normal(1, 0.1, (number, 1))
                points = centre + spread * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            else:
                points = rng.normal(centre, rng.uniform(0.01, 0.03) * (1.5 if large else 1.0), (number, 2))
            self._specks(points, 1.35 if large else 1.0)

    def _specks(self, points: Points, scale: float) -> None:
        """Keep the specks of one cluster that find room; they may touch each other, but no other lesion."""
        shapes, anchors, reaches = [], [], []
        for point in points:
            radius = scale * float(self.rng.gamma(1.5, 0.0012)) + 0.001
            shape = _blob(self.rng, point, radius, 0.26, 12)
            if self.fits(point, 1.6 * radius) and not self._on_disc(point, radius):
                shapes.append(shape)
                anchors.append(point)
                reaches.append(1.6 * radius)
        if anchors:
            strength = float(self.rng.uniform(0.4, 1.0))
            self.lesions.append(Lesion("hard_exudates", tuple(shapes), np.array(anchors), strength))
            for anchor, reach in zip(anchors, reaches, strict=True):
                self._take(anchor, reach)

    def cotton_wool(self, count: int) -> None:
        """Soft exudates: whitish, fluffy, along the arcades rather than far out."""
        rng = self.rng
        for _ in range(count):
            radius = float(rng.uniform(0.012, 0.026))
            if (point := self.anywhere(radius * 1.7)) is None:
                continue
            heading = float(rng.uniform(0, np.pi))
            shapes = [_ellipse(point, radius, radius * rng.uniform(0.5, 0.85), heading)]
            shapes += [
                _blob(rng, point + rng.normal(0, 0.4, 2) * radius, radius * rng.uniform(0.4, 0.6), 0.15)
                for _ in range(3)
            ]
            strength = float(rng.uniform(0.4, 0.85))
            self._add(Lesion("soft_exudates", tuple(shapes), point[None], strength, soft=0.28 * radius), radius * 1.7)

    def new_vessels(self, on_disc: bool) -> bool:
        """A tangle of fine vessels on the disc or beside a vessel elsewhere; False: no room."""
        rng = self.rng
        reach = float(rng.uniform(0.028, 0.06))
        if on_disc:
            angle = rng.uniform(0, 2 * np.pi)
            edge = self.eye.disc_radius * rng.uniform(0.3, 0.95)
            point = np.array(self.eye.disc) + edge * np.array([np.cos(angle), np.sin(angle)])
            if not self.fits(point, 0.0):
                return False
        else:
            if (free := self.anywhere(reach)) is None:
                return False
            point = free
        shapes = []
        for _ in range(int(rng.integers(7, 15))):
            steps = int(rng.integers(14, 30))
            bends = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(rng.normal(0, 0.16), 0.42, steps))
            line = np.cumsum(np.stack([np.cos(bends), np.sin(bends)], axis=1), axis=0) * reach * 0.11
            line *= min(1.0, reach * rng.uniform(0.6, 1.0) / float(np.hypot(*line.T).max()))
            shapes.append(point + np.concatenate([np.zeros((1, 2)), line]))
        shapes = [shape for shape in shapes if all(self.eye.room(x, y) > 0.01 for x, y in shape)] or shapes[:1]
        strength = float(rng.uniform(0.6, 1.0))
        width = float(rng.uniform(0.0018, 0.003))
        self._add(Lesion("neovascularisation", tuple(shapes), point[None], strength, 0.0, width), reach)
        return True

    def preretinal(self) -> bool:
        """Blood before the retina: a boat with a level top; False: no room."""
        half = float(self.rng.uniform(0.045, 0.1))
        depth = half * float(self.rng.uniform(0.5, 1.0))
        if (point := self.anywhere(half * 1.1)) is None:
            return False
        angle = np.linspace(0, np.pi, 24)
        keel = np.sin(angle) ** self.rng.uniform(0.7, 1.1)
        hull = np.stack([half * np.cos(angle), depth * keel - depth * 0.42], axis=1)
        hull += self.rng.normal(0, 0.035, 2) * half * np.sin(2 * angle)[:, None]
        lean = self.rng.normal(0, 0.06)  # the patient's head is never quite upright
        hull = hull @ np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
        strength = float(self.rng.uniform(0.75, 0.95))
        self._add(Lesion("preretinal", (point + hull,), point[None], strength, soft=0.0035), half * 1.1)
        return True

    def beading(self) -> bool:
        """Bulges in a row along a large vein; False: no vein has room for three."""
        veins = [v for v in self.eye.vessels if not v.artery and v.generation == 0 and len(v.points) > 25]
        for index in self.rng.permutation(len(veins)):
            vein = veins[index]
            beads = self._beads(vein.points, vein.widths)
            if len(beads) >= 3:
                centres, shapes = zip(*beads, strict=True)
                strength = float(self.rng.uniform(0.4, 0.7))
                self._add(Lesion("beading", shapes, np.array(centres), strength, soft=0.0008), 0.014)
                return True
        return False

    def _beads(self, points: Points, widths: NDArray[np.float64]) -> list[tuple[Points, Points]]:
        """Centres and outlines of bulges on one vein, outside the disc and the other lesions."""
        beads: list[tuple[Points, Points]] = []
        for at in range(int(self.rng.integers(9, 13)), len(points) - 2, 3):
            along = points[at + 1] - points[at]
            heading = float(np.arctan2(along[1], along[0]))
            width = float(widths[at] * self.rng.uniform(0.8, 1.05))
            if len(beads) < 9 and not self._on_disc(points[at], 0.01) and self.fits(points[at], 0.012, 0.0):
                beads.append((points[at], _ellipse(points[at], max(0.009, width), width, heading)))
        return beads


def _moderate(plan: _Plan, most: int = 15) -> None:
    """Signs of grade 2: more than microaneurysms, fewer haemorrhages than grade 3 asks for."""
    rng = plan.rng
    plan.cotton_wool(int(rng.integers(1, 4)) if rng.random() < 0.25 else 0)
    plan.haemorrhages(min(most, int(rng.gamma(1.6, 3.2)) + (0 if rng.random() < 0.15 else 1)))
    plan.exudates(int(rng.integers(1, 6)) if rng.random() < 0.6 else 0, bool(rng.random() < 0.25))
    if not set(count_signs(tuple(plan.lesions))) - {"microaneurysms"}:
        plan.haemorrhages(1)
    plan.microaneurysms(int(rng.integers(1, 22)))


def _severe(plan: _Plan) -> None:
    """Signs of grade 3: beaded veins (tried in one of five, not every vein has room), else many haemorrhages."""
    rng = plan.rng
    beaded = rng.random() < 0.2 and plan.beading()
    if beaded:
        plan.haemorrhages(int(rng.integers(6, 20)))
    else:
        plan.haemorrhages(int(rng.integers(26, 52)), everywhere=True)
    plan.cotton_wool(int(rng.integers(1, 6)) if rng.random() < 0.5 else 0)
    plan.exudates(int(rng.integers(1, 6)) if rng.random() < 0.6 else 0, bool(rng.random() < 0.3))
    plan.microaneurysms(int(rng.integers(6, 41)))


def _proliferative(plan: _Plan) -> None:
    """Signs of grade 4, alone or on top of the signs of a lower grade."""
    rng = plan.rng
    preretinal = rng.random() < 0.45
    if preretinal:
        preretinal = sum([plan.preretinal() for _ in range(int(rng.integers(1, 3)))]) > 0
    if not preretinal or rng.random() < 0.5:
        has_vessels = plan.new_vessels(on_disc=bool(rng.random() < 0.4))
        for _ in range(int(rng.integers(0, 3))):
            has_vessels = plan.new_vessels(on_disc=False) or has_vessels
        while not (has_vessels or preretinal):
            has_vessels = plan.new_vessels(on_disc=True)  # the disc lies in the field, nothing else is planned yet
    background = rng.choice(3, p=(0.2, 0.5, 0.3))
    if background:
        (_moderate, _severe)[background - 1](plan)


def plan_lesions(eye: Eye, grade: int, rng: np.random.Generator) -> tuple[Lesion, ...]:
    """Choose lesions that make an eye this grade and no other.

    Args:
        eye: The healthy eye.
        grade: 0..4.
        rng: The stream of the lesions.

    Returns:
        The lesions, in the order in which they are painted.
    """
    plan = _Plan(eye, rng)
    if grade == 1:
        plan.microaneurysms(1)
        plan.microaneurysms(int(rng.gamma(1.8, 4.0)))
    elif grade > 1:
        (_moderate, _severe, _proliferative)[grade - 2](plan)
    lesions = tuple(plan.lesions)
    signs = count_signs(lesions)
    assert grade == grade_of(signs, intraretinal_quadrants(lesions, eye)), (grade, signs)
    return lesions


def plan_simple(eye: Eye, grade: int, rng: np.random.Generator) -> tuple[Lesion, ...]:
    """Choose few, large lesions: a task that a network learns from scratch on some 200 photographs of 128 pixels.

    Args:
        eye: The healthy eye; the first lesion of a sort always finds room in it.
        grade: 0: none. 1: one to three blots. 2: one to three blots, and one to three pale patches.
        rng: The stream of the lesions.

    Returns:
        The lesions, in the order in which they are painted.
    """
    plan = _Plan(eye, rng)
    if grade > 0:
        plan.blots(int(rng.integers(1, 4)))
    if grade > 1:
        plan.patches(int(rng.integers(1, 4)))
    assert len({lesion.sign for lesion in plan.lesions}) == grade
    return tuple(plan.lesions)
