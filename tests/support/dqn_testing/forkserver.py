"""Commands as forks of processes that have already imported third-party packages.

A training command takes two seconds of CPU time to import torch and Matplotlib, a server half a second, and the
tests start hundreds. A fork starts at once, imports the project's own packages itself, and has its own arguments,
environment, directory and streams; it shares Python's flags and hash seed with its siblings. A test that depends on how
Python starts asks for a fresh process, and gets one whenever it changes a variable that is read at startup.
"""

import contextlib
import ctypes
import gc
import json
import multiprocessing.process
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NoReturn

_SERVING = """fastapi fastapi_swagger httptools msgspec numpy prometheus_client pydantic.types pydantic_settings
    rich.traceback structlog uvicorn uvicorn.protocols.http.httptools_impl uvloop websockets"""
_TRAINING = """PIL.JpegImagePlugin gymnasium.envs.classic_control matplotlib.backends.backend_agg matplotlib.pyplot
    numpy.ctypeslib onnx.checker onnx.numpy_helper prometheus_client pydantic.type_adapter pydantic.types rich.progress
    rich.traceback safetensors.torch structlog torch torch.utils._device tyro"""
_PACKAGES = {
    "dqn-serve": _SERVING,
    **dict.fromkeys(["dqn-train", "dqn-evaluate", "dqn-retrain", "dqn-tune", "dqn-compare"], _TRAINING),
}
_READ_BY_COMMANDS = ("DQN_", "OTEL_", "MLFLOW_", "PYTEST_")  # variables that no package reads while it is imported
_SET_BY_IMPORTS = ("LD_LIBRARY_PATH", "PYGAME_", "_MLFLOW_")  # variables that OpenCV, Gymnasium and MLflow set
_PR_SET_CHILD_SUBREAPER = 36
_MESSAGE_BYTES = 1 << 20
_servers: dict[str, "_ForkServer"] | None = None


@contextlib.contextmanager
def forked_commands() -> Iterator[None]:
    """Commands that are started within the block are forks, if possible."""
    global _servers  # noqa: PLW0603  (of the process of the tests, which starts the commands)
    _servers = {}
    try:
        yield
    finally:
        for server in _servers.values():
            server.close()
        _servers = None


class Process(subprocess.Popen[str]):
    """Like subprocess.Popen, but within `forked_commands` a fork if that makes no difference."""

    def __init__(self, words: Sequence[str], *, is_fresh: bool = False, **options: Any) -> None:
        """Starts the process; a fresh one is never a fork."""
        self._is_fresh = is_fresh
        super().__init__(words, text=True, **options)

    def _execute_child(self, args: Sequence[str], *options: Any) -> None:
        cwd, variables, pipes = options[4], options[5] or os.environ, options[9:15]
        server = None if self._is_fresh else _server_of(args[0], variables)
        if server is None:
            super()._execute_child(args, *options)  # type: ignore[misc]  # (what Popen itself calls)
            return
        streams = [own if end == -1 else end for own, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        try:
            self.pid = server.fork(
                {"words": list(args), "cwd": str(Path(cwd or "").absolute()), "env": {**variables}}, streams
            )
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # (as above)


def _server_of(command: str, variables: Mapping[str, str]) -> "_ForkServer | None":
    """The server that can fork this command with these environment variables."""
    path = Path(command)
    packages = _PACKAGES.get(path.name)
    if _servers is None or packages is None or path.parent != Path(sys.executable).parent or sys.platform != "linux":
        return None
    server = _servers.get(packages) or _servers.setdefault(packages, _ForkServer(packages))
    return server if server.variables == _read_by_imports(variables) else None


def _read_by_imports(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in variables.items() if not name.startswith(_READ_BY_COMMANDS + _SET_BY_IMPORTS)
    }


class _ForkServer:
    """A process that forks."""

    def __init__(self, packages: str) -> None:
        self.variables = _read_by_imports(os.environ)
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno()), *packages.split()]
            self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=os.sep)
        self._set_subreaper = ctypes.CDLL(None).prctl

    def fork(self, message: Mapping[str, Any], streams: Sequence[int]) -> int:
        """Forks a process, which becomes a child of this one, and returns its id."""
        self._set_subreaper(
            _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0
        )  # this process inherits the children of processes that end
        try:
            socket.send_fds(self._connection, [json.dumps(message).encode()], streams)
            answer = self._connection.recv(_MESSAGE_BYTES)
        finally:
            self._set_subreaper(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        assert answer, "The fork server has ended."
        return int(answer)

    def close(self) -> None:
        """Ends the server; its forks continue."""
        self._connection.close()
        self._process.wait()


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Forks on request until the client is gone; returns only in a fork, with the command to run."""
    gc.freeze()
    while True:
        message, streams, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
        if not message:
            os._exit(0)
        reader, writer = os.pipe()
        between = os.fork()
        if not between:
            pid = os.fork()
            if pid:  # this process ends at once, so that the test process inherits the fork
                os.write(writer, str(pid).encode())
                os._exit(0)
            connection.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            os.closerange(3, max(*streams, reader, writer) + 1)
            return dict(json.loads(message))
        os.waitpid(between, 0)
        connection.send(os.read(reader, 20))
        for file in (*streams, reader, writer):
            os.close(file)


def _become(words: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    """Runs the command as its script in `bin` does."""
    os.chdir(cwd)
    vars(multiprocessing.process)["ORIGINAL_DIR"] = cwd  # which was recorded at import
    os.environ.clear()
    os.environ.update(env)
    script = Path(words[0])
    sys.argv, sys.path[0], sys.modules["__main__"].__file__ = words, str(script.parent), str(script)
    (command,) = distribution("dqn-policy-server").entry_points.select(group="console_scripts", name=script.name)
    sys.exit(command.load()())


if __name__ == "__main__":
    for package in sys.argv[2:]:
        with contextlib.suppress(ModuleNotFoundError):  # what a command needs it says itself
            import_module(package)
    _become(**_serve(socket.socket(fileno=int(sys.argv[1]))))
