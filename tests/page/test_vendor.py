"""What is vendored is what its list says."""

from __future__ import annotations

import hashlib
import json
import re

from tests.page.stub import STATIC

VENDOR = STATIC / "vendor"


def test_every_vendored_file_is_listed_with_its_checksum():
    """Each module has a package, a version, a licence text and the sha256 of its bytes; nothing else lies there."""
    entries = json.loads((VENDOR / "vendor.json").read_text())
    listed = set()
    for entry in entries:
        assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
        assert entry["licence"] in {"MIT", "Apache-2.0"}
        assert entry["integrity"].startswith("sha512-")
        assert len((VENDOR / entry["licence_file"]).read_text()) > 500
        for name, checksum in entry["sha256"].items():
            assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == checksum, name
            listed.add(name)
    assert listed == {path.name for path in VENDOR.glob("*.js")}
    assert len(listed) == 6


def test_nothing_is_fetched_from_elsewhere():
    """No module or style sheet names another origin or a bare package, and no page has inline code or style."""
    files = [path for path in STATIC.rglob("*") if path.suffix in {".js", ".css", ".html"}]
    assert len(files) > 10
    for path in files:
        text = path.read_text()
        for source in re.findall(r"""(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']""", text):
            assert source.startswith("./") or source.startswith("../"), f"{path.name} imports {source}"
        own = path.parent.name != "vendor"
        if own:
            assert not re.search(r"https?://(?!www\.w3\.org)", text), path.name
            assert "innerHTML" not in text, path.name
            assert "insertAdjacentHTML" not in text, path.name
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\bon\w+=|<script(?![^>]*\bsrc=)", html)
