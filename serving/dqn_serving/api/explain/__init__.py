"""What exactly is wrong with a body that the typed decoders refused: the slow path, taken by faulty requests only."""

from dqn_serving.api.explain.body import check_fields, check_names, check_options, parse
from dqn_serving.api.explain.mask import check_mask
from dqn_serving.api.explain.observations import check_observations
from dqn_serving.api.explain.wording import Document

__all__ = ["Document", "check_fields", "check_mask", "check_names", "check_observations", "check_options", "parse"]
