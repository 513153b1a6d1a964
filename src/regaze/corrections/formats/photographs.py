"""The photographs that a foreign file may name, and how its names find them.

Invariant: names are compared as texts; nothing in here touches the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from regaze.corrections.formats.source import Source, shown
from regaze.errors import CorrectionError
from regaze.path_names import Endings
from regaze.records import MAX_PIXELS


@dataclass(frozen=True)
class Photograph:
    """One photograph as other tools know it.

    Attributes:
        sample: `Sample.id`.
        files: How its file is called: its path relative to the data's folder, `/` between the parts; more names
            where there are more; may be empty.
        width, height: Original pixels.
    """

    sample: str
    files: tuple[str, ...]
    width: int
    height: int


class Album:
    """Photographs by name.

    A name finds, in this order: the sample with that id; the photograph whose path, or id, ends with the name's most
    parts, so that `images/training/eye.png` finds `training/eye.jpg`; where the folders do not fit, the one with that
    base name; the one with that stem. Several that fit equally well are an error, not a guess.
    """

    def __init__(self, photographs: Iterable[Photograph]):
        """Raises CorrectionError where two photographs have one id, or a size is impossible."""
        self._photographs: dict[str, Photograph] = {}
        self._endings = Endings()
        for photograph in photographs:
            self._add(photograph)

    def photograph(self, sample: str) -> Photograph:
        """The photograph of a sample (`Sample.id`).

        Raises:
            CorrectionError: There is none.
        """
        if sample not in self._photographs:
            raise CorrectionError(
                f"there is no photograph {sample!r} among {len(self._photographs)}: pass those of its study"
            )
        return self._photographs[sample]

    def name(self, photograph: Photograph) -> str:
        """What to call one of these photographs in a file: its first file name if that finds it, else its id."""
        if photograph.files and self._fitting(photograph.files[0]) == {photograph.sample}:
            return photograph.files[0]
        return photograph.sample

    def match(self, name: str, source: Source) -> Photograph | None:
        """The photograph that a foreign file names, or None where none fits.

        Args:
            name: Id, path, base name or stem.
            source: Where it was read.

        Raises:
            CorrectionError: Several fit.
        """
        fitting = sorted(self._fitting(name))
        if len(fitting) > 1:
            raise source.refuse(
                f"the image {shown(name)} fits {' and '.join(fitting[:2])}", "a name that fits one photograph"
            )
        return self._photographs[fitting[0]] if fitting else None

    def find(self, name: str, source: Source) -> Photograph:
        """The photograph that a foreign file names; arguments as `match`.

        Raises:
            CorrectionError: None or several fit.
        """
        photograph = self.match(name, source)
        if photograph is None:
            example = f" such as {next(iter(self._photographs))}" if self._photographs else ""
            raise source.refuse(f"the image {shown(name)}", f"one of the {len(self._photographs)} photographs{example}")
        return photograph

    def _add(self, photograph: Photograph) -> None:
        sample = photograph.sample
        if sample in self._photographs:
            raise CorrectionError(f"two photographs have the id {sample!r}, expected unique ids")
        if min(photograph.width, photograph.height) < 1 or photograph.width * photograph.height > MAX_PIXELS:
            raise CorrectionError(
                f"{sample!r} has {photograph.width} x {photograph.height} pixels, expected 1 to {MAX_PIXELS} in all"
            )
        self._photographs[sample] = photograph
        self._endings.add(sample, sample, suffix=False)  # an id is no file
        for file in photograph.files:
            self._endings.add(file, sample)

    def _fitting(self, name: str) -> set[str]:
        """The samples that a name fits best; empty where it fits none."""
        if name in self._photographs:
            return {name}
        return self._endings.longest(name)
