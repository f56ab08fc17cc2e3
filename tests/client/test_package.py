"""The package as users see it: what it imports, and its documentation."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import dqn_client

ROOT = Path(__file__).parents[2]


def test_import_brings_nothing_heavy() -> None:
    """Importing the client loads no array library, no training or serving stack, and no other package of ours."""
    program = "import sys, dqn_client; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "dqn_client" in loaded
    assert loaded.isdisjoint(
        {"numpy", "torch", "gymnasium", "onnxruntime", "pydantic", "dqn_models", "dqn_training", "dqn_serving"}
    )


@pytest.mark.parametrize("name", dqn_client.__all__)
def test_public_names_are_documented(name: str) -> None:
    """Every public name and every public method has its own docstring."""
    public = getattr(dqn_client, name)
    if not inspect.isclass(public):  # Manifest, an alias
        return
    assert public.__dict__.get("__doc__")
    for member, value in vars(public).items():
        if not member.startswith("_") and callable(value):
            assert value.__doc__, f"{name}.{member}"


def test_blocking_client_is_generated() -> None:
    """The blocking client is what scripts/unasync.py generates from the asynchronous one."""
    words = [sys.executable, str(ROOT / "scripts" / "unasync.py"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
