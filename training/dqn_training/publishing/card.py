"""MODEL_CARD.md: what a version does, how it was trained, how it performs, and its limits."""

from dqn_models.manifest import EnvironmentInfo, Manifest
from dqn_models.spaces import ActionSpace, DiscretizedBoxSpace
from dqn_training.evaluation.play import remarks


def model_card(manifest: Manifest) -> bytes:
    """The card as UTF-8 Markdown, generated from the manifest alone."""
    training, evaluation, environment = manifest.training, manifest.evaluation, manifest.environment
    low, high = evaluation.ci95
    notes = remarks(evaluation)
    kwargs = f" with `{environment.kwargs}`" if environment.kwargs else ""
    wrappers = "".join(f"\nWrapper: `{each.name}` with `{each.kwargs}`." for each in environment.wrappers)
    within = " after its wrappers" if wrappers else ""
    solved = environment.reward_threshold
    threshold = "" if solved is None else f" The environment counts as solved at {solved:g}."
    actions, observation = environment.action_space, environment.observation_space.describe()
    origin = (
        f"from the weights of version {manifest.lineage.parent_version} (warm start)"
        if manifest.lineage.origin == "warm-start"
        else "from scratch"
    )
    gate = manifest.gate.reason if manifest.gate else "none, as the first version of its model."
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(training.libraries.items()))
    return f"""# {manifest.model} version {manifest.version}

A DQN policy for the Gymnasium environment `{environment.id}`{kwargs},
published {manifest.created_at:%Y-%m-%d %H:%M} UTC.{wrappers}

## What it does
Maps an observation ({observation}) to the Q-values of {_q_values(actions)} and the greedy action.
{_actions(actions)}.{_masked(environment)} The file `model.onnx` (opset
{manifest.onnx.opset}) includes all preprocessing: it takes observations as the environment returns them{within}.

## How it was trained
Preset `{training.preset}`, seed {training.seed}, {origin}: {training.env_steps:,} environment steps,
{training.episodes:,} episodes, {training.gradient_steps:,} gradient steps, {training.wall_seconds:.1f} s.
Every setting is in `manifest.json`.
Libraries: {libraries}.

## Evaluation
{evaluation.episodes:,} greedy episodes played with `model.onnx` on test seeds, used for nothing else: mean return
{evaluation.mean:.2f} (95 % interval {low:.2f} to {high:.2f}), standard deviation {evaluation.std:.2f}, lowest
{evaluation.min:.2f}, highest {evaluation.max:.2f}; mean length {evaluation.mean_length:.1f} steps{notes}.{threshold}

Gate: {gate}

## Limits
It was trained and evaluated only in the environment named above; its behaviour on other observations is unknown.
Observations in training ranged, per element (over all elements if there are many), from
{_numbers(manifest.observations.low)} to {_numbers(manifest.observations.high)}.
The policy is greedy and deterministic; the server can add exploration.

## Licence
The weights are under the licence of the project that trained them; dqn-policy-server itself is under the MIT licence.
""".encode()


def _q_values(space: ActionSpace) -> str:
    """What the Q-values belong to."""
    if space.branches:
        return f"the {space.n} values of {len(space.branches)} components (each is chosen on its own)"
    return f"{space.n} actions"


def _actions(space: ActionSpace) -> str:
    """A description of an action."""
    sentence = f"An action is {space.describe()}"
    if isinstance(space, DiscretizedBoxSpace):
        return f"{sentence}; each takes one of {space.discretize} evenly spaced values between its bounds"
    return sentence


def _masked(environment: EnvironmentInfo) -> str:
    """How users of the file must apply action masks; empty without masks."""
    if environment.action_mask is None:
        return ""
    return (
        " The environment masks actions: instead of the greedy action over all, take the allowed action with the "
        "highest Q-value, as in training and in the evaluation below."
    )


def _numbers(values: list[float], limit: int = 16) -> str:
    shown = ", ".join(f"{value:.3g}" for value in values[:limit])
    return f"[{shown}{', ...' if len(values) > limit else ''}]"
