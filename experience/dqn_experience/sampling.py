"""Which episodes are recorded: a fraction by choice, and fewer of them while the disk does not keep up.

Whole episodes are recorded or not, by a hash of their names, and each decision is recorded with the probability that
its episode had: what is missing is missing at random, and a reader knows how often. When the buffer fills, the fraction
is halved again and again, so that those that are still recorded are those with the lowest hashes, every time.
"""

from functools import lru_cache

from dqn_experience.exploration import share_of

STEADY = 0.5
"""Up to this part of the buffer nothing is left out."""
_RELAXED = 0.25
"""Below this part of the buffer more is recorded again."""
_CACHED_EPISODES = 65_536


class Sampler:
    """The fraction of episodes that is recorded now.

    Attributes:
        sample: the fraction that is recorded at most.
        fraction: the one that is recorded now.
    """

    def __init__(self, sample: float, salt: str) -> None:
        """Samples by a hash with `salt`."""
        self.sample = self.fraction = sample
        self._salt = salt
        self._share = lru_cache(_CACHED_EPISODES)(self._hashed)

    def _hashed(self, model: str, episode: str) -> float:
        return share_of(self._salt, model, episode)

    def tighten(self, fill: float) -> None:
        """Records fewer episodes where `fill`, the part of the buffer that is taken, asks for it."""
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
