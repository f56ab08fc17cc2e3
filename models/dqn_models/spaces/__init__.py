"""Observation and action spaces: their form in the manifest, and what they imply for tensors.

Whatever depends on the kind of space is a method of its class, so that supporting another kind means adding a class.
"""

from dqn_models.spaces.actions import MAX_JOINT_ACTIONS, ComponentActions, FiniteActions
from dqn_models.spaces.boxes import BoxSpace, DiscretizedBoxSpace
from dqn_models.spaces.composite import ActionSpace, CompositeSpace, DictSpace, ObservationSpace, TupleSpace
from dqn_models.spaces.finite import DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace
from dqn_models.spaces.leaf import MAX_DESCRIBED_ELEMENTS, Leaf, LeafSpace

__all__ = [
    "MAX_DESCRIBED_ELEMENTS",
    "MAX_JOINT_ACTIONS",
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
