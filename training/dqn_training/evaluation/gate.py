"""The gate: may a challenger take the champion's place?"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import GateResult
from dqn_training.evaluation.statistics import mean_interval

Rule = Literal["non-inferior", "superior"]

MARGIN = 0.01
"""How much worse, as a share of the champion's mean, the rule `non-inferior` may let a challenger be."""


def judge(
    challenger: NDArray[np.float64], champion: NDArray[np.float64], champion_version: int, rule: Rule
) -> GateResult:
    """Decides by the 95 % bootstrap interval of the mean paired difference of returns.

    Both arrays [episodes] hold the returns of the same seeds in the same order. `non-inferior` promotes when the low
    end lies above minus 1 % of the champion's mean (its absolute value, as returns may be negative), `superior` when
    it lies above 0.
    """
    differences = challenger - champion
    low, high = mean_interval(differences)
    margin = MARGIN * abs(float(champion.mean())) if rule == "non-inferior" else 0.0
    promoted = low > -margin
    verdict = "above" if promoted else "not above"
    reason = (
        f"{rule}: over {len(differences)} paired episodes the challenger's mean return is {challenger.mean():.2f}, "
        f"the champion's {champion.mean():.2f}; the 95 % interval of the difference is [{low:.2f}, {high:.2f}], its "
        f"low end {verdict} {-margin:.2f}."
    )
    return GateResult(
        champion_version=champion_version,
        rule=rule,
        decision="promoted" if promoted else "kept",
        reason=reason,
        statistics={
            "episodes": len(differences),
            "challenger_mean": float(challenger.mean()),
            "champion_mean": float(champion.mean()),
            "difference_mean": float(differences.mean()),
            "difference_low": low,
            "difference_high": high,
            "threshold": -margin,
        },
    )
