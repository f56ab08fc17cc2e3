"""Requests that arrived in one turn of the event loop, run as one.

Batches are formed from what is waiting, never by a timer: a lone request runs alone and at once, and the longer a run
takes, the more requests arrive meanwhile and share the next one.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import structlog

from serving.inference import Single, answer_singles
from serving.metrics import ModelMeasures
from serving.policies import LoadedPolicy
from serving.problems import Answer, Problem, internal_error

Deliver = Callable[[Answer], None]

log = structlog.get_logger()


class _Waiting(NamedTuple):
    """What waits for one policy: entry i of one list belongs to entry i of the other."""

    measures: ModelMeasures
    singles: list[Single]
    deliveries: list[Deliver]


class Turn:
    """Collects requests for one observation, and answers all at the end of the event loop's turn."""

    def __init__(self, generator: np.random.Generator) -> None:
        """`generator` draws for requests that have an epsilon and no seed."""
        self._generator = generator
        self._waiting: dict[LoadedPolicy, _Waiting] = {}

    def join(self, loaded: LoadedPolicy, measures: ModelMeasures, single: Single, deliver: Deliver) -> None:
        """Has a request answered with those of this turn; `deliver` is called then, and must not raise."""
        waiting = self._waiting.get(loaded)
        if waiting is None:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.end)
            waiting = self._waiting[loaded] = _Waiting(measures, [], [])
        waiting.singles.append(single)
        waiting.deliveries.append(deliver)

    def end(self) -> None:
        """Answers everything that waits; what comes later is another turn's."""
        turn, self._waiting = self._waiting, {}
        for loaded, waiting in turn.items():
            for answer, deliver in zip(self._answers(loaded, waiting), waiting.deliveries, strict=True):
                deliver(answer)

    def _answers(self, loaded: LoadedPolicy, waiting: _Waiting) -> list[Answer]:
        try:
            found = answer_singles(waiting.singles, loaded, waiting.measures, self._generator)
        except Exception:
            log.exception("request failed", model=loaded.model, version=loaded.version)
            return [internal_error().answer()] * len(waiting.singles)
        return [_told(answer, waiting.measures) if isinstance(answer, Problem) else answer for answer in found]


def _told(problem: Problem, measures: ModelMeasures) -> Answer:
    if problem.reason is not None:
        measures.rejected[problem.reason] += 1
    return problem.answer()
