"""What exactly is wrong with a body that the typed decoders refused: the slow path, taken by faulty requests only."""

from serving.diagnosis.body import check_fields, check_names, check_options, parse
from serving.diagnosis.mask import check_mask
from serving.diagnosis.observations import check_observations
from serving.diagnosis.wording import Document

__all__ = ["Document", "check_fields", "check_mask", "check_names", "check_observations", "check_options", "parse"]
