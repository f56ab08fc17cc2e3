"""A process that changes a repository until it is killed: `python publisher.py ROOT`.

A line on standard input starts a child, forked after all imports so that it starts at once. `forever` publishes and
promotes in a loop; `publish 17` (or promote, rollback, prune) does that once and kills itself at the 17th line of the
repository's code. Each line on standard output reports progress: `started PID`, `published 3`, `promoted 3`, and
`ended STATUS` when the child is gone (minus the signal that killed it).
"""

import itertools
import sys
from collections.abc import Callable

import dqn_models.repository
from dqn_models import durable, history
from dqn_models.repository import ModelRepository
from dqn_testing.crashing import report, run_children
from dqn_testing.repositories import draft, linear_onnx

MODEL = "cartpole"
KEPT_BY_PRUNE = 3
ONNX = [linear_onnx(bias=bias) for bias in (0.0, 1.0)]


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


def main() -> None:
    """Runs one child after another, as standard input says."""
    repository = ModelRepository(sys.argv[1])
    run_children(lambda operation: OPERATIONS[operation](repository), (dqn_models.repository, durable, history))


if __name__ == "__main__":
    main()
