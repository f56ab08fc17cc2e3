"""Which episodes are recorded: a configured fraction, and fewer while the disk does not keep up.

Whole episodes are recorded or not, by a hash of their names, and each decision is recorded along with its episode's
probability of being kept: what is missing is missing at random, at a known rate. As the buffer fills, the fraction is
halved repeatedly, so that the episodes that are still recorded are always those with the lowest hashes.
"""

from functools import lru_cache

from dqn_experience.exploration import share_of

STEADY = 0.5
"""Up to this fill level of the buffer, nothing is left out."""
_RELAXED = 0.25
"""Below this fill level of the buffer, more is recorded again."""
_CACHED_EPISODES = 65_536


class Sampler:
    """The fraction of episodes that is being recorded.

    Attributes:
        sample: the maximum fraction.
        fraction: the current fraction.
    """

    def __init__(self, sample: float, salt: str) -> None:
        """Samples by a hash with `salt`."""
        self.sample = self.fraction = sample
        self._salt = salt
        self._share = lru_cache(_CACHED_EPISODES)(self._hashed)

    def _hashed(self, model: str, episode: str) -> float:
        return share_of(self._salt, model, episode)

    def tighten(self, fill: float) -> None:
        """Records fewer episodes if `fill`, the used fraction of the buffer, requires it."""
        if fill <= STEADY:
            return
        halvings = 1
        limit = (1.0 + STEADY) / 2
        while fill > limit and halvings < 10:
            limit, halvings = (1.0 + limit) / 2, halvings + 1
        self.fraction = min(self.fraction, 0.0 if fill >= 1.0 else self.sample * 0.5**halvings)

    def relax(self, fill: float) -> None:
        """Records more episodes again, if the buffer is nearly empty: twice as many after each commit."""
        if fill < _RELAXED and self.fraction < self.sample:
            self.fraction = min(self.sample, max(self.fraction * 2, self.sample / 1024))

    def takes(self, model: str, episode: str) -> bool:
        """Whether an episode is recorded now."""
        return self.fraction >= 1.0 or self._share(model, episode) < self.fraction

    def is_sampled(self, model: str, episode: str) -> bool:
        """Whether an episode is recorded as long as the disk keeps up."""
        return self.sample >= 1.0 or self._share(model, episode) < self.sample
