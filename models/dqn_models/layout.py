"""The layout of a model repository, and which names are allowed in it.

The layout is Triton's: `<model>/<version>/model.onnx`. Names that start with a dot are temporary files or locks.
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
    """Raises ValueError if `name` is not a valid model name."""
    if not MODEL_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid model name: use up to 128 letters, digits, '_', '.' and '-', "
            "starting with a letter or a digit."
        )


def check_alias_name(name: str) -> None:
    """Raises ValueError if `name` is not a valid alias."""
    if not ALIAS_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid alias: use up to 64 lowercase letters, digits, '_' and '-', "
            "starting with a letter."
        )


def check_file_name(name: str) -> None:
    """Raises ValueError if `name` is not a valid name for a file of a version."""
    if not MODEL_NAME.fullmatch(name) or name == MANIFEST_FILE:
        raise ValueError(f"{name!r} is not a valid name for a file of a version.")


def version_number(text: str) -> int | None:
    """The version number in a directory's name or an alias file; None if the text is not a version number."""
    return int(text) if _VERSION_NAME.fullmatch(text) else None


def split_reference(reference: str) -> tuple[str, int | str]:
    """Splits `MODEL`, `MODEL@3` or `MODEL@alias` into the model and the version or alias (default: champion)."""
    model, _, version = reference.partition("@")
    return model, version_number(version) or version or CHAMPION
