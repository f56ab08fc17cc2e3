"""Experience at scale: events written, compacted and audited, with seconds, bytes and memory; and what `append` costs.

python benchmarks/experience.py [--events 2000000] [--folder DIR]

Half of the events are decisions, of 64 concurrent episodes with 200 steps each, appended in batches of 32; the other
half are their outcomes, reported one episode at a time and acknowledged. Each phase runs in a separate process, so that
its memory can be measured.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import numpy as np

from dqn_experience import datasets, inspection
from dqn_experience.compaction.compact import compact
from dqn_experience.log.files import log_files
from dqn_experience.recording.settings import WriterSettings
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import Behavior, Outcome, row_of
from dqn_models.policy import Policy
from dqn_testing.repositories import linear_onnx

MODEL, BATCH, EPISODES, STEPS = "cartpole", 32, 64, 200
EPSILON = 0.1
WORK_SECONDS, _ROUNDS, _ROUND_SECONDS = 11e-6, 7, 1.0


def write(store: Path, events: int) -> str:
    """Writes as fast as the disk allows."""
    policy = Policy(linear_onnx())
    behavior = Behavior(MODEL, 1, "0" * 64, row_of(np.dtype(("<f4", (4,)))), 2)
    seen = np.random.default_rng(0).normal(size=(STEPS, BATCH, 4)).astype(np.float32)
    actions = [policy.act(rows).tolist() for rows in seen]
    propensities, epsilons = [1 - EPSILON / 2] * BATCH, [EPSILON] * BATCH
    appended = 0.0
    waiting: deque[tuple[float, Future[None]]] = deque()
    acknowledged: list[float] = []
    rounds = events // 2 // (EPISODES * STEPS)
    started, cpu = time.perf_counter(), time.process_time()
    with closing(ExperienceWriter(store, WriterSettings(buffer_bytes=1 << 30))) as writer:
        for round_ in range(rounds):
            names = [f"line{number:02}-{round_:06}" for number in range(EPISODES)]
            begun = time.perf_counter()
            for step in range(STEPS):
                for first in range(0, EPISODES, BATCH):
                    steps = [step] * BATCH
                    group = names[first : first + BATCH]
                    writer.append(behavior, group, steps, seen[step], actions[step], propensities, epsilons)
            appended += time.perf_counter() - begun
            for name in names:
                outcomes = [Outcome(name, step, 1.0) for step in range(STEPS - 1)]
                outcomes.append(Outcome(name, STEPS - 1, 1.0, "truncated", seen[0, 0].tobytes()))
                waiting.append((time.perf_counter(), writer.report(MODEL, outcomes)))
            while len(waiting) > EPISODES:
                reported, future = waiting.popleft()
                future.result(60)
                acknowledged.append(time.perf_counter() - reported)
        for reported, future in waiting:
            future.result(60)
            acknowledged.append(time.perf_counter() - reported)
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    written, size = rounds * EPISODES * STEPS * 2, sum(file.size for file in log_files(store))
    counters = writer.counters
    figures = [
        f"written: {written:,} events in {taken:.1f} s, {written / taken:,.0f}/s",
        f"{1e6 * cpu / written:.2f} us CPU an event, {size / written:.1f} bytes an event in {counters.sealed} files",
        f"append {1e6 * appended / (written / 2):.2f} us a decision",
        f"{counters.commits} commits, mean {1e3 * counters.commit_seconds / counters.commits:.1f} ms",
        f"acknowledged after p50 {np.median(acknowledged):.3f} p99 {np.quantile(acknowledged, 0.99):.3f} s",
    ]
    return ", ".join(figures)


def make(store: Path, _events: int) -> str:
    """Makes the dataset and audits it."""
    policy = Policy(linear_onnx())
    started, cpu = time.perf_counter(), time.process_time()
    later = time.time_ns() // 1_000_000 + 10**6
    made = compact(store, MODEL, q_values=lambda _behavior, rows: policy.q_values(rows), now=later)
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    described = made.dataset
    if described is None or described.audit is None:
        raise SystemExit("nothing was released")
    size = sum(file.size for file in described.files.values())
    figures = [
        f"compacted and audited: {described.episodes:,} episodes, {described.steps:,} steps in {taken:.1f} s",
        f"{cpu:.1f} s CPU, {size / described.steps:.1f} bytes a step in {len(described.files)} parts",
        f"{described.audit.wrong} of {described.audit.checked:,} propensities wrong, dropped {made.dropped}",
    ]
    return ", ".join(figures)


def read(store: Path, _events: int) -> str:
    """Verifies the log and the dataset, and reads all of its episodes."""
    started = time.perf_counter()
    damaged = sum(bool(result["error"]) for result in inspection.check(store))
    checked = time.perf_counter() - started
    started = time.perf_counter()
    steps = sum(len(episode.actions) for episode in datasets.episodes(store, datasets.manifest(store, MODEL, 1)))
    taken = time.perf_counter() - started
    return f"verified in {checked:.1f} s, {damaged} damaged, {steps:,} steps read in {taken:.1f} s"


def beside(store: Path, _events: int) -> str:
    """What a thread that stands for a server gets done with the writer beside it, in rounds that take turns."""
    ratios: dict[int, list[float]] = {1: [], BATCH: []}
    for round_ in range(_ROUNDS):
        for batch, found in ratios.items():
            alone = _served(None, batch)
            found.append(_served(store / f"{round_}-{batch}", batch) / alone)
    figures = [f"batches of {batch}: {statistics.median(found):.3f}" for batch, found in ratios.items()]
    return (
        f"throughput beside it, of that without ({WORK_SECONDS * 1e6:.0f} us of work a decision): {', '.join(figures)}"
    )


def _served(store: Path | None, batch: int) -> float:
    """Decisions a second of a thread that works for each and, if there is a store, has it recorded."""
    behavior = Behavior(MODEL, 1, "0" * 64, row_of(np.dtype(("<f4", (4,)))), 2)
    seen, names = np.zeros((batch, 4), np.float32), [f"line{number:02}" for number in range(batch)]
    zeros, ones = [0] * batch, [1.0] * batch
    writer = ExperienceWriter(store) if store else None
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < _ROUND_SECONDS:
        until = time.thread_time() + WORK_SECONDS * batch
        while time.thread_time() < until:
            pass
        if writer:
            writer.append(behavior, names, [done] * batch, seen, zeros, ones, ones)
        done += batch
    rate = done / (time.perf_counter() - started)
    if writer:
        writer.close()
    return rate


PHASES = {"write": write, "make": make, "read": read, "beside": beside}


def main() -> None:
    """Runs each phase in a process, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000, help="decisions and outcomes together")
    parser.add_argument("--folder", type=Path, help="a folder on the disk in question")
    parser.add_argument("--phase", choices=PHASES, help="only this one, on what --folder has already")
    options = parser.parse_args()
    if options.phase:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        line = PHASES[options.phase](options.folder, options.events)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{line}; {peak / 1024:,.0f} MiB at most, of which {before / 1024:,.0f} after the imports", flush=True)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for phase in PHASES:
            words = ["--phase", phase, "--folder", folder, "--events", str(options.events)]
            subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
