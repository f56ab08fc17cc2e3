"""Stacked observations, of which replay stores each frame once: an observation is its newest frame and those before it.

At the start of an episode the first frame is repeated, as in gymnasium.wrappers.FrameStackObservation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo


def stacked_frames(environment: EnvironmentInfo) -> int:
    """Number of frames in an observation of the environment; 1 if it is not a stack that can be rebuilt."""
    last = environment.wrappers[-1] if environment.wrappers else None
    if last is None or last.name != "FrameStackObservation" or last.kwargs.keys() != {"stack_size"}:
        return 1
    return int(last.kwargs["stack_size"])


def stored_dtype(environment: EnvironmentInfo) -> np.dtype[Any]:
    """Dtype in which replay stores an observation; of a stack only the newest frame."""
    observation = environment.observation_space.row_dtype
    return observation if stacked_frames(environment) == 1 else frame_dtype(observation)


def frame_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype of one frame, from an observation's row dtype, structured or with a subarray shape."""
    if dtype.names is None:
        return np.dtype((dtype.base, dtype.shape[1:]))
    fields = [(name, np.dtype((dtype[name].base, dtype[name].shape[1:]))) for name in dtype.names]
    return np.dtype(fields, align=True)


def newest_frames(observations: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The newest frame of each observation [batch, ...], in the frame's `dtype`."""
    if dtype.names is None:
        return observations[:, -1]
    frames = np.zeros(len(observations), dtype)
    for name in dtype.names:
        frames[name] = observations[name][:, -1]
    return frames


def stack(frames: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Observations [batch, ...] of `dtype` from their frames [batch, frames, ...], newest last."""
    if dtype.names is None:
        return frames
    observations = np.zeros(len(frames), dtype)
    for name in dtype.names:
        observations[name] = frames[name]
    return observations
