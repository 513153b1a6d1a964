"""Everything that is written goes through one home, so that no reader and no crash ever meets half a file."""

import ast
from pathlib import Path

import regaze

HOMES = {"replacing", "replacing_folder", "new_folder"}
# Writers that are no results: their files are told to be whole by a checksum, line by line, or by who calls them.
OTHERS = {
    "doctor/looks.py": "a journal, of which a torn line is passed over",
    "drawing/canvas.py": "a buffer in memory",
    "drawing/overlay.py": "a buffer in memory",
    "models/convert.py": "a process of its own, into a file that its caller replaces",
    "models/features.py": "entries with a checksum",
    "server/case_routes.py": "a draft, which is a row of the store",
    "server/jobs.py": "what a process of its own says on stderr",
    "server/pictures.py": "a buffer in memory",
    "server/work.py": "a journal, of which a torn line is passed over",
    "synthetic/dataset.py": "paints into a folder that its caller replaces",
}
WRITES = {
    "write_text",
    "write_bytes",
    "save",
    "savez",
    "savez_compressed",
    "save_file",
    "copytree",
    "copyfile",
    "copy2",
}


def _name(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _writes(call):
    """Whether a call fills a file; `write_text(...)` alone is the home's own."""
    name = _name(call)
    if name == "open":
        words = [word.value for word in (*call.args, *(item.value for item in call.keywords)) if hasattr(word, "value")]
        return any(isinstance(word, str) and word in ("w", "wb", "a", "ab", "x", "xb", "w+", "r+") for word in words)
    if name in ("write_text", "write_json") and isinstance(call.func, ast.Name):
        return False
    return name in WRITES and bool(call.args or call.keywords)


def _unguarded(node, inside=False):
    """The lines of writing calls that stand in no `with replacing(...)`."""
    if isinstance(node, ast.With):
        guarded = [item.context_expr for item in node.items]
        inside = inside or any(isinstance(one, ast.Call) and _name(one) in HOMES for one in guarded)
    if isinstance(node, ast.Call) and _writes(node) and not inside:
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _unguarded(child, inside)


def test_what_is_written_is_written_whole():
    """No module fills a file but in a block of `files.replacing`; those that may are named here, with the reason."""
    root = Path(regaze.__file__).parent
    found = {
        file.relative_to(root).as_posix(): lines
        for file in sorted(root.rglob("*.py"))
        if (lines := list(_unguarded(ast.parse(file.read_text(encoding="utf-8")))))
    }
    assert found.keys() == OTHERS.keys(), found


def test_the_check_sees_a_bare_write():
    """It cannot pass by seeing nothing."""
    bad = "p.write_text('x')\nwith p.open('wb') as s:\n    np.savez(s)\nwith replacing(p) as t:\n    t.write_bytes(b'')"
    assert list(_unguarded(ast.parse(bad))) == [1, 2, 3]
