"""Stacked observations, of which replay keeps each frame once: an observation is the newest frame and those before it.

At the start of an episode, where there are none before it, the first frame is repeated, as
gymnasium.wrappers.FrameStackObservation does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo


def stacked_frames(environment: EnvironmentInfo) -> int:
    """How many frames an observation of the environment stacks; 1 where it is no stack that can be made again."""
    last = environment.wrappers[-1] if environment.wrappers else None
    if last is None or last.name != "FrameStackObservation" or last.kwargs.keys() != {"stack_size"}:
        return 1
    return int(last.kwargs["stack_size"])


def stored_dtype(environment: EnvironmentInfo) -> np.dtype[Any]:
    """The dtype in which replay keeps an observation: a stack as its newest frame."""
    observation = environment.observation_space.row_dtype
    return observation if stacked_frames(environment) == 1 else frame_dtype(observation)


def frame_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of one frame, from that of an observation as an element of an array, structured or with a shape."""
    if dtype.names is None:
        return np.dtype((dtype.base, dtype.shape[1:]))
    fields = [(name, np.dtype((dtype[name].base, dtype[name].shape[1:]))) for name in dtype.names]
    return np.dtype(fields, align=True)


def newest_frames(observations: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The newest frame of each observation [batch, ...], of dtype `dtype`."""
    if dtype.names is None:
        return observations[:, -1]
    frames = np.zeros(len(observations), dtype)
    for name in dtype.names:
        frames[name] = observations[name][:, -1]
    return frames


def stack(frames: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Observations [batch, ...] of dtype `dtype` from their frames [batch, frames, ...], the newest last."""
    if dtype.names is None:
        return frames
    observations = np.zeros(len(frames), dtype)
    for name in dtype.names:
        observations[name] = frames[name]
    return observations
