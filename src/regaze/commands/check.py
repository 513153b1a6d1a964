"""The command that examines data before anything is trained on it. Importing this imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regaze.commands.base import Command, Result
from regaze.errors import OptionError, RegazeError
from regaze.files import digest
from regaze.study.options import CheckOptions, StudyOptions

if TYPE_CHECKING:
    from regaze.console import Voice
    from regaze.doctor.examine import CheckUp, Wanted
    from regaze.doctor.finding import Finding

_MOST_ITEMS = 1000  # of a finding in the JSON; `count` is of all


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """The worst comes first; exit code 1 where something would corrupt a result. A killed check goes on as it was."""

    check: CheckOptions
    html: Path | None = None
    """File of a page with the findings and small pictures of what they are about."""

    def run(self) -> Result:
        """Examine."""
        from regaze.doctor.examine import examine
        from regaze.doctor.finding import HARMS
        from regaze.report.templates import check_page_file

        if self.html is not None:
            check_page_file(self.html, "check.html")  # before the work
        voice = self.voice()
        wanted = _of_study(self.check, voice) if _is_study(self.check.data) else _of_data(self.check)
        found = examine(wanted, voice)
        self.say(f"{found.spec}: {found.photographs} photographs")
        for name, (photographs, groups) in found.counts.items():
            test = f", {found.test[name]} in the test part" if found.test else ""
            self.say(f"  {name}: {photographs} of {groups} groups ({found.words.patients}, else photographs){test}")
        for harm, meaning in HARMS.items():
            chosen = [finding for finding in found.findings if finding.harm == harm]
            if chosen:
                self.say("", f"{meaning}:", *(f"- {finding.text}" for finding in chosen))
        if not found.findings:
            self.say("nothing found that is wrong")
        self.say(*(f"note: {note}" for note in found.notes))
        if self.html is not None:
            from regaze.report.check_page import write_check_page

            self.say(f"page: {write_check_page(found, self.html)}")
        return _contents(found), int(found.corrupts)


def _is_study(text: str) -> bool:
    return (Path(text) / "study.json").is_file()


def _of_data(options: CheckOptions) -> Wanted:
    from regaze.doctor.examine import Wanted

    if options.data.startswith("synthetic") or ":" not in options.data:
        raise OptionError(
            f"{options.data}: expected a study's folder, idrid:DIR, folder:DIR or csv:FILE (synthetic photographs are "
            "checked as part of their study)."
        )
    keep = _cache_folder() / digest(_place(options.data))
    return Wanted(**_reading(options), cache=keep.with_name(f"{keep.name}.jsonl"), keep=keep)


def _of_study(given: CheckOptions, voice: Voice) -> Wanted:
    """A study as it is, or where its data no longer are what they were, its data."""
    from regaze.study.folder import open_study
    from regaze.study.study_file import read_study_file

    changed = [item.name for item in fields(given) if item.name != "data" and getattr(given, item.name) != item.default]
    if changed:
        raise OptionError(
            f"--{changed[0].replace('_', '-')}: {given.data} is a study, which says itself: leave it out."
        )
    path = Path(given.data)
    try:
        study = open_study(path, voice)
    except RegazeError as error:
        options = read_study_file(path).options  # raises where it is the study itself that is damaged or newer
        voice.warn(f"{error} Its data are checked as they are now.")
        return _wanted_of(options, path)
    return replace(_wanted_of(study.options, path), split=study.split)


def _wanted_of(options: StudyOptions, path: Path) -> Wanted:
    from regaze.doctor.examine import Wanted

    return Wanted(
        **_reading(options),
        folder=path / "data",
        seed=options.seed,
        cache=path / "cache" / "check.jsonl",
        keep=path / "cache" / "near",
    )


def _reading(options: Any) -> dict[str, Any]:
    return {
        "spec": options.data,
        "boxes": options.boxes,
        "patient": options.patient,
        "split_by": options.split_by,
        "columns": options.table_wish,
        "labels": options.label_wish,
        "mask_classes": options.mask_classes,
        "group_near_copies": options.group_near_copies,
        "folds": options.folds,
    }


def _place(spec: str) -> str:
    kind, _, rest = spec.partition(":")
    return f"{kind}:{Path(rest.strip()).expanduser().resolve()}"


def _cache_folder() -> Path:
    """Where a check of data that belong to no study keeps what it saw; may be deleted."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regaze" / "check"


def _contents(found: CheckUp) -> dict[str, Any]:
    return {
        "data": found.spec,
        "photographs": found.photographs,
        "corrupts": found.corrupts,
        "findings": [_finding(finding) for finding in found.findings],
        "classes": {name: {"photographs": n, "groups": groups} for name, (n, groups) in found.counts.items()},
        "test": dict(found.test),
        "notes": list(found.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    items = [
        {"text": item.text, "photographs": [sample.id for sample in item.samples]}
        for item in finding.items[:_MOST_ITEMS]
    ]
    return {
        "kind": finding.kind,
        "harm": finding.harm,
        "text": finding.text,
        "count": len(finding.items),
        "items": items,
    }
