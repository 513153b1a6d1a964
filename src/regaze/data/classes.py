"""What is made of labels: the classes, whether they are grades on one scale, and which of them is the sound one.

Invariant: what the labels do not say is not guessed. Words of diabetic retinopathy have their order in any usual
spelling. Numbers are a scale where they are named as grades (`R0`, `grade_2`, a column `level`), or where they are 0 to
4 at most and the photographs are fundus photographs; otherwise they are numbers of classes. `LabelWish` decides
everything that a user knows better. The sound class, whose photographs may count as free of lesions, is one that is
named so, or the 0 of a scale.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from regaze.errors import DataError

_MOST_GRADES = 20  # a table with the "grade" 57 holds something else than grades
_HIGHEST_DR = 4  # of the international clinical scale; numbers above it are no grades of fundus photographs
_MISSING = {
    *("", "?", "??", ".", "-", "--", "---", "n/a", "na", "n.a.", "n.a", "n-a", "#n/a", "<na>", "nan", "nat", "-nan"),
    *("null", "nil", "none", "missing", "unknown", "undefined", "empty", "(empty)", "(blank)", "blank", "#null!"),
    *("ungraded", "not graded", "ungradable", "ungradeable", "not gradable", "unlabelled", "unlabeled", "no label"),
    *("\N{EN DASH}", "\N{EM DASH}", "n / a", "tbd", "#ref!", "#value!", "#name?", "#num!", "#div/0!"),
    *("not available", "not applicable", "not assessed", "not recorded", "no data"),
}
# "none" may be a class too: the one without a finding.
_AMBIGUOUS = {"none", "nil", "empty"}
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)? ?%?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,9}([.,]0*)?")

_KIND = r"(_?(n?pdr|dr|non_?proliferati?ve|diabetic|retinopathy|grade|stage))*"
_DR_WORDS: tuple[str, ...] = (
    r"no(_apparent|ne)?_?(dr|npdr|diabetic_retinopathy|retinopathy)|normal|healthy|no_finding|none",
    rf"(npdr_|dr_)?mild{_KIND}",
    rf"(npdr_|dr_)?moderate{_KIND}",
    rf"(npdr_|dr_)?severe{_KIND}",
    r"(npdr_|dr_)?proliferati?(ve|ng)?(_?(dr|pdr|diabetic|retinopathy))*|proliferate(_?(dr|diabetic|retinopathy))*|pdr",
)
"""Grade 0..4 of the international clinical scale -> its names, plain (`_plain`)."""
_OF_THE_EYE = re.compile(r"(^|_)(n?pdr|dr|proliferat[a-z]*|.*retinopathy)(_|$)|^nodr$")

_GRADE_WORD = (
    r"(r|g|dr|kl|icdr|bi_?rads|grades?|grading|levels?|stages?|severity|scores?|retinopathy|diabetic|adjudicated"
    r"|final|expert|consensus)"
)
_SOUND = (
    r"normal|healthy|good|ok|okay|sound|intact|fine|pass(ed)?|flawless|perfect|control|negative|disease_free"
    r"|non_?(defect(ive)?|diseased|lesions?|pathological|cancer|referable)|(defect|lesion|tumou?r)_?free"
    r"|(no|without|not)_?(any_|apparent_|visible_)?(dr|npdr|amd|dme|defects?|lesions?|tumou?rs?|cancer|findings?"
    r"|disease|pathology|retinopathy|diabetic_retinopathy|glaucoma|cracks?|damage|anomal(y|ies)|abnormality"
    r"|faults?|errors?|problems?|defective|damaged|diseased|broken|cracked|infected|referable)"
    r"|(normal|healthy|good|intact|sound|ok)_(eyes?|fundus|retina|parts?|tissue|skin|lungs?|leaf|leaves|class"
    r"|images?|photos?|samples?|control|pieces?|surface)"
)


@dataclass(frozen=True)
class LabelWish:
    """What a user says of the labels; None: find out.

    Attributes:
        classes: All classes in their order, worst last; they are a scale unless `ordinal` is False.
        ordinal: Whether the classes are grades on one scale.
        sound: Name of the sound class.
        earlier: The study was made when a patient or period called `nan` was one of that name, and remains so.
    """

    classes: tuple[str, ...] | None = None
    ordinal: bool | None = None
    sound: str | None = None
    earlier: bool = False


class UnknownLabelError(DataError):
    """A label that is none of the classes that were said to be all, or a number that can be none; `label`, if one."""

    def __init__(self, message: str, label: str = "") -> None:
        super().__init__(message)
        self.label = label


@dataclass(frozen=True)
class Arranged:
    """Labels as classes.

    Attributes:
        classes: Names; of a scale the worst last.
        ordinal: Whether they are grades on one scale.
        indices: Of N photographs the index of the class, None: not graded.
        notes: What a reader of the data should know.
    """

    classes: tuple[str, ...]
    ordinal: bool
    indices: tuple[int | None, ...]
    notes: tuple[str, ...]


def arrange(
    labels: Sequence[str],
    where: str,
    wish: LabelWish,
    graded_by: str,
    fundus: Callable[[], bool],
    place: Callable[[int], str] | None = None,
) -> Arranged:
    """Make classes of labels.

    Args:
        labels: Of N photographs, as written; written as missing or empty: not graded.
        where: The table or folder, for messages.
        wish: What the user says.
        graded_by: Name of the column that the labels come from; empty: of a folder's name.
        fundus: Whether the photographs are fundus photographs; asked only where it decides.
        place: Says where the label of a photograph stands; None: `where`.

    Returns:
        Classes: as wished; of whole numbers on a scale 0..highest, also those that do not occur; else the labels that
        occur, in the order of the retinopathy scale where all of them are words of it, otherwise sorted as people do.

    Raises:
        UnknownLabelError: A label is none of the wished classes.
        DataError: No label; labels that look like measurements; whole numbers that are no grades; `wish.ordinal` for
            names whose order nobody knows.
    """
    counts, notes = _present(labels, where, wish)
    seat = place or (lambda _: where)
    if wish.classes is not None:
        index = {name: number for number, name in enumerate(wish.classes)}
        for row, label in enumerate(labels):
            if label in counts and _seek(label, index) is None:
                raise UnknownLabelError(
                    f"{seat(row)}: the label '{label}' is none of the classes {', '.join(wish.classes)}: correct it, "
                    "or add it to --classes.",
                    label,
                )
        classes = wish.classes
        ordinal = len(classes) > 1 if wish.ordinal is None else wish.ordinal
    else:
        _refuse_measurements(counts, where)
        if all(_WHOLE.fullmatch(label) for label in counts):
            classes, ordinal = _numbers(labels, counts, wish, graded_by, fundus, seat)
        else:
            classes, ordinal = _names(counts, wish, graded_by, fundus, where)
    index = {name: number for number, name in enumerate(classes)}
    indices = tuple(_seek(label, index) if label in counts else None for label in labels)
    absent = [name for number, name in enumerate(classes) if number not in indices]
    if absent:
        notes.append(f"No photograph has the {'grade' if ordinal else 'class'} {', '.join(absent)}.")
    return Arranged(classes, ordinal, indices, (*notes, *_alike(classes)))


def is_missing(text: str) -> bool:
    """Whether a cell says that nothing is known: empty, `nan`, `NA`, `-`, `?` and their kin; `none` too."""
    return text.strip().casefold() in _MISSING


def plain_number(label: str) -> str:
    """A label as written, but 3 for 03, 3.0 and 3,0, which spreadsheets write."""
    return str(int(float(label.replace(",", ".")))) if _WHOLE.fullmatch(label) else label


def natural_key(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A key that sorts numbers inside names by value, and ties (case, leading zeros) by the name."""
    pieces = re.split(r"(\d+)", text.casefold())
    # isdecimal, not isdigit: a superscript is a digit that int() does not read.
    return [(not piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces if piece], text


def sound_class(classes: Sequence[str], ordinal: bool, name: str | None = None) -> int | None:
    """Index of the sound class, whose photographs may count as free of lesions; None where no class is known to be it.

    Args:
        classes: Their names.
        ordinal: Whether they are grades on one scale.
        name: As the user calls it; None: the one that is plainly named sound, else the 0 of a scale.

    Raises:
        DataError: No class has that name.
    """
    if name is not None:
        if name not in classes:
            raise DataError(f"--sound-class {name}: expected one of the classes, {', '.join(classes)}.")
        return list(classes).index(name)
    named = [number for number, text in enumerate(classes) if re.fullmatch(_SOUND, _plain(text))]
    if len(named) == 1:
        return named[0]
    return 0 if not named and ordinal and re.fullmatch(r"\D*0+", classes[0]) else None


def referable_from(classes: Sequence[str], ordinal: bool, eyes: bool) -> int | None:
    """The class from which on a patient is referred (moderate retinopathy); None where the classes are no such grades.

    Args:
        classes: Their names, of a scale worst last.
        ordinal: Whether they are grades on one scale.
        eyes: Whether the photographs show eyes.
    """
    if not ordinal or len(classes) < 3:
        return None
    ranks = _ranks(classes)
    if ranks is None:
        numbers = [re.fullmatch(rf"({_GRADE_WORD}?[_ -]?)(\d)", name, re.IGNORECASE) for name in classes]
        ranks = [int(match[3]) for match in numbers if match is not None]
        if ranks != list(range(len(classes))) or len(classes) > _HIGHEST_DR + 1:
            return None
    first = next((number for number, rank in enumerate(ranks) if rank >= 2), 0)
    return first if first > 0 and eyes else None


def speak_of_the_eye(classes: Iterable[str]) -> bool:
    """Whether one of the classes is called as only diseases of the eye are (`No_DR`)."""
    return any(_OF_THE_EYE.search(_plain(name)) for name in classes)


def off_scale(counts: Mapping[str, int]) -> list[str]:
    """The labels of few photographs (a twentieth of all at most) that keep all the others from being one scale.

    Args:
        counts: Label -> graded photographs; the others are 0 to 4, or words of diabetic retinopathy, three or more.
    """
    plain = {label: _plain(label) for label in counts}
    scales = (
        [label for label in counts if re.fullmatch(rf"[0-{_HIGHEST_DR}]", label)],
        [label for label in counts if any(re.fullmatch(text, plain[label]) for text in _DR_WORDS)],
    )
    on_scale = max(scales, key=len)
    strays = [label for label in counts if label not in on_scale]
    few = 20 * sum(counts[label] for label in strays) <= sum(counts.values())
    return sorted(strays, key=natural_key) if few and len(on_scale) >= 3 else []


def _present(labels: Sequence[str], where: str, wish: LabelWish) -> tuple[Counter[str], list[str]]:
    """How often each label occurs that is a grade, and a note of those that are written as missing."""
    wished = set(wish.classes or ())
    counts = Counter(labels)
    wished |= {"-"} if "+" in counts else set()
    missing = {label: counts.pop(label) for label in list(counts) if is_missing(label) and label not in wished}
    if not counts:
        raise DataError(f"{where}: all photographs have no label: grade at least some photographs.")
    doubtful = [label for label in missing if label.strip().casefold() in _AMBIGUOUS]
    words = [label for label in counts if not _NUMBER.fullmatch(label)]
    if wish.classes is None and doubtful and words and sound_class(words, False) is None:
        raise DataError(
            f"{where}: the label '{doubtful[0]}' ({missing[doubtful[0]]} photographs) may mean 'no finding' or 'not "
            f"graded': pass --classes {doubtful[0]},{','.join(sorted(words, key=natural_key))} if it is a class, or "
            "empty these labels."
        )
    written = {label: count for label, count in missing.items() if label}
    listed = ", ".join(f"'{label}' {count}" for label, count in written.items())
    return counts, [f"Labels that say that there is none: {listed}; these count as not graded."] if written else []


def refuse_no_classes(labels: Sequence[str], where: str, hint: str = "") -> None:
    """Refuse labels that no classifier can learn: one class alone, or names or numbers of the photographs themselves.

    Args:
        labels: Of the graded photographs.
        where: The data as the user spells them.
        hint: What may help where there is one class alone.

    Raises:
        DataError: They are such labels.
    """
    counts = Counter(labels)
    total, classes = counts.total(), len(counts)
    if classes == 1:
        raise DataError(
            f"{where}: all {total} graded photographs are of one class, {next(iter(counts))}, and one class alone "
            f"teaches nothing: give data with two classes or more{hint}."
        )
    if (classes == total and total > 3) or (classes > _MOST_GRADES / 2 and 2 * classes > total):
        raise DataError(
            f"{where}: {classes} different labels for {total} photographs look like names, numbers or measurements of "
            f"the photographs, not like classes (for example {next(iter(counts))}): give labels that photographs share."
        )


def _refuse_measurements(counts: Counter[str], where: str) -> None:
    """Refuse labels that are numbers with decimals."""
    numbers = [label for label in counts if _NUMBER.fullmatch(label)]
    broken = [label for label in numbers if not _WHOLE.fullmatch(label)]
    if broken and 2 * len(numbers) > len(counts):
        raise DataError(
            f"{where}: the labels look like a measurement ({len(counts)} different values, for example {broken[0]}), "
            "not like classes: cut them into classes such as 0, 1, 2, or name all classes with --classes."
        )


def _numbers(
    labels: Sequence[str],
    counts: Counter[str],
    wish: LabelWish,
    graded_by: str,
    fundus: Callable[[], bool],
    seat: Callable[[int], str],
) -> tuple[tuple[str, ...], bool]:
    """Classes of whole numbers: grades from 0 on, or numbers of classes."""
    values = {int(float(label.replace(",", "."))) for label in counts}
    lowest, highest = min(values), max(values)
    dense = lowest in (0, 1) and 2 * len(values) > highest - lowest + 1
    for row, label in enumerate(labels):
        value = int(float(label.replace(",", "."))) if label in counts else 0
        if value < 0 or (value >= _MOST_GRADES and not dense):
            raise UnknownLabelError(
                f"{seat(row)}: label {label} is outside 0..{_MOST_GRADES - 1}: number the classes from 0, write names, "
                "or, where it is a measurement such as an age, cut it into classes.",
                label,
            )
    scale = wish.ordinal
    if scale is None:
        scale = highest < _MOST_GRADES and (
            _means_grade(graded_by) or (highest <= _HIGHEST_DR and (_means_diagnosis(graded_by) or fundus()))
        )
    if scale and len(values) == len(counts) and highest < _MOST_GRADES:
        written = {int(float(label.replace(",", "."))): label for label in counts}
        return tuple(written.get(grade, str(grade)) for grade in range(highest + 1)), highest > 0
    return tuple(sorted(counts, key=natural_key)), False


def _names(
    counts: Counter[str], wish: LabelWish, graded_by: str, fundus: Callable[[], bool], where: str
) -> tuple[tuple[str, ...], bool]:
    """Classes that are not plain numbers, and whether they are grades."""
    ordered = tuple(sorted(counts, key=natural_key))
    ranks = _ranks(ordered)
    if ranks is not None:
        by_rank = tuple(name for _, name in sorted(zip(ranks, ordered, strict=True)))
        return by_rank, wish.ordinal is not False
    matches = [re.fullmatch(r"([^\W\d]*?[_ -]?)(\d+)", name) for name in ordered]
    numbered = len(ordered) > 1 and all(matches) and len({match[1] for match in matches if match}) == 1
    if wish.ordinal and not numbered:
        raise DataError(
            f"{where}: --ordinal, but nothing says in which order {', '.join(ordered)} are: pass --classes with all "
            "of them, worst last, joined by commas."
        )
    if wish.ordinal is not None or not numbered or not matches[0]:
        return ordered, bool(wish.ordinal)
    word = matches[0][1].strip("_ -")
    if _means_grade(word) or _means_grade(graded_by):
        return ordered, True
    return ordered, int(ordered[-1][len(matches[0][1]) :]) <= _HIGHEST_DR and fundus()


def _ranks(names: Iterable[str]) -> list[int] | None:
    """The grades 0..4 of diabetic retinopathy that names stand for; None unless all do, each for another."""
    plain = [_plain(name) for name in names]
    found = [next((rank for rank, text in enumerate(_DR_WORDS) if re.fullmatch(text, name)), -1) for name in plain]
    return found if len(found) > 1 and len(set(found)) == len(found) and -1 not in found else None


def _means_grade(name: str) -> bool:
    """Whether the name of a column, or the word before a number, speaks of grades."""
    return bool(name) and all(re.fullmatch(_GRADE_WORD, word) for word in _plain(name).split("_"))


def _means_diagnosis(column: str) -> bool:
    """Whether a column is called as APTOS calls its grades."""
    return _plain(column) in ("diagnosis", "dr_diagnosis")


def _seek(label: str, index: dict[str, int]) -> int | None:
    """Index of the class that a label names; 03 and 3.0 name the class 3."""
    return index.get(label, index.get(plain_number(label)))


def _alike(classes: Sequence[str]) -> list[str]:
    """A note for every two classes that differ in case, blanks or separators alone."""
    by_plain: dict[str, str] = {}
    notes = []
    for name in classes:
        key = re.sub(r"[\W_]+", "", name.casefold())
        other = by_plain.setdefault(key, name) if key else name
        if other != name:
            notes.append(f"The classes '{other}' and '{name}' are spelled nearly alike: are they one class?")
    return notes


def _plain(name: str) -> str:
    """Lower case, one `_` between words, without numbers at either end: `0 - NoDR` -> `no_dr`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return re.sub(r"[^a-z]+", "_", parted).strip("_")
