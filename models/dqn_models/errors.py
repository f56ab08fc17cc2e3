"""What can be wrong with a model repository or with what is in it; every message is a full sentence."""

import contextlib
from collections.abc import Iterator


class ModelError(Exception):
    """Base of everything that this package raises on purpose."""


class NotFoundError(ModelError, LookupError):
    """A model, version or alias that the repository does not have."""


class ManifestError(ModelError):
    """A manifest that is not JSON, lacks a field or has a `schema_version` that this release cannot read."""


class IntegrityError(ModelError):
    """A published file whose size or SHA-256 is not the one in the manifest, or that is gone."""


class PolicyError(ModelError):
    """An ONNX file that does not load, does not run, or is not a policy with the documented inputs and outputs."""


class RepositoryError(ModelError):
    """The repository cannot be read or written: no space, no permission, locked for too long."""


class PromotionError(ModelError):
    """A promotion or rollback that does not apply, such as one whose champion was replaced meanwhile."""


@contextlib.contextmanager
def wrap_os_errors(action: str) -> Iterator[None]:
    """Raises the system's refusals as RepositoryError; `action` says what they prevented, as in "Cannot {action}"."""
    try:
        yield
    except PermissionError as error:
        place = f" for {error.filename}" if error.filename and str(error.filename) not in action else ""
        raise RepositoryError(f"Cannot {action}: {error.strerror or error}{place}.") from error
    except OSError as error:
        raise RepositoryError(f"Cannot {action}: {error.strerror or error}.") from error
