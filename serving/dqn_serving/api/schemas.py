"""Bodies of `/act` and `/q-values`: these classes decode, encode and document them."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MAX_VERSION = 10**18 - 1
MAX_SEED = 2**63 - 1

NUMBERS = "Numbers"
NUMBERS_REF = {"$ref": f"#/components/schemas/{NUMBERS}"}
_FLAG = {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}
FLAGS = {"anyOf": [*_FLAG["anyOf"], {"type": "array", "items": _FLAG, "minItems": 1}]}
_MASK = (
    "Which actions may be chosen: one list of booleans (or 0 and 1), as long as the Q-values; for `observations`, one "
    "for all or one for each. "
    "Required if the model was trained with action masks that are not part of its observations."
)
_SHAPE = (
    "In the form of the model's observation space: a number or nested lists of numbers, an object for a Dict, an "
    "array for a Tuple. `GET /models/{model}` shows the space with an example."
)
_FORM = {"type": ["array", "number", "object"]}
_EXAMPLES = {"examples": [[0.01, -0.02, 0.03, 0.04]]}

Observation = Annotated[Raw, Meta(description=_SHAPE, extra_json_schema=_FORM | _EXAMPLES)]
_Observations = Annotated[
    Raw,
    Meta(description="A list of observations.", extra_json_schema={"type": "array", "minItems": 1, "items": _FORM}),
]
_Version = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_VERSION)] | str,
    Meta(description="A version number, or an alias (default: champion)."),
]
Epsilon = Annotated[
    float,
    Meta(ge=0, le=1, description="Probability of an action chosen uniformly at random; 0 (the default) is greedy."),
]
Seed = Annotated[
    int,
    Meta(ge=0, le=MAX_SEED, description="Makes the random choice repeatable, whatever else is in the batch."),
]
Mask = Annotated[Raw, Meta(description=_MASK, extra_json_schema={"type": "array", "minItems": 1, "items": _FLAG})]
_Masks = Annotated[Raw, Meta(description=_MASK, extra_json_schema={"type": "array", "minItems": 1, "items": FLAGS})]


Action = Annotated[
    Any,
    Meta(
        description="As the environment takes it: an integer, or lists of numbers in the shape of its action space.",
        extra_json_schema=NUMBERS_REF,
    ),
]


QValues = Annotated[
    list[float],
    Meta(
        description="One for each action or joint action; if `action_space.branching` is true, one for each value of "
        "each component, component after component."
    ),
]


class ActRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One observation or many: exactly one of `observation` and `observations`."""

    observation: Observation | UnsetType = UNSET
    observations: _Observations | UnsetType = UNSET
    version: _Version | UnsetType = UNSET
    epsilon: Epsilon | UnsetType = UNSET
    seed: Seed | UnsetType = UNSET
    action_mask: _Masks | UnsetType = UNSET


class ActAnswer(Struct, frozen=True):
    """The action for one observation; `propensity` (its probability) if `epsilon` was sent."""

    action: Action
    model: str
    version: int
    propensity: float | UnsetType = UNSET


class ActBatchAnswer(Struct, frozen=True):
    """The actions for a batch, in its order; `propensity` has one number for each."""

    actions: list[Action]
    model: str
    version: int
    propensity: list[float] | UnsetType = UNSET


class QValuesAnswer(Struct, frozen=True):
    """The Q-values and the chosen action, for one observation."""

    q_values: QValues
    action: Action
    model: str
    version: int
    propensity: float | UnsetType = UNSET


class QValuesBatchAnswer(Struct, frozen=True):
    """The Q-values and the chosen actions, for a batch."""

    q_values: list[QValues]
    actions: list[Action]
    model: str
    version: int
    propensity: list[float] | UnsetType = UNSET


decode_request = msgspec.json.Decoder(ActRequest).decode
