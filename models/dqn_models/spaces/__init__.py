"""Spaces of observations and actions: how a manifest writes them, and what follows from them for tensors.

Whatever depends on the kind of a space is a method of its class, so that another kind is another class.
"""

from dqn_models.spaces.actions import MOST_JOINT_ACTIONS, ComponentActions, FiniteActions
from dqn_models.spaces.boxes import BoxSpace, DiscretizedBoxSpace
from dqn_models.spaces.composite import ActionSpace, CompositeSpace, DictSpace, ObservationSpace, TupleSpace
from dqn_models.spaces.finite import DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace
from dqn_models.spaces.leaf import MAX_DESCRIBED_ELEMENTS, Leaf, LeafSpace

__all__ = [
    "MAX_DESCRIBED_ELEMENTS",
    "MOST_JOINT_ACTIONS",
    "ActionSpace",
    "BoxSpace",
    "ComponentActions",
    "CompositeSpace",
    "DictSpace",
    "DiscreteSpace",
    "DiscretizedBoxSpace",
    "FiniteActions",
    "Leaf",
    "LeafSpace",
    "MultiBinarySpace",
    "MultiDiscreteSpace",
    "ObservationSpace",
    "TupleSpace",
]
