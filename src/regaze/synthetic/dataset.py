"""A set of synthetic photographs on disk: JPEG photographs, 1-bit PNG masks and a CSV that names them.

Invariant: the folder's final name never holds a half-written set: it is written into a sibling folder with a temporary
name, which is renamed when it is complete. A set is a function of (count, seed, size, task, `GENERATOR`) alone, however
many processes paint it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from regaze.errors import DataError, OptionError
from regaze.files import read_json, replacing_folder, write_text
from regaze.processes import in_processes
from regaze.records import LESION_TYPES
from regaze.synthetic.eye import draw_camera
from regaze.synthetic.photograph import TASKS, paint

GENERATOR = 1  # raise it whenever the same seed would paint another picture or write another file
CSV_NAME, SHEET_NAME = "synthetic.csv", "synthetic.json"
COLUMNS = ("image", "label", "patient", "split", *LESION_TYPES)

_QUALITY = 92
_KINSHIP = 0.85  # correlation of the two eyes' latent severity; their grades then agree in about two pairs of three
_POOL_PAYS = 16  # starting the processes takes about as long as painting this many photographs of 512 pixels
_TEST_SHARE = 5  # one patient in so many is set aside for the test


def _grades(rng: np.random.Generator, task: str = "clinical") -> tuple[int, int]:
    """Grades of two eyes: correlated, each with the shares of the task (a Gaussian copula)."""
    first, other = rng.standard_normal(2)
    latent = (first, _KINSHIP * first + math.sqrt(1 - _KINSHIP**2) * other)
    edges = np.cumsum(TASKS[task].shares)[:-1]
    ranks = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in latent]
    return int(np.searchsorted(edges, ranks[0])), int(np.searchsorted(edges, ranks[1]))


def _write_photograph(index: int, *, folder: Path, seed: int, size: int, task: str) -> dict[str, str]:
    """Paint photograph `index`, write it and its masks; the row of the CSV, without the split."""
    number, is_left = divmod(index, 2)
    # What both eyes of a patient share; the leading 1 keeps it apart from the photographs' streams, (0, seed, index).
    rng = np.random.default_rng(np.random.SeedSequence((1, seed, number)))
    camera = draw_camera(rng)
    grade = _grades(rng, task)[is_left]
    painted = paint((0, seed, index), size, grade, camera=camera, left=bool(is_left), task=task)
    patient = f"p{number:04d}"
    stem = f"{patient}_{'left' if is_left else 'right'}"
    row = {"image": f"photographs/{stem}.jpg", "label": str(grade), "patient": patient}
    Image.fromarray(painted.photo).save(folder / row["image"], quality=_QUALITY)
    for name in LESION_TYPES:
        row[name] = "none"
        if name in painted.masks:
            row[name] = f"masks/{stem}_{name}.png"
            Image.fromarray(painted.masks[name]).save(folder / row[name], compress_level=1)
    return row


def _rows(
    folder: Path, count: int, seed: int, size: int, workers: int, task: str
) -> Generator[dict[str, str], None, None]:
    """Write all photographs, in order; leaves no process behind when it is closed or interrupted."""
    write = partial(_write_photograph, folder=folder, seed=seed, size=size, task=task)
    if workers < 2 or count < _POOL_PAYS:
        yield from map(write, range(count))
        return
    chunk = max(1, min(8, count // (4 * workers)))
    yield from in_processes(write, range(count), min(workers, count), chunk, "paints synthetic photographs")


def _already(folder: Path, sheet: dict[str, int | str]) -> bool:
    """Whether the folder holds this very set; DataError if it holds anything else."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: name a new folder for the synthetic photographs.")
    if not any(folder.iterdir()):
        return False
    try:
        present = read_json(folder / SHEET_NAME)
    except (OSError, ValueError):
        raise DataError(
            f"{folder} holds something else than synthetic photographs: name a new or an empty folder."
        ) from None
    if present != sheet:
        raise DataError(
            f"{folder} holds another synthetic set ({_spell(present)}; asked for: {_spell(sheet)}): "
            "name a new folder, or remove this one."
        )
    if not (folder / CSV_NAME).is_file():
        raise DataError(f"{folder} has lost its {CSV_NAME}: remove the folder and write the set again.")
    return True


def _spell(sheet: object) -> str:
    return ", ".join(f"{key} {value}" for key, value in sheet.items()) if isinstance(sheet, dict) else "unreadable"


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    patients = sorted({row["patient"] for row in rows})
    aside = max(1, round(len(patients) / _TEST_SHARE)) if len(patients) > 1 else 0
    test = patients[len(patients) - aside :]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "split": "test" if row["patient"] in test else "training"})
    write_text(path, text.getvalue())


def write_synthetic(
    folder: Path,
    count: int,
    seed: int,
    size: int = 512,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    task: str = "clinical",
) -> Path:
    """Write a set of synthetic photographs, or find it written.

    Two eyes per patient, right then left, with one camera and correlated grades; the last fifth of the patients are
    for the test. The masks are those of five lesion types, and of beaded veins in the column `lesion`.

    Args:
        folder: Where the set is to be: a new or an empty folder, or one that holds this very set.
        count: Number of photographs; an odd count leaves the last patient with one eye.
        seed: Seed of the set, non-negative.
        size: Side of the photographs in pixels, 64..4000.
        workers: Processes that paint; below 2 this one does. The files do not depend on it.
        progress: Called after every photograph with (photographs done, count).
        task: What the grades mean, a key of `photograph.TASKS`.

    Returns:
        The CSV file: columns `COLUMNS`, paths relative to its folder, `none` where a lesion type is absent.

    Raises:
        OptionError: A number lies outside its range.
        DataError: The folder holds anything else than this very set, or a painting process died.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0)):
        if value < least:
            raise OptionError(f"{name} {value} of the synthetic set: expected {least} or more.")
    sheet: dict[str, int | str] = {"generator": GENERATOR, "count": count, "seed": seed, "size": size}
    if task != "clinical":  # whose sheet is as it always was
        sheet["task"] = task
    if _already(folder, sheet):
        return folder / CSV_NAME
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A spawned process that is still importing an unguarded script: it must not paint, and being killed with the
        # pool it could not clear away a folder of its own. The parent says what to do.
        raise DataError("Painting was called while a painting process starts: see the message of the script itself.")
    try:
        with replacing_folder(folder) as scratch:
            for name in ("photographs", "masks"):
                (scratch / name).mkdir()
            rows: list[dict[str, str]] = []
            # Closed before the scratch folder goes: workers must not write into it while it is removed.
            with closing(_rows(scratch, count, seed, size, workers, task)) as written:
                for row in written:
                    rows.append(row)
                    if progress is not None:
                        progress(len(rows), count)
            _write_csv(scratch / CSV_NAME, rows)
            write_text(scratch / SHEET_NAME, json.dumps(sheet) + "\n")
    except OSError as error:
        raise DataError(
            f"Cannot put the synthetic photographs at {folder} ({error.strerror}): free space, or name a new folder."
        ) from error
    return folder / CSV_NAME
