"""README.md and docs/guide.md: what a person copies from them works, and what they point to is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from regaze.cli import COMMANDS, parse

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "guide.md")


def command_lines(text):
    """The words after `regaze` of each line of a console block that calls it, its comment left out."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", text, re.S))
    lines = re.findall(r"^\$ (?:\.venv/bin/)?regaze (.+)$", blocks, re.M)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_parses(page, capsys):
    """Each `$ regaze ...` is one that the program takes, in today's spelling; nothing is run."""
    lines = command_lines(page.read_text(encoding="utf-8"))
    assert len(lines) >= 5
    for words in lines:
        try:
            command = parse(words)
        except SystemExit:
            pytest.fail(f"{page.name}: regaze {shlex.join(words)}\n{capsys.readouterr()}")
        assert type(command) is COMMANDS[words[0]][0]
        assert capsys.readouterr().err == ""


def test_the_guide_has_every_command():
    """A person who reads the guide meets every command but the demo, which is the README's."""
    shown = {words[0] for words in command_lines(PAGES[1].read_text(encoding="utf-8"))}
    assert shown == set(COMMANDS) - {"demo"}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))], ids=str)
def test_links_lead_somewhere(page):
    """What a page links to inside the repository is there."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?://", target) or (page.parent / target).exists(), target


def test_the_picture_is_small_and_attributed():
    """At most 300 KB, and the README names its source and licence beside it."""
    readme = PAGES[0].read_text(encoding="utf-8")
    (name,) = re.findall(r"!\[[^]]+\]\((docs/picture\.\w+)\)", readme)
    assert (ROOT / name).stat().st_size <= 300_000
    with Image.open(ROOT / name) as picture:
        assert picture.width >= 900
    assert re.search(r"Porwal et al\. 2018.*CC BY 4\.0", readme, re.S)


def test_the_code_in_the_guide_runs(study_copy):
    """`From Python` works as it stands beside a finished study."""
    (code,) = re.findall(r"```python\n(.*?)```", "".join(page.read_text(encoding="utf-8") for page in PAGES), re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=study_copy.parent, capture_output=True, text=True, check=True
    )
    assert "multi-scale" in done.stdout
