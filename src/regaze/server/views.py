"""Photographs as a model sees them, ready to be shown and asked "what if".

Invariant: all arithmetic of networks runs on one thread; of the what-ifs that a window asks for, one that has been
overtaken by a newer one is answered without arithmetic.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regaze.data.geometry import Geometry
from regaze.data.pixels import load_pixels
from regaze.errors import ModelError
from regaze.records import Sample
from regaze.server.desk import Desk
from regaze.server.frame import Frame, frame_of

if TYPE_CHECKING:
    from regaze.models.predictor import Predictor
    from regaze.models.what_if import HeldPhotograph, WhatIf

_VIEWS = 12  # kept; one is 4 MB of features at 512 pixels
_MODELS = 2  # loaded: the one that is shown and the one that it is compared with


@dataclass(frozen=True)
class View:
    """One photograph as a model sees it.

    Attributes:
        frame: Of the photograph.
        geometry: Of the square, stored pixels.
        grade: As the model decodes it.
        probabilities: K.
        branches: S of K: each scale's own.
        maps: (h, w) float32 in 0..1 for each scale, stored order.
        fused: Likewise.
        evidence: (h, w) float32 for the grade, likewise; None where there is none.
        held: The photograph, to be asked on the network's thread.
    """

    frame: Frame
    geometry: Geometry
    grade: int
    probabilities: list[float]
    branches: list[list[float]]
    maps: tuple[NDArray[np.float32], ...]
    fused: NDArray[np.float32]
    evidence: NDArray[np.float32] | None
    held: HeldPhotograph


class Views:
    """Makes and keeps views."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._thread = ThreadPoolExecutor(1, "network")
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[str, str], Future[View]] = OrderedDict()
        self._models: OrderedDict[str, tuple[Predictor, int]] = OrderedDict()  # the network's thread alone
        self._newest: dict[str, int] = {}
        self._grids: dict[str, list[list[int]]] = {}

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def warm_up(self, model: str) -> None:
        """Load a fold's model (`NAME/foldK`) before it is asked for."""
        self._thread.submit(self._model, model)

    def grids(self, name: str) -> list[list[int]]:
        """Height and width of a model's maps, finest first, as shown: squares look the same however they are turned."""
        if name not in self._grids:
            study = self._desk.study
            fold = study.fold_name(name, study.folds[0])
            size = study.card(name).size
            self._grids[name] = [list(grid) for grid in self._thread.submit(self._grids_of, fold, size).result()]
        return self._grids[name]

    def _grids_of(self, model: str, size: int) -> list[tuple[int, int]]:
        network = self._model(model).network
        return network.grids(size) if hasattr(network, "grids") else []

    def view(self, sample: Sample, model: str) -> View:
        """A photograph as a fold's model (`NAME/foldK`) sees it; waits until it is made.

        Raises:
            ModelError: The model cannot be loaded, or gives no numbers.
            DataError: The photograph cannot be read.
        """
        key = sample.id, model
        with self._lock:
            future = self._views.get(key)
            if future is None:
                future = self._views[key] = Future()
                mine = True
                while len(self._views) > _VIEWS:
                    self._views.popitem(last=False)
            else:
                mine = False
                self._views.move_to_end(key)
        if mine:
            try:
                future.set_result(self._make(sample, model))
            except BaseException as error:  # noqa: BLE001 - whoever waits for this view gets it, too
                with self._lock:
                    self._views.pop(key, None)
                future.set_exception(error)
        return future.result()

    def _make(self, sample: Sample, model: str) -> View:
        size = self._desk.study.card(model.rpartition("/")[0]).size
        study = self._desk.study
        frame = frame_of(sample)
        pixels = load_pixels([sample], size, study.path / "cache", 1, None, study.options.crop, study.options.colour)
        view = self._thread.submit(self._look, frame, pixels.images, pixels.geometries[0], model).result()
        self._thread.submit(view.held.prepare)  # while the expert looks at the case
        return view

    def _model(self, model: str) -> Predictor:
        """On the network's thread."""
        from regaze.models.folder import load_model
        from regaze.models.options import MachineOptions

        folder = self._desk.study.path / "models" / model
        stamp = (folder / "model.json").stat().st_mtime_ns
        found = self._models.get(model)
        if found is None or found[1] != stamp:
            self._models[model] = load_model(folder, MachineOptions(), batch=1)[0], stamp
        self._models.move_to_end(model)
        while len(self._models) > _MODELS:
            self._models.popitem(last=False)
        return self._models[model][0]

    def _look(self, frame: Frame, image_1SSC: NDArray[np.uint8], geometry: Geometry, model: str) -> View:
        """On the network's thread."""
        predictor = self._model(model)
        predictions = predictor.predict(image_1SSC, evidence=True)
        grade = int(predictions.grades[0])
        held = predictor.hold(image_1SSC[0])
        return View(
            frame=frame,
            geometry=geometry,
            grade=grade,
            probabilities=[float(value) for value in predictions.probabilities[0]],
            branches=held.before.branches.tolist(),
            maps=tuple(item[0] for item in predictions.maps),
            fused=predictions.fused[0],
            evidence=None if predictions.evidence is None else predictions.evidence.of([grade])[0],
            held=held,
        )

    async def ask(self, window: str, sequence: int, view: Callable[[], View], body: bytes) -> WhatIf | None:
        """Ask what a model would say with other maps.

        Args:
            window: Who asks.
            sequence: Counts up; a newer one of the window overtakes an older one that waits.
            view: Makes or finds the view; called off the network's thread.
            body: The given maps as shown, see `stored_cells`.

        Returns:
            The answer; None where a newer question came.

        Raises:
            ModelError: The body has another size than the maps.
        """
        self._newest[window] = max(sequence, self._newest.get(window, 0))
        seen = await asyncio.get_running_loop().run_in_executor(None, view)
        cells = stored_cells(body, seen)
        return await asyncio.wrap_future(self._thread.submit(self._answer, window, sequence, seen.held, cells))

    def _answer(self, window: str, sequence: int, held: HeldPhotograph, cells: bytes) -> WhatIf | None:
        if sequence < self._newest.get(window, 0):
            return None
        return held.quick_what_if(cells)


def stored_cells(body: bytes, view: View) -> bytes:
    """The grids of a what-if's body, which are as shown, brought to stored order.

    Raises:
        ModelError: The body has another size.
    """
    shown = [view.frame.shown(item).shape for item in view.maps]
    expected = sum(height * width for height, width in shown)
    if len(body) != expected:
        raise ModelError(f"the body has {len(body)} bytes, expected {expected}: one for every cell of {shown}.")
    if view.frame.orientation == 1:
        return body
    parts, start = [], 0
    for height, width in shown:
        grid = np.frombuffer(body, np.uint8, height * width, start).reshape(height, width)
        parts.append(view.frame.stored(grid).tobytes())
        start += height * width
    return b"".join(parts)
