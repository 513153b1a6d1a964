"""Whose turn it is: grades that take turns, and patients who all come once before anyone comes twice.

Invariant: who is open depends only on who was taken before, so a longer list begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Quota = Literal["equal", "proportional"]


class Turns:
    """Says who may be taken next.

    With the quota `equal`, the grade that was taken least often is next, until it has no photograph left. With
    `proportional`, the grade with the smallest (taken + 1/2) / size is: Webster's divisor method, which favours
    neither big nor small grades and never takes a seat back when the list grows (Balinski and Young, "Fair
    Representation", 1982). Among the grades whose turn it is, those photographs are open whose patient was taken
    least often; so where both cannot be had, the quota goes before the patients.
    """

    def __init__(
        self,
        n: int,
        *,
        groups: Sequence[str | None] | None = None,
        grades: Sequence[int] | None = None,
        quota: Quota | None = None,
    ) -> None:
        """Start with nobody taken.

        Args:
            n: Number of photographs N.
            groups: N patients; None as a patient: unknown, one of their own. None: patients do not matter.
            grades: N grades, needed with a quota.
            quota: `equal`, `proportional`, or None: grades do not matter.
        """
        self._quota = quota
        # An unknown patient is nobody else's.
        patients = range(n) if groups is None else [(i,) if group is None else group for i, group in enumerate(groups)]
        self._group, _ = _codes(patients)
        self._grade, self._size = _codes([0] * n if grades is None or quota is None else grades)
        self._taken_groups = np.zeros(n, dtype=np.int64)
        self._taken_grades = np.zeros(n, dtype=np.int64)

    def open(self, left: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Who may be taken next.

        Args:
            left: (N,) bool, who has not been taken; at least one.

        Returns:
            (N,) bool, a part of `left`, never empty.
        """
        taken = self._taken_grades[self._grade]
        # Division rounds correctly, so equal fractions are equal floats.
        claims = (taken + 0.5) / self._size[self._grade] if self._quota == "proportional" else taken + 0.5
        in_turn = left & (claims == claims[left].min())
        visits = self._taken_groups[self._group]
        return np.asarray(in_turn & (visits == visits[in_turn].min()))

    def take(self, index: int) -> None:
        """Note that photograph `index` (0..N-1) was taken."""
        self._taken_groups[self._group[index]] += 1
        self._taken_grades[self._grade[index]] += 1


def _codes(names: Sequence[Hashable]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number names in order of appearance: (N,) int64 numbers, and how often each number occurs."""
    seen: dict[Hashable, int] = {}
    codes = np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)
    return codes, np.bincount(codes, minlength=len(seen)).astype(np.int64)
