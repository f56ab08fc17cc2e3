"""Requests that arrived in one turn of the event loop, run as one.

Batches are formed from what is waiting, never by a timer: a lone request runs alone and at once, and the longer a run
takes, the more requests arrive meanwhile and share the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import structlog

from dqn_serving.inference.singles import Chosen, Rendered, Single, find_singles
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.problems import Problem, internal_error
from dqn_serving.telemetry.metrics import ModelMeasures

MOST_IN_A_RUN = 128
"""More gain nothing by sharing, and would have to wait for one another."""

Deliver = Callable[[Rendered], None]

log = structlog.get_logger()


class _Waiting(NamedTuple):
    """What waits for one policy: entry i of one list belongs to entry i of the other."""

    measures: ModelMeasures
    singles: list[Single[Any]]
    deliveries: list[Deliver[Any]]


class Turn:
    """Collects requests for one observation, and answers all at the end of the event loop's turn."""

    def __init__(self, generator: np.random.Generator) -> None:
        """`generator` draws for requests that have an epsilon and no seed."""
        self._generator = generator
        self._waiting: dict[LoadedPolicy, _Waiting] = {}

    def join(
        self, loaded: LoadedPolicy, measures: ModelMeasures, single: Single[Rendered], deliver: Deliver[Rendered]
    ) -> None:
        """Has a request answered with those of this turn; `deliver` is called then, and must not raise."""
        waiting = self._waiting.get(loaded)
        if waiting is None:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.end)
            waiting = self._waiting[loaded] = _Waiting(measures, [], [])
        waiting.singles.append(single)
        waiting.deliveries.append(deliver)
        if len(waiting.singles) == MOST_IN_A_RUN:
            self.end()

    async def answer(self, loaded: LoadedPolicy, measures: ModelMeasures, single: Single[Rendered]) -> Rendered:
        """The answer to a request, found with those of this turn."""
        answer: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        self.join(loaded, measures, single, partial(_settle, answer))
        return await answer

    def end(self) -> None:
        """Answers everything that waits; what comes later is another turn's."""
        turn, self._waiting = self._waiting, {}
        for loaded, waiting in turn.items():
            found = self._find(loaded, waiting)
            for single, deliver, one in zip(waiting.singles, waiting.deliveries, found, strict=True):
                deliver(single.form(loaded, one))

    def _find(self, loaded: LoadedPolicy, waiting: _Waiting) -> Sequence[Chosen | Problem]:
        try:
            found = find_singles(waiting.singles, loaded, waiting.measures, self._generator)
        except Exception:
            structlog.contextvars.clear_contextvars()  # the first one's, who is not the only one concerned
            log.exception("request failed", model=loaded.model, version=loaded.version)
            return [internal_error()] * len(waiting.singles)
        for one in found:
            if isinstance(one, Problem) and one.reason is not None:
                waiting.measures.rejected[one.reason] += 1
        return found


def _settle(future: asyncio.Future[Rendered], answer: Rendered) -> None:
    if not future.done():  # cancelled, where the server ends before its requests do
        future.set_result(answer)
