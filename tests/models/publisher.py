"""A process that changes a repository until it is killed: `python publisher.py ROOT`.

A line on standard input starts a child, forked after all imports so that it starts at once. `forever` publishes and
promotes in a loop; `publish 17` (or promote, rollback, prune) does that once and kills itself at the 17th line of the
repository's code. Each line on standard output reports progress: `started PID`, `published 3`, `promoted 3`, and
`ended STATUS` when the child is gone (minus the signal that killed it).
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import draft, linear_onnx

MODEL = "cartpole"
KEPT_BY_PRUNE = 3
ONNX = [linear_onnx(bias=bias) for bias in (0.0, 1.0)]
TRACED = {"repository.py", "durable.py", "history.py"}


def report(*words: object) -> None:
    """Reports to the test, in one write, so that a kill tears no line."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def publish(repository: ModelRepository, onnx: bytes = ONNX[0]) -> int:
    """Publishes a version and then reports it."""
    version = repository.publish(draft(MODEL), {"model.onnx": onnx, "notes.txt": onnx[:100]}).version
    report("published", version)
    return version


def forever(repository: ModelRepository) -> None:
    """Publishes and promotes endlessly, with an occasional rollback."""
    for turn in itertools.count():
        version = publish(repository, ONNX[turn % 2])
        repository.promote(MODEL, version)
        report("promoted", version)
        if turn % 3 == 2:
            report("promoted", repository.rollback(MODEL))


OPERATIONS: dict[str, Callable[[ModelRepository], object]] = {
    "forever": forever,
    "publish": publish,
    "promote": lambda repository: repository.promote(MODEL, repository.versions(MODEL)[-1]),
    "rollback": lambda repository: repository.rollback(MODEL),
    "prune": lambda repository: repository.prune(MODEL, keep=KEPT_BY_PRUNE),
}


def kill_at_line(number: int) -> None:
    """Makes this process kill itself when it reaches the `number`-th line of the repository's code from here on."""
    lines = itertools.count(1)

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if Path(frame.f_code.co_filename).name not in TRACED:
            return None
        if event == "line" and next(lines) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def main() -> None:
    """Runs one child after another, as standard input says."""
    repository = ModelRepository(sys.argv[1])
    for line in sys.stdin:
        operation, *line_number = line.split()
        child = os.fork()
        if not child:
            report("started", os.getpid())
            if line_number:
                kill_at_line(int(line_number[0]))
            OPERATIONS[operation](repository)
            os._exit(0)
        report("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
