"""The form of an observation: one leaf, or the objects and arrays that a Dict or Tuple is in JSON and MessagePack."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dqn_models.errors import PolicyError
from dqn_models.policy import Policy
from dqn_models.spaces import CompositeSpace, Leaf, LeafSpace, ObservationSpace, TupleSpace
from dqn_serving.policies.leaves import LeafReader

Path: TypeAlias = tuple[str | int, ...]


class CompositeForm:
    """An object with a member for each key of a Dict, or an array with one for each position of a Tuple.

    It is decoded into an instance of a class created for it, in the same typed pass as its leaves.
    """

    def __init__(self, keys: Sequence[str | int], members: Mapping[str | int, "Form"], ignored: Sequence[str]) -> None:
        """`keys` are those of a Dict or the positions of a Tuple; those without a member are left out of the space.

        `ignored` are further keys of a Dict that may be sent and are left out. Raises PolicyError for a key that cannot
        be read.
        """
        self.keys, self.members, self.ignored = keys, members, ignored
        self.is_array = isinstance(keys, range)
        names = {key: f"member_{place}" for place, key in enumerate(keys)}
        fields: list[Any] = [(name, members[key].type if key in members else Raw) for key, name in names.items()]
        fields += [(f"ignored_{place}", Raw | UnsetType, UNSET) for place, _ in enumerate(ignored)]
        renamed = {name: str(key) for key, name in names.items()}
        renamed |= {f"ignored_{place}": key for place, key in enumerate(ignored)}
        try:
            self.type: Any = msgspec.defstruct(
                "Observation", fields, rename=renamed, array_like=self.is_array, forbid_unknown_fields=True, gc=False
            )
        except ValueError as error:
            raise PolicyError(f"The observation space has a key that JSON cannot name plainly: {error}.") from error
        self.attributes: tuple[str, ...] = tuple(
            f"{names[key]}.{inner}".rstrip(".") for key, member in members.items() for inner in member.attributes
        )
        """The path of attributes to each leaf in an instance of the class, in the order of `leaves`."""
        self.leaves: tuple[LeafReader, ...] = tuple(leaf for member in members.values() for leaf in member.leaves)
        """All leaves, in the order of the graph's inputs."""


Form: TypeAlias = LeafReader | CompositeForm


def form_of(space: ObservationSpace, policy: Policy, left_out: Sequence[str], path: Path = ()) -> Form:
    """The form of a space, or of its member at `path`; `left_out` names the leaves left out of the whole space.

    Raises PolicyError for a key that cannot be read.
    """
    if isinstance(space, LeafSpace):
        return LeafReader(Leaf(".".join(map(str, path)), path, space), policy)
    members = {key: form_of(member, policy, left_out, (*path, key)) for key, member in space.members()}
    if isinstance(space, TupleSpace):
        return CompositeForm(range(len(space.spaces)), members, ())
    return CompositeForm(list(members), members, _ignored(space, left_out, path))


def _ignored(space: CompositeSpace, left_out: Sequence[str], path: Path) -> list[str]:
    """The left-out keys of a Dict at `path`; a key with dots looks like a path, so both readings are ignored."""
    prefix = "".join(f"{key}." for key in path)
    below = [name.removeprefix(prefix) for name in left_out if name.startswith(prefix)]
    known = {key for key, _ in space.members()}
    return sorted({key for name in below for key in (name, name.partition(".")[0])} - known)
