"""What was reported of recent steps, so that an equal repeat is accepted once more and a contradiction is refused.

The memory is bounded: of episodes that are long over nothing is known here, and joining the log settles what remains
(the first record of a step counts). Workers of one server do not know of each other's.
"""

from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from dqn_experience.errors import ContradictionError

WHOLE_EPISODE = -1
"""The step of a whole episode."""
_MAX_STEPS = 500_000


class Key(NamedTuple):
    """What a record is about."""

    model: str
    episode: str
    step: int


class OutcomeIndex:
    """Hashes of what was reported, by episode and step. For one thread at a time."""

    def __init__(self, max_steps: int = _MAX_STEPS) -> None:
        """Remembers so many steps, those of the episodes that were reported of last."""
        self._known: OrderedDict[tuple[str, str], dict[int, int]] = OrderedDict()
        self._waiting: dict[Key, Future[None]] = {}
        self._steps, self._max_steps = 0, max_steps

    def is_known(self, key: Key, content: int) -> bool:
        """Whether just this was reported of a step before; raises ContradictionError where something else was."""
        known = self._known.get((key.model, key.episode), {}).get(key.step)
        if known is None:
            return False
        if known != content:
            raise twice(key)
        return True

    def waiting(self, key: Key) -> "Future[None] | None":
        """What becomes done once a known record is durable; None where it is."""
        return self._waiting.get(key)

    def add(self, key: Key, content: int, durable: "Future[None]") -> None:
        """Remembers a record, which `durable` waits for."""
        episode = (key.model, key.episode)
        steps = self._known.setdefault(episode, {})
        self._known.move_to_end(episode)
        self._steps += key.step not in steps
        steps[key.step] = content
        self._waiting[key] = durable
        while self._steps > self._max_steps and len(self._known) > 1:
            self._steps -= len(self._known.popitem(last=False)[1])

    def settle(self, keys: list[Key], *, recorded: bool) -> None:
        """Says that records are durable, or that they were not recorded, so that they may be reported once more."""
        for key in keys:
            self._waiting.pop(key, None)
            steps = self._known.get((key.model, key.episode))
            if not recorded and steps and steps.pop(key.step, None) is not None:
                self._steps -= 1


def twice(key: Key) -> ContradictionError:
    """The error for a second, different record."""
    what = "was recorded as a whole" if key.step == WHOLE_EPISODE else f"has an outcome of step {key.step}"
    return ContradictionError(
        f"Episode {key.episode} of {key.model} {what} already, and that one says something else. The first one counts; "
        "give another episode another name."
    )
