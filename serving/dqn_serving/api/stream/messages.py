"""The frames of a stream: these classes decode, encode and document them, in JSON and in MessagePack alike."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from dqn_serving.api.schemas import FLAG, MASK, NUMBERS_REF, OBSERVATION, Epsilon, Seed, documented

LONGEST_ID = 64
LEAST_ID, GREATEST_ID = -(2**63), 2**64 - 1

FrameId = (
    Annotated[int, Meta(ge=LEAST_ID)]
    | Annotated[str, Meta(max_length=LONGEST_ID, description="Sent back with the answer.")]
)
Space = dict[str, Any]


class StreamRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """An observation to act on."""

    observation: Annotated[
        Raw,
        documented(
            OBSERVATION, {"type": ["array", "integer"], "items": NUMBERS_REF, "examples": [[0.01, -0.02, 0.03, 0.04]]}
        ),
    ]
    epsilon: Epsilon | UnsetType = UNSET
    seed: Seed | UnsetType = UNSET
    action_mask: Annotated[Raw, documented(MASK, {"type": "array", "minItems": 1, "items": FLAG})] | UnsetType = UNSET
    id: FrameId | UnsetType = UNSET


class StreamHello(Struct, frozen=True, tag_field="type", tag="hello"):
    """The first frame: what answers, and its spaces as the manifest has them."""

    model: str
    version: int
    pinned: bool
    observation_space: Space
    action_space: Space


class StreamVersion(Struct, frozen=True, tag_field="type", tag="version"):
    """Another version answers from now on."""

    model: str
    version: int
    observation_space: Space
    action_space: Space


class StreamAction(Struct, frozen=True, tag_field="type", tag="action"):
    """The action; with the request's `id`, `propensity` where `epsilon` was sent, `q_values` where the URL asks."""

    action: int
    version: int
    id: int | str | UnsetType = UNSET
    propensity: float | UnsetType = UNSET
    q_values: list[float] | UnsetType = UNSET


class StreamError(Struct, frozen=True, tag_field="type", tag="error"):
    """A frame that was not answered with an action; the stream goes on."""

    status: int
    title: str
    detail: str
    reason: str | UnsetType = UNSET
    id: int | str | UnsetType = UNSET


class StreamDraining(Struct, frozen=True, tag_field="type", tag="draining"):
    """The server is about to end: it still answers, but a client should connect anew."""


Subprotocol = Literal["dqn.json", "dqn.msgpack"]
