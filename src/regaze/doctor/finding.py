"""What the doctor finds: one plain sentence each, with what to do.

Invariant: a sentence names the thing, how many, an example, and the cure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from regaze.records import Sample

Harm = Literal["corrupts", "misleads", "look"]

HARMS: dict[Harm, str] = {
    "corrupts": "would corrupt a result",
    "misleads": "may mislead",
    "look": "worth a look",
}
"""Harm -> what it means, the worst first."""

_SHOWN = 3  # examples in a sentence


@dataclass(frozen=True)
class Item:
    """One case of a finding.

    Attributes:
        text: What was seen: `training/IDRiD_021 (R2) = training/IDRiD_391 (R3)`.
        samples: The photographs that it is about; empty where none can be shown.
    """

    text: str
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        kind: Its name in the JSON, e.g. `contradictory-copies`.
        harm: A key of `HARMS`.
        text: The sentence.
        items: All cases; empty where it is about the data as a whole.
        with_masks: Its pictures are shown with what is marked in them.
    """

    kind: str
    harm: Harm
    text: str
    items: tuple[Item, ...] = ()
    with_masks: bool = False


def by_harm(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; those of one harm as they came."""
    return sorted(findings, key=lambda finding: list(HARMS).index(finding.harm))


def about(
    kind: str, harm: Harm, items: Sequence[Item], words: tuple[str, str], cure: str, *, with_masks: bool = False
) -> list[Finding]:
    """A finding of several cases; none where there is no case.

    Args:
        kind: See `Finding`.
        harm: Likewise.
        items: The cases.
        words: What is said of one case and of several: `photograph is nearly black`, `photographs are nearly black`.
        cure: What to do.
        with_masks: See `Finding`.
    """
    if not items:
        return []
    text = f"{len(items)} {words[len(items) > 1]} ({examples(item.text for item in items)}): {cure}."
    return [Finding(kind, harm, text, tuple(items), with_masks)]


def examples(texts: Iterable[str]) -> str:
    """The first few of several texts, and how many more there are."""
    listed = list(texts)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return "; ".join(listed[:_SHOWN]) + more


def label_of(sample: Sample, classes: Sequence[str]) -> str:
    """A photograph's class by name."""
    return "not graded" if sample.label is None else classes[sample.label]
