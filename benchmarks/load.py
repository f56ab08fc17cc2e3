"""Servers that are started on cores of their own, and `wrk`, which loads them from another core."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from dqn_testing.commands import free_port

SERVER_CORES, CLIENT_CORE = "0", "1"
_SECONDS_TO_START = 60
_DONE = (
    "done = function(s, l, r) print('R', s.requests, s.duration, l:percentile(50), l:percentile(99), "
    "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout) end\n"
)


class Request(NamedTuple):
    """What is sent, over and over."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]

    def script(self) -> str:
        """It in wrk's language."""
        body = "".join(f"\\{byte:03d}" for byte in self.body)
        headers = "".join(f"wrk.headers['{name}'] = '{value}'\n" for name, value in self.headers)
        return f"wrk.method = 'POST'\nwrk.body = '{body}'\n{headers}{_DONE}"


class Load(NamedTuple):
    """What wrk saw, and what the server's processes used meanwhile."""

    requests_per_second: float
    p50: float  # microseconds
    p99: float
    cpu: float  # microseconds for each request
    errors: int


class Server(NamedTuple):
    """A server's process and its port."""

    process_id: int
    port: int

    def processes(self) -> list[psutil.Process]:
        """Its process and all below it."""
        first = psutil.Process(self.process_id)
        return [first, *first.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """CPU time that its processes have used so far."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(time.user + time.system for time in times)

    def pause(self) -> None:
        """From now on it gets no CPU time."""
        for process in self.processes():
            process.suspend()

    def resume(self) -> None:
        """It goes on."""
        for process in self.processes():
            process.resume()

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """A paused server goes on meanwhile."""
        self.resume()
        try:
            yield
        finally:
            self.pause()

    def load(self, request: Request, connections: int, seconds: float) -> Load:
        """Has wrk send a request from so many connections for so long."""
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(request.script())
            script.flush()
            url = f"http://127.0.0.1:{self.port}{request.path}"
            words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", script.name, url]
            used = self.cpu_seconds()
            pinned = ["taskset", "-c", CLIENT_CORE, *words]
            output = subprocess.run(pinned, capture_output=True, text=True, check=True).stdout
            used = self.cpu_seconds() - used
        found = re.search(r"^R\s+(.*)$", output, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"wrk printed no result: {output}")
        requests, microseconds, p50, p99, errors = (float(value) for value in found[1].split())
        return Load(requests / microseconds * 1e6, p50, p99, used / requests * 1e6, int(errors))


@contextlib.contextmanager
def running(
    command: Callable[[int], Sequence[str | Path]], request: Request, folder: Path, cores: str = SERVER_CORES
) -> Iterator[Server]:
    """A server that `command` starts on a port, once it has answered the request; it works in `folder`.

    Raises TimeoutError when it does not within a minute.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        words = ["taskset", "-c", cores, *command(port)]
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        try:
            wait_for(request, port)
            server = Server(process.pid, port)
            try:
                yield server
            finally:
                with contextlib.suppress(psutil.NoSuchProcess):
                    server.resume()  # where it is paused
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(request: Request, port: int) -> None:
    """Returns once a server answers the request well. Raises TimeoutError when none does within a minute."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{port}{request.path}"
            httpx.post(url, content=request.body, headers=list(request.headers), timeout=10).raise_for_status()
            return
        time.sleep(0.1)
    raise TimeoutError(f"Nobody answers {request.path} on port {port}.")
