"""One round of benchmarks/client.py, run with the Python and the `dqn_client` of a checkout."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httpx
import numpy as np

from dqn_client import AsyncPolicyClient, PolicyClient

OBSERVATION = np.array([0.02, -0.01, 0.03, 0.04], np.float32)
BODY = b'{"observation": [0.02, -0.01, 0.03, 0.04]}'
BATCH = np.random.default_rng(0).normal(size=(1024, 4)).astype(np.float32)


class Times(NamedTuple):
    """Of the calls in a round, in microseconds."""

    mean: float
    p50: float
    p99: float
    cpu: float
    """The caller's CPU time per call."""


def main(url: str, calls: int) -> None:
    """Measures every case against the server at `url`, and prints a JSON object."""
    print(json.dumps({name: measure(url, calls) for name, measure in CASES.items()}))


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
    main(sys.argv[1], int(sys.argv[2]))
