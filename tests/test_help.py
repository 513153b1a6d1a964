"""Every help text: it ends with lines that can be run, breaks no sentence in two, and speaks the field's words."""

import itertools
import re
import shlex
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
import tyro
from docstring_parser import parse_from_object

from regaze.cli import COMMANDS, RENAMED, examples_of, parse
from regaze.cli_reference import help_of
from regaze.study.options import EvaluateOptions

ROOT = Path(__file__).parent.parent
# What is not said -> what is said instead.
DIALECT = {
    r"how a command speaks": "output",
    r"how the arithmetic is done": "device, precision, workers, feature cache",
    r"least recently used out first": "LRU",
    r"said to miss the lesions": "off-target",
    r"looks? elsewhere": "off-target",
    r"signs? of (a )?doubt": "uncertainty score",
    r"\bvariety\b": "diversity",
    r"starts? from nothing": "randomly initialised",
    r"\boff zero\b": "the interval excludes zero",
    r"things are wrong": "problems found",
    r"orders? that (does not know|do not know|knows? nothing)": "reference ranking",
    r"\bplace matters?\b": "the grade depends on the attended region",
    r"cannot be told": "inconclusive",
    r"\b(model|one) in use\b": "active model",
    r"--(rule|source|controls)\b": "the new spelling",
}


@pytest.fixture(params=[60, 80, 100, 110])
def width(request, monkeypatch):
    """Columns of the terminal; on more than these tyro sets the groups in two columns."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def _marks(hint):
    """What tyro is told of a type."""
    return getattr(hint, "__metadata__", ())


def explained(kind):
    """Docstrings of a command's class and of its fields, those of its groups of options too, as in the source."""
    hints = get_type_hints(kind)
    hidden = {
        name for name, hint in get_type_hints(kind, include_extras=True).items() if tyro.conf.Suppress in _marks(hint)
    }
    docs = {doc.arg_name: doc.description for base in kind.__mro__[-2::-1] for doc in parse_from_object(base).params}
    yield kind.__doc__
    for item in (item for item in fields(kind) if item.name not in hidden):
        yield from explained(hints[item.name]) if is_dataclass(hints[item.name]) else [docs[item.name]]


def early_breaks(text, columns):
    """Pairs of lines of a help text that are one sentence, where the second's first word had fitted on the first."""
    found, edge = [], columns
    for before, after in itertools.pairwise(text.partition("\nExamples:")[0].splitlines()):
        if set(before.strip()) == {"-"}:
            edge = len(before)
        elif not before:
            edge = columns
        indent = len(after) - len(after.lstrip())
        if indent >= 6:  # the column of helps; `before` has text there, or is an option alone on its line
            goes_on = before[indent - 2 : indent] == "  " and before[indent : indent + 1].strip()
        else:  # a group's or a command's own words, not the next option or argument
            goes_on = before.startswith(after[:indent]) and not re.match(r"  ?[-\[{A-Z]|.*\S {2,}\S|$| +-+$| \w", after)
        word = re.match(r"[^\s,]*,?", after.strip())[0]
        if goes_on and before.strip() and set(before.strip()) != {"-"} and len(before) + 1 + len(word) < edge:
            found.append((before, after))
    return found


def test_every_command_has_examples_that_mean_it():
    """One to three lines, which the real parser reads as the very command that they stand under."""
    for name, (kind, _) in COMMANDS.items():
        examples = examples_of(name)
        assert 1 <= len(examples) <= 3, name
        for line in examples:
            words = shlex.split(line)
            assert words[:2] == ["regaze", name], line
            assert type(parse(words[1:])) is kind, line


def test_help_ends_with_the_examples(width, capsys):
    """They are the last lines of what the program prints, unbroken, on 80 columns too."""
    for name in COMMANDS:
        examples = examples_of(name)
        with pytest.raises(SystemExit) as end:
            parse([name, "--help"])
        printed = capsys.readouterr()
        assert (end.value.code, printed.err) == (0, "")
        lines = printed.out.splitlines()
        assert lines[-len(examples) - 1 :] == ["Examples:", *(f"  {line}" for line in examples)]
        assert max(map(len, lines[-len(examples) :])) <= 80, name
        assert help_of(name).endswith("\n".join(["Examples:", *(f"  {line}" for line in examples)]))


def test_wrong_usage_shows_no_examples(capsys):
    """An error is an error: exit code 2, and nothing on stdout."""
    with pytest.raises(SystemExit) as end:
        parse(["init", "study", "--no-such-option"])
    assert end.value.code == 2
    assert capsys.readouterr().out == ""


def test_no_line_break_of_a_docstring_leaks(width):
    """Each docstring is in the help word for word, and a line ends only where the next word had not fitted."""
    read = 0
    for name, (kind, _) in COMMANDS.items():
        text = help_of(name)
        squeezed = "".join(text.split())
        for doc in explained(kind):
            read += 1
            assert "".join(doc.split()) in squeezed, (name, doc)
        assert early_breaks(text, width) == [], name
    assert read > 300


def test_a_leaked_line_break_is_seen(width):
    """The test above is not blind: breaks put into a help text where a word would have fitted are all found."""
    text = help_of("select")
    assert early_breaks(text, width) == []
    line = next(line for line in text.splitlines() if len(line.split()) > 4 and "Leave out" in line)
    indent = " " * line.index("Leave")
    broken = text.replace(line, line.replace("Leave out ", f"Leave\n{indent}out "))
    assert [after.split()[0] for _, after in early_breaks(broken, width)] == ["out"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("select study --rule margin", "select study --by margin"),
        ("run study --rule=margin", "run study --by margin"),
        ("correct study --source boxes", "correct study --from boxes"),
        ("run study --source boxes --controls 3", "run study --from boxes --reference-rankings 3"),
        ("evaluate study --controls 3", "evaluate study --reference-rankings 3"),
        ("report study --controls=3", "report study --reference-rankings 3"),
    ],
)
def test_old_spellings_still_work(old, new, capsys):
    """For one version they mean the same command, with a note on stderr for each."""
    command = parse(old.split())
    notes = capsys.readouterr()
    assert command == parse(new.split())
    flags = [flag for flag in RENAMED if f" {flag}" in old]
    assert flags
    assert notes.out == ""
    assert notes.err.splitlines() == [
        f"regaze: {flag} is now {RENAMED[flag][0]}; the old spelling goes with the next version" for flag in flags
    ]
    assert capsys.readouterr().err == "", "the new spelling needs no note"


def test_old_spellings_are_those_of_their_command_only(capsys):
    """A word that another command never had as an option is refused there; help shows none of them."""
    for words in (["explain", "m", "i.jpg", "--rule", "cam"], ["train", "study", "--controls", "3"]):
        with pytest.raises(SystemExit) as end:
            parse(words)
        assert end.value.code == 2
    for flag, (spelling, commands) in RENAMED.items():
        for name in commands:
            assert f"{spelling} " in help_of(name)
            assert not re.search(rf"{flag}\b", help_of(name))


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    """Its run.json holds `rule` and `controls`, as they were called then."""
    from regaze.commands.loop import Run, _command_from, _plain
    from regaze.study.options import StudyOptions

    values = _plain(Run(folder=tmp_path, study=StudyOptions(data="synthetic:9")))
    values["select"]["rule"] = values["select"].pop("by")
    values["evaluate"]["controls"] = values["evaluate"].pop("reference_rankings") - 1
    found = _command_from(values)
    assert found.select.by == "branches"
    assert found.evaluate.reference_rankings == EvaluateOptions().reference_rankings - 1


def test_help_and_documentation_use_the_fields_words():
    """No phrase of the private dialect stands in a help text, in README.md or in docs (log and results excepted)."""
    pages = {f"regaze {name} --help": help_of(name) for name in COMMANDS}
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    pages |= {
        file.name: file.read_text(encoding="utf-8") for file in files if file.name not in ("LOG.md", "results.md")
    }
    assert {"README.md", "design.md", "cli.md"} <= set(pages)
    for name, text in pages.items():
        flat = " ".join(text.split())
        for phrase, instead in DIALECT.items():
            said = re.search(phrase, flat, re.I)
            assert said is None, f"{name}: {flat[max(0, said.start() - 60) : said.end()]!r}: say {instead}"
