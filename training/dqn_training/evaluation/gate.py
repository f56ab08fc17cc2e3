"""The gate: decides whether a candidate may replace the champion."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import GateResult
from dqn_training.evaluation.statistics import mean_interval

Rule = Literal["non-inferior", "superior"]

_OF_MEAN, _OF_DEVIATION = 0.01, 0.2
"""The non-inferiority margin is the larger of these fractions of the absolute value of the incumbent's mean return and
of the standard deviation of its returns.

Where returns are 0 or 1, a fraction of the mean is far below what hundreds of episodes can resolve. A fifth of a
standard deviation is a small effect (Cohen, 1988), and with it 400 paired episodes promote an equal policy four times
out of five, even if the two policies' returns are uncorrelated.
"""


class Incumbent(NamedTuple):
    """A published version to compare the candidate with, and its returns [episodes] on the gate seeds."""

    version: int
    returns: NDArray[np.float64]


class _Comparison(NamedTuple):
    """The mean paired difference of returns, its 95 % bootstrap interval, and the threshold for the interval's low end.

    With `equal_passes`, a low end of 0 also passes, so that an equal candidate is not inferior if all returns are 0.
    """

    difference: float
    low: float
    high: float
    threshold: float
    equal_passes: bool

    @property
    def passed(self) -> bool:
        return self.low > self.threshold or (self.equal_passes and self.low >= 0)

    def sentence(self) -> str:
        verdict = "not above" if not self.passed else "above" if self.low > self.threshold else "not below"
        return (
            f"the 95 % interval of the difference is [{self.low:.2f}, {self.high:.2f}], its low end {verdict} "
            f"{self.threshold:.2f}."
        )


def judge(candidate: NDArray[np.float64], champion: Incumbent, best: Incumbent | None, rule: Rule) -> GateResult:
    """Decides by the 95 % bootstrap interval of the mean paired difference of returns.

    All arrays [episodes] hold returns on the same seeds in the same order. `superior` promotes if the interval's low
    end is above 0. `non-inferior` promotes if it is above minus a margin, the larger of 1 % of the absolute value of
    the champion's mean and 0.2 standard deviations of its returns, or at least 0 (which matters if both are 0). Under
    either rule the candidate must also be non-inferior to `best`, the best version so far if that is not the champion:
    otherwise a series of promotions of slightly worse versions would add up to a loss.
    """
    against_champion = _compare(candidate, champion, rule)
    promoted = against_champion.passed
    reason = (
        f"{rule}: over {len(candidate)} paired episodes the challenger's mean return is {candidate.mean():.2f}, the "
        f"champion's {champion.returns.mean():.2f}; {against_champion.sentence()}"
    )
    statistics: dict[str, float | int] = {
        "episodes": len(candidate),
        "challenger_mean": float(candidate.mean()),
        "champion_mean": float(champion.returns.mean()),
        "difference_mean": against_champion.difference,
        "difference_low": against_champion.low,
        "difference_high": against_champion.high,
        "threshold": against_champion.threshold,
    }
    if best is not None:
        against_best = _compare(candidate, best, "non-inferior")
        promoted = promoted and against_best.passed
        reason += f" The best version so far, {best.version}, has {best.returns.mean():.2f}; {against_best.sentence()}"
        statistics |= {
            "best_version": best.version,
            "best_mean": float(best.returns.mean()),
            "best_difference_low": against_best.low,
            "best_difference_high": against_best.high,
            "best_threshold": against_best.threshold,
        }
    return GateResult(
        champion_version=champion.version,
        rule=rule,
        decision="promoted" if promoted else "kept",
        reason=reason,
        statistics=statistics,
    )


def _compare(candidate: NDArray[np.float64], incumbent: Incumbent, rule: Rule) -> _Comparison:
    """Uses only the incumbent's returns for the margin: a high-variance candidate must not get a wider one."""
    differences, returns = candidate - incumbent.returns, incumbent.returns
    low, high = mean_interval(differences)
    margin = max(_OF_MEAN * abs(float(returns.mean())), _OF_DEVIATION * float(returns.std()))
    threshold = 0.0 if rule == "superior" else 0.0 - margin  # not -0.0, which would show in the reason
    return _Comparison(float(differences.mean()), low, high, threshold, equal_passes=rule == "non-inferior")
