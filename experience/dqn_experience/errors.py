"""What can be wrong with experience or with where it is kept; every message is a full sentence."""


class ExperienceError(Exception):
    """Base of everything that this package raises on purpose."""


class RecordError(ExperienceError, ValueError):
    """A record that cannot be: an unfit episode id, a reward that is not finite, arrays whose lengths do not match."""


class ContradictionError(ExperienceError):
    """A record of a step that has another one already, which says something else."""


class UnavailableError(ExperienceError):
    """The store takes no records that it must not lose: its disk is full, slow or gone. Worth another try later."""


class DamagedError(ExperienceError):
    """A log file or a dataset that is not what was written, or that this release cannot read."""
