"""Ten minutes of valid and invalid requests at full load: responses, memory, descriptors, threads.

    .venv/bin/python benchmarks/soak.py            # --minutes 0.5 for a quick test

The load consists of connections that send requests of all kinds in random order, clients that disconnect in the middle
of a request or before its response, streams, and a promotion every two seconds. Any status other than the expected one
is an error. docs/soak.png shows one sample per second.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import documents
import numpy as np
import tyro
import uvloop
from load import wait_for
from matplotlib.figure import Figure
from mixture import KINDS, ONE, Kind
from peers.servers import ACT
from policies import cartpole, publish_hardly_trained
from websockets.asyncio.client import connect

from dqn_models.repository import ModelRepository
from dqn_testing.commands import free_port

PLOT = documents.ROOT / "docs/soak.png"
_WARM_UP = 0.1  # of the time, before memory is compared


class Sample(NamedTuple):
    """The state of the server's process at one time."""

    seconds: float
    resident: float  # MiB
    descriptors: int
    threads: int
    requests: int  # number of responses so far


class Soak:
    """The clients and their observations."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._ends_at = time.monotonic() + seconds
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.errors: Counter[str] = Counter()

    def _is_over(self) -> bool:
        return time.monotonic() > self._ends_at

    async def ask(self, seed: int) -> None:
        """Sends requests of all kinds, on one connection after another."""
        chance = random.Random(seed)  # noqa: S311  (a mixture, not a secret)
        weights = [kind.weight for kind in KINDS]
        while not self._is_over():
            try:
                async with self._connected() as (reader, writer):
                    for kind in chance.choices(KINDS, weights, k=1000):
                        if self._is_over() or await self._ask_one(kind, reader, writer):
                            break
            except Exception as error:  # noqa: BLE001  (any error of a client is a result)
                self.errors[f"ask: {error!r:.100}"] += 1

    async def _ask_one(self, kind: Kind, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Sends one request; returns whether the response closes the connection."""
        writer.write(kind.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length: ")[1].split()[0]))
        status = int(head.split()[1])
        self.statuses[kind.name, status] += 1
        if status != kind.status:
            self.errors[f"{kind.name}: {status}"] += 1
        return b"connection: close" in head

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def leave(self, seed: int) -> None:
        """Disconnects in the middle of requests or before their responses, with a reset or without."""
        chance = random.Random(seed)  # noqa: S311
        while not self._is_over():
            try:
                async with self._connected() as (_, writer):
                    request = chance.choice(KINDS).request
                    writer.write(request[: chance.randrange(len(request) + 1)])
                    await asyncio.sleep(chance.choice([0, 0, 0.01]))
                    if chance.random() < 0.5:
                        sock: socket.socket = writer.get_extra_info("socket")
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.statuses["left", 0] += 1
            except Exception as error:  # noqa: BLE001
                self.errors[f"leave: {error!r:.100}"] += 1
            await asyncio.sleep(0.01)

    async def stream(self) -> None:
        """Uses streams, each for a hundred actions."""
        while not self._is_over():
            try:
                async with connect(f"ws://127.0.0.1:{self._port}/act/stream", open_timeout=60) as stream:
                    await stream.recv()
                    acted = 0
                    while acted < 100 and not self._is_over():
                        await stream.send(json.dumps(ONE))
                        answer = json.loads(await stream.recv())
                        while "action" not in answer and answer.get("type") != "error":
                            answer = json.loads(await stream.recv())
                        if "action" not in answer:
                            self.errors[f"stream: {answer!r:.100}"] += 1
                        acted += 1
                        self.statuses["stream", 200] += 1
            except Exception as error:  # noqa: BLE001
                self.errors[f"stream: {error!r:.100}"] += 1

    async def promote(self, repository: ModelRepository) -> None:
        """Promotes two versions alternately."""
        turn = 0
        while not self._is_over():
            await asyncio.sleep(2)
            turn += 1
            await asyncio.to_thread(repository.promote, "cartpole", 1 + turn % 2)

    async def watch(self, process: int) -> list[Sample]:
        """Takes one sample per second."""
        samples, begun = [], time.monotonic()
        while not self._is_over():
            samples.append(_sample(process, time.monotonic() - begun, sum(self.statuses.values())))
            await asyncio.sleep(1)
        return samples

    async def run(self, process: int, repository: ModelRepository, connections: int) -> list[Sample]:
        """Runs everything at once."""
        asking = [self.ask(seed) for seed in range(connections)]
        leaving = [self.leave(seed) for seed in range(2)]
        others = [*asking, *leaving, *(self.stream() for _ in range(2)), self.promote(repository)]
        watching = asyncio.create_task(self.watch(process))
        await asyncio.gather(watching, *others)
        return watching.result()


def _sample(process: int, seconds: float, requests: int) -> Sample:
    of_process = Path(f"/proc/{process}")
    pages = int((of_process / "statm").read_text().split()[1])
    threads = int((of_process / "status").read_text().split("Threads:")[1].split()[0])
    descriptors = len(list((of_process / "fd").iterdir()))
    return Sample(seconds, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, descriptors, threads, requests)


def draw(samples: list[Sample], path: Path) -> None:
    """Plots the samples over time, as PNG."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(4, sharex=True)
    minutes = [sample.seconds / 60 for sample in samples]
    rates = np.gradient([sample.requests for sample in samples], [sample.seconds for sample in samples])
    series = {
        "requests/s": rates,
        "resident memory (MiB)": [sample.resident for sample in samples],
        "open descriptors": [sample.descriptors for sample in samples],
        "threads": [sample.threads for sample in samples],
    }
    for axis, (name, values) in zip(axes, series.items(), strict=True):
        axis.plot(minutes, values, linewidth=1)
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=100)


def _report(soak: Soak, samples: list[Sample]) -> None:
    for (name, status), count in sorted(soak.statuses.items()):
        print(f"{name:14} {status or '':4} {count:12,}")
    settled = samples[int(len(samples) * _WARM_UP) :]
    quarter = max(1, len(settled) // 4)
    first, last = settled[:quarter], settled[-quarter:]
    total, seconds = sum(soak.statuses.values()), samples[-1].seconds
    print(f"{total:,} in {seconds:,.0f} s; errors: {dict(soak.errors) or 'none'}")
    for field in ("resident", "descriptors", "threads"):
        means = [np.mean([getattr(sample, field) for sample in part]) for part in (first, last)]
        peak = max(getattr(sample, field) for sample in samples)
        print(f"{field}: {means[0]:,.1f} in the first quarter, {means[1]:,.1f} in the last, {peak:,.1f} at most")


def main(minutes: float = 10, connections: int = 24, plot: Path = PLOT) -> None:
    """Runs the load; exits with status 1 after any error.

    Args:
        minutes: duration
        connections: connections that send requests all the time
        plot: PNG file to write
    """
    with tempfile.TemporaryDirectory() as folder:
        publish_hardly_trained(Path(folder), cartpole(128), versions=2)
        port = free_port()
        command = str(Path(sys.executable).with_name("dqn-serve"))
        words = [command, f"--repository={folder}", f"--port={port}", "--refresh-seconds=0.2"]
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            wait_for(ACT, port)
            soak = Soak(port, minutes * 60)
            samples = uvloop.run(soak.run(process.pid, ModelRepository(folder), connections))
        finally:
            process.terminate()
            status = process.wait()
    draw(samples, plot)
    _report(soak, samples)
    print(f"exit status of the server: {status}")
    sys.exit(1 if soak.errors or status else 0)


if __name__ == "__main__":
    tyro.cli(main)
