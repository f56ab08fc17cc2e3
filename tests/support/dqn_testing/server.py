"""A real `dqn-serve` process for tests: with its own port and captured logs, and always stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from dqn_models.reader import RepositoryReader
from dqn_testing.forkserver import Process

LogRecord = dict[str, Any]

_COMMAND = str(Path(sys.executable).with_name("dqn-serve"))
_POLL_SECONDS = 0.01


class Server:
    """A running server and what it has logged."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Follows the process's log from its first line."""
        self.process = process
        self.records: list[LogRecord] = []
        self._changed = threading.Condition()
        self._client = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=20)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                try:
                    self.records.append(json.loads(line))
                except ValueError:
                    self.records.append({"event": line.rstrip("\n")})
                self._changed.notify_all()

    def wait_log(self, event: str, timeout: float = 20.0, **fields: Any) -> LogRecord:
        """Waits until the server has logged an event with these fields, and returns its record."""
        found: list[LogRecord] = []

        def seen() -> bool:
            wanted = {"event": event, **fields}.items()
            found[:] = [record for record in self.records if wanted <= record.items()]
            return bool(found) or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(seen, timeout)
        assert found, f"no {event!r} with {fields} in the log: {self.records[-20:]}"
        return found[0]

    @property
    def url(self) -> str:
        """Where the server listens, such as http://127.0.0.1:41234."""
        return str(self.wait_log("serving")["address"])

    def wait_ready(self, timeout: float = 20.0) -> None:
        """Waits until /readyz answers 200."""
        wait_until(lambda: self.get("/readyz").status_code == 200, timeout, "ready")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request on a new connection."""
        return self._client.request(method, self.url + path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One GET on a new connection."""
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """One POST on a new connection; bytes are sent as is, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content=content, **options)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = self.get("/metrics").text.splitlines()
        named = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in named if all(pair in line for pair in wanted))

    def close(self) -> None:
        """Releases the resources of the stopped process."""
        self._client.close()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self, with_signal: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Stops the process and returns its exit status."""
        self.process.send_signal(with_signal)
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Waits for a condition that can only be polled; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {timeout} s"
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def running_server(
    repository: RepositoryReader | Path, *, env: dict[str, str] | None = None, **settings: Any
) -> Iterator[Server]:
    """Starts `dqn-serve` on a free port; `settings` are its settings by name, `env` is added to the environment."""
    root = repository if isinstance(repository, Path) else repository.root
    defaults = {"port": 0, "repository": root, "drain_seconds": 0, "refresh_seconds": 0.1, "log_format": "json"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DQN_")} | (env or {})
    words = [_COMMAND, *_flags(defaults | settings)]
    process = Process(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    server = Server(process)
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        server.close()


def _flags(settings: dict[str, Any]) -> list[str]:
    flags = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags.append(f"--{flag}={value}")
    return flags
