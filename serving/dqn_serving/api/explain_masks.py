"""What is wrong with an action mask, or with a request without one, in any encoding."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dqn_models.masks import ACTION_MASK
from dqn_models.spaces import ActionSpace
from dqn_serving.api.explain import Document, is_integer, rejected, shown
from dqn_serving.policies.masks import MaskReader
from dqn_serving.problems import Problem


def check_mask(document: Document, batch: int | None, masks: MaskReader, model: str) -> None:
    """Checks the action mask, [n] or [batch, n], or that in the observations, whose form has been checked.

    Raises Problem (422) for the first fault, including the absence of a mask that the model needs.
    """
    expected = f"a list of {masks.n_actions} booleans (or 0 and 1)"
    if branches := masks.actions.branches:
        expected += f", for the values of its {len(branches)} components one after the other ({_counts(branches)}),"
    expected += " or one such list for each observation" if batch else ""
    if ACTION_MASK in document:
        _check_sent(document[ACTION_MASK], batch, masks.actions, f"{model} expects {expected}")
    elif masks.is_required:
        raise mask_missing(model, expected)
    elif masks.is_used:
        observations = [document["observation"]] if batch is None else document["observations"]
        rows = [observation[ACTION_MASK] for observation in observations]
        check_observed(rows, "observation" if batch is None else "observations[{}]", masks.actions)


def check_observed(rows: Any, path: str, actions: ActionSpace) -> None:
    """Checks the masks [batch, n] in observations. Raises Problem (422).

    `path` names one of these, with a row's number in it.
    """
    for index, row in enumerate(rows):
        where = f"{path.format(index)}.{ACTION_MASK}"
        for item in row:
            if item not in {0, 1}:
                raise rejected(ACTION_MASK, f"{where} has {shown(item)} in it; expected 0 and 1.")
        _check_possible(row, where, actions)


def mask_missing(model: str, expected: str) -> Problem:
    """The problem (422) of a request without a mask that its model needs."""
    return rejected(
        ACTION_MASK,
        f"action_mask is missing: {model} was trained and evaluated with the action masks of its environment. Send "
        f'{expected}, from info["action_mask"] or action_masks(), or start the server with --lenient-masks.',
    )


def all_masked(path: str, row: Sequence[Any], actions: ActionSpace) -> Problem:
    """The problem (422) of a mask [n] that allows no action."""
    what, first = "action", 0
    for component, count in enumerate(actions.branches):
        if not any(row[first : first + count]):
            what = f"value of component {component}, entries {first} to {first + count - 1}"
            break
        first += count
    return rejected(ACTION_MASK, f"{path} masks every {what}; at least one must be allowed.")


def _check_sent(mask: Any, batch: int | None, actions: ActionSpace, expected: str) -> None:
    per_row = batch is not None and isinstance(mask, list) and bool(mask) and isinstance(mask[0], list)
    if per_row and len(mask) != batch:
        raise rejected(ACTION_MASK, f"action_mask has {len(mask)} lists for {batch} observations; {expected}.")
    for index, row in enumerate(mask if per_row else [mask]):
        path = f"action_mask[{index}]" if per_row else ACTION_MASK
        if not isinstance(row, list):
            raise rejected(ACTION_MASK, f"{path} is {shown(row)}; {expected}.")
        if len(row) != actions.n:
            raise rejected(ACTION_MASK, f"{path} has {len(row)} entries; {expected}.")
        for item in row:
            if not (isinstance(item, bool) or (is_integer(item) and item in {0, 1})):
                raise rejected(ACTION_MASK, f"{path} is a list with {shown(item)} in it; {expected}.")
        _check_possible(row, path, actions)


def _check_possible(row: list[Any], path: str, actions: ActionSpace) -> None:
    if not actions.possible(np.array([row], np.bool_)).all():
        raise all_masked(path, row, actions)


def _counts(branches: tuple[int, ...], maximum: int = 8) -> str:
    """The numbers of values, such as "3 + 2 + ..."."""
    return " + ".join([*map(str, branches[:maximum]), *(["..."] if len(branches) > maximum else [])])
