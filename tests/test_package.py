"""The package as a whole."""

import json
import subprocess
import sys

import pytest

import regaze

HEAVY = ("torch", "torchvision", "timm", "lightning_fabric", "cv2", "sklearn", "PIL", "numpy", "sqlalchemy")


def loaded_by(statement):
    """Names of the heavy packages that a fresh interpreter has loaded after a statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_importing_the_package_is_cheap():
    """`import regaze` loads neither torch nor any image library."""
    assert loaded_by("import regaze; regaze.__version__") == []


def test_the_probe_sees_torch():
    """The test above can fail: the probe does find torch where it is loaded."""
    assert "torch" in loaded_by("import torch")


@pytest.mark.parametrize(
    "module", ["regaze.errors", "regaze.models.options", "regaze.training.options", "regaze.files"]
)
def test_leaves_and_options_load_nothing_heavy(module):
    """Errors, files and options are read by the command line's help, so they import nothing heavy."""
    assert loaded_by(f"import {module}") == []


@pytest.mark.parametrize("module", ["regaze.records", "regaze.corrections.store", "regaze.selection.rules"])
def test_rooms_without_a_network_load_no_torch(module):
    """Records, corrections and selection never import torch."""
    assert not {"torch", "torchvision", "timm", "lightning_fabric"} & set(loaded_by(f"import {module}"))


def test_public_names_are_resolved_on_first_use():
    """Every public name exists; another name is an AttributeError as in any module."""
    for name in regaze.__all__:
        assert getattr(regaze, name) is not None
    with pytest.raises(AttributeError, match="module 'regaze' has no attribute 'no_such_name'"):
        _ = regaze.no_such_name
