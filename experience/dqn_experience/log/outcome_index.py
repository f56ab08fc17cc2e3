"""What was reported for recent steps, so that an identical repeat is accepted and a contradiction is refused.

The memory is bounded: episodes that ended long ago are forgotten, and joining the log settles the rest (the first
record of a step counts). Workers of one server do not know of each other's reports.
"""

from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from dqn_experience.errors import ContradictionError

WHOLE_EPISODE = -1
"""The step number that stands for a whole episode."""
_MAX_STEPS = 500_000


class Key(NamedTuple):
    """What a record is about."""

    model: str
    episode: str
    step: int


class OutcomeIndex:
    """Hashes of what was reported, by episode and step. Not thread-safe."""

    def __init__(self, max_steps: int = _MAX_STEPS) -> None:
        """Remembers this many steps, those of the most recently reported episodes."""
        self._known: OrderedDict[tuple[str, str], dict[int, int]] = OrderedDict()
        self._waiting: dict[Key, Future[None]] = {}
        self._steps, self._max_steps = 0, max_steps

    def is_known(self, key: Key, content: int) -> bool:
        """Whether the same was reported for a step before; raises ContradictionError if something else was."""
        known = self._known.get((key.model, key.episode), {}).get(key.step)
        if known is None:
            return False
        if known != content:
            raise twice(key)
        return True

    def waiting(self, key: Key) -> "Future[None] | None":
        """The future that is done once a known record is durable; None if it already is."""
        return self._waiting.get(key)

    def add(self, key: Key, content: int, durable: "Future[None] | None" = None) -> None:
        """Remembers a record, which `durable` waits for."""
        episode = (key.model, key.episode)
        steps = self._known.setdefault(episode, {})
        self._known.move_to_end(episode)
        self._steps += key.step not in steps
        steps[key.step] = content
        if durable is not None:
            self._waiting[key] = durable
        while self._steps > self._max_steps and len(self._known) > 1:
            self._steps -= len(self._known.popitem(last=False)[1])

    def remember(self, key: Key, content: int) -> None:
        """Learns of a record that is durable, unless the index knows of one for this step."""
        if key.step not in self._known.get((key.model, key.episode), {}):
            self.add(key, content)

    def settle(self, keys: list[Key], *, recorded: bool) -> None:
        """Marks records as durable, or as not recorded, so that they may be reported again."""
        for key in keys:
            self._waiting.pop(key, None)
            steps = self._known.get((key.model, key.episode))
            if not recorded and steps and steps.pop(key.step, None) is not None:
                self._steps -= 1


def twice(key: Key) -> ContradictionError:
    """The error for a second, different record."""
    what = "was recorded as a whole" if key.step == WHOLE_EPISODE else f"has an outcome for step {key.step}"
    return ContradictionError(
        f"Episode {key.episode} of {key.model} {what} already, which differs from this one. The first one counts; "
        "give another episode another name."
    )
