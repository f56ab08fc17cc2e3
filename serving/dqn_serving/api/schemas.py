"""Bodies of `/act` and `/q-values`: these classes decode, encode and document them."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MAX_VERSION = 10**18 - 1
MAX_SEED = 2**63 - 1

OBSERVATION = "Numbers in the shape of the model's observation space (a single integer for a Discrete space)."
NUMBERS = "Numbers"
NUMBERS_REF = {"$ref": f"#/components/schemas/{NUMBERS}"}
FLAG = {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}
FLAGS = {"anyOf": [*FLAG["anyOf"], {"type": "array", "items": FLAG, "minItems": 1}]}
MASK = (
    "Which actions may be chosen: one list of booleans (or 0 and 1); for `observations`, one for all or one for each."
)

Version = Annotated[int, Meta(ge=1, le=MAX_VERSION)] | str
Epsilon = Annotated[
    float,
    Meta(ge=0, le=1, description="Probability of an action chosen uniformly at random; 0 (the default) is greedy."),
]
Seed = Annotated[
    int,
    Meta(ge=0, le=MAX_SEED, description="Makes the random choice repeatable, whatever else is in the batch."),
]


def documented(description: str, schema: dict[str, Any]) -> Meta:
    """Documentation of a field that is decoded later."""
    return Meta(description=description, extra_json_schema=schema)


class ActRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One observation or many; exactly one of the two fields."""

    observation: (
        Annotated[
            Raw,
            documented(
                OBSERVATION,
                {"type": ["array", "integer"], "items": NUMBERS_REF, "examples": [[0.01, -0.02, 0.03, 0.04]]},
            ),
        ]
        | UnsetType
    ) = UNSET
    observations: (
        Annotated[
            Raw,
            documented("A list of observations.", {"type": "array", "minItems": 1, "items": NUMBERS_REF}),
        ]
        | UnsetType
    ) = UNSET
    version: (
        Annotated[Version, Meta(description="A version's number, or the name of an alias (default: champion).")]
        | UnsetType
    ) = UNSET
    epsilon: Epsilon | UnsetType = UNSET
    seed: Seed | UnsetType = UNSET
    action_mask: Annotated[Raw, documented(MASK, {"type": "array", "minItems": 1, "items": FLAGS})] | UnsetType = UNSET


class ActAnswer(Struct, frozen=True):
    """The action for one observation; `propensity` (its probability) if `epsilon` was sent."""

    action: int
    model: str
    version: int
    propensity: float | UnsetType = UNSET


class ActBatchAnswer(Struct, frozen=True):
    """The actions for a batch, in its order; `propensity` has one number for each."""

    actions: list[int]
    model: str
    version: int
    propensity: list[float] | UnsetType = UNSET


class QValuesAnswer(Struct, frozen=True):
    """The Q-value of every action and the action chosen, for one observation."""

    q_values: list[float]
    action: int
    model: str
    version: int
    propensity: float | UnsetType = UNSET


class QValuesBatchAnswer(Struct, frozen=True):
    """The Q-values of every action and the actions chosen, for a batch."""

    q_values: list[list[float]]
    actions: list[int]
    model: str
    version: int
    propensity: list[float] | UnsetType = UNSET


AnyAnswer = ActAnswer | ActBatchAnswer | QValuesAnswer | QValuesBatchAnswer

decode_request = msgspec.json.Decoder(ActRequest).decode
encode = msgspec.json.Encoder().encode
