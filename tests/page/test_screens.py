"""Queue, rounds, overview, languages; names as text; what axe-core finds."""

from __future__ import annotations

import importlib.resources
import itertools
import json
import re

import pytest

from tests.page.sheet import Paper
from tests.page.stub import STATIC


def test_names_and_remarks_are_text(paper):
    """A name that is HTML is shown letter by letter and runs nothing."""
    paper.page.fill(".remark textarea", "<script>alert(2)</script>")
    paper.page.goto(f"{paper.address}/#/queue")
    name = "<img src=x onerror=alert(1)>"
    paper.page.get_by_text(name, exact=True).wait_for()
    assert paper.page.locator("img[src='x']").count() == 0
    paper.page.get_by_text(name, exact=True).click()
    paper.until(lambda: paper.case == 1)
    paper.wait_for_case()
    assert paper.page.locator(".why strong").inner_text() == name


def test_a_round_is_trained_followed_and_taken_back(paper):
    """Progress is shown live, the verdict with its interval at the end, and an earlier model is one click away."""
    paper.page.goto(f"{paper.address}/#/rounds")
    paper.page.get_by_role("button", name="Train a round").click()
    paper.page.get_by_text("epoch 2 of 12").wait_for()
    paper.page.get_by_text("Round trained").wait_for()
    assert paper.page.locator(".job .chip.is-improved").count() >= 1
    assert "+0.890 (+0.510 … +1.280)" in paper.page.locator(".round").first.inner_text()
    paper.page.get_by_text("1 photograph graded worse").wait_for()
    paper.page.get_by_role("button", name="Go back to this one").click()
    paper.until(lambda: paper.world.model == "round-0")


def test_a_round_can_be_cancelled(paper):
    """Cancelling says so and ends the job."""
    paper.page.goto(f"{paper.address}/#/rounds")
    paper.page.get_by_role("button", name="Train a round").click()
    paper.page.get_by_role("button", name="Cancel").click()
    paper.page.get_by_role("heading", name="Cancelled").wait_for()
    assert paper.world.job["state"] == "cancelled"


def test_everything_goes_by_keyboard(paper):
    """Marks, tools, layers and the sheet of keys answer to their keys, and not while a remark is typed."""
    pressed = "[role=radio][aria-checked=true]"
    for key, name in (
        ("n", "Not here"),
        ("e", "Erase"),
        ("l", "Look here"),
        ("f", "Lasso"),
        ("w", "Wand"),
        ("b", "Brush"),
    ):
        paper.page.keyboard.press(key)
        paper.until(
            lambda name=name: (
                name in paper.page.locator(f".tools {pressed}").evaluate_all("a => a.map(b => b.ariaLabel)")
            )
        )
    shown = paper.picture()
    paper.page.keyboard.down("h")
    hidden = paper.picture()
    paper.page.keyboard.up("h")
    assert hidden != shown
    assert paper.picture() == shown
    paper.page.keyboard.press("g")
    paper.until(lambda: paper.page.locator(f".layers {pressed}", has_text="Red-free").count())
    paper.page.locator(".remark textarea").focus()
    paper.page.keyboard.type("went e")
    assert paper.page.locator(f".tools {pressed}").first.get_attribute("aria-label") == "Look here"
    paper.page.locator("canvas.canvas").focus()
    paper.page.keyboard.press("?")
    paper.page.get_by_role("dialog", name="Keys").wait_for()
    paper.page.keyboard.press("Escape")
    paper.until(lambda: paper.page.locator("dialog").count() == 0)


def test_a_second_window_gets_another_case(browser, world):
    """Two windows never work on the same photograph."""
    held, address = world
    first, second = Paper(browser, address, held), Paper(browser, address, held)
    assert first.case != second.case
    second.page.goto(f"{address}/#/case/{first.case}")
    second.page.get_by_text("Another window is working on this photograph.").wait_for()
    first.close()
    second.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing(browser, world, theme):
    """No finding of axe-core on any screen, in either light; every target is 24 px or more."""
    try:
        source = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    except ModuleNotFoundError:
        pytest.skip("axe-core is missing: pip install axe-playwright-python")
    held, address = world
    paper = Paper(browser, address, held, bypass_csp=True)  # axe-core itself is put into the page
    paper.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    paper.stroke((0.4, 0.4), (0.5, 0.5))
    paper.wait_saved()
    paper.until(lambda: paper.page.locator(".strip").count())
    paper.page.evaluate(source)
    run = "async () => (await axe.run()).violations.map((v) => [v.id, ...v.nodes.map((n) => n.target.join(' '))])"
    found = {"draw": paper.page.evaluate(run)}
    for screen, heading in (("queue", "Queue"), ("rounds", "Rounds"), ("overview", "painted eyes")):
        paper.page.click(f"nav a[href='#/{screen}']")
        paper.page.get_by_role("heading", name=heading, level=1).wait_for()
        paper.page.wait_for_timeout(300)
        found[screen] = paper.page.evaluate(run)
    paper.page.click(".top .icon-button:last-child")
    paper.page.wait_for_timeout(200)
    found["help"] = paper.page.evaluate(run)
    assert found == {screen: [] for screen in found}
    paper.close()


def test_targets_are_44_pixels_on_a_tablet(browser, world):
    """Every button and link of the drawing page is at least 44 px high."""
    held, address = world
    paper = Paper(browser, address, held, has_touch=True, viewport={"width": 1024, "height": 768})
    boxes = paper.page.eval_on_selector_all(
        ".top button, .top a, .tools button, .zoom button, .decide button, .layers [role=radio], .predict [role=radio]",
        "all => all.map((e) => [e.ariaLabel || e.innerText, e.getBoundingClientRect().height])",
    )
    assert len(boxes) > 25
    assert [box for box in boxes if box[1] < 44] == []
    paper.close()


def _used_keys() -> tuple[set[str], set[str], list[str]]:
    """Keys that the modules ask for, all their strings, and the beginnings of keys that they put together."""
    asked: set[str] = set()
    literals: set[str] = set()
    beginnings: list[str] = []
    for path in STATIC.rglob("*.js"):
        if path.parent.name == "vendor":
            continue
        text = path.read_text()
        asked |= set(re.findall(r"""\b(?:t|word)\("([\w.]+)\"""", text))
        asked |= set(re.findall(r"""entry\("\w+", \[[^\]]*\], "([\w.]+)\"""", text))
        literals |= set(re.findall(r"""\"([\w.]+)\"""", text))
        beginnings += re.findall(r"`(\w+\.[\w.]*)\$\{", text)
    return asked, literals, beginnings


def test_languages_agree():
    """Both languages have the same keys with the same placeholders; what is asked for is there and nothing else."""
    english, japanese = (json.loads((STATIC / "i18n" / f"{code}.json").read_text()) for code in ("en", "ja"))
    assert list(english) == sorted(english)
    assert english.keys() == japanese.keys()
    for key, text in english.items():
        forms = [*(text.values() if isinstance(text, dict) else [text])]
        others = [*(japanese[key].values() if isinstance(japanese[key], dict) else [japanese[key]])]
        assert isinstance(text, dict) == isinstance(japanese[key], dict), key
        assert {frozenset(re.findall(r"\{(\w+)\}", form)) for form in forms + others} == {
            frozenset(re.findall(r"\{(\w+)\}", forms[0]))
        }, key
    asked, literals, beginnings = _used_keys()
    assert len(asked) > 80
    assert asked <= english.keys(), asked - english.keys()
    assert not {key for key in english if key not in literals and not key.startswith(tuple(beginnings))}


def test_the_page_speaks_japanese(paper):
    """One button switches the language, numbers and times with it, and a reload keeps it."""
    paper.page.get_by_role("button", name="日本語").click()
    paper.page.get_by_role("link", name="待ち行列").wait_for()
    assert paper.page.evaluate("document.documentElement.lang") == "ja"
    paper.page.reload()
    paper.page.get_by_role("link", name="待ち行列").wait_for()


def test_colours_are_even_steps(paper):
    """Each map's colours rise in lightness, with steps of perceived difference (OKLab) that differ little."""
    tables = paper.page.evaluate(
        """async () => {
          const { TABLES } = await import("/static/colours.js");
          return Object.fromEntries(Object.entries(TABLES).map(([name, table]) => [name, Array.from(table)]));
        }"""
    )
    assert set(tables) == {"dusk", "ember"}
    for table in tables.values():
        lab = _oklab([table[3 * i : 3 * i + 3] for i in range(0, 256, 15)])
        steps = [sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) ** 0.5 for p, q in itertools.pairwise(lab)]
        assert all(q[0] > p[0] for p, q in itertools.pairwise(lab))
        assert max(steps) < 1.2 * min(steps)


def _oklab(colours: list[list[int]]) -> list[tuple[float, float, float]]:
    """By Ottosson's matrices, https://bottosson.github.io/posts/oklab/."""
    result = []
    for colour in colours:
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour))
        l_ = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
        m_ = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
        s_ = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
        result.append(
            (
                0.2104542553 * l_ + 0.7936177850 * m_ - 0.0040720468 * s_,
                1.9779984951 * l_ - 2.4285922050 * m_ + 0.4505937099 * s_,
                0.0259040371 * l_ + 0.7827717662 * m_ - 0.8086757660 * s_,
            )
        )
    return result
