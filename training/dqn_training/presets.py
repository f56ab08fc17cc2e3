"""Settings that are known to work, by name; and the names that an environment has by default."""

import difflib
import re
from pathlib import Path

from dqn_training.config import DQNConfig
from dqn_training.preset_file import SUFFIX, read_preset

PRESETS: dict[str, DQNConfig] = {
    "general": DQNConfig(),
    "cartpole": DQNConfig(
        env_id="CartPole-v1",
        total_env_steps=100_000,
        hidden_sizes=(64, 64),
        replay_capacity=20_000,
        learning_rate=3e-3,
        tau=0.02,
        eval_every=1_000,
        stop_return=500.0,
        eval_episodes=200,
        report_episodes=1_000,
    ),
    "acrobot": DQNConfig(
        env_id="Acrobot-v1",
        total_env_steps=200_000,
        replay_capacity=20_000,  # with all that was ever seen, n-step returns of old policies make it worse again
        batch_size=64,
        train_every=2,
        n_step=3,
        learning_rate_end=3e-4,
        tau=0.01,
        eval_every=4_000,
        eval_episodes=200,
        stop_return=-74.5,
        stop_evaluations=1,
        report_episodes=500,
    ),
    "mountaincar": DQNConfig(
        env_id="MountainCar-v0",
        total_env_steps=150_000,
        hidden_sizes=(64, 64),
        replay_capacity=20_000,
        learning_rate=3e-3,
        tau=0.02,
        eval_every=2_000,
        eval_episodes=100,
        stop_return=-99.0,
        report_episodes=500,
    ),
    "lunarlander": DQNConfig(
        env_id="LunarLander-v3",
        total_env_steps=400_000,
        replay_capacity=200_000,
        n_step=3,
        learning_rate_end=1e-4,
        tau=0.01,
        epsilon_decay_steps=20_000,
        eval_every=10_000,
        eval_episodes=50,
        stop_return=235.0,
        stop_evaluations=2,
        report_episodes=300,
    ),
    "minatar-breakout": DQNConfig(
        env_id="MinAtar/Breakout-v1",
        total_env_steps=100_000,
        hidden_sizes=(128,),
        batch_size=64,
        n_step=3,
        learning_rate_end=1e-4,
        epsilon_end=0.02,
        epsilon_decay_steps=40_000,
        eval_every=20_000,
        eval_episodes=30,
        report_episodes=300,
        episode_step_limit=5_000,
    ),
    # The network, the wrappers and the learning rate of Mnih et al. (2015), at a size that shows that it works.
    "breakout": DQNConfig(
        env_id="ALE/Breakout-v5",
        frame_stack=4,
        clip_rewards=True,
        num_envs=8,
        total_env_steps=5_000,
        hidden_sizes=(512,),
        layer_norm=False,
        replay_capacity=10_000,
        batch_size=32,
        train_every=8,
        learning_rate=1e-4,
        n_step=3,
        epsilon_decay_steps=4_000,
        eval_every=2_500,
        eval_episodes=4,
        gate_episodes=4,
        report_episodes=8,
        # five minutes of play at 60 frames a second
        episode_step_limit=4_500,
    ),
    # Every member of the family at once (Hessel et al., 2018), at a size that suits CartPole.
    "rainbow": DQNConfig(
        env_id="CartPole-v1",
        total_env_steps=100_000,
        hidden_sizes=(64, 64),
        dueling=True,
        noisy=True,
        noisy_sigma=0.1,
        distribution="c51",
        v_min=0.0,
        v_max=100.0,
        replay_capacity=20_000,
        prioritized=True,
        tau=0.02,
        eval_every=1_000,
        stop_return=500.0,
        eval_episodes=200,
        report_episodes=1_000,
    ),
    # Gallici et al. (2024).
    "pqn": DQNConfig(
        env_id="CartPole-v1",
        algorithm="pqn",
        num_envs=32,
        batch_size=256,
        rollout_epochs=4,
        policy_weights="learned",
        epsilon_decay_steps=30_000,
        eval_every=4_000,
        stop_return=500.0,
        eval_episodes=200,
        report_episodes=1_000,
    ),
    # The PyTorch tutorial "DQN on CartPole", whose optimiser keeps PyTorch's default weight decay.
    "tutorial": DQNConfig(
        env_id="CartPole-v1",
        num_envs=1,
        total_env_steps=100_000,
        max_episodes=200,
        hidden_sizes=(128, 128),
        layer_norm=False,
        replay_capacity=10_000,
        learning_starts=128,
        batch_size=128,
        train_every=1,
        gamma=0.99,
        n_step=1,
        double_dqn=False,
        loss="huber",
        optimizer="adamw-amsgrad",
        learning_rate=1e-4,
        weight_decay=0.01,
        gradient_clip="value",
        gradient_clip_at=100.0,
        target_update="soft",
        tau=0.005,
        policy_weights="learned",
        epsilon_schedule="exponential",
        epsilon_start=0.9,
        epsilon_end=0.05,
        epsilon_decay_steps=1_000,
        eval_every=1_000,
        eval_episodes=20,
        report_episodes=1_000,
    ),
}


_OF_ONE_ENVIRONMENT = ("cartpole", "acrobot", "mountaincar", "lunarlander", "minatar-breakout", "breakout")


def preset_config(preset: str) -> DQNConfig:
    """The settings of a preset: a name of PRESETS, or the path of a file such as `dqn-tune` writes.

    Raises ValueError with a sentence when there is no such preset or the file is wrong.
    """
    if preset in PRESETS:
        return PRESETS[preset]
    if preset.endswith(SUFFIX):
        return read_preset(Path(preset))
    near = difflib.get_close_matches(preset, PRESETS, n=1)
    advice = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"--preset is {preset!r}; it must be {', '.join(PRESETS)} or the path of a .toml file.{advice}")


def preset_label(preset: str) -> str:
    """What a manifest says of a preset: its name, or that of its file."""
    return Path(preset).name if preset.endswith(SUFFIX) else preset


def default_preset(env_id: str | None) -> str:
    """The preset that suits an environment: its own, that of an Atari game, or `general`."""
    if env_id is None:
        return "cartpole"
    name = env_id.rpartition(":")[2]
    own = {PRESETS[preset].env_id: preset for preset in _OF_ONE_ENVIRONMENT}
    return own.get(name, "breakout" if name.startswith("ALE/") else "general")


def default_model_name(env_id: str) -> str:
    """The model that an environment's policies belong to unless the user names one: CartPole-v1 gives cartpole."""
    name = re.sub(r"-v\d+$", "", env_id.rpartition(":")[2])
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.") or "policy"
