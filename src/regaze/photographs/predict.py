"""Predict photographs that belong to no study: grade, probabilities, overlays and maps."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regaze.console import Voice
from regaze.data.geometry import Geometry
from regaze.data.images import IMAGE_SUFFIXES, is_picture, pages, photo_orientation, photo_size, read_photo
from regaze.data.pixels import load_pixels
from regaze.drawing.overlay import overlay
from regaze.errors import DataError, OptionError
from regaze.files import replacing
from regaze.models.card import ModelCard
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.precision import why_fp32
from regaze.models.predictor import Predictions
from regaze.orientation import upright_pixels
from regaze.records import Sample

_OVERLAY_SIDE = 1600  # longest side of an overlay in pixels
_OVERLAY = ".overlay.png"
_MAPS = ".maps.npz"


def predict_files(
    model: Path,
    images: Sequence[Path],
    out: Path,
    machine: MachineOptions,
    batch: int,
    voice: Voice,
    each: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Grade photographs and write, for each, `NAME.overlay.png` and `NAME.maps.npz`, then `predictions.json`.

    Nothing but the list of files grows with their number: what is said of a photograph is written and handed out at
    once.

    NAME is the photograph's stem; where several share it, as much of the path goes before it as tells them apart. The
    overlay is upright, as viewers show the photograph (EXIF); the maps lie in stored pixels.

    The maps in the npz are in map cells (`scale1` finest, `fused`) and, as `original`, the fused map laid back on the
    photograph (H, W) float16 in original pixels. `evidence1` (finest) and so on are signed, (K, h, w) float16 in map
    cells: what each cell adds to each class's logit (see `models.evidence`).

    Args:
        model: A model folder.
        images: Files and folders.
        out: Where results go.
        machine: Device, precision and workers.
        batch: Photographs per forward pass.
        voice: For progress and warnings.
        each: Called with what is said of each photograph, in order: what `describe` gives, its files in `out`
            (`overlay`, `maps`) and, as `evidence`, class -> the sum over each scale's cells, finest first: these and
            the bias add up to the logits, whose softmax the probabilities are.

    Returns:
        `model`, its `key`, the `precision` that computed, `bias` (class -> the logit without any evidence), `failed`
        (file and reason) and `out`; predictions.json has `predictions`, too.

    Raises:
        ModelError: `model` is no model folder.
        DataError: There is no photograph at all.
        OptionError: `batch` is below 1.
    """
    if batch < 1:
        raise OptionError(f"--batch {batch}: expected 1 or more.")
    predictor, card = load_model(model, machine, batch)
    files = list(_files(images, out))
    if not files:
        where = f"in {', '.join(map(str, images))}" if images else "to predict"
        raise DataError(f"No photograph {where}: give files ending in {', '.join(sorted(IMAGE_SUFFIXES))}, or folders.")
    if why := why_fp32(card):
        voice.say(f"{card.name} {why}")
    failed: list[dict[str, str]] = []
    paths, names = [path for path, _ in files], _unique_names(files)
    bias = dict(zip(card.classes, predictor.network.bias().tolist(), strict=True))
    head = {"model": str(model), "key": card.key, "precision": predictor.arithmetic, "bias": bias}
    with _writing(out / "predictions.json", head) as (add, finish), voice.progress("predicting") as feed:
        for start in range(0, len(files), batch):
            chunk = slice(start, start + batch)
            good = []
            loaded = _load(paths[chunk], card, machine.workers)
            for path, name, photograph in zip(paths[chunk], names[chunk], loaded, strict=True):
                if isinstance(photograph, DataError):
                    failed.append({"file": str(path), "reason": str(photograph)})
                    voice.warn(f"{path} skipped: {photograph}")
                else:
                    good.append((path, name, *photograph))
            if good:
                predictions = predictor.predict(np.stack([pixels for _, _, pixels, _ in good]), evidence=True)
                assert predictions.evidence is not None
                for index, (path, name, _, geometry) in enumerate(good):
                    sums = dict(zip(card.classes, predictions.evidence.sums[index].T.tolist(), strict=True))
                    files_of = {"overlay": name + _OVERLAY, "maps": name + _MAPS}
                    said = describe(path, card, predictions, index) | files_of | {"evidence": sums}
                    add(said)
                    each(said)
                    if (count := pages(path)) > 1:
                        voice.warn(f"{path} holds {count} pictures: the first is graded.")
                    _write(out, name, path, predictions, index, geometry)
            feed(min(start + batch, len(files)), len(files))
        tail = {"failed": failed, "out": str(out)}
        finish(tail)
    return head | tail


@contextmanager
def _writing(
    path: Path, head: dict[str, Any]
) -> Iterator[tuple[Callable[[dict[str, Any]], None], Callable[[dict[str, Any]], None]]]:
    """Write `head`, the list `predictions` and more as `write_json` would, without holding the list.

    Yields:
        A function that adds to the list, and one that ends the file with more values.
    """

    def text(value: Any, depth: int) -> str:
        return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).replace("\n", "\n" + depth * " ")

    with replacing(path) as temporary, temporary.open("w", -1, "utf-8", "backslashreplace", "") as stream:
        stream.write(f'{text(head, 0).removesuffix(chr(10) + "}")},\n "predictions": [')
        between = "\n  "

        def add(said: dict[str, Any]) -> None:
            nonlocal between
            stream.write(between + text(said, 2))
            between = ",\n  "

        def finish(tail: dict[str, Any]) -> None:
            stream.write("]," if between == "\n  " else "\n ],")
            stream.write(text(tail, 0).removeprefix("{") + "\n")

        yield add, finish


def _files(images: Sequence[Path], out: Path) -> Iterator[tuple[Path, str]]:
    """Photographs and the names of their results; a folder gives all photographs below it, but no results in `out`."""
    results = out.resolve()
    for path in images:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.name.endswith(_OVERLAY) and results in file.resolve().parents:
                    continue
                if is_picture(file):
                    yield file, "_".join(file.relative_to(path).with_suffix("").parts)
        else:
            yield path, path.stem


def _unique_names(files: Sequence[tuple[Path, str]]) -> list[str]:
    """Two photographs of the same name must not overwrite each other's results: their folders tell them apart."""
    alike: dict[str, set[Path]] = defaultdict(set)
    for path, name in files:
        alike[name].add(path)
    apart = {name: _told_apart(paths) for name, paths in alike.items() if len(paths) > 1}
    return _numbered([apart[name][path] if name in apart else name for path, name in files])


def _told_apart(paths: Collection[Path]) -> dict[Path, str]:
    """As much of each path's end as none of the other paths shares, its suffix where that alone is left."""
    named = {path: f"{path.stem}{path.suffix.replace('.', '_')}" for path in paths}
    left = {path: path.with_suffix("").parts for path in paths}
    for count in range(1, max(map(len, left.values())) + 1):
        ends = Counter(path.with_suffix("").parts[-count:] for path in paths)
        for path, parts in list(left.items()):
            if ends[parts[-count:]] == 1:
                named[path] = _joined(left.pop(path)[-count:])
        if not left:
            break
    return named


def _joined(pieces: Sequence[str]) -> str:
    return "_".join(piece.strip("/\\:") for piece in pieces if piece not in ("..", "/"))


def _numbered(names: list[str]) -> list[str]:
    """What nothing else tells apart (one photograph given twice) gets a number."""
    taken = set(names)  # a photograph's own name goes first: a second `a` must not become the `a-2` that is there too
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = number = seen.get(name, 0) + 1
        while number > 1 and f"{name}-{number}" in taken:
            seen[name] = number = number + 1
        unique.append(name if number == 1 else f"{name}-{number}")
        taken.add(unique[-1])
    return unique


def _load(paths: Sequence[Path], card: ModelCard, workers: int) -> list[tuple[NDArray[np.uint8], Geometry] | DataError]:
    def load(path: Path) -> tuple[NDArray[np.uint8], Geometry] | DataError:
        try:
            if not path.is_file():
                return DataError("no such file")
            pixels = load_pixels(
                [Sample(path.name, path, None)], card.size, None, 1, crop=card.crop, colour=card.colour
            )
            return pixels.images[0], pixels.geometries[0]
        except DataError as error:
            return DataError(str(error).removeprefix(f"{path.name}: "))

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        return list(pool.map(load, paths))


def describe(path: Path, card: ModelCard, predictions: Predictions, index: int) -> dict[str, Any]:
    """What a model says of one photograph, for JSON."""
    grade = int(predictions.grades[index])
    probabilities = predictions.probabilities[index]
    return {
        "file": str(path),
        "grade": grade,
        "class": card.classes[grade],
        "confidence": float(probabilities[grade]),
        "probabilities": {name: float(value) for name, value in zip(card.classes, probabilities, strict=True)},
    }


def _write(out: Path, name: str, path: Path, predictions: Predictions, index: int, geometry: Geometry) -> None:
    original = geometry.map_to_original(predictions.fused[index])
    arrays = {f"scale{scale}": maps[index] for scale, maps in enumerate(predictions.maps, start=1)}
    if predictions.evidence is not None:
        arrays |= {f"evidence{scale}": item[index] for scale, item in enumerate(predictions.evidence.scales, start=1)}
    with replacing(out / f"{name}{_MAPS}") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, fused=predictions.fused[index], original=original.astype(np.float16), **arrays)
    width, height = photo_size(path)
    share = min(1.0, _OVERLAY_SIDE / max(width, height))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    photo = read_photo(path, at_least=min(size))
    picture = overlay(
        cv2.resize(photo, size, interpolation=cv2.INTER_AREA),
        cv2.resize(original, size, interpolation=cv2.INTER_AREA).clip(0, 1),
        side=max(size),
    )
    with replacing(out / f"{name}{_OVERLAY}") as temporary:
        Image.fromarray(upright_pixels(picture, photo_orientation(path))).save(temporary, format="PNG")
