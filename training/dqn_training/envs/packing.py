"""Observations and masks of environments in worker processes, packed as bytes to fit any kind into shared memory."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_training.envs.checks import Checked


class Packed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations as the bytes of their row, followed by the action mask, one bit per action, if there is one."""

    def __init__(self, environment: Checked, masked_actions: int) -> None:
        """`masked_actions` is the number of actions in a mask; 0 without masks."""
        super().__init__(environment)
        self._dtype = environment.row_dtype.base
        size = environment.row_dtype.itemsize + _mask_bytes(masked_actions)
        self.observation_space = gymnasium.spaces.Box(0, 255, (size,), np.uint8)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """The bytes of the first observation."""
        observation, info = self.env.reset(**arguments)
        return self._bytes(observation, info), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment; the observation and mask are returned as bytes."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._bytes(observation, info), reward, terminated, truncated, {}

    def _bytes(self, observation: Any, info: dict[str, Any]) -> NDArray[np.uint8]:
        row = np.frombuffer(np.asarray(observation, self._dtype).tobytes(), np.uint8)
        return np.concatenate([row, np.packbits(info[ACTION_MASK])]) if info else row


def unpack(packed: NDArray[np.uint8], row_dtype: np.dtype[Any], masked_actions: int) -> tuple[NDArray[Any], BoolArray]:
    """Observations [num_envs, ...] and action masks [num_envs, masked_actions] from bytes [num_envs, size]."""
    bits = _mask_bytes(masked_actions)
    rows = np.ascontiguousarray(packed[:, : packed.shape[1] - bits]).view(row_dtype.base)
    masks = np.unpackbits(packed[:, packed.shape[1] - bits :], axis=1, count=masked_actions)
    return rows.reshape(len(packed), *row_dtype.shape), masks.astype(np.bool_)


def _mask_bytes(actions: int) -> int:
    return -(-actions // 8)
