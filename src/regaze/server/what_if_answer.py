"""A what-if's answer as JSON; apart from `what_if`, which brings torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regaze.server.what_if import Answer


def plain_answer(answer: Answer | None) -> dict[str, Any]:
    """The part of `bodies.WhatIfAnswer` that was computed; all None where nothing was."""
    if answer is None:
        return dict.fromkeys(("before", "now", "same_amount", "listens"))
    return asdict(answer)
