"""Presets in TOML files: one line for each field of DQNConfig that is not at its default."""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dqn_training.config import DQNConfig

SUFFIX = ".toml"
_FIELDS = [field.name for field in dataclasses.fields(DQNConfig)]


def read_preset(path: Path) -> DQNConfig:
    """The configuration that a file describes.

    Raises ValueError with a sentence that names the file, the key, its value and what is allowed.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The preset {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The preset {path} is not TOML: {error}.") from error
    for key in values.keys() - set(_FIELDS):
        near = difflib.get_close_matches(key, _FIELDS, n=1)
        advice = f"did you mean {near[0]}?" if near else "see `dqn-train --help` for the settings that there are."
        raise ValueError(f"The preset {path} sets {key}, which is no setting; {advice}")
    try:  # as JSON, where a list may stand for a tuple
        return TypeAdapter(DQNConfig).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise ValueError(f"The preset {path} is wrong: {_first_fault(error, values)}") from error


def preset_text(config: DQNConfig, heading: str) -> str:
    """The file's text: `heading` as comment lines, then every field that is not at its default."""
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    defaults = DQNConfig()
    for name in _FIELDS:
        value = getattr(config, name)
        if value != getattr(defaults, name):
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _first_fault(error: ValidationError, values: Mapping[str, Any]) -> str:
    """A sentence on the first thing that is wrong; our own ones, of DQNConfig, name field and value already."""
    fault = error.errors()[0]
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    key = str(fault["loc"][0])
    expected = fault["msg"][:1].lower() + fault["msg"][1:].removesuffix(".")
    return f"{key} is {values[key]!r}; {expected.replace('input should', 'it must')}."


def _toml(value: Any) -> str:
    """A value in TOML, which for these types is written as JSON is; a table goes in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
