"""Processes that fork children and report what those do, so that a test can kill a child at any instant."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any


def report(*words: object) -> None:
    """Reports to the test, in one write, so that a kill tears no line."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def run_children(operate: Callable[[str], object], traced: tuple[ModuleType, ...]) -> None:
    """Forks a child for each line on standard input: `OPERATION`, or `OPERATION LINE`.

    The latter kills itself when it reaches that line, counted in the code of the `traced` modules from its start on.
    """
    for line in sys.stdin:
        operation, *line_number = line.split()
        child = os.fork()
        if not child:
            report("started", os.getpid())
            if line_number:
                _kill_at_line(int(line_number[0]), {module.__file__ for module in traced})
            operate(operation)
            os._exit(0)
        report("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _kill_at_line(number: int, files: set[str | None]) -> None:
    lines = itertools.count(1)

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and next(lines) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


class Parent:
    """A running process that calls `run_children`, as the test sees it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Takes over a process whose standard input and output are pipes."""
        assert process.stdin
        assert process.stdout
        self._input, self._output = process.stdin, process.stdout

    def start(self, command: str) -> int:
        """Starts a child and returns its process id."""
        print(command, file=self._input, flush=True)
        word, pid = self._output.readline().split()
        assert word == "started"
        return int(pid)

    def reports(self) -> Iterator[list[str]]:
        """What the child did, up to and including its end."""
        for line in self._output:
            yield line.split()
            if line.startswith("ended"):
                return


@contextmanager
def parent(module: str, argument: Path, root: Path) -> Iterator[Parent]:
    """Runs a module of the tests, with one argument, from the project's root."""
    command = [sys.executable, "-m", module, str(argument.absolute())]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Parent(process)
