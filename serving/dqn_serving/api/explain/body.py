"""What is wrong with a body before any model is looked at: its JSON and its fields."""

import json
import math
from collections.abc import Callable, Collection
from typing import Any

from dqn_serving.api.explain.wording import Document, is_integer, is_number, rejected, shown
from dqn_serving.api.schemas import MAX_SEED, MAX_VERSION, ActRequest
from dqn_serving.problems import Problem, Reason

FIELDS = ActRequest.__struct_fields__
_MAX_DIGITS = 300  # a longer integer is beyond every type here, and slow to convert


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def parse(body: bytes, what: str = "body") -> Document:
    """The body as a JSON object, NaN and infinite numbers kept as such. Raises Problem (400 or 422).

    `what` it is called in the detail.
    """
    try:
        document = json.loads(body.decode(), parse_int=_integer)
    except UnicodeDecodeError as error:
        raise Problem(
            400, f"The {what} is not UTF-8: {error.reason} at byte {error.start}.", reason="not_json"
        ) from None
    except RecursionError:
        raise Problem(400, f"The {what} is nested too deeply to be read as JSON.", reason="not_json") from None
    except ValueError as error:
        found = f"The {what} is not JSON: {error}." if body else f"The {what} is empty; expected is a JSON object."
        raise Problem(400, found, reason="not_json") from None
    if not isinstance(document, dict):
        raise rejected("type", f"The {what} is {shown(document)}; expected is a JSON object with an observation.")
    return document


def check_fields(document: Document) -> None:
    """Checks everything that does not depend on the model. Raises Problem."""
    check_names(document, FIELDS, "body")
    if ("observation" in document) == ("observations" in document):
        found = "both observation and observations" if "observation" in document else "no observation"
        raise rejected("fields", f"The body has {found}; expected is exactly one of observation and observations.")
    check_options(document)


def check_names(document: Document, allowed: Collection[str], what: str) -> None:
    """Checks that there is no unknown field. Raises Problem."""
    unknown = [name for name in document if name not in allowed]
    if unknown:
        raise rejected(
            "fields", f"The {what} has an unknown field {shown(unknown[0])}; allowed are {', '.join(allowed)}."
        )


def check_options(document: Document) -> None:
    """Checks the version, epsilon and seed where they are given. Raises Problem."""
    for name, (is_valid, expected) in _CHECKS.items():
        if name in document and not is_valid(document[name]):
            raise rejected(name, f"{name} is {shown(document[name])}; expected is {expected}.")


def _is_version(value: Any) -> bool:
    return isinstance(value, str) or (is_integer(value) and 1 <= value <= MAX_VERSION)


_CHECKS: dict[Reason, tuple[Callable[[Any], bool], str]] = {
    "version": (_is_version, "a positive integer or the name of an alias"),
    "epsilon": (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "seed": (lambda value: is_integer(value) and 0 <= value <= MAX_SEED, f"an integer from 0 to {MAX_SEED}"),
}
