"""A real Chromium for the page's tests, and a stand-in for the server."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.page import stub
from tests.page.sheet import Paper

# Named by hand, as `.ci/run` does: then nothing may be missing, and nothing is skipped.
REQUIRED = os.environ.get("REGAZE_CHROMIUM")
CHROMIUM = REQUIRED or shutil.which("chromium") or shutil.which("chromium-browser")


# Not for the session: while playwright lives, no other test in this process can run an event loop of its own.
@pytest.fixture(scope="module")
def browser():
    """One Chromium for a module's tests."""
    try:
        from playwright import sync_api
    except ModuleNotFoundError:
        if REQUIRED:
            raise
        pytest.skip("playwright is missing: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium found: apt install chromium, or name one in REGAZE_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def eyes():
    """Painted photographs, made once."""
    return stub.painted_cases(480, 3)


@pytest.fixture
def world(eyes):
    """(What the stand-in holds, its address): the same eyes, nothing done yet."""
    cases = [stub.Case(e.name, e.photo, e.label, e.lesions, e.maps) for e in eyes]
    world, address, stop = stub.serve(cases)
    yield world, address
    stop()


@pytest.fixture
def paper(browser, world):
    """The page with the first case open; closing it fails on any violation of the CSP or unhandled error."""
    held, address = world
    paper = Paper(browser, address, held)
    yield paper
    paper.close()
