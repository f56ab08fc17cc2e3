"""Compares stores for experience: SQLite with many decisions per row, with one decision per row, and framed files.

python benchmarks/experience_store.py [--events 700000] [--folder DIR]

`commits` writes groups of 3,500 decisions (50 ms at 70,000 per second) as fast as possible, then single outcomes, each
durable before the next. `beside` has a thread that simulates a server: it runs 11 us of Python per decision, in batches
of 32, and appends them; its remaining throughput with each store is the decisive figure.
"""

import argparse
import os
import sqlite3
import statistics
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

RUN, BATCH, EPISODES = 3_500, 32, 64
WORK_SECONDS = 11e-6
GROUP_SECONDS = 0.04
OUTCOMES = 500


class Batch(NamedTuple):
    """The data of one micro-batch from a server; observations are rows of 16 bytes, as CartPole's."""

    episodes: list[str]
    steps: list[int]
    observations: bytes
    actions: list[int]
    propensities: list[float]


class Columns(msgspec.Struct, array_like=True):
    """A run of decisions, column by column: 16 bytes of observation and 15 bytes of the rest for each."""

    count: int
    episodes: list[str]
    index: bytes
    steps: bytes
    actions: bytes
    propensities: bytes
    observations: bytes


def batches(count: int) -> Iterator[Batch]:
    """Batches of decisions of a few episodes at a time, 200 steps each."""
    observation = np.random.default_rng(0).normal(size=(BATCH, 4)).astype(np.float32)
    for batch in range(count // BATCH):
        step, first = batch // (EPISODES // BATCH), batch % (EPISODES // BATCH) * BATCH
        names = [f"line{number:02}-{step // 200:06}" for number in range(first, first + BATCH)]
        actions = [number & 1 for number in range(BATCH)]
        yield Batch(names, [step % 200] * BATCH, observation.tobytes(), actions, [0.975] * BATCH)


def packed(run: list[Batch]) -> Columns:
    """The columns of many batches."""
    numbers: dict[str, int] = {}
    index = [numbers.setdefault(name, len(numbers)) for batch in run for name in batch.episodes]
    steps = np.array([step for batch in run for step in batch.steps], np.uint32)
    actions = np.array([action for batch in run for action in batch.actions], np.uint16)
    propensities = np.array([value for batch in run for value in batch.propensities], np.float32)
    observations = b"".join([batch.observations for batch in run])
    indices = np.array(index, np.uint32)
    return Columns(
        len(index),
        list(numbers),
        indices.tobytes(),
        steps.tobytes(),
        actions.tobytes(),
        propensities.tobytes(),
        observations,
    )


class Store(Protocol):
    """Where runs go."""

    def commit(self, run: list[Batch]) -> None:
        """Returns when the run is as durable as this store makes it."""

    def outcome(self, number: int) -> None:
        """Records one outcome, durably."""

    def close(self) -> None:
        """Ends."""


class PackedSqlite:
    """SQLite with WAL: a row for a run, a column for each column, and a checksum."""

    def __init__(self, folder: Path, synchronous: str) -> None:
        self._database = sqlite3.connect(folder / "store.sqlite", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={synchronous}")
        columns = "count, episodes, number, steps, actions, propensities, observations, crc"
        self._database.execute(f"CREATE TABLE decisions (id INTEGER PRIMARY KEY, {columns})")
        self._database.execute("CREATE TABLE outcomes (id INTEGER PRIMARY KEY, body)")

    def commit(self, run: list[Batch]) -> None:
        """One transaction with one row."""
        columns = packed(run)
        crc = 0
        for part in (columns.index, columns.steps, columns.actions, columns.propensities, columns.observations):
            crc = zlib.crc32(part, crc)
        values = (
            columns.count,
            "\n".join(columns.episodes),
            columns.index,
            columns.steps,
            columns.actions,
            columns.propensities,
            columns.observations,
            crc,
        )
        self._database.execute("INSERT INTO decisions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def outcome(self, number: int) -> None:
        """One transaction with one row."""
        self._database.execute("INSERT INTO outcomes VALUES (NULL, ?)", (b"%040d" % number,))

    def close(self) -> None:
        """Closes, which moves what is left of the log into the database."""
        self._database.close()


class RowSqlite(PackedSqlite):
    """SQLite with WAL: a row for a decision, for comparison."""

    def __init__(self, folder: Path, synchronous: str) -> None:
        super().__init__(folder, synchronous)
        self._database.execute("CREATE TABLE steps (episode, step, action, propensity, observation)")

    def commit(self, run: list[Batch]) -> None:
        """One transaction with as many rows as decisions."""
        size = len(run[0].observations) // BATCH
        rows = [
            (*values, batch.observations[size * place : size * place + size])
            for batch in run
            for place, values in enumerate(
                zip(batch.episodes, batch.steps, batch.actions, batch.propensities, strict=True)
            )
        ]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?)", rows)
        self._database.execute("COMMIT")


class Frames:
    """An append-only file of frames: length, CRC-32, MessagePack."""

    def __init__(self, folder: Path, *_: str) -> None:
        self._file = os.open(folder / "store.frames", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._encode = msgspec.msgpack.Encoder().encode

    def commit(self, run: list[Batch]) -> None:
        """One frame, one sync."""
        self._append(self._encode(packed(run)))

    def outcome(self, number: int) -> None:
        """One frame, one sync."""
        self._append(b"%040d" % number)

    def _append(self, body: bytes) -> None:
        os.writev(self._file, [len(body).to_bytes(4, "little"), zlib.crc32(body).to_bytes(4, "little"), body])
        os.fdatasync(self._file)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


STORES: dict[str, tuple[Any, str]] = {
    "SQLite, packed, FULL": (PackedSqlite, "FULL"),
    "SQLite, packed, NORMAL": (PackedSqlite, "NORMAL"),
    "SQLite, a row a decision, FULL": (RowSqlite, "FULL"),
    "framed file": (Frames, ""),
}


def commits(name: str, folder: Path, events: int) -> str:
    """Events a second, CPU and bytes an event, and durations of commits."""
    runs: list[list[Batch]] = [[]]
    for batch in batches(events):
        if len(runs[-1]) * BATCH >= RUN:
            runs.append([])
        runs[-1].append(batch)
    made, setting = STORES[name]
    store: Store = made(folder, setting)
    taken, singles, cpu = [], [], time.process_time()
    for run in runs:
        started = time.perf_counter()
        store.commit(run)
        taken.append(time.perf_counter() - started)
    cpu = time.process_time() - cpu
    for number in range(OUTCOMES):
        started = time.perf_counter()
        store.outcome(number)
        singles.append(time.perf_counter() - started)
    store.close()
    size = sum(path.stat().st_size for path in folder.iterdir())
    figures = [
        f"{events / sum(taken):>10,.0f} events/s",
        f"{1e6 * cpu / events:.2f} us CPU/event",
        f"{size / events:.1f} bytes/event",
        f"commit of a run p50 {1e3 * statistics.median(taken):.1f} p99 {1e3 * np.quantile(taken, 0.99):.1f} ms",
        f"of an outcome p50 {1e3 * statistics.median(singles):.2f} p99 {1e3 * np.quantile(singles, 0.99):.2f} ms",
    ]
    return ", ".join(figures)


def beside(name: str, folder: Path, seconds: float) -> float:
    """Decisions a second of a thread that works for each and hands it to this store, if there is one."""
    store: Store | None = STORES[name][0](folder, STORES[name][1]) if name else None
    waiting: deque[Batch] = deque()
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(GROUP_SECONDS):
            run = [waiting.popleft() for _ in range(len(waiting))]
            if run and store:
                store.commit(run)

    writer = threading.Thread(target=write)
    writer.start()
    source, done, started = batches(100_000_000), 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        batch = next(source)
        until = time.thread_time() + WORK_SECONDS * BATCH
        while time.thread_time() < until:
            pass
        if store:
            waiting.append(batch)
        done += BATCH
    rate = done / (time.perf_counter() - started)
    stop.set()
    writer.join()
    if store:
        store.close()
    return rate


def main() -> None:
    """Prints a line for each store, then what a server gets done beside each, in five interleaved rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=700_000, help="decisions written to each store")
    parser.add_argument(
        "--folder", type=Path, help="a folder on the disk in question (default: the system's for temporary files)"
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="how long a server runs beside each store, in a round"
    )
    options = parser.parse_args()
    for name in STORES:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(f"{name:<32} {commits(name, Path(folder), options.events)}", flush=True)
    ratios: dict[str, list[float]] = {name: [] for name in STORES}
    for _ in range(5):
        alone = beside("", Path(), options.seconds)
        for name in STORES:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                ratios[name].append(beside(name, Path(folder), options.seconds) / alone)
    for name, found in ratios.items():
        shown = ", ".join(f"{ratio:.3f}" for ratio in found)
        print(f"{name:<32} throughput beside it: median {statistics.median(found):.3f} of alone ({shown})")


if __name__ == "__main__":
    main()
