"""Where things lie in a model repository, and which names are allowed there.

The layout is Triton's: `<model>/<version>/model.onnx`. Names that start with a dot are temporary or locks.
"""

import re
from pathlib import Path

DEFAULT_REPOSITORY = Path("models/store")
ONNX_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
CHAMPION = "champion"

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
ALIAS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VERSION_NAME = re.compile(r"[1-9][0-9]{0,17}")


def check_model_name(name: str) -> None:
    """Raises ValueError when `name` cannot be a model's."""
    if not MODEL_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a model: allowed are up to 128 letters, digits, '_', '.' and '-', "
            "the first a letter or a digit."
        )


def check_alias_name(name: str) -> None:
    """Raises ValueError when `name` cannot be an alias's."""
    if not ALIAS_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name an alias: allowed are up to 64 lowercase letters, digits, '_' and '-', "
            "the first a letter."
        )


def check_file_name(name: str) -> None:
    """Raises ValueError when `name` cannot be a file's of a version."""
    if not MODEL_NAME.fullmatch(name) or name == MANIFEST_FILE:
        raise ValueError(f"{name!r} cannot name a file of a version.")


def version_number(text: str) -> int | None:
    """The version that a text (a directory's name, an alias's content) stands for; None for any other text."""
    return int(text) if _VERSION_NAME.fullmatch(text) else None


def split_reference(reference: str) -> tuple[str, int | str]:
    """Splits `MODEL`, `MODEL@3` or `MODEL@alias` into the model and the version or alias (default: champion)."""
    model, _, version = reference.partition("@")
    return model, version_number(version) or version or CHAMPION
