"""The choices of the preset `general` for an environment, by a few rules from a short probe with random actions.

Nothing here depends on time or the run's seed, so that an environment gets the same settings on every machine.
"""

import dataclasses
from collections.abc import Collection

from dqn_models.manifest import EnvironmentInfo
from dqn_training.choosing.probe import probe_environment
from dqn_training.choosing.rules import RULES
from dqn_training.config import DQNConfig

CHOOSES = "general"
"""The preset that chooses settings."""
_FAILED = "chooses nothing, because the environment failed; the run will probably fail in the same way and report it"


def choose_settings(
    config: DQNConfig, environment: EnvironmentInfo, given: Collection[str]
) -> tuple[DQNConfig, list[str]]:
    """The settings for an environment, and a line for the user with each choice and its reason.

    Settings named in `given` are kept; if the environment fails, all are. PQN keeps its settings, as the rules are for
    DQN.
    """
    if config.algorithm == "pqn":
        return config, []
    found = probe_environment(config, environment)
    if found.failed:
        return config, [_FAILED]
    lines = []
    for rule in RULES:
        settings, reason = rule(config, environment, found)
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
