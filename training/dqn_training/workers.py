"""Calls in several processes at once, such as the independent training runs of a search."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from dqn_models import streams

_GRACE_SECONDS = 30.0  # for an interrupted call to end, on a machine that may be busy

Result = TypeVar("Result")


@contextlib.contextmanager
def in_processes(
    call: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[Iterator[tuple[int, Result]]]:
    """Calls `call(*arguments[i])` for each i in `jobs` processes; yields an iterator over (i, result) as calls finish.

    If the block ends early, by Ctrl-C or an exception from a call, the running calls get a KeyboardInterrupt and are
    waited for. Raises ChildProcessError if a process is killed.
    """
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _leave_interrupts_to_the_parent) as pool:
        futures = {pool.submit(_call, call, *each): index for index, each in enumerate(arguments)}
        try:
            yield ((futures[future], future.result()) for future in as_completed(futures))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in (children := multiprocessing.active_children()):
                process.terminate()
            for process in children:
                process.join(_GRACE_SECONDS)
                process.kill()
            if isinstance(error, BrokenProcessPool):
                raise ChildProcessError("A process of the search was killed; the same command resumes it.") from error
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes; the parent handles it


def _call(call: Callable[..., Result], *arguments: Any) -> Result:
    """Makes SIGTERM interrupt the call but not the process, which must still send back the exception."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with streams.protected():
            return call(*arguments)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
