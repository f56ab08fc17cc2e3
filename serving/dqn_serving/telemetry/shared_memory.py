"""The counters of all workers of a server, in shared memory.

Each worker writes to its own segment and reads everyone's, so a scrape is correct to the latest request whichever
worker answers it, and what a killed worker counted stays: its replacement continues with its segment. The memory is
anonymous and inherited from the process that forks the workers; there are no files to clean up.
"""

import json
import mmap
import threading
from collections.abc import Iterator
from struct import Struct
from typing import TypeAlias

SEGMENT_BYTES = 16 * 1024 * 1024  # of address space; memory is used only as the segment fills
_VALUE = 8  # bytes
_ENTRY = Struct("<qq")  # bytes of the name with its padding, and how many values come after it

Name = tuple[str, ...]
Values: TypeAlias = "memoryview[float]"  # in quotes: not subscriptable at runtime


class WorkerSegment:
    """A table of names with a few float64 each, which only grows: readers see an entry when it is complete."""

    def __init__(self, memory: memoryview) -> None:
        """`memory` is all zeros, or as an earlier segment left it."""
        self._memory = memory
        self._used = memory[:_VALUE].cast("q")
        self._lock = threading.Lock()
        self._values = dict(self.entries())

    def values(self, name: Name, size: int) -> Values:
        """The values of this name, zeros at first; a name always has the same size."""
        with self._lock:
            if name not in self._values:
                self._values[name] = self._append(name, size)
            return self._values[name]

    def entries(self) -> Iterator[tuple[Name, Values]]:
        """Every name with its values."""
        return _entries(self._memory)

    def _append(self, name: Name, size: int) -> Values:
        text = json.dumps(name).encode()
        text += b" " * (-len(text) % _VALUE)
        start = _VALUE + self._used[0]
        values = start + _ENTRY.size + len(text)
        end = values + size * _VALUE
        if end > len(self._memory):  # after a hundred thousand versions: better not counted than not answered
            return memoryview(bytearray(size * _VALUE)).cast("d")
        _ENTRY.pack_into(self._memory, start, len(text), size)
        self._memory[start + _ENTRY.size : values] = text
        self._used[0] = end - _VALUE
        return self._memory[values:end].cast("d")


class SharedMetrics:
    """The segments of all workers."""

    def __init__(self, workers: int = 1) -> None:
        """Must be created before the workers are forked."""
        memory = memoryview(mmap.mmap(-1, workers * SEGMENT_BYTES))
        self._segments = [memory[start : start + SEGMENT_BYTES] for start in range(0, len(memory), SEGMENT_BYTES)]

    def segment(self, worker: int) -> WorkerSegment:
        """The segment of a worker, as its predecessor left it."""
        return WorkerSegment(self._segments[worker])

    def totals(self) -> dict[Name, list[float]]:
        """The sums over all segments, by name."""
        totals: dict[Name, list[float]] = {}
        for memory in self._segments:
            for name, values in _entries(memory):
                before = totals.get(name) or [0.0] * len(values)
                totals[name] = [total + value for total, value in zip(before, values, strict=True)]
        return totals


def _entries(memory: memoryview) -> Iterator[tuple[Name, Values]]:
    start, end = _VALUE, _VALUE + memory[:_VALUE].cast("q")[0]
    while start < end:
        name_bytes, size = _ENTRY.unpack_from(memory, start)
        values = start + _ENTRY.size + name_bytes
        name = tuple(json.loads(bytes(memory[start + _ENTRY.size : values])))
        start = values + size * _VALUE
        yield name, memory[values:start].cast("d")
