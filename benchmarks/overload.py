"""Latency and refusals when the load exceeds the server's capacity, and with thousands of idle connections.

    .venv/bin/python benchmarks/overload.py

The policy is so large that the server's core is the bottleneck. Requests arrive at random times at a given rate whether
or not earlier ones have been answered (an open loop: a slow server does not slow down its clients), each on any free
connection; requests that find none are counted as unsent. Latencies count from the scheduled time of a request. The
server has core 0, the load core 1.
"""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import tyro
import uvloop
from load import CLIENT_CORE, running
from peers.servers import ACT, dqn_serve
from policies import cartpole, publish_hardly_trained
from rich.console import Console
from rich.table import Table

REQUEST = b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(ACT.body), ACT.body)


class Outcome(NamedTuple):
    """The outcome of one load."""

    offered: float  # requests per second
    statuses: dict[int, int]
    accepted: list[float]  # seconds until a 200
    refused: list[float]  # seconds until a 503
    health: list[float]  # seconds until /healthz answered
    errors: int
    unsent: int


class Load:
    """Sends requests at random times with a mean rate, on `connections` connections."""

    def __init__(self, port: int, rate: float, connections: int) -> None:
        self._port = port
        self._rate = rate
        self._connections = connections
        self._free: list[Connection] = []
        self.unsent = 0  # because no connection was free
        self.latencies: dict[int, list[float]] = {200: [], 503: []}
        self.statuses: Counter[int] = Counter()
        self.errors = 0

    async def run(self, seconds: float) -> None:
        """Offers the load for `seconds` and then waits for the remaining responses."""
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        clock = random.Random(0)  # noqa: S311  (arrivals, not secrets)
        due = begun = time.perf_counter()
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            while due <= time.perf_counter():
                if self._free:
                    self._free.pop().send(due)
                else:
                    self.unsent += 1
                due += clock.expovariate(self._rate)
        while len(self._free) < self._connections and time.perf_counter() < begun + seconds + 20:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def put_back(self, connection: "Connection") -> None:
        """A connection has received its response."""
        self._free.append(connection)


class Connection(asyncio.Protocol):
    """One connection of the load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one
        """Becomes available for requests."""
        self._transport = transport
        self._load.put_back(self)

    def send(self, due: float) -> None:
        """Sends one request, scheduled for the time `due`."""
        self._due = due
        if self._transport is not None:
            self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        """Receives a response; these are small and arrive in one piece."""
        status = int(data[9:12])
        self._load.statuses[status] += 1
        self._load.latencies.setdefault(status, []).append(time.perf_counter() - self._due)
        self._load.put_back(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Counts an error: the server should never close a connection here."""
        self._load.errors += 1


async def offer(port: int, rate: float, seconds: float, connections: int) -> Outcome:
    """Offers requests at a rate, and checks /healthz ten times per second at the same time."""
    load, health = Load(port, rate, connections), list[float]()

    async def check() -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                begun = time.perf_counter()
                (await client.get(f"http://127.0.0.1:{port}/healthz")).raise_for_status()
                health.append(time.perf_counter() - begun)
                await asyncio.sleep(0.1)

    checking = asyncio.create_task(check())
    await load.run(seconds)
    checking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await checking
    accepted, refused = load.latencies[200], load.latencies[503]
    return Outcome(rate, dict(load.statuses), accepted, refused, health, load.errors, load.unsent)


def capacity(port: int, seconds: float) -> float:
    """Requests per second with 128 connections that each wait for their responses (a closed loop)."""
    words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", "-c128", f"-d{seconds:.0f}s", "-s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = '{ACT.body.decode()}'\n")
        script.flush()
        url = f"http://127.0.0.1:{port}/act"
        output = subprocess.run([*words, script.name, url], capture_output=True, text=True, check=True).stdout
    return float(next(line.split()[1] for line in output.splitlines() if line.startswith("Requests/sec")))


def _milliseconds(values: list[float], percent: float) -> str:
    return f"{np.percentile(values, percent) * 1e3:,.1f}" if values else ""


def _overload(folder: Path, seconds: float, connections: int, waiting: float) -> None:
    columns = (
        "offered/s",
        "answered/s",
        "p50 (ms)",
        "p99",
        "max",
        "refused/s",
        "p50",
        "p99",
        "/healthz p99",
        "unsent/s",
    )
    table = Table("load", *columns)
    system = dqn_serve("overloaded", folder, flags=[f"--max-waiting-seconds={waiting}"])
    with running(system.command, system.request, folder) as server:
        port = server.port
        rate = capacity(port, min(seconds, 5))
        for factor in (0.5, 1, 2, 10):
            found = uvloop.run(offer(port, factor * rate, seconds, connections))
            figures = [f"{found.offered:,.0f}", f"{len(found.accepted) / seconds:,.0f}"]
            figures += [_milliseconds(found.accepted, percent) for percent in (50, 99, 100)]
            figures += [f"{len(found.refused) / seconds:,.0f}"]
            figures += [_milliseconds(found.refused, percent) for percent in (50, 99)]
            table.add_row(
                f"{factor} x capacity", *figures, _milliseconds(found.health, 99), f"{found.unsent / seconds:,.0f}"
            )
    Console(width=160).print(table)


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _idle(folder: Path, seconds: float, connections: int) -> None:
    table = Table("idle connections", "requests/s", "p50 (ms)", "p99", "max", "resident memory (MiB)")
    system = dqn_serve("idle", folder)
    with running(system.command, system.request, folder) as server, contextlib.ExitStack() as opened:
        for count in (0, connections, 0):
            if count:
                for _ in range(count):
                    opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            else:
                opened.close()
            found = uvloop.run(offer(server.port, 1000, seconds, 32))
            figures = [_milliseconds(found.accepted, percent) for percent in (50, 99, 100)]
            memory = _resident(server.process_id) / 2**20
            table.add_row(f"{count:,}", f"{len(found.accepted) / seconds:,.0f}", *figures, f"{memory:,.1f}")
    Console(width=120).print(table)


def main(
    seconds: float = 10, connections: int = 2000, width: int = 2048, idle: int = 5000, waiting: float = 0.1
) -> None:
    """Measures.

    Args:
        seconds: seconds of each load
        connections: connections of a load
        width: width of the large policy's hidden layers
        idle: number of idle connections
        waiting: DQN_MAX_WAITING_SECONDS of the overloaded server
    """
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    with tempfile.TemporaryDirectory() as folder:
        publish_hardly_trained(Path(folder) / "wide", cartpole(width))
        publish_hardly_trained(Path(folder) / "small", cartpole(128))
        _overload(Path(folder) / "wide", seconds, connections, waiting)
        _idle(Path(folder) / "small", seconds, idle)


if __name__ == "__main__":
    tyro.cli(main)
