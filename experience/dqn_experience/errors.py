"""The errors of experience and its storage; every message is a full sentence."""


class ExperienceError(Exception):
    """Base class of this package's errors."""


class RecordError(ExperienceError, ValueError):
    """An invalid record: an unsuitable episode id, a reward that is not finite, arrays whose lengths do not match."""


class ContradictionError(ExperienceError):
    """A record that contradicts an earlier one of the same step."""


class UnavailableError(ExperienceError):
    """The store cannot record durably at present: its disk is full, slow or gone. Retrying later may succeed."""


class DamagedError(ExperienceError):
    """A log file or a dataset that is not what was written, or that this release cannot read."""
