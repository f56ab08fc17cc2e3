"""The systems whose training is compared: how each trains with a seed and plays the result."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dqn_testing.peers import peer_python, versions

_FOLDER = Path(__file__).parent
_OURS = Path(sys.executable)
_SB3, _SBX = ("stable-baselines3",), ("sbx-rl", "jax")


class Trainer(NamedTuple):
    """A system: the arguments of its Python for a seed, and the packages whose versions are reported.

    It prints one JSON line: dqn-train's manifest, or seconds, env_steps, mean and min.
    """

    name: str
    python: Path
    packages: tuple[str, ...]
    words: Callable[[int], Sequence[str]]

    def versions(self) -> dict[str, str]:
        """The versions of its packages."""
        return dict(versions(self.python, self.packages)) if self.packages else {}


def dqn_train(preset: str) -> Trainer:
    """dqn-train, which always plays its preset's report_episodes."""
    code = "from dqn_training.cli.main import train; train()"
    return Trainer(
        f"dqn-train, preset {preset}",
        _OURS,
        ("torch", "numpy", "gymnasium"),
        lambda seed: ["-c", code, f"--preset={preset}", f"--seed={seed}", "--json"],
    )


def on_cartpole(episodes: int, cleanrl: Path | None) -> list[Trainer]:
    """dqn-train, the PyTorch tutorial, and the peers with their published settings; CleanRL from a checkout."""
    play = str(episodes)
    started = Trainer(
        "the starting system", _OURS, (), lambda seed: [str(_FOLDER / "starting_system.py"), str(seed), play]
    )
    sb3 = _stable_baselines("Stable-Baselines3, RL Zoo's settings", "sb3", _SB3, "CartPole-v1", 0, play)
    sbx = _stable_baselines("SBX (JAX), RL Zoo's settings", "sbx", _SBX, "CartPole-v1", 0, play)
    ours = [dqn_train("cartpole"), started, sb3, sbx]
    return ours if cleanrl is None else [*ours, _cleanrl(cleanrl, play)]


def on_minatar(episodes: int, env_steps: int) -> list[Trainer]:
    """dqn-train and Stable-Baselines3 on MinAtar's Breakout, with equal steps."""
    settings = "Stable-Baselines3, MinAtar's network and settings"
    sb3 = _stable_baselines(settings, "sb3", _SB3, "MinAtar/Breakout-v1", env_steps, str(episodes), "minatar")
    return [dqn_train("minatar-breakout"), sb3]


def _stable_baselines(
    name: str, library: str, packages: tuple[str, ...], env_id: str, env_steps: int, play: str, *more: str
) -> Trainer:
    """Stable-Baselines3 or SBX; `env_steps` 0: as in the settings."""
    python = peer_python("-".join([packages[0], *more]), ["torch", packages[0], *more])
    words = [str(_FOLDER / "train_stable_baselines.py"), library, env_id]
    return Trainer(name, python, packages, lambda seed: [*words, str(seed), str(env_steps), play])


def _cleanrl(checkout: Path, play: str) -> Trainer:
    requirements = ["torch", "numpy<2", "gymnasium==0.29.1", "stable-baselines3==2.3.2", "tensorboard", "tyro"]
    python = peer_python("cleanrl", [*requirements, "setuptools<80"])
    words = [str(_FOLDER / "train_cleanrl.py"), str(checkout.absolute())]
    return Trainer("CleanRL dqn.py, its defaults", python, (), lambda seed: [*words, str(seed), "500000", play])
