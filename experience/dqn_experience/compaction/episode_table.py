"""Episodes of a log: which are closed, how they ended, and which are released.

An episode is closed by its end, or when nothing has arrived for a time. Closed episodes are released by a watermark of
*start* times: all that began before it are closed. Otherwise a dataset would have episodes that failed early before
those that went well for a long time, and everything learned or evaluated from it would be biased.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_experience.log.model_log import ENDS, ModelLog

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_TERMINATED = ENDS.index("terminated")
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class JoinSettings:
    """When episodes are closed.

    Attributes:
        idle_seconds: an episode without new records for this long is closed as abandoned.
        reward_wait_seconds: how long an episode that lacks rewards waits for them.
        missing_reward: the value of a reward that never arrived; None leaves its episode out.
    """

    idle_seconds: float = 60.0
    reward_wait_seconds: float = 600.0
    missing_reward: float | None = None


class JoinedEpisodes(NamedTuple):
    """Closed episodes of a log in the order in which they began; arrays have an element for each.

    Attributes:
        rows: decisions in the order of episodes and steps, indices of `log.decisions`.
        rewards, executed: for each of `rows`; -1 if the decided action was executed, or it is unknown.
        begins: where an episode begins in `rows`, with the total at the end: [episodes + 1].
        used: number of an episode's steps in a dataset.
        names: indices of `log.names`.
        started: when it began, in ms since 1970.
        ends: index of ENDS: 0 for an episode that was abandoned.
        final: index of the outcome that has the final observation, or -1.
        dropped: number of closed episodes that are left out, by reason.
        open_episodes: number of episodes that are not closed.
        contradictions: outcomes that contradicted an earlier one of the same step.
        unknown: outcomes of steps without a decision.
        watermark: all episodes that began before it, in ms since 1970, are closed.
    """

    rows: IntArray
    rewards: NDArray[np.float64]
    executed: IntArray
    begins: IntArray
    used: IntArray
    names: IntArray
    started: IntArray
    ends: IntArray
    final: IntArray
    dropped: "Counter[str]"
    open_episodes: int
    contradictions: int
    unknown: int
    watermark: int


class EpisodeTable:
    """Episodes with decisions, and the numbers by which they are closed and released."""

    def __init__(self, log: ModelLog, rows: IntArray, joined: IntArray, doubtful: IntArray) -> None:
        """From decisions by episode and step, the outcome of each or -1, and the episodes with contradictory ones."""
        self._log, self._rows, self._joined = log, rows, joined
        decisions, outcomes = log.decisions[rows], log.outcomes
        self._begins = np.flatnonzero(np.r_[True, decisions["episode"][1:] != decisions["episode"][:-1]][: len(rows)])
        self._names = decisions["episode"][self._begins].astype(np.int64)
        self._steps = np.diff(np.r_[self._begins, len(rows)])
        steps = decisions["step"].astype(np.int64)
        self._first, self._last = steps[self._begins], steps[self._begins + self._steps - 1]
        self._started = self._reduce(np.minimum, decisions["time"])
        self._rewards = self._reduce(np.add, (joined >= 0).astype(np.int64))
        self._doubtful = np.isin(self._names, doubtful)

        # Outcomes by episode, whether or not there is a decision of their step.
        size = len(log.names)
        latest, reported = np.zeros(size, np.int64), np.bincount(outcomes["episode"], minlength=size)
        np.maximum.at(latest, outcomes["episode"], outcomes["time"])
        self._until = np.maximum(self._reduce(np.maximum, decisions["time"]), latest[self._names])
        self._reported = reported[self._names]
        self._ends, self._end_steps, self._final = self._find_ends()

    def _reduce(self, function: "np.ufunc", values: NDArray[np.int64]) -> IntArray:
        if not len(self._begins):
            return np.empty(0, np.int64)
        reduced: IntArray = function.reduceat(values, self._begins)
        return reduced

    def _find_ends(self) -> tuple[IntArray, IntArray, IntArray]:
        """How each episode ended, at which step, and the outcome with its final observation; 0, -1, -1: it did not."""
        ends, steps, final = (np.full(len(self._log.names), value, np.int64) for value in (0, -1, -1))
        for row in np.flatnonzero(self._log.outcomes["end"])[::-1].tolist():  # the first report of an end counts
            outcome = self._log.outcomes[row]
            episode = outcome["episode"]
            ends[episode], steps[episode] = outcome["end"], outcome["step"]
            final[episode] = row if row in self._log.final_observations else -1
        return ends[self._names], steps[self._names], final[self._names]

    def released(self, settings: JoinSettings, now: int, since: int) -> JoinedEpisodes:
        """The episodes that began from `since` to the watermark, as of `now`; both in ms since 1970."""
        idle, wait = round(settings.idle_seconds * 1000), round(settings.reward_wait_seconds * 1000)
        ended = self._end_steps == self._last
        quiet = now - self._until
        complete = self._rewards == self._steps
        closed = (ended & (complete | (quiet >= wait))) | (quiet >= np.where(complete, idle, max(idle, wait)))
        watermark = min(int(self._started[~closed].min(initial=_NEVER)), now - idle)
        in_time = closed & (self._started >= since) & (self._started < watermark)
        has_final = ended & ((self._ends == _TERMINATED) | (self._final >= 0))
        used = np.where(has_final, self._steps, self._steps - 1)
        dropped = self._reasons(used, settings)
        kept = np.flatnonzero(in_time & (dropped == ""))
        kept = kept[np.lexsort((self._names[kept], self._started[kept]))]
        reasons = Counter(dropped[in_time & (dropped != "")].tolist())
        open_episodes = int((~closed).sum())
        return self._chosen(kept, used, settings)._replace(
            dropped=reasons, open_episodes=open_episodes, watermark=watermark
        )

    def _reasons(self, used: IntArray, settings: JoinSettings) -> NDArray[np.str_]:
        """Why episodes are unusable; "" if they are usable."""
        reasons = np.full(len(self._names), "", "U16")
        missing = self._rewards < used
        if settings.missing_reward is None:
            reasons[missing] = "missing_reward"
        reasons[used == 0] = "too_short"
        gap = (self._last - self._first + 1 != self._steps) | (self._first > 1) | (self._end_steps > self._last)
        reasons[gap] = "gap"
        after_end = (self._end_steps >= 0) & (self._end_steps < self._last)
        reasons[self._doubtful | after_end] = "contradicted"
        reasons[self._reported == 0] = "inactive"
        return reasons

    def _chosen(self, kept: IntArray, used: IntArray, settings: JoinSettings) -> JoinedEpisodes:
        steps = self._steps[kept]
        begins = np.r_[0, np.cumsum(steps)].astype(np.int64)
        places = np.repeat(self._begins[kept] - begins[:-1], steps) + np.arange(begins[-1])
        joined = self._joined[places]
        known = joined >= 0
        default = np.nan if settings.missing_reward is None else settings.missing_reward
        rewards, executed = (
            np.full(len(places), default),
            np.full(places.shape + self._log.outcomes["executed"].shape[1:], -1, np.int64),
        )
        rewards[known] = self._log.outcomes["reward"][joined[known]]
        executed[known] = self._log.outcomes["executed"][joined[known]]
        ended = self._end_steps[kept] == self._last[kept]
        return JoinedEpisodes(
            rows=self._rows[places],
            rewards=rewards,
            executed=executed,
            begins=begins,
            used=used[kept],
            names=self._names[kept],
            started=self._started[kept],
            ends=np.where(ended, self._ends[kept], 0),
            final=np.where(ended, self._final[kept], -1),
            dropped=Counter(),
            open_episodes=0,
            contradictions=0,
            unknown=0,
            watermark=0,
        )
