"""A thousand promotions of two models under full load: failures, latency, memory; needs Debian's `wrk`.

    .venv/bin/python benchmarks/refresh.py

The server has core 0 to itself. On core 1, `wrk` keeps it busy with 32 connections that alternate between both models,
four probes send requests without a pause and record every latency, and there are four promotions per second. The
probes' process does nothing else, as that would add to the measured latency: promotions run in another process, at the
lowest priority, and the probes' own responses show when a version is served. The plot in docs/refresh.png shows the
probes' latency over time, with the promotions marked.
"""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import documents
import numpy as np
import tyro
from load import CLIENT_CORE, Server, running
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from peers.servers import ACT, dqn_serve
from policies import cartpole, publish_hardly_trained

from dqn_models.repository import ModelRepository

MODELS = ("one", "two")
PROBES, CONNECTIONS, SECONDS_BEFORE = 4, 32, 20
POLL_SECONDS = 0.1
_MAX_SECONDS_UNTIL_SERVED = 60
_LOWEST_PRIORITY = 19
BODY = ACT.body
PICTURE = Path(__file__).parent.parent / "docs/refresh.png"


class Latencies(NamedTuple):
    """The probes' measurements: the time of each response, in seconds of the monotonic clock, and its latency."""

    times: list[float]
    microseconds: list[float]
    errors: list[str]
    versions: dict[str, bytes]
    """The version in each model's latest response."""

    def percentile(self, q: float, start: float, end: float) -> float:
        """A percentile of the latencies between two times."""
        times = np.array(self.times)
        return float(np.percentile(np.array(self.microseconds)[(times >= start) & (times < end)], q))


def main(promotions: int = 1_000, every: float = 0.25, *, save: bool = False) -> None:
    """Measures.

    Args:
        promotions: number of promotions, over all models
        every: seconds between promotions; longer if a version takes longer to be served
        save: write the lines in README.md and the plot
    """
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    with tempfile.TemporaryDirectory() as folder:
        repository = ModelRepository(Path(folder) / "store")
        for model in MODELS:
            publish_hardly_trained(repository.root, cartpole(128), model, versions=2)
        flags = ["--model=one", f"--refresh-seconds={POLL_SECONDS}"]
        system = dqn_serve("dqn-serve", repository.root, flags=flags)
        with (
            running(system.command, system.request, Path(folder)) as server,
            _full_load(server.port) as load,
        ):
            text, latencies, moments = asyncio.run(_measure(repository, server, promotions, every))
            requests, errors = load()
    text += f"\n- `wrk`: {requests:,} responses in the same time, {errors} errors."
    print(text)
    if save:
        documents.write("README.md", "benchmarks/refresh.py", text)
        _draw(latencies, moments)


async def _measure(
    repository: ModelRepository, server: Server, promotions: int, every: float
) -> tuple[str, Latencies, list[float]]:
    latencies = Latencies([], [], [], {})
    probes = [
        asyncio.create_task(_probe(server.port, model, latencies)) for model in itertools.islice(_turns(), PROBES)
    ]
    await asyncio.sleep(2)
    moments: list[float] = []
    waits: list[float] = []
    memory: dict[int, float] = {}
    with ProcessPoolExecutor(1, get_context("spawn"), os.nice, (_LOWEST_PRIORITY,)) as promoter:
        await asyncio.wrap_future(promoter.submit(repository.verify, MODELS[0], 1))  # imports its modules in advance
        start = time.monotonic()
        await asyncio.sleep(SECONDS_BEFORE)
        for number, model in zip(range(promotions), _turns(), strict=False):
            version = 2 - number // len(MODELS) % 2
            moments.append(time.monotonic())
            await asyncio.wrap_future(promoter.submit(repository.promote, model, version))
            promoted = time.monotonic()
            async with asyncio.timeout(_MAX_SECONDS_UNTIL_SERVED):
                while latencies.versions[model] != b"%d" % version:  # noqa: ASYNC110  (it is in another process)
                    await asyncio.sleep(0.002)
            waits.append(time.monotonic() - promoted)
            if number + 1 in (10, promotions):
                memory[number + 1] = _resident_megabytes(server.process_id)
            await asyncio.sleep(max(0.0, moments[-1] + every - time.monotonic()))
    end = time.monotonic()
    for probe in probes:
        probe.cancel()
    before, during = (latencies.percentile(99, *span) for span in ((start, moments[0]), (moments[0], end)))
    medians = [latencies.percentile(50, *span) for span in ((start, moments[0]), (moments[0], end))]
    lines = (
        f"- {promotions:,} promotions of {len(MODELS)} models in {end - moments[0]:.0f} s under full load: "
        f"{len(latencies.times):,} responses to the probes, {len(latencies.errors)} failed.\n"
        f"- p99 {during:,.0f} us during the promotions, {before:,.0f} us before ({during / before:.2f}); "
        f"p50 {medians[1]:,.0f} and {medians[0]:,.0f} us; slowest {max(latencies.microseconds) / 1000:,.1f} ms.\n"
        f"- The first response from a new version came {np.median(waits) * 1e3:,.0f} ms (median) and at most "
        f"{max(waits) * 1e3:,.0f} ms after its promotion; the server polls every {POLL_SECONDS * 1e3:.0f} ms.\n"
        f"- Resident memory {memory[10]:.1f} MB after the tenth promotion, {memory[promotions]:.1f} MB after the last."
    )
    return "\n".join([lines, *latencies.errors[:3]]), latencies, moments


async def _probe(port: int, model: str, latencies: Latencies) -> None:
    """Sends requests on one connection without a pause; every response other than 200 is an error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /models/{model}/act HTTP/1.1\r\nhost: probe\r\ncontent-length: {len(BODY)}\r\n\r\n"
    request = head.encode() + BODY
    with contextlib.closing(writer):
        while True:
            started = time.monotonic()
            writer.write(request)
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", answer)
                body = await reader.readexactly(int(length[1]) if length else 0)
            except (OSError, asyncio.IncompleteReadError) as error:
                latencies.errors.append(repr(error))
                return
            now = time.monotonic()
            if not answer.startswith(b"HTTP/1.1 200"):
                latencies.errors.append(answer.partition(b"\r\n")[0].decode())
            latencies.versions[model] = body.rpartition(b":")[2].rstrip(b"}")  # the last field
            latencies.times.append(now)
            latencies.microseconds.append((now - started) * 1e6)


def _turns() -> Iterator[str]:
    return itertools.cycle(MODELS)


@contextlib.contextmanager
def _full_load(port: int) -> Iterator["Load"]:
    """Runs `wrk` on both models; calling the yielded Load stops it and returns its requests and errors."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        paths = ", ".join(f"'/models/{model}/act'" for model in MODELS)
        script.write(
            f"local paths, turn = {{{paths}}}, 0\n"
            "request = function()\n turn = turn % #paths + 1\n"
            f" return wrk.format('POST', paths[turn], nil, '{BODY.decode()}')\nend\n"
            "done = function(s) print('R', s.requests, "
            "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout) end\n"
        )
        script.flush()
        words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", "-d3600", "-s", script.name]
        process = subprocess.Popen([*words, f"http://127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
        try:
            yield Load(process)
        finally:
            process.kill()
            process.wait()


class Load(NamedTuple):
    """A running `wrk`."""

    process: "subprocess.Popen[str]"

    def __call__(self) -> tuple[int, int]:
        """Stops it; returns its requests and errors."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=30)
        found = re.search(r"^R\s+(\d+)\s+(\d+)", output, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"wrk printed no result: {output}")
        return int(found[1]), int(found[2])


def _resident_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def _draw(latencies: Latencies, moments: list[float]) -> None:
    """Plots p50 and p99 of each second, and the promotions."""
    start = latencies.times[0]
    seconds = np.array(latencies.times) - start
    values = np.array(latencies.microseconds)
    edges = np.arange(0, seconds[-1], 1.0)
    groups = np.split(values, np.searchsorted(seconds, edges[1:]))
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for q in (50, 99):
        axes.plot(edges, [np.percentile(group, q) if len(group) else np.nan for group in groups], label=f"p{q}")
    axes.vlines(
        [moment - start for moment in moments], 0, 0.03, transform=axes.get_xaxis_transform(), color="C3", lw=0.5
    )
    axes.axvspan(
        moments[0] - start, moments[-1] - start, color="C3", alpha=0.07, label="promotions, one line each below"
    )
    axes.set_xlabel("seconds")
    axes.set_ylabel("latency (us)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    tyro.cli(main)
