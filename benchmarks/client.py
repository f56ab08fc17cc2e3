"""Calls for each second of the Python client, beside bare httpx with a prepared body.

    .venv/bin/python benchmarks/client.py

One observation, one caller. The server has core 0 to itself and the callers core 1; rounds are interleaved:
all meet the same noise, which disturbs the caller's CPU time for a call least.
"""

import asyncio
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from statistics import median
from typing import NamedTuple

import httpx
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from dqn_client import AsyncPolicyClient, PolicyClient
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

OBSERVATION = np.array([0.02, -0.01, 0.03, 0.04], np.float32)
BODY = b'{"observation": [0.02, -0.01, 0.03, 0.04]}'
BATCH = np.random.default_rng(0).normal(size=(1024, 4)).astype(np.float32)
SERVER_CORE, CALLER_CORE = 0, 1


class Times(NamedTuple):
    """Of the calls of a round, in microseconds."""

    mean: float
    p50: float
    p99: float
    cpu: float
    """That the caller used for each call."""


def main(calls: int = 2000, rounds: int = 7) -> None:
    """Args: calls in a round, and how many rounds."""
    measured: dict[str, list[Times]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        repository = ModelRepository(folder)
        publish_linear(repository, promote=True)
        with running_server(repository) as server:
            os.sched_setaffinity(server.process.pid, {SERVER_CORE})
            os.sched_setaffinity(0, {CALLER_CORE})
            server.wait_ready()
            for _ in range(rounds):
                for name, measure in CASES.items():
                    measured[name].append(measure(server.url, calls))
    table = Table("one caller", "calls/s", "p50 (us)", "p99 (us)", "caller's CPU (us)")
    for name, times in measured.items():
        mean, p50, p99, cpu = (median(values) for values in zip(*times, strict=True))
        table.add_row(name, f"{1e6 / mean:,.0f}", f"{p50:,.0f}", f"{p99:,.0f}", f"{cpu:,.0f}")
    Console(width=120).print(table)


def _bare_httpx(url: str, calls: int) -> Times:
    with httpx.Client(base_url=url) as client:
        return _timed(lambda: client.post("/act", content=BODY).json(), calls)


def _act(url: str, calls: int) -> Times:
    with PolicyClient(url) as client:
        return _timed(lambda: client.act(OBSERVATION), calls)


def _act_batch(url: str, calls: int) -> Times:
    with PolicyClient(url) as client:
        return _timed(lambda: client.act_batch(BATCH), calls // 10)


def _stream(url: str, calls: int) -> Times:
    with PolicyClient(url) as client, client.stream() as stream:
        return _timed(lambda: stream.act(OBSERVATION), calls)


def _asyncio_act(url: str, calls: int) -> Times:
    async def measure() -> Times:
        async with AsyncPolicyClient(url) as client:
            return await _awaited(lambda: client.act(OBSERVATION), calls)

    return asyncio.run(measure())


def _asyncio_stream(url: str, calls: int) -> Times:
    async def measure() -> Times:
        async with AsyncPolicyClient(url) as client, client.stream() as stream:
            return await _awaited(lambda: stream.act(OBSERVATION), calls)

    return asyncio.run(measure())


def _timed(call: Callable[[], object], calls: int) -> Times:
    call()
    used, seconds = time.process_time(), []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return _times(seconds, time.process_time() - used)


async def _awaited(call: Callable[[], Awaitable[object]], calls: int) -> Times:
    await call()
    used, seconds = time.process_time(), []
    for _ in range(calls):
        begin = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - begin)
    return _times(seconds, time.process_time() - used)


def _times(seconds: list[float], used: float) -> Times:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
    return Times(float(np.mean(seconds)) * 1e6, float(p50), float(p99), used / len(seconds) * 1e6)


CASES: dict[str, Callable[[str, int], Times]] = {
    "httpx.Client.post, a prepared body": _bare_httpx,
    "PolicyClient.act": _act,
    "PolicyClient.stream, act": _stream,
    "AsyncPolicyClient.act": _asyncio_act,
    "AsyncPolicyClient.stream, act": _asyncio_stream,
    "PolicyClient.act_batch, 1,024 observations": _act_batch,
}

if __name__ == "__main__":
    tyro.cli(main)
