"""Tasks that run as long as the server: one that fails is restarted, and the server reports it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from dqn_serving.telemetry.metrics import Counts
from dqn_serving.telemetry.shared_memory import WorkerSegment

_PAUSE_SECONDS = 1.0

Work = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class BackgroundTasks:
    """Periodic work, each kind in a task of its own."""

    def __init__(self, segment: WorkerSegment) -> None:
        """Restarts are counted on `segment`."""
        self._restarts = Counts(segment, "task_restarts")
        self._tasks: list[asyncio.Task[None]] = []
        self._failures: dict[str, str] = {}
        self._is_stopping = False

    def unavailable_reason(self) -> str | None:
        """Which task has failed and not succeeded since; None if all are well."""
        for name, failure in self._failures.items():
            return (
                f"The background task {name!r} failed ({failure}) and has not succeeded since; it is being restarted."
            )
        return None

    async def start(self, name: str, work: Work, seconds: float, *, at_once: bool = False) -> None:
        """Repeats the work every `seconds` until `stop`; `at_once` runs it once before this returns."""
        self._restarts.add(name, 0)
        if at_once:
            await self._attempt(name, work)
        self._tasks.append(asyncio.create_task(self._repeat(name, work, seconds)))

    async def stop(self) -> None:
        """Ends all tasks."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, name: str, work: Work, seconds: float) -> None:
        while True:
            await asyncio.sleep(max(seconds, _PAUSE_SECONDS) if name in self._failures else seconds)
            await self._attempt(name, work)

    async def _attempt(self, name: str, work: Work) -> None:
        try:
            await work()
        except (Exception, asyncio.CancelledError) as error:
            if self._is_stopping:
                raise
            self._failures[name] = f"{type(error).__name__}: {error}"
            self._restarts.add(name)
            log.exception("background task failed", task=name)
        else:
            self._failures.pop(name, None)
