"""The servers that are compared, and the request that each gets for one observation of CartPole."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from load import Request

from dqn_testing.commands import free_port
from dqn_testing.peers import peer_python, versions

FOLDER = Path(__file__).parent
_JSON = (("content-type", "application/json"),)
_ONE = b'{"observation": [0.02, -0.01, 0.03, 0.04]}'
ONE_TENSOR = (
    b'{"inputs": [{"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.02, -0.01, 0.03, 0.04]}]}'
)
ACT = Request("/act", _ONE, _JSON)
"""One observation for dqn-serve and servers with the same API."""


class System(NamedTuple):
    """A server: its command for a port, and the package whose version is reported."""

    name: str
    command: Callable[[int], Sequence[str | Path]]
    request: Request = ACT
    package: str | None = None
    python: Path = Path(sys.executable)
    cores: str = "0"


def bare_uvicorn() -> System:
    """A fixed response to every request: the limit of the stack."""
    words = [sys.executable, "-m", "uvicorn", "fixed_answer:app", "--log-level=critical", "--lifespan=off"]
    return System("bare uvicorn, fixed answer", lambda port: [*words, f"--port={port}"], package="uvicorn")


def dqn_serve(
    name: str, repository: Path, request: Request = ACT, *, flags: Sequence[str] = (), cores: str = "0"
) -> System:
    """The installed dqn-serve."""
    program = Path(sys.executable).with_name("dqn-serve")
    words: list[str | Path] = [program, "--repository", repository, "--log-format=json", *flags]
    return System(name, lambda port: [*words, f"--port={port}"], request, cores=cores)


def peer_servers(folder: Path, model: Path) -> list[System]:
    """The peers, all with the same ONNX file, each in its own virtual environment; `folder` is for their files."""
    os.environ["MODEL"] = str(model)
    os.environ["PYTHONPATH"] = str(FOLDER)
    fastapi = peer_python("plain", ["fastapi", "uvicorn[standard]", "onnxruntime"])
    litserve = peer_python("litserve", ["litserve", "onnxruntime"])
    bentoml = peer_python("bentoml", ["bentoml", "onnxruntime"])
    return [
        System(
            "FastAPI, async def",
            lambda port: [fastapi, "-m", "uvicorn", "serve_fastapi:app", f"--port={port}", "--log-level=critical"],
            package="fastapi",
            python=fastapi,
        ),
        _mlserver(folder),
        System(
            "LitServe",
            lambda port: [litserve, FOLDER / "serve_litserve.py", str(port)],
            Request("/predict", _ONE, _JSON),
            "litserve",
            litserve,
        ),
        System(
            "BentoML",
            lambda port: [bentoml, "-m", "bentoml", "serve", "serve_bentoml:Acting", f"--port={port}", "-q"],
            package="bentoml",
            python=bentoml,
        ),
    ]


def named_versions(systems: Iterable[System]) -> dict[str, str]:
    """The versions of the measured packages."""
    named: dict[str, str] = {}
    for system in systems:
        if system.package:
            named |= versions(system.python, [system.package])
    return named


def _mlserver(folder: Path) -> System:
    python = peer_python("mlserver", ["mlserver", "onnxruntime"])
    own = folder / "mlserver"
    own.mkdir()
    (own / "model-settings.json").write_text('{"name": "m", "implementation": "serve_mlserver.Acting"}')

    def command(port: int) -> Sequence[str | Path]:
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        (own / "settings.json").write_text(
            json.dumps({"parallel_workers": 0, "debug": False, "host": "127.0.0.1", **ports})
        )
        return [python.with_name("mlserver"), "start", own]

    return System("MLServer", command, Request("/v2/models/m/infer", ONE_TENSOR, _JSON), "mlserver", python)
