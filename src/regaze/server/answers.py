"""What routes share: who asks, refusals, and the studies' things by the server's ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path, Query, Request

from regaze.records import Sample
from regaze.server.bodies import MOST_ID, WINDOW, Detail
from regaze.server.cases import Case
from regaze.server.desk import Desk
from regaze.server.drafts import Drafts
from regaze.server.jobs import Jobs
from regaze.server.queue import Queue
from regaze.server.sessions import Sessions
from regaze.server.views import View, Views

# Every route's refusals. 400: the study cannot do it, or the body is no JSON; the line says what.
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Detail},
    401: {"model": Detail},
    403: {"model": Detail},
    404: {"model": Detail},
    405: {"model": Detail},
    413: {"model": Detail},
    422: {"model": Detail},
}

CaseId = Annotated[int, Path(ge=0, le=MOST_ID)]
JobId = Annotated[int, Path(ge=0, le=MOST_ID)]
WindowQuery = Annotated[str, Query(pattern=WINDOW)]
ModelQuery = Annotated[str | None, Query(max_length=200)]


@dataclass
class Rooms:
    """All that the routes work with."""

    desk: Desk
    queue: Queue
    drafts: Drafts
    views: Views
    jobs: Jobs
    sessions: Sessions

    def sample(self, case: int) -> Sample:
        """A photograph by its id; 404 where there is none."""
        sample = self.desk.sample(case)
        if sample is None:
            raise HTTPException(404, f"no photograph {case} in this study")
        return sample

    def case(self, case: int) -> tuple[int, Case]:
        """The queue, and a case of it; 404 where the photograph is not in it."""
        queue = self.queue.number()
        found = self.queue.case(queue, case)
        if found is None:
            raise HTTPException(404, f"photograph {case} is not in the queue")
        return queue, found

    def model_of(self, sample: Sample, case: Case | None, model: str | None) -> str:
        """The fold's model (`NAME/foldK`) by which a photograph is shown; 404 where the line has no model of a name."""
        name = self.desk.model if model is None else model
        if name not in self.desk.models():
            raise HTTPException(404, "no model of this name in the line of the shown one")
        study = self.desk.study
        if case is not None:
            return f"{name}/{case.model.rpartition('/')[2]}"
        # Outside the queue: the fold's model that never saw it, where there is one.
        fold = study.split.get(sample.id, study.folds[0])
        return study.fold_name(name, fold if fold in study.folds else study.folds[0])

    def view(self, case: int, model: str | None) -> tuple[View, str]:
        """A photograph as a model sees it, and the model's name."""
        sample = self.sample(case)
        number = self.queue.there()
        found = None if number is None else self.queue.case(number, case)
        fold = self.model_of(sample, found, model)
        return self.views.view(sample, fold), fold.rpartition("/")[0]


def _rooms(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


Here = Annotated[Rooms, Depends(_rooms)]
