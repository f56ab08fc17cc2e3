"""The choices of the preset `general`, through the public interface and the commands."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import result, run
from dqn_training import train
from dqn_training.choosing import choose_settings
from dqn_training.config import DQNConfig, Vectorization
from dqn_training.envs.make import environment_for
from dqn_training.presets import preset_config, preset_names

FAULTY = "tests.training.environments:Faulty-v0"
WALK, COUNTDOWN = "tests.training.environments:Walk-v0", "tests.training.environments:Countdown-v0"
MODES: tuple[Vectorization, ...] = ("sync", "async")
SHORT: dict[str, Any] = {"total_env_steps": 1_000, "eval_every": 1_000, "eval_episodes": 2}
FLAGS = ["--total-env-steps=1000", "--eval-every=1000", "--eval-episodes=2", "--report-episodes=2", "--gate-episodes=2"]


def chosen(env_id: str, total_env_steps: int = 20_000, **settings: Any) -> tuple[DQNConfig, list[str]]:
    """The choices for an environment with these arguments, and the messages about them."""
    config = DQNConfig(env_id=env_id, env_kwargs=settings, total_env_steps=total_env_steps)
    return choose_settings(config, environment_for(config), ())


def test_a_table_and_a_picture_have_networks_of_their_own() -> None:
    """Tables need neither layer normalization nor longer returns; small images need no convolutions in short runs."""
    table, _ = chosen(COUNTDOWN, space="discrete")
    picture, _ = chosen(COUNTDOWN, space="pixels")
    longer, _ = chosen(COUNTDOWN, total_env_steps=1_000_000, space="pixels")
    numbers, _ = chosen(COUNTDOWN, space="box")
    assert (table.layer_norm, table.n_step, table.train_every) == (False, 1, 2)
    assert picture.n_step == numbers.n_step == 3
    assert (picture.network, longer.network) == ("mlp", "auto")
    assert longer.batch_size < picture.batch_size == numbers.batch_size
    assert numbers.layer_norm
    assert picture.layer_norm


@pytest.mark.parametrize(("reward", "scale"), [(1.0, 1.0), (200.0, 0.01), (0.001, 1_000.0), (0.0, 1.0)])
def test_rewards_of_another_size_are_scaled(reward: float, scale: float) -> None:
    """Large and small rewards are scaled to about 1; ordinary ones, and none at all, are left as they are."""
    assert chosen(WALK, reward=reward)[0].reward_scale == pytest.approx(scale)


@pytest.mark.parametrize(("unit", "normalize"), [(1.0, False), (0.001, True), (1_000.0, True)])
def test_numbers_of_another_size_are_normalized(unit: float, *, normalize: bool) -> None:
    """A position in kilometres or millimetres works as well as one in metres."""
    assert chosen(WALK, unit=unit)[0].normalize is normalize


def test_long_episodes_have_fewer_environments() -> None:
    """Each environment reaches the end of some episodes."""
    assert chosen(WALK, length=20)[0].num_envs == 16
    assert chosen(WALK, length=1_000)[0].num_envs == 5


def test_choices_do_not_depend_on_the_seed_nor_change_the_generators() -> None:
    """The same on each machine and for each run; what the environment's process draws afterwards is as before."""
    before = np.random.get_state(legacy=False)["state"]["pos"]  # noqa: NPY002  (the global generator is meant)
    assert chosen(WALK, chance=0.5) == chosen(WALK, chance=0.5)
    assert np.random.get_state(legacy=False)["state"]["pos"] == before  # noqa: NPY002


@pytest.mark.parametrize("fault", ["exception", "reset", "nan"])
def test_nothing_is_chosen_where_the_environment_breaks_down_at_once(fault: str) -> None:
    """A few steps reveal nothing about an environment; the settings stay, and the user is told why."""
    config = DQNConfig(env_id=FAULTY, env_kwargs={"fault": fault}, action_masks="off")
    same, (line,) = choose_settings(config, environment_for(config), ())
    assert same == config
    assert "the environment failed" in line


def test_what_is_given_stays() -> None:
    """A setting that the user gives takes precedence, even with its default value, and is not reported."""
    candidate = train(COUNTDOWN, env_kwargs={"space": "discrete"}, n_step=5, layer_norm=True, **SHORT)
    assert (candidate.preset, candidate.config.n_step, candidate.config.layer_norm) == ("general", 5, True)


def test_a_custom_config_and_pqn_are_left_alone() -> None:
    """Only `general` chooses, and only for DQN."""
    config = DQNConfig(env_id=COUNTDOWN, env_kwargs={"space": "discrete"}, learning_starts=200, **SHORT)
    assert train(config).config == config
    assert train(COUNTDOWN, env_kwargs={"space": "discrete"}, algorithm="pqn", **SHORT).config.n_step == 5


def test_other_presets_say_nothing_of_rewards() -> None:
    """They learn from unscaled rewards, and their files are unchanged."""
    assert {preset_config(name).reward_scale for name in preset_names()} == {1.0}


def test_processes_meet_the_same() -> None:
    """How environments are stepped changes no choice."""
    config = DQNConfig(env_id=WALK, env_kwargs={"chance": 0.9, "reward": 200})
    environment = environment_for(config)
    made = [choose_settings(dataclasses.replace(config, vectorization=kind), environment, ()) for kind in MODES]
    assert made[0][1] == made[1][1] != []


@pytest.mark.slow
def test_flags_override_choices_and_later_runs_keep_them(tmp_path: Path) -> None:
    """The command reports each choice once on standard error, and resumed and retrained runs keep it."""
    where = ["--repository", tmp_path / "store", "--name", "walk"]
    flags = [*where, *FLAGS, "--env-id", WALK, "--env-kwargs", '{"chance": 0.9, "reward": 200}', "--n-step", 5]
    trained = run("dqn-train", *flags, "--run-dir", tmp_path / "run")
    assert trained.returncode == 0, trained.stderr
    assert "general: reward_scale 0.01" in trained.stderr
    assert "general: n_step" not in trained.stderr
    first = ModelRepository(tmp_path / "store").manifest("walk", 1).training.config
    assert (first["n_step"], first["reward_scale"]) == (5, 0.01)

    resumed = run("dqn-train", "--resume", tmp_path / "run")
    assert resumed.returncode == 0, resumed.stderr
    result("dqn-retrain", "--once", *where)
    second = ModelRepository(tmp_path / "store").manifest("walk", 2).training.config
    assert {**second, "seed": 0} == {**first, "seed": 0}


@pytest.mark.slow
def test_a_first_round_of_retraining_chooses(tmp_path: Path) -> None:
    """If there is no champion yet, `dqn-retrain` trains as `dqn-train` does."""
    flags = ["--repository", tmp_path, "--env-id", WALK, "--env-kwargs", '{"reward": 200}', *FLAGS]
    result("dqn-retrain", "--once", *flags)
    assert ModelRepository(tmp_path).manifest("walk", 1).training.config["reward_scale"] == 0.01
