"""What is wrong with an action mask."""

from typing import Any

from dqn_serving.api.explain.wording import Document, rejected, shown
from dqn_serving.policies.observations import ObservationReader


def check_mask(document: Document, reader: ObservationReader, model: str) -> None:
    """Checks the action mask against a policy and the batch. Raises Problem."""
    if "action_mask" not in document:
        return
    mask, size = document["action_mask"], reader.n_actions
    batch = len(document["observations"]) if "observations" in document else None
    expected = f"{model} expects a list of {size} booleans" + (
        " or one such list for each observation" if batch else ""
    )
    per_row = batch is not None and isinstance(mask, list) and bool(mask) and isinstance(mask[0], list)
    if per_row and len(mask) != batch:
        raise rejected("action_mask", f"action_mask has {len(mask)} lists for {batch} observations; {expected}.")
    for index, row in enumerate(mask if per_row else [mask]):
        path = f"action_mask[{index}]" if per_row else "action_mask"
        if not isinstance(row, list) or len(row) != size or not all(isinstance(item, bool) for item in row):
            found = f"has {len(row)} entries" if isinstance(row, list) and len(row) != size else f"is {_found(row)}"
            raise rejected("action_mask", f"{path} {found}; {expected}.")
        if not any(row):
            raise rejected("action_mask", f"{path} masks every action; at least one must be allowed.")


def _found(row: Any) -> str:
    """A value of a mask for a message, with the entry that is no boolean."""
    wrong = [item for item in row if not isinstance(item, bool)] if isinstance(row, list) else []
    return f"a list with {shown(wrong[0])} in it" if wrong else shown(row)
