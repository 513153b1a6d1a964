"""The command line: parse, call one room, print.

Invariant: importing this module imports neither torch nor an image library, so that `regaze --help` answers at once;
each command imports its rooms when it runs. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import tyro

from regaze import __version__
from regaze.commands.base import Command
from regaze.commands.corrections import Agree, Export, Import, Rounds, Use, Verify
from regaze.commands.loop import Demo, Report, Run
from regaze.commands.photographs import Explain, Predict
from regaze.commands.reproduce import Reproduce
from regaze.commands.steps import Collect, Correct, Evaluate, Finetune, Init, Select, Train
from regaze.errors import RegazeError

COMMANDS = {
    "init": (Init, "Make a study: read the photographs and fix the split by patient."),
    "train": (Train, "Phase 1: learn grades from the photographs alone."),
    "collect": (Collect, "Show where the model looked in each training photograph, and diagnose it."),
    "select": (Select, "Rank the photographs that an expert should correct."),
    "correct": (Correct, "Write the corrections that lesion masks or a clinician's boxes give."),
    "import": (Import, "Take corrections from another tool's file."),
    "export": (Export, "Write the corrections for another tool."),
    "agree": (Agree, "How far experts agree on where to look, and the model with them."),
    "finetune": (Finetune, "Fine-tune the branches on all corrections so far."),
    "rounds": (Rounds, "List the rounds of corrections: what each brought, and whether to go on."),
    "use": (Use, "Go back to an earlier round, or forward again."),
    "verify": (Verify, "Make sure that nothing in a study was altered since it was written."),
    "evaluate": (Evaluate, "Judge the study's models on photographs they never saw."),
    "report": (Report, "Write the report: did it help, by how much, how sure."),
    "predict": (Predict, "Grade photographs with a model and show where it looked."),
    "explain": (Explain, "Show which pixels a model's grade rests on."),
    "reproduce": (Reproduce, "Reproduce the paper's tables and figures on one's own data."),
    "run": (Run, "The whole loop; called again, it goes on where it stopped."),
    "demo": (Demo, "The whole loop on synthetic photographs, in a few minutes."),
}


def parser_type() -> Any:
    """The union of all commands, as tyro parses it."""
    members = [
        Annotated[kind, tyro.conf.subcommand(name, description=f"{text}\n\n{kind.__doc__ or ''}".strip())]
        for name, (kind, text) in COMMANDS.items()
    ]
    union: Any = members[0]
    for member in members[1:]:
        union = union | member
    return union


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `regaze` command; exits with 0, 1 (the user can mend it) or 2 (wrong usage)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given in (["--version"], ["-V"]):
        print(f"regaze {__version__}")  # noqa: T201 - the result
        return
    command: Command = tyro.cli(
        parser_type(),
        prog="regaze",
        description="Teach an image classifier where to look.",
        args=given,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    sys.exit(_guarded(command.run, command))


def _guarded(call: Callable[[], tuple[dict[str, Any], int]], command: Command) -> int:
    """Run a command; a user's mistake becomes one line on stderr, never a traceback."""
    # With --json stdout is the object's alone, whatever a library prints.
    aside = contextlib.redirect_stdout(sys.stderr) if command.output.json else contextlib.nullcontext()
    try:
        with aside:
            result, code = call()
    except RegazeError as error:
        print(f"regaze: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201 - the one place that speaks of errors
        return 1
    except KeyboardInterrupt:
        print("regaze: interrupted; the same command goes on where it stopped.", file=sys.stderr)  # noqa: T201 - the one place that speaks of errors
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:  # a folder that may not be written, a full disk: nothing that a traceback would mend
        where = f" ({error.filename})" if error.filename else ""
        print(f"regaze: {error.strerror or error}{where}: check the path, its rights and the disk.", file=sys.stderr)  # noqa: T201 - the one place that speaks of errors
        return 1
    if command.output.json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))  # noqa: T201 - the result
    return code


if __name__ == "__main__":
    main()
