"""Names that come in pairs: `10_left` and `10_right`, `P7OD` and `P7OS`, `12_1` and `12_2`.

Such names say which photographs are of one patient (or part), but nothing in them proves it: the expression that groups
them is offered and never applied unasked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from regaze.records import Sample

_SIDES: tuple[tuple[str, ...], ...] = (
    ("left", "right"),
    ("od", "os"),
    ("od", "og"),
    ("od", "oi"),
    ("re", "le"),
    ("rt", "lt"),
    ("dexter", "sinister"),
    ("dex", "sin"),
    ("dx", "sx"),
    ("rechts", "links"),
    ("droite?", "gauche"),
    ("der", "izq"),
    ("l", "r"),
    ("d", "s"),
    ("left", "right", "od", "os", "re", "le", "l", "r"),  # of several sites
)
"""How sides are spelled in names, in any case."""

_NUMBERS = (
    r"^(.+)[ _.-]+\(?[0-9]+\)?$",  # 12_1, 12 (1)
    r"^(.+?)\([0-9]+\)$",  # 12(1)
    r"^[^0-9]+[0-9]+[ _.-]+(.+)$",  # exp1_num_12
    "(?i)^(.*[0-9])[ _.-]*[a-f]$",  # 12a
    "(?i)^(.+?)[ _.-]*[a-z]*[0-9]+$",  # 12_shot1
)
"""Names with the number, or the letter, of the shot."""

_WORD = "(?i)(?<![a-z])((?:patient|subject|person|case|pat|subj|sub|pt)[ _-]*[0-9]+)"  # patient10_slice3
_MOST_SHOTS = 9  # more different numbers than that count photographs, not the shots of one
_FOLDER = r"([^/]+)/[^/]+$"


def pair_expression(samples: Sequence[Sample]) -> str | None:
    """The expression for `--patient` by which the names of photographs group, where they look like pairs.

    At least half of the photographs must have a partner by it, and there must be two groups or more. For numbers, of
    which any set of photographs is full, there must also be more groups than different numbers and than classes.

    Args:
        samples: Photographs whose patients are unknown.

    Returns:
        A regular expression as `folder.with_patients` takes it; None where names do not look like pairs.
    """
    stems = [sample.image.stem for sample in samples]
    classes = len({sample.label for sample in samples})
    by_word = _paired(stems, _WORD, None, 0, most=len(stems))
    found = [(by_word, _WORD)] if by_word else []
    found += [(groups, text) for text, tokens in _by_side() if (groups := _paired(stems, text, tokens, 0))]
    if not found:
        found = [(groups, text) for text in _NUMBERS if (groups := _paired(stems, text, None, classes))]
    if not found and len(set(stems)) <= _MOST_SHOTS:  # 10/left, 10/right
        groups = _paired([sample.id for sample in samples], _FOLDER, None, classes)
        found = [(groups, _FOLDER)] if groups else []
    return max(found, key=lambda each: each[0])[1] if found else None


def _by_side() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield expressions with the side behind or before what names the patient, each with a pattern of its sides."""
    for sides in _SIDES:
        eye = "(?:[ _-]?eye)?" if "left" in sides else ""
        word = f"(?:{'|'.join(sides)})"
        # Short ones may be part of another word.
        side = f"{word}{eye}" if min(map(len, sides)) > 3 else f"(?<![a-z]){word}(?![a-z])"
        token = re.compile(f"(?i){side}")
        yield f"(?i)^(.+)[ _.-]{word}$", token  # the usual form first, since it is the easiest to read
        yield f"(?i)^(.+?)[ _.-]*{side}", token
        yield f"(?i)^.*?{side}[ _.-]*(.+)$", token


def _paired(
    names: Sequence[str], expression: str, token: re.Pattern[str] | None, more_than: int, most: int = _MOST_SHOTS
) -> int:
    """How many groups with two different sides or numbers an expression makes; 0 where names do not look like that."""
    pattern = re.compile(expression)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        if match := pattern.search(name):
            rest = name[: match.start(1)] + name[match.end(1) :]
            side = token.search(name, match.start()) if token else None
            groups[match[1]].append((side[0] if side else rest).casefold())
    pairs = [members for members in groups.values() if len(set(members)) > 1]
    kinds = {member for members in pairs for member in members}
    if len(pairs) < 2 or 2 * sum(map(len, pairs)) < len(names):
        return 0
    if token is None and (len(kinds) > most or (most == _MOST_SHOTS and len(groups) <= max(len(kinds), more_than))):
        return 0
    return len(pairs)
