"""The photographs that a foreign file may name, and how its names find them.

Invariant: names are compared as texts; nothing in here touches the disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

from regaze.corrections.formats.source import Source, shown
from regaze.errors import CorrectionError
from regaze.orientation import upright_size
from regaze.path_names import Endings, path_parts
from regaze.records import MAX_PIXELS
from regaze.tool_names import is_hashed, spellings


@dataclass(frozen=True)
class Photograph:
    """One photograph as other tools know it.

    Attributes:
        sample: `Sample.id`.
        files: How its file is called: its path relative to the data's folder, `/` between the parts; more names
            where there are more; may be empty.
        width, height: Original pixels, stored order.
        orientation: EXIF's, 1 to 8: how other tools turn it before they show it (`regaze.orientation`).
    """

    sample: str
    files: tuple[str, ...]
    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> Photograph:
        """The photograph as other tools show it."""
        width, height = upright_size(self.width, self.height, self.orientation)
        return replace(self, width=width, height=height, orientation=1)


class Album:
    """Photographs by name.

    A name finds, in this order: the sample with that id; the photograph whose path, or id, ends with the name's most
    parts, so that `images/training/eye.png` finds `training/eye.jpg`; where the folders do not fit, the one with that
    base name; the one with that stem. Where none fits, the same with what tools add to names taken off
    (`regaze.tool_names`), then without the letters that they leave out of names, in any case. Several that fit equally
    well are an error, not a guess.
    """

    def __init__(self, photographs: Iterable[Photograph], prefix: str = ""):
        """Raises CorrectionError where two photographs have one id, or a size is impossible.

        Args:
            photographs: In any order.
            prefix: Put before a photograph's name when it is written (`/data/local-files/?d=`).
        """
        self._prefix = prefix
        self._photographs: dict[str, Photograph] = {}
        self._endings, self._cleaned, self._bare = Endings(), Endings(), Endings()
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
        is_known = photograph.files and self._fitting(photograph.files[0]) == {photograph.sample}
        return self._prefix + (photograph.files[0] if is_known else photograph.sample)

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
            raise source.refuse(
                f"the image {shown(name)}",
                f"one of the {len(self._photographs)} photographs{example} (--skip-unknown passes over others)",
            )
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
        for names, written in ((self._endings, str), (self._cleaned, _cleaned), (self._bare, _bare)):
            names.add(written(sample), sample, suffix=False)  # an id is no file
            for file in photograph.files:
                names.add(written(file), sample)

    def _fitting(self, name: str) -> set[str]:
        """The samples that a name fits best; empty where it fits none."""
        if name in self._photographs:
            return {name}
        names = spellings(name)
        fitting = map(self._endings.longest, names)
        cleaned = (self._cleaned.longest(_cleaned(text)) for text in names)
        bare = (self._bare.longest(_bare(text)) for text in names if is_hashed(name))
        return next(filter(None, chain(fitting, cleaned, bare)), set())


def _cleaned(name: str) -> str:
    """A name with what Label Studio leaves of it: `eye (1).jpg` becomes `eye_1.jpg`; in one case, as on Windows."""
    return re.sub(r"[^-\w./\\]", "", name.replace(" ", "_")).casefold()


def _bare(name: str) -> str:
    """A name with what Roboflow leaves of it: `eye (1).jpg` becomes `eye-1.jpg`."""
    stems = [re.fullmatch(r"(?s)(.+?)(\.\w{1,5})?", part) for part in path_parts(name.casefold())]
    return "/".join(re.sub(r"[\W_]+", "-", stem[1]).strip("-") + (stem[2] or "") for stem in stems if stem)
