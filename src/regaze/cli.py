"""The command line: parse, call one room, print.

Invariant: importing this module imports neither torch nor an image library, so that `regaze --help` answers at once;
each command imports its rooms when it runs. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any

import tyro

from regaze import __version__
from regaze.commands.base import Command
from regaze.commands.check import Check
from regaze.commands.corrections import Agree, Export, Import, Rounds, Use, Verify
from regaze.commands.loop import Demo, Report, Run
from regaze.commands.photographs import Convert, Explain, Predict, WhatIf
from regaze.commands.reproduce import Reproduce
from regaze.commands.serve import Serve
from regaze.commands.steps import Collect, Correct, Evaluate, Finetune, Init, Select, Train
from regaze.console import complain, tolerate_any_text
from regaze.errors import RegazeError

# Command -> its class, and what it does in one line.
COMMANDS: dict[str, tuple[Any, str]] = {
    "check": (Check, "Examine photographs, labels and masks: what is wrong with them, and what to do."),
    "init": (Init, "Make a study: read the photographs and fix the split."),
    "train": (Train, "Phase 1: learn grades from the photographs alone."),
    "collect": (Collect, "Collect the attention map of each training photograph, and diagnose it."),
    "select": (Select, "Rank the photographs that an expert should correct."),
    "correct": (Correct, "Write the corrections that lesion masks or a clinician's boxes give."),
    "import": (Import, "Read corrections from another tool's file."),
    "export": (Export, "Write the corrections for another tool."),
    "agree": (Agree, "Measure how far experts, and the model, agree on where to look."),
    "serve": (Serve, "Open the page where an expert corrects maps, and sees the grade move."),
    "finetune": (Finetune, "Fine-tune the branches on all corrections so far."),
    "rounds": (Rounds, "List the rounds of corrections: what each changed, and whether to go on."),
    "use": (Use, "Make a model of an earlier or later round the active model."),
    "verify": (Verify, "Check that nothing in a study was altered since it was written."),
    "evaluate": (Evaluate, "Evaluate the study's models on photographs they never saw."),
    "report": (Report, "Write the report: did fine-tuning help, by how much, how sure."),
    "predict": (Predict, "Grade photographs with a model and show where it looked."),
    "explain": (Explain, "Show which pixels a model's grade rests on."),
    "what-if": (WhatIf, "Ask what a model would grade if it looked elsewhere."),
    "convert": (Convert, "Make a safetensors file of pickled weights."),
    "reproduce": (Reproduce, "Reproduce the paper's tables and figures on one's own data."),
    "run": (Run, "Run the whole loop; called again, it goes on where it stopped."),
    "demo": (Demo, "Run the whole loop on synthetic photographs, in a few minutes."),
}
# Lines that can be run; the help of a command ends with its own.
EXAMPLES = """
regaze check idrid:IDRiD --boxes BOXES --html check.html
regaze check csv:grades.csv --json
regaze check study
regaze init study --data idrid:IDRiD --boxes BOXES
regaze init study --data csv:grades.csv --folds 5 --size 512
regaze train study --backbone resnet18 --weights hub
regaze train study --network plain --name baseline
regaze collect study
regaze collect study --signals
regaze collect study --html looked.html
regaze select study --count 10 --more
regaze select study --by combined --diversity 0.5 --count 10
regaze correct study --from masks
regaze correct study --healthy --author 'A. Expert'
regaze import study drawn.json --format coco --author 'A. Expert'
regaze export study --to masks
regaze export study --to drawn.json --format coco
regaze agree study
regaze agree study --model multi-scale-finetuned --allow-overlap --tolerance 4
regaze serve study
regaze serve study --open --author 'A. Expert'
regaze finetune study
regaze finetune study --map-weight 0
regaze rounds study
regaze use study 1
regaze use study multi-scale-finetuned
regaze verify study
regaze evaluate study --json
regaze evaluate study --data idrid:IDRiD --sanity 8
regaze evaluate study --data csv:other.csv --allow-overlap
regaze report study
regaze report study --to report.html --faithfulness 8
regaze predict study photo.jpg folder
regaze predict study/models/multi-scale/fold0 photo.jpg --out predictions
regaze explain study photo.jpg
regaze explain study photo.jpg --by attention,grad-cam --to panel.png
regaze what-if study photo.jpg --map painted.png
regaze what-if study photo.jpg --correction 3 --json
regaze convert checkpoint.pth
regaze reproduce all --data idrid:IDRiD --boxes BOXES --plan
regaze reproduce table2 --data idrid:IDRiD --seeds 5 --to reproduce
regaze run study --data idrid:IDRiD --boxes BOXES --weights hub
regaze run study
regaze demo
regaze demo --folder demo-hub --weights hub
"""
# Old spelling -> new spelling and the commands that have it. Kept for one version; then the line goes.
RENAMED: dict[str, tuple[str, tuple[str, ...]]] = {
    "--rule": ("--by", ("select", "run")),
    "--source": ("--from", ("correct", "run")),
    "--controls": ("--reference-rankings", ("evaluate", "report", "run")),
}


def parse(words: list[str]) -> Command:
    """The command that the words of a command line mean; help goes to stdout and ends the program.

    Args:
        words: What follows `regaze`; old spellings are read as the new ones, with a note on stderr.

    Returns:
        The command, ready to run.
    """
    kinds: list[Any] = [
        Annotated[kind, tyro.conf.subcommand(name, description=summary)] for name, (kind, summary) in COMMANDS.items()
    ]
    registry = tyro.constructors.ConstructorRegistry()
    registry.struct_rule(_HelpOnOneLine())
    try:
        command: Command = tyro.cli(
            reduce(or_, kinds),
            prog="regaze",
            description="Teach an image classifier where to look.",
            args=_with_new_spellings(words),
            config=(tyro.conf.OmitArgPrefixes,),
            registry=registry,
        )
    except SystemExit as end:
        if not end.code and words and words[0] in COMMANDS:
            print(_end_of_help(words[0]))  # noqa: T201 - help goes to stdout
        raise
    return command


class _HelpOnOneLine:
    """tyro's own reading of a dataclass, but a field's docstring over several lines of source becomes one.

    tyro keeps the line breaks of an indented docstring, which then end lines of the help in mid-sentence.
    """

    def __init__(self) -> None:
        self.read: set[type[Any]] = set()

    def __call__(self, info: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
        """The fields of a dataclass; None leaves other types, and tyro's own turn, to tyro."""
        if info.type in self.read or not is_dataclass(info.type):
            return None
        self.read.add(info.type)
        spec = tyro.constructors.ConstructorRegistry.get_struct_spec(info)
        self.read.discard(info.type)
        if not isinstance(spec, tyro.constructors.StructConstructorSpec):
            return None
        fields = tuple(replace(item, helptext=partial(_one_line, item.helptext)) for item in spec.fields)
        return replace(spec, fields=fields)


def _one_line(text: str | Callable[[], str | None] | None) -> str | None:
    text = text() if callable(text) else text
    return None if text is None else " ".join(text.split())


def _with_new_spellings(words: list[str]) -> list[str]:
    """The words of a command line with each old spelling replaced, and a note on stderr about it."""
    new = []
    for word in words:
        flag, equals, value = word.partition("=")
        spelling, commands = RENAMED.get(flag, (flag, ()))
        if words[0] in commands:
            print(f"regaze: {flag} is now {spelling}; the old spelling goes with the next version", file=sys.stderr)  # noqa: T201 - a note
            flag = spelling
        new.append(f"{flag}{equals}{value}")
    return new


def examples_of(name: str) -> list[str]:
    """The examples of a command."""
    return [line for line in EXAMPLES.splitlines() if line.startswith(f"regaze {name} ") or line == f"regaze {name}"]


def _end_of_help(name: str) -> str:
    """What tyro has no room for: the command's docstring, wrapped to the terminal, and its examples."""
    width = shutil.get_terminal_size().columns
    paragraphs = inspect.cleandoc(COMMANDS[name][0].__doc__ or "").split("\n\n")
    about = "\n\n".join(textwrap.fill(" ".join(text.split()), width) for text in paragraphs)
    return "\n".join(["", about, "", "Examples:", *(f"  {line}" for line in examples_of(name))])


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `regaze` command; exits with 0, 1 (the user can mend it) or 2 (wrong usage)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given in (["--version"], ["-V"]):
        print(f"regaze {__version__}")  # noqa: T201 - the result
        return
    tolerate_any_text()
    sys.exit(_guarded(parse(given)))


def _guarded(command: Command) -> int:
    """Run a command; a user's mistake becomes one line on stderr, never a traceback."""
    # With --json stdout is the object's alone, whatever a library prints.
    aside = contextlib.redirect_stdout(sys.stderr) if command.output.json else contextlib.nullcontext()
    try:
        with aside:
            result, code = command.run()
    except RegazeError as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on where it stopped.")
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:  # a folder that may not be written, a full disk: nothing that a traceback would mend
        where = f" ({error.filename})" if error.filename else ""
        complain(f"{error.strerror or error}{where}: check the path, its rights and the disk.")
        return 1
    except UnicodeEncodeError as error:
        if not _is_from_bytes(error):
            raise
        complain(f"{error.object!r} holds bytes that are no UTF-8: rename the file or folder.")
        return 1
    if command.output.json:
        print(json.dumps(result, allow_nan=False))  # noqa: T201 - the result
    return code


def _is_from_bytes(error: UnicodeEncodeError) -> bool:
    """Whether it is a name's bytes that cannot be written, and not a mistake of ours."""
    return all("\udc80" <= character <= "\udcff" for character in error.object[error.start : error.end])


if __name__ == "__main__":
    main()
