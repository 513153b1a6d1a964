"""The page of `regaze check`: findings by harm, each with small pictures of what it is about.

Invariant: as the report's (`report.page`): no script, no load but inline pictures, everything from data is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regaze.data.geometry import Geometry
from regaze.data.images import photo_orientation, photo_size, read_photo
from regaze.data.masks import lesion_union
from regaze.doctor.examine import CheckUp
from regaze.doctor.finding import HARMS, Finding
from regaze.drawing import overlay
from regaze.errors import DataError
from regaze.files import write_text
from regaze.orientation import upright_pixels
from regaze.records import Sample
from regaze.report.templates import SMALL, check_page_file, filled

_SHOWN = 12  # cases of a finding with pictures
_LISTED = 200  # cases of a finding with words
_ACROSS = 4  # pictures of a case


def write_check_page(found: CheckUp, path: Path) -> Path:
    """Write the page, whole or not at all.

    Args:
        found: The check-up.
        path: The HTML file; one that is there is replaced, a missing folder is made.

    Returns:
        `path`.

    Raises:
        StudyError: `path` is a folder.
    """
    check_page_file(path, "check.html")
    page = filled(
        "check.html.j2",
        found=found,
        headline=_headline(found),
        sections=[
            (meaning, harm, [_shown(finding) for finding in found.findings if finding.harm == harm])
            for harm, meaning in HARMS.items()
        ],
    )
    write_text(path, page)
    return path


def _headline(found: CheckUp) -> str:
    count = sum(finding.harm == "corrupts" for finding in found.findings)
    if count:
        return f"{count} {'finding' if count == 1 else 'findings'} would corrupt a result"
    return "Nothing found that would corrupt a result"


def _shown(finding: Finding) -> dict[str, Any]:
    with_pictures = [item for item in finding.items if item.samples][:_SHOWN]
    return {
        "finding": finding,
        "cases": [
            (item.text, [p for s in item.samples[:_ACROSS] if (p := _picture(s, finding.with_masks)) is not None])
            for item in with_pictures
        ],
        "listed": [item.text for item in finding.items[:_LISTED]],
        "more": max(0, len(finding.items) - _LISTED),
    }


def _picture(sample: Sample, with_masks: bool) -> tuple[str, str] | None:
    """A small picture, upright, as an address, and its name; None where a file cannot be read."""
    try:
        width, height = photo_size(sample.image)
        frame = Geometry.fit(width, height, (0, 0, width, height), SMALL)
        small = frame.image(read_photo(sample.image, at_least=SMALL))
        if with_masks:
            small = overlay.outlined(small, frame.mask(lesion_union(sample)))
        small = upright_pixels(small, photo_orientation(sample.image))
    except DataError:
        return None
    return overlay.data_uri(small), sample.id
