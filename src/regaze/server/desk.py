"""The study on the expert's desk: what the server needs of it without reading its photographs first.

Opening a study compares every photograph with its fingerprint, which takes minutes where there are 100,000. The server
keeps what it needs of them in the study's database, answers at once from there, and compares in the background.

Invariant: a photograph is shown only while its file has the content that the study was made with.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from regaze.console import Voice
from regaze.corrections.store import Store
from regaze.data.classes import sound_class
from regaze.data.images import content_hash
from regaze.errors import RegazeError, StudyError
from regaze.files import typed
from regaze.models.card import ModelCard
from regaze.records import Dataset, Sample
from regaze.server.tables import lay
from regaze.study.active_model import ACTIVE_FILE, active_model, choose
from regaze.study.folder import Study, open_study
from regaze.study.study_file import read_study_file

_FACTS = "photographs"
_SEEN = 256  # photographs whose files were compared and are not read again while they stay as they are


@dataclass(frozen=True)
class _Facts:
    """What opening a study found out about its data; kept in the database."""

    fingerprint: str
    sound: int | None
    named_by: str | None
    eyes: bool


class Desk:
    """A study, its store, and the model whose maps are shown.

    Args:
        path: The study's folder.
        author: Who works at the page.
        model: Whose maps are shown; None: the active model's.

    Attributes:
        study: The study without its photographs: names, classes, split, models.
        author: As given.
        problem: Why the study cannot be worked on, once it was compared with its data; None: nothing is wrong.

    Raises:
        StudyError: The folder is no study, or has no such model with maps.
    """

    def __init__(self, path: Path, author: str, model: str | None = None) -> None:
        stored = read_study_file(path)
        self._fingerprint = stored.fingerprint
        classes, ordinal = stored.labels.classes or (), bool(stored.labels.ordinal)
        sound = sound_class(classes, ordinal, stored.options.sound_class)
        eyes = stored.eyes is not False
        dataset = Dataset(stored.options.data, classes, ordinal, (), stored.fingerprint, sound=sound, eyes=eyes)
        self.study = Study(path, stored.options, dataset, stored.split, Voice(quiet=True), stored.near)
        self.author = author
        self.problem: str | None = None
        self._wanted = model
        self._known: tuple[tuple[tuple[str, int], ...], str, dict[str, ModelCard]] | None = None
        self._seen: OrderedDict[int, tuple[tuple[int, ...], Sample]] = OrderedDict()
        self._line()
        lay(self.study.store)
        self._ready = threading.Event()
        facts = self._read_facts()
        if facts is not None:
            self._take(facts)

    @property
    def store(self) -> Store:
        """The study's store."""
        return self.study.store

    @property
    def model(self) -> str:
        """The model whose maps are shown."""
        return self._line()[0]

    def use(self, name: str) -> None:
        """Make a model of the line the active one, and show its maps from now on."""
        choose(self.study, name)
        if self._wanted is not None:
            self._wanted = name
        self._known = None

    def models(self) -> dict[str, ModelCard]:
        """The models of the shown one's line, oldest first."""
        return self._line()[1]

    def _line(self) -> tuple[str, dict[str, ModelCard]]:
        """The shown model and its line; read again where a model came or another was chosen since."""
        path = self.study.path
        files = [path / ACTIVE_FILE, *(path / "models").glob("*/fold*/model.json")]
        stamp = tuple((str(file), file.stat().st_mtime_ns) for file in sorted(files) if file.is_file())
        if self._known is None or self._known[0] != stamp:
            shown = self._wanted or active_model(self.study)
            card = self.study.require_model(shown)
            if not card.has_maps:
                raise StudyError(f"{shown} is a plain network without attention maps: give another --model.")
            line = {name: one for name, one in self.study.cards().items() if one.root == card.root}
            self._known = stamp, shown, line
        return self._known[1:]

    def open(self, after: Callable[[], None]) -> None:
        """Compare the study with its data, and keep what the server needs of it; then call `after`."""
        try:
            study = open_study(self.study.path, Voice(quiet=True))
            own = study.dataset
            facts = _Facts(own.fingerprint, own.sound, own.named_by, own.eyes)
            if facts != self._read_facts():
                self._keep(facts, own.samples)
            self._take(facts)
            after()
        except RegazeError as error:
            self.problem = str(error)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._ready.set()

    def require_ready(self) -> None:
        """Wait until it is known which photographs there are.

        Raises:
            StudyError: The study cannot be worked on.
        """
        self._ready.wait()
        if self.problem is not None:
            raise StudyError(self.problem)

    def sample(self, photograph: int) -> Sample | None:
        """A photograph by the server's id; None where there is none.

        Raises:
            StudyError: Its file has changed since the study was made, or the study cannot be worked on.
        """
        self.require_ready()
        seen = self._seen.get(photograph)
        if seen is not None and seen[0] == _signature(seen[1].image):
            return seen[1]
        with self.store.transaction() as connection:
            query = "SELECT record FROM photographs WHERE id = ?"
            text = connection.exec_driver_sql(query, (photograph,)).scalar_one_or_none()
        if text is None:
            return None
        sample: Sample = typed(Sample, json.loads(text))
        signature = _signature(sample.image)  # before the hash: what changes meanwhile is hashed again
        if sample.content and content_hash(sample.image) != sample.content:
            raise StudyError(f"{sample.id} has changed since the study was made: restore {sample.image}.")
        self._seen[photograph] = signature, sample
        while len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        return sample

    def photograph_ids(self) -> dict[str, int]:
        """Sample id -> the server's id."""
        self.require_ready()
        with self.store.transaction() as connection:
            rows = connection.exec_driver_sql("SELECT sample, id FROM photographs").all()
        return {str(row[0]): int(row[1]) for row in rows}

    def _take(self, facts: _Facts) -> None:
        own = self.study.dataset
        self.study.dataset = Dataset(
            own.spec,
            own.classes,
            own.ordinal,
            (),
            own.fingerprint,
            named_by=facts.named_by,
            sound=facts.sound,
            eyes=facts.eyes,
        )
        self._ready.set()

    def _read_facts(self) -> _Facts | None:
        with self.store.transaction() as connection:
            query = "SELECT value FROM facts WHERE name = ?"
            text = connection.exec_driver_sql(query, (_FACTS,)).scalar_one_or_none()
        facts: _Facts | None = None if text is None else typed(_Facts, json.loads(text))
        return facts if facts is not None and facts.fingerprint == self._fingerprint else None

    def _keep(self, facts: _Facts, samples: Sequence[Sample]) -> None:
        rows = [(sample.id, json.dumps(asdict(sample), default=str)) for sample in samples]
        with self.store.transaction(write=True) as connection:
            connection.exec_driver_sql(
                "INSERT INTO photographs (sample, record) VALUES (?, ?) "
                "ON CONFLICT (sample) DO UPDATE SET record = excluded.record",
                rows,
            )
            connection.exec_driver_sql(
                "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (_FACTS, json.dumps(asdict(facts))),
            )


def _signature(path: Path) -> tuple[int, ...]:
    """Whether a file is still the one that was looked at: a time of writing can be set back, one of change cannot."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
