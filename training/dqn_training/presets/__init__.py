"""Presets: settings in TOML files, selected by name if in this folder, otherwise by path.

A file has a line for each field of DQNConfig that differs from its default. The presets in this folder may also list
in `default_for` the environments that they are the default for: ids, or patterns such as `ALE/*`.
"""

import difflib
import fnmatch
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dqn_training.config import DQNConfig

SUFFIX = ".toml"
_FOLDER = Path(__file__).parent
_FIELDS = [field.name for field in fields(DQNConfig)]
_DEFAULT_FOR = "default_for"


def preset_names() -> list[str]:
    """Names of the built-in presets, sorted."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{SUFFIX}"))


def preset_config(preset: str) -> DQNConfig:
    """The settings of a preset: one of `preset_names()`, or the path of a file such as those `dqn-tune` writes.

    Raises ValueError if there is no such preset or the file is invalid.
    """
    names = preset_names()
    if preset in names:
        return read_preset(_FOLDER / (preset + SUFFIX))
    if preset.endswith(SUFFIX):
        return read_preset(Path(preset))
    near = difflib.get_close_matches(preset, names, n=1)
    advice = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"--preset is {preset!r}; it must be {', '.join(names)} or the path of a .toml file.{advice}")


def preset_label(preset: str) -> str:
    """The preset as recorded in a manifest: its name, or the name of its file."""
    return Path(preset).name if preset.endswith(SUFFIX) else preset


def default_preset(env_id: str | None) -> str:
    """The built-in preset that is the default for an environment, or `general`."""
    name = "CartPole-v1" if env_id is None else env_id.rpartition(":")[2]
    for preset in preset_names():
        patterns = _parsed(_FOLDER / (preset + SUFFIX)).get(_DEFAULT_FOR, [])
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return preset
    return "general"


def default_model_name(env_id: str) -> str:
    """The default model name for an environment: CartPole-v1 gives cartpole."""
    name = re.sub(r"-v\d+$", "", env_id.rpartition(":")[2])
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.") or "policy"


def read_preset(path: Path) -> DQNConfig:
    """The configuration in a preset file.

    Raises ValueError naming the file, the key, its value and what is allowed.
    """
    values = _parsed(path)
    values.pop(_DEFAULT_FOR, None)
    for key in values.keys() - set(_FIELDS):
        near = difflib.get_close_matches(key, _FIELDS, n=1)
        advice = f"did you mean {near[0]}?" if near else "`dqn-train --help` lists the settings."
        raise ValueError(f"The preset {path} sets {key}, which is not a setting; {advice}")
    try:  # as JSON, where a list may stand for a tuple
        return TypeAdapter(DQNConfig).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise ValueError(f"The preset {path} is invalid: {_first_problem(error, values)}") from error


def preset_text(config: DQNConfig, heading: str) -> str:
    """The text of a preset file: `heading` as comment lines, then every field that differs from its default."""
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    defaults = DQNConfig()
    for name in _FIELDS:
        value = getattr(config, name)
        if value != getattr(defaults, name):
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _parsed(path: Path) -> dict[str, Any]:
    """The file's keys and values. Raises ValueError if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The preset {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The preset {path} is not TOML: {error}.") from error


def _first_problem(error: ValidationError, values: Mapping[str, Any]) -> str:
    """A sentence about the first problem; those of DQNConfig already name the field and its value."""
    problem = error.errors()[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    key = str(problem["loc"][0])
    expected = problem["msg"][:1].lower() + problem["msg"][1:].removesuffix(".")
    return f"{key} is {values[key]!r}; {expected.replace('input should', 'it must')}."


def _toml(value: Any) -> str:
    """A value in TOML, whose syntax is JSON's for these types, except that tables are written inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
