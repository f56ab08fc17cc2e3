"""The observations of a vector environment, which come as one dict of arrays, as a list of observations."""

from collections.abc import Mapping, Sequence
from typing import Any


def separated(observations: Any) -> Any:
    """The observations one by one, where they come as a mapping or as a structured array; others as they are.

    Raises ValueError if the parts of a mapping are for different numbers of observations.
    """
    if isinstance(observations, Mapping):
        return _rows(observations, _count(observations) or _count(observations, in_tuples=True))
    if names := _field_names(observations):
        return separated({name: observations[name] for name in names})
    return observations


def _rows(part: Any, count: int) -> Sequence[Any]:
    """What each of the observations has of a part of all of them."""
    if isinstance(part, Mapping):
        columns = [_rows(each, count) for each in part.values()]
        return [dict(zip(part, values, strict=True)) for values in zip(*columns, strict=True)]
    if isinstance(part, tuple) and all(_is_array_of(each, count) for each in part):  # of a Tuple space
        return list(zip(*(_rows(each, count) for each in part), strict=True))
    if names := _field_names(part):
        return _rows({name: part[name] for name in names}, count)
    rows: Sequence[Any] = part.tolist() if hasattr(part, "tolist") else part
    if not hasattr(rows, "__len__"):
        raise ValueError(f"A part of the observations is {rows!r}; expected an array with a row for each observation.")
    if len(rows) != count:
        raise ValueError(f"A part of the observations has {len(rows)} rows; expected {count}, as the first array has.")
    return rows


def _count(part: Any, *, in_tuples: bool = False) -> int:
    """How many observations there are, by the first array that is in no tuple, or that is in one."""
    if isinstance(part, Mapping):
        parts = tuple(part.values())
    elif isinstance(part, tuple):
        parts = part if in_tuples else ()
    else:
        return len(part) if hasattr(part, "__len__") and getattr(part, "shape", True) else 0
    return next(filter(None, (_count(each, in_tuples=in_tuples) for each in parts)), 0)


def _is_array_of(part: Any, count: int) -> bool:
    """Whether it is a part of a batch; what no network reads, such as a text, comes as a tuple with one for each."""
    if isinstance(part, Mapping):
        return _is_array_of(tuple(part.values()), count)
    if isinstance(part, tuple):
        return bool(part) and all(_is_array_of(each, count) for each in part)
    return bool(getattr(part, "shape", ())) and len(part) == count


def _field_names(part: Any) -> tuple[str, ...]:
    return getattr(getattr(part, "dtype", None), "names", None) or ()
