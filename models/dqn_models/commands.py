"""Entry points of the commands. They import only the standard library until the packages of their extra are found, so
that a command whose extra is missing says in one sentence what to install.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from dqn_models import cli_support

_PACKAGES = {
    "models": "numpy onnxruntime pydantic rich tyro",
    "train": "gymnasium matplotlib onnx prometheus_client safetensors structlog torch",
    "experience": "msgspec",
    "serve": "fastapi fastapi_swagger httptools msgspec prometheus_client pydantic_settings structlog uvicorn uvloop"
    " websockets",
}


def models() -> None:
    """Entry point of `dqn-models`."""
    _start("dqn-models", "dqn_models.cli", "main", "models")


def experience() -> None:
    """Entry point of `dqn-experience`."""
    _start("dqn-experience", "dqn_experience.cli", "main", "experience")


def serve() -> None:
    """Entry point of `dqn-serve`."""
    _start("dqn-serve", "dqn_serving.cli", "main", "serve")


def train() -> None:
    """Entry point of `dqn-train`."""
    _start("dqn-train", "dqn_training.cli.main", "train", "train")


def evaluate() -> None:
    """Entry point of `dqn-evaluate`."""
    _start("dqn-evaluate", "dqn_training.cli.main", "evaluate", "train")


def retrain() -> None:
    """Entry point of `dqn-retrain`."""
    _start("dqn-retrain", "dqn_training.cli.main", "retrain", "train")


def tune() -> None:
    """Entry point of `dqn-tune`."""
    _start("dqn-tune", "dqn_training.cli.main", "tune", "train")


def compare() -> None:
    """Entry point of `dqn-compare`."""
    _start("dqn-compare", "dqn_training.cli.main", "compare", "train")


def _start(command: str, module: str, function: str, extra: str) -> None:
    _use_utf8()
    missing = _missing([module.partition(".")[0], *_PACKAGES["models"].split(), *_PACKAGES[extra].split()])
    if missing:
        sys.exit(cli_support.fail(cli_support.missing_extra(command, extra, missing), cli_support.WRONG_USAGE))
    getattr(import_module(module), function)()


def _use_utf8() -> None:
    """Restarts the command in Python's UTF-8 mode if the locale forces ASCII, which cannot encode accented paths."""
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # child processes inherit it
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  (this very command)


def _missing(packages: list[str]) -> str:
    """The first of these packages that is not installed, or an empty string."""
    return next((name for name in packages if find_spec(name) is None), "")
