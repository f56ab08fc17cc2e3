"""Servers on dedicated cores, and `wrk`, which loads them from another core."""

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
    """A request that is sent repeatedly."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]

    def script(self) -> str:
        """The request as a Lua script for wrk."""
        body = "".join(f"\\{byte:03d}" for byte in self.body)
        headers = "".join(f"wrk.headers['{name}'] = '{value}'\n" for name, value in self.headers)
        return f"wrk.method = 'POST'\nwrk.body = '{body}'\n{headers}{_DONE}"


class Load(NamedTuple):
    """wrk's measurements, and the CPU time of the server's processes."""

    requests_per_second: float
    p50: float  # microseconds
    p99: float
    cpu: float  # microseconds per request
    errors: int


class Server(NamedTuple):
    """A server's process and its port."""

    process_id: int
    port: int

    def processes(self) -> list[psutil.Process]:
        """The server's process and all its descendants."""
        first = psutil.Process(self.process_id)
        return [first, *first.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """CPU time that the server's processes have used so far."""
        times = [process.cpu_times() for process in self.processes()]
        return float(sum(time.user + time.system for time in times))

    def pause(self) -> None:
        """Stops the server's processes (SIGSTOP)."""
        for process in self.processes():
            process.suspend()

    def resume(self) -> None:
        """Continues the server's processes (SIGCONT)."""
        for process in self.processes():
            process.resume()

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Resumes a paused server within the block."""
        self.resume()
        try:
            yield
        finally:
            self.pause()

    def load(self, request: Request, connections: int, seconds: float) -> Load:
        """Has wrk send a request on `connections` connections for `seconds`."""
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
    """Starts a server with `command` for a port, in `folder`, and yields it once it answers the request.

    Raises TimeoutError if it does not within a minute.
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
                    server.resume()  # in case it is paused
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(request: Request, port: int) -> None:
    """Waits until a server answers the request with success. Raises TimeoutError after a minute."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{port}{request.path}"
            httpx.post(url, content=request.body, headers=list(request.headers), timeout=10).raise_for_status()
            return
        time.sleep(0.1)
    raise TimeoutError(f"No server answered {request.path} on port {port} within {_SECONDS_TO_START} s.")
