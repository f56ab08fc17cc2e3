"""MODEL_CARD.md: what a version is, how it was trained, how well it plays and its limits."""

from dqn_models.manifest import EnvironmentInfo, Manifest
from dqn_models.spaces import ActionSpace, DiscretizedBoxSpace
from dqn_training.evaluation.play import remarks


def model_card(manifest: Manifest) -> bytes:
    """The card as UTF-8 Markdown, made from nothing but the manifest."""
    training, evaluation, environment = manifest.training, manifest.evaluation, manifest.environment
    low, high = evaluation.ci95
    beside = remarks(evaluation)
    kwargs = f" with `{environment.kwargs}`" if environment.kwargs else ""
    wrappers = "".join(f"\nObservations pass `{each.name}` with `{each.kwargs}`." for each in environment.wrappers)
    within = " within its wrappers" if wrappers else ""
    solved = environment.reward_threshold
    threshold = "" if solved is None else f" The environment counts as solved at {solved:g}."
    actions, observation = environment.action_space, environment.observation_space.describe()
    origin = (
        f"from the weights of version {manifest.lineage.parent_version} (warm start)"
        if manifest.lineage.origin == "warm-start"
        else "from scratch"
    )
    gate = manifest.gate.reason if manifest.gate else "None: it was the first version of its model."
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(training.libraries.items()))
    return f"""# {manifest.model} version {manifest.version}

A DQN policy for the Gymnasium environment `{environment.id}`{kwargs},
published {manifest.created_at:%Y-%m-%d %H:%M} UTC.{wrappers}

## What it does
Maps an observation ({observation}) to the Q-values of {_q_values(actions)} and the greedy
action. {_actions(actions)}.{_masked(environment)} The file `model.onnx` (opset
{manifest.onnx.opset}) contains all preprocessing: give it observations as the environment does{within}.

## How it was trained
Preset `{training.preset}`, seed {training.seed}, {origin}: {training.env_steps:,} environment steps,
{training.episodes:,} episodes, {training.gradient_steps:,} gradient steps, {training.wall_seconds:.1f} s.
Every setting is in `manifest.json`.
Libraries: {libraries}.

## Evaluation
{evaluation.episodes:,} greedy episodes played by `model.onnx`, with test seeds, used for nothing else: mean return
{evaluation.mean:.2f} (95 % interval {low:.2f} to {high:.2f}), standard deviation {evaluation.std:.2f}, lowest
{evaluation.min:.2f}, highest {evaluation.max:.2f}; mean length {evaluation.mean_length:.1f} steps{beside}.{threshold}

Gate: {gate}

## Limits
It was trained and evaluated in the simulator named above and nowhere else; how it acts on observations unlike those is
not known. What training saw, element by element (many: all together): low {_numbers(manifest.observations.low)}, high
{_numbers(manifest.observations.high)}. It is greedy and deterministic; exploration is the server's to add.

## Licence
The weights carry the licence of the project that trained them; dqn-policy-server itself is under the MIT licence.
""".encode()


def _q_values(space: ActionSpace) -> str:
    """What has Q-values, in words."""
    if space.branches:
        return f"the {space.n} values of its {len(space.branches)} components, which are chosen one by one,"
    return f"its {space.n} actions"


def _actions(space: ActionSpace) -> str:
    """What an action is, in words."""
    what = f"An action is {space.describe()}"
    if isinstance(space, DiscretizedBoxSpace):
        return f"{what}; each takes one of {space.discretize} values, evenly spaced between its bounds"
    return what


def _masked(environment: EnvironmentInfo) -> str:
    """What an action mask means for who uses the file; nothing where there is none."""
    if environment.action_mask is None:
        return ""
    return (
        " The environment masks actions: take the highest Q-value of those that it allows, as in training and the "
        "evaluation below, not the greedy action of all."
    )


def _numbers(values: list[float], most: int = 16) -> str:
    shown = ", ".join(f"{value:.3g}" for value in values[:most])
    return f"[{shown}{', ...' if len(values) > most else ''}]"
