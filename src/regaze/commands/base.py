"""What all commands have: an option that several commands have is spelled, typed and explained in one place.

Invariant: importing a module of this room imports no torch; a command imports its rooms when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from regaze.study.folder import Study

Result = tuple[dict[str, Any], int]
StudyFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]


@dataclass(frozen=True)
class OutputOptions:
    """Output."""

    json: bool = False
    """Print one JSON object on stdout, and nothing else."""
    quiet: bool = False
    """Print no progress and no notes; warnings and errors stay."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What all commands have."""

    output: OutputOptions = field(default_factory=OutputOptions)

    def run(self) -> Result:
        """Do the command; returns what `--json` prints, and the exit code."""
        raise NotImplementedError

    def voice(self) -> Any:
        """Who speaks on stderr."""
        from regaze.console import Voice

        return Voice(quiet=self.output.quiet)

    def say(self, *lines: str) -> None:
        """Print the result for a person, unless it goes out as JSON."""
        from regaze.console import show

        if not self.output.json:
            show(*lines)


@dataclass(frozen=True, kw_only=True)
class StudyCommand(Command):
    """What all commands about a study that is there have."""

    folder: StudyFolder
    """Folder of the study."""

    def open(self) -> Study:
        """The study, open."""
        from regaze.study.folder import open_study

        return open_study(self.folder, self.voice())
