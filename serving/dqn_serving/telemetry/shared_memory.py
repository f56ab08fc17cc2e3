"""What the workers of a server have counted, in memory that all of them see.

Each worker writes on a page of its own and reads those of all, so a scrape is right whichever worker answers it, up to
the last request, and what a killed worker counted stays: its replacement goes on with its page. The memory is anonymous
and comes from the process that the workers were forked from; there are no files to clean up.
"""

import json
import mmap
import threading
from collections.abc import Iterator
from struct import Struct
from typing import TypeAlias

PAGE_BYTES = 16 * 1024 * 1024  # of addresses; memory is used as the page fills
_NUMBER = 8  # bytes
_RECORD = Struct("<qq")  # bytes of the name with its padding, and how many numbers come after it

Name = tuple[str, ...]
Numbers: TypeAlias = "memoryview[float]"  # in quotes, since memoryview takes no parameters while it runs


class Page:
    """A table of names with a few float64 each, which only grows: readers see a record when it is complete."""

    def __init__(self, memory: memoryview) -> None:
        """`memory` is zeros, or what a page before this one has left there."""
        self._memory = memory
        self._used = memory[:_NUMBER].cast("q")
        self._lock = threading.Lock()
        self._numbers = dict(self.records())

    def numbers(self, name: Name, size: int) -> Numbers:
        """The numbers of this name, zeros at first; a name always has the same size."""
        with self._lock:
            if name not in self._numbers:
                self._numbers[name] = self._append(name, size)
            return self._numbers[name]

    def records(self) -> Iterator[tuple[Name, Numbers]]:
        """Every name with its numbers."""
        return _records(self._memory)

    def _append(self, name: Name, size: int) -> Numbers:
        text = json.dumps(name).encode()
        text += b" " * (-len(text) % _NUMBER)
        start = _NUMBER + self._used[0]
        numbers = start + _RECORD.size + len(text)
        end = numbers + size * _NUMBER
        if end > len(self._memory):  # after a hundred thousand versions; better uncounted than unanswered
            return memoryview(bytearray(size * _NUMBER)).cast("d")
        _RECORD.pack_into(self._memory, start, len(text), size)
        self._memory[start + _RECORD.size : numbers] = text
        self._used[0] = end - _NUMBER
        return self._memory[numbers:end].cast("d")


class Ledger:
    """The pages of all workers."""

    def __init__(self, workers: int = 1) -> None:
        """To be made before the workers are forked."""
        memory = memoryview(mmap.mmap(-1, workers * PAGE_BYTES))
        self._pages = [memory[start : start + PAGE_BYTES] for start in range(0, len(memory), PAGE_BYTES)]

    def page(self, worker: int) -> Page:
        """The page of a worker, as the worker before it left it."""
        return Page(self._pages[worker])

    def totals(self) -> dict[Name, list[float]]:
        """The sums over all pages, by name."""
        totals: dict[Name, list[float]] = {}
        for memory in self._pages:
            for name, numbers in _records(memory):
                before = totals.get(name) or [0.0] * len(numbers)
                totals[name] = [total + number for total, number in zip(before, numbers, strict=True)]
        return totals


def _records(memory: memoryview) -> Iterator[tuple[Name, Numbers]]:
    start, end = _NUMBER, _NUMBER + memory[:_NUMBER].cast("q")[0]
    while start < end:
        name_bytes, size = _RECORD.unpack_from(memory, start)
        numbers = start + _RECORD.size + name_bytes
        name = tuple(json.loads(bytes(memory[start + _RECORD.size : numbers])))
        start = numbers + size * _NUMBER
        yield name, memory[numbers:start].cast("d")
