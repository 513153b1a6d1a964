"""Tiny painted eyes for the doctor: sound data, to which a test adds one fault."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.console import Voice
from regaze.doctor.examine import Wanted, examine

SIDE = (160, 120)  # width, height
COUNT = 16


def eye(seed, light=1.0, field=True):
    """A disc of orange with vessels and spots of its own on a dark surround, (H, W, 3) uint8."""
    width, height = SIDE
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(15, 20))
    fine = rng.normal(size=(60, 80))
    texture = sum(
        np.asarray(Image.fromarray(noise.astype(np.float32)).resize(SIDE, Image.Resampling.BICUBIC)) * share
        for noise, share in ((coarse, 14), (fine, 9))
    )
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height * 0.46) ** 2
    inside |= not field
    photo = np.stack([150 + texture, 90 + texture, 40 + texture / 2], axis=2) * light
    return (photo * inside[..., None]).clip(0, 255).astype(np.uint8)


def spot(left, top, side=20):
    """A mask (H, W) uint8 with one square."""
    mask = np.zeros((SIDE[1], SIDE[0]), np.uint8)
    mask[top : top + side, left : left + side] = 255
    return mask


@dataclass
class Painted:
    """A table of painted eyes, of which a test changes rows and files before `check`."""

    root: Path
    rows: list = field(default_factory=list)

    def photo(self, number):
        """The file of an eye."""
        return self.root / f"eye{number:02}.png"

    def save(self, name, pixels, **options):
        """Write a picture; returns its name."""
        Image.fromarray(pixels).save(self.root / name, **options)
        return name

    def add(self, name, label, pixels=None, **cells):
        """One more row, of a patient of its own."""
        if pixels is not None:
            self.save(name, pixels)
        self.rows.append({"image": name, "label": label, "patient": f"q{len(self.rows)}"} | cells)

    def write(self):
        """Write the table; returns its spelling."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (self.root / "table.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(self.rows)
        return f"csv:{self.root / 'table.csv'}"

    def check(self, **wanted):
        """The check-up of the table."""
        return examine(Wanted(self.write(), **wanted), Voice(quiet=True))

    def finding(self, kind, **wanted):
        """The finding of a kind; fails where it is not the only one."""
        found = [finding for finding in self.check(**wanted).findings if finding.kind == kind]
        assert len(found) == 1, [finding.kind for finding in found]
        return found[0]


@pytest.fixture(scope="session")
def eyes(tmp_path_factory):
    """Painted once: eye00.png ... eye15.png."""
    folder = tmp_path_factory.mktemp("eyes")
    for number in range(COUNT):
        Image.fromarray(eye(number)).save(folder / f"eye{number:02}.png")
    return folder


@pytest.fixture
def table(eyes, tmp_path):
    """Sixteen eyes of sixteen patients, grades 0, 1 and 2, with nothing wrong."""
    folder = tmp_path / "eyes"
    folder.mkdir()
    for file in eyes.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    rows = [{"image": f"eye{n:02}.png", "label": str(n % 3), "patient": f"p{n}"} for n in range(COUNT)]
    return Painted(folder, rows)
