"""Calls in several processes at once: training runs of a search that know nothing of each other."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from dqn_models import streams

_GRACE_SECONDS = 30.0  # for a call that was interrupted, on a machine that may be busy

Result = TypeVar("Result")


@contextlib.contextmanager
def in_processes(
    call: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[Iterator[tuple[int, Result]]]:
    """Calls `call(*arguments[i])` for each i, in `jobs` processes; yields an iterator of (i, result) as they finish.

    Whatever ends the block early, such as Ctrl-C or what a call raised, interrupts the running calls by
    KeyboardInterrupt and waits for them. Raises ChildProcessError when a process is killed.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all, and the parent answers it


def _call(call: Callable[..., Result], *arguments: Any) -> Result:
    """SIGTERM interrupts the call and not the process, which then has to send what the call raised."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with streams.protected():
            return call(*arguments)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
