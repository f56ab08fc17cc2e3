"""What the preset `general` chooses for an environment: from what a short random play meets, by a few rules.

Nothing here depends on the clock or the run's seed, so that an environment has the same settings on every machine.
"""

import dataclasses
from collections.abc import Collection

from dqn_models.manifest import EnvironmentInfo
from dqn_training.choosing.probe import look_at
from dqn_training.choosing.rules import RULES
from dqn_training.config import DQNConfig

CHOOSES = "general"
"""The preset that chooses."""
_BROKEN = "chooses nothing: the environment broke down, which the run will probably meet, too, and report"


def choose_settings(
    config: DQNConfig, environment: EnvironmentInfo, given: Collection[str]
) -> tuple[DQNConfig, list[str]]:
    """The settings for an environment, and for the user a line with each choice and its reason.

    Settings that are `given` by name stay as they are; all do where the environment breaks down. PQN keeps its own
    rhythm, which these rules know nothing of.
    """
    if config.algorithm == "pqn":
        return config, []
    facts = look_at(config, environment)
    if facts.broken:
        return config, [_BROKEN]
    lines = []
    for rule in RULES:
        settings, reason = rule(config, environment, facts)
        changed = {name: value for name, value in settings.items() if name not in given}
        changed = {name: value for name, value in changed.items() if value != getattr(config, name)}
        if changed:
            config = dataclasses.replace(config, **changed)
            lines.append(f"{', '.join(f'{name} {_text(value)}' for name, value in changed.items())}: {reason}")
    return config, lines


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return " ".join(_text(item) for item in value)
    return f"{value:,.6g}" if isinstance(value, float) and value < 1 else f"{value:,.0f}"
