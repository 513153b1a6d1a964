"""The rows of the store: their columns, their hashes, and records packed into them and back.

Invariant: what `pack_correction` or `pack_selection` accepts, the matching `unpack` gives back equal, and a
row whose bytes were altered outside the store is refused by its hash, not handed on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Column, Float, Integer, LargeBinary, MetaData, Table, Text

from regaze.corrections.masks import check_mask, decode_mask, encode_mask
from regaze.corrections.shape_checks import shapes_from_json, shapes_to_json
from regaze.corrections.shapes import rasterise
from regaze.errors import CorrectionError
from regaze.files import typed
from regaze.records import MAX_PIXELS, Correction, DrawnCorrection, Selection

_MODES, _ORIGINS = ("replace", "edit"), ("masks", "boxes", "expert")

# The layout itself is made by migrations.py; a test holds these two to it.
_METADATA = MetaData()
CORRECTIONS = Table(
    "corrections",
    _METADATA,
    Column("id", Integer, primary_key=True),
    *(Column(name, Text) for name in ("sample", "model", "origin", "mode", "author", "time", "remark", "hash")),
    Column("height", Integer),
    Column("width", Integer),
    Column("look", LargeBinary),
    Column("avoid", LargeBinary, nullable=True),
    Column("map", Text),
    Column("shapes", Text),
)
SELECTIONS = Table(
    "selections",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("model", Text),
    Column("rule", Text),
    Column("share", Float),
    Column("seed", Integer),
    *(Column(name, Text) for name in ("author", "time", "hash", "samples", "reasons")),
)


@dataclass(frozen=True)
class CorrectionEntry:
    """A stored correction without its masks and shapes; fields that are not explained here are `Correction`'s.

    Attributes:
        id: Row id; a higher id was stored later.
        hash: blake2b (64 hex digits) over sample, model, origin, mode, the PNG bytes, author, time and remark; and over
            map and the shapes' JSON where one of them is not empty.
        height, width: Rows and columns of the masks, original pixels.
    """

    id: int
    sample: str
    model: str
    origin: str
    mode: str
    author: str
    time: str
    remark: str
    hash: str
    height: int
    width: int
    map: str


ENTRY_FIELDS: tuple[str, ...] = tuple(CorrectionEntry.__dataclass_fields__)


def _check_text(name: str, text: str, may_be_empty: bool = False) -> None:
    """Refuse what is not a text that SQLite gives back unchanged: a NUL, or what cannot be written as UTF-8."""
    if not isinstance(text, str) or "\0" in text or not (may_be_empty or text.strip()):
        raise CorrectionError(f"{name} is {text!r}, expected a{'' if may_be_empty else ' non-empty'} text")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # a file name whose bytes are no UTF-8
        raise CorrectionError(f"{name} {text!r} is not valid Unicode: rename the file it comes from") from error


def pack_correction(correction: Correction | DrawnCorrection, time: str) -> dict[str, Any]:
    """Check a correction and give its columns without the id.

    Args:
        correction: A record with id 0, whose own time is ignored; or one whose masks are made here, which spares
            drawing its shapes twice.
        time: When it is stored; UTC, ISO 8601, seconds, `Z`.

    Returns:
        Column name -> value, in which the masks are PNG bytes, the shapes JSON, and `hash` covers all the rest.

    Raises:
        CorrectionError: It cannot be stored.
    """
    if isinstance(correction, DrawnCorrection):
        correction = _with_masks(correction)
    else:
        _check_masks(correction)
    _check_words(correction)
    look, avoid = correction.look, correction.avoid
    names = ("sample", "model", "origin", "mode", "author", "remark", "map")
    values: dict[str, Any] = {
        **{name: getattr(correction, name) for name in names},
        "time": time,
        "height": look.shape[0],
        "width": look.shape[1],
        "look": encode_mask(look),
        "avoid": None if avoid is None else encode_mask(avoid),
        "shapes": shapes_to_json(correction.shapes) if correction.shapes else "",
    }
    return {**values, "hash": _hash_correction(values)}


def content(values: Mapping[str, Any], what: str) -> tuple[Any, ...]:
    """What a row of `CORRECTIONS` says: equal for two rows that say the same, whichever version stored them.

    Args:
        values: Column name -> value.
        what: Names the row in the message.

    Raises:
        CorrectionError: Its shapes or masks cannot be read.
    """
    names = ("sample", "model", "origin", "mode", "author", "remark", "map", "height", "width")
    said = tuple(values[name] for name in names)
    if values["shapes"]:  # they stand for their masks
        return (*said, shapes_from_json(values["shapes"], what))
    size = values["height"], values["width"]
    masks = (values["look"], values["avoid"])
    return (*said, *(None if mask is None else np.packbits(decode_mask(mask, *size, what)).tobytes() for mask in masks))


def unpack_entry(values: Mapping[str, Any], what: str) -> CorrectionEntry:
    """The entry of a row of `CORRECTIONS`, which is not compared with its hash: that covers the masks too.

    Args:
        values: Column name -> value; more than an entry's do no harm.
        what: Names the row in the message.

    Raises:
        CorrectionError: A value is of another type than its column, or none that `pack_correction` gives.
    """
    try:
        entry: CorrectionEntry = typed(CorrectionEntry, {name: values[name] for name in ENTRY_FIELDS})
    except TypeError as error:
        raise CorrectionError(f"{what} is damaged ({error}): restore the file from a copy") from error
    for name, value, known in (("mode", entry.mode, _MODES), ("origin", entry.origin, _ORIGINS)):
        if value not in known:
            raise CorrectionError(
                f"{what} is damaged ({name} is {value!r}, expected one of {', '.join(known)}): restore the file from a "
                "copy"
            )
    if min(entry.height, entry.width) < 1 or entry.height * entry.width > MAX_PIXELS:
        raise CorrectionError(
            f"{what} claims {entry.height} x {entry.width} pixels, expected 1 to {MAX_PIXELS}: the file is damaged, "
            "restore it from a copy"
        )
    return entry


def unpack_correction(values: Mapping[str, Any], what: str) -> Correction:
    """The record of a row of `CORRECTIONS`; its masks are not drawn again from the shapes.

    Args:
        values: Column name -> value.
        what: Names the row in the message.

    Raises:
        CorrectionError: A value is of another type, the row does not match its hash, or its masks or shapes cannot be
            read.
    """
    unpack_entry(values, what)
    kinds = (("look", bytes), ("avoid", bytes | None), ("shapes", str))
    odd = next((name for name, kind in kinds if not isinstance(values[name], kind)), None)
    if odd is not None:
        raise CorrectionError(
            f"{what} is damaged ({odd} is of type {type(values[odd]).__name__}): restore the file from a copy"
        )
    if _hash_correction(values) != values["hash"]:
        raise CorrectionError(f"{what} does not match its hash: the file is damaged, restore it from a copy")
    height, width, avoid = values["height"], values["width"], values["avoid"]
    names = ("id", "sample", "model", "origin", "mode", "author", "time", "remark", "map")
    return Correction(
        **{name: values[name] for name in names},
        shapes=shapes_from_json(values["shapes"], what) if values["shapes"] else (),
        look=decode_mask(values["look"], height, width, what),
        avoid=None if avoid is None else decode_mask(avoid, height, width, what),
    )


def pack_selection(selection: Selection) -> dict[str, Any]:
    """Check a selection and give its columns without the id: name -> value, in which `hash` covers all the rest.

    Raises:
        CorrectionError: It cannot be stored.
    """
    for name in ("model", "rule", "author"):
        _check_text(name, getattr(selection, name))
    for sample in selection.samples:
        _check_text("sample", sample)
    for reason in selection.reasons:
        _check_text("reason", reason)
    n_samples, n_reasons = len(selection.samples), len(selection.reasons)
    if not n_samples or len(set(selection.samples)) != n_samples:
        raise CorrectionError(f"a selection of {n_samples} samples, expected at least one and none of them twice")
    if n_reasons != n_samples:
        raise CorrectionError(f"{n_reasons} reasons for {n_samples} samples: pass one line per sample")
    if not 0 < selection.share <= 1:
        raise CorrectionError(f"share is {selection.share}, expected above 0 and at most 1")
    if not -(2**63) <= selection.seed < 2**63:
        raise CorrectionError(f"seed is {selection.seed}, expected a whole number of at most 64 bits")
    return {
        **{name: getattr(selection, name) for name in ("model", "rule", "share", "seed", "author", "time")},
        "hash": _hash_selection(selection),
        "samples": json.dumps(selection.samples, ensure_ascii=False),
        "reasons": json.dumps(selection.reasons, ensure_ascii=False),
    }


def unpack_selection(values: Mapping[str, Any], what: str) -> Selection:
    """The record of a row of `SELECTIONS`.

    Args:
        values: Column name -> value.
        what: Names the row in the message.

    Raises:
        CorrectionError: A value is of another type, or the row does not match its hash.
    """
    names = ("id", "model", "rule", "share", "seed", "author", "time")
    try:
        lists = {name: json.loads(values[name]) for name in ("samples", "reasons")}
        selection: Selection = typed(Selection, {name: values[name] for name in names} | lists)
        is_whole = _hash_selection(selection) == values["hash"]
    except (ValueError, TypeError, RecursionError) as error:
        raise CorrectionError(
            f"{what} does not match its hash ({error}): the file is damaged, restore it from a copy"
        ) from error
    if not is_whole:
        raise CorrectionError(f"{what} does not match its hash: the file is damaged, restore it from a copy")
    return selection


def hash_parts(kind: str, *parts: str | bytes | None) -> str:
    """Blake2b over a list of parts, 64 hex digits.

    Args:
        kind: What is hashed, and which version of the recipe.
        parts: Texts (as UTF-8), bytes, or None, which differs from an empty one.
    """
    state = hashlib.blake2b(digest_size=32)
    for part in (kind, *parts):
        data = part.encode() if isinstance(part, str) else part
        # Each part with its length, so that no two different lists give the same bytes.
        state.update(b"-" if data is None else b"%d:" % len(data) + data)
    return state.hexdigest()


def _with_masks(drawn: DrawnCorrection) -> Correction:
    """The correction with what its shapes draw; "not here" is None where nothing says it."""
    look, avoid = rasterise(drawn.shapes, drawn.height, drawn.width, f"shapes of {drawn.sample!r}")
    names = ("sample", "model", "mode", "author", "remark", "map", "shapes")
    values = {name: getattr(drawn, name) for name in names}
    return Correction(id=0, origin="expert", time="", look=look, avoid=avoid if avoid.any() else None, **values)


def _check_words(correction: Correction) -> None:
    for name in ("sample", "model", "author"):
        _check_text(name, getattr(correction, name))
    for name in ("remark", "map"):
        _check_text(name, getattr(correction, name), may_be_empty=True)
    sample = correction.sample
    if correction.id != 0:
        raise CorrectionError(f"correction of {sample!r} has id {correction.id}, expected 0: it is stored already")
    for name, value, known in (("mode", correction.mode, _MODES), ("origin", correction.origin, _ORIGINS)):
        if value not in known:
            raise CorrectionError(f"{name} of {sample!r} is {value!r}, expected one of {', '.join(known)}")


def _check_masks(correction: Correction) -> None:
    look, avoid, sample = correction.look, correction.avoid, correction.sample
    check_mask(look, "look", sample)
    if avoid is not None:
        check_mask(avoid, "avoid", sample)
        if avoid.shape != look.shape:
            raise CorrectionError(
                f"mask 'avoid' of {sample!r} has shape {avoid.shape}, expected that of 'look', {look.shape}"
            )
        if n_both := int(np.count_nonzero(look & avoid)):
            raise CorrectionError(
                f"masks of {sample!r} say both look and avoid in {n_both} pixels: keep each pixel in one of them"
            )
    if correction.shapes:
        _check_drawn(correction)


def _check_drawn(correction: Correction) -> None:
    """Refuse masks that are not what the shapes draw."""
    height, width = correction.look.shape
    look, avoid = rasterise(correction.shapes, height, width, f"shapes of {correction.sample!r}")
    for name, mask, expected in (("look", correction.look, look), ("avoid", correction.avoid, avoid)):
        differs = expected if mask is None else mask != expected
        if n_differing := int(np.count_nonzero(differs)):
            raise CorrectionError(
                f"mask {name!r} of {correction.sample!r} differs from its shapes in {n_differing} pixels: "
                "pass what rasterise(shapes, height, width) gives"
            )


def _hash_correction(values: Mapping[str, Any]) -> str:
    names = ("sample", "model", "origin", "mode", "look", "avoid", "author", "time", "remark")
    parts = [values[name] for name in names]
    if not values["map"] and not values["shapes"]:  # also the rows of step 1, whose hashes stay as they are
        return hash_parts("regaze correction 1", *parts)
    return hash_parts("regaze correction 2", *parts, values["map"], values["shapes"])


def _hash_selection(selection: Selection) -> str:
    numbers = (repr(float(selection.share)), str(selection.seed), str(len(selection.samples)))
    texts = (selection.model, selection.rule, selection.author, selection.time)
    return hash_parts("regaze selection 1", *texts, *numbers, *selection.samples, *selection.reasons)
