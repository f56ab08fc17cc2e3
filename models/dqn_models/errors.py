"""Errors of the model repository and of what it contains; every message is a full sentence."""

import contextlib
from collections.abc import Iterator


class ModelError(Exception):
    """Base class of all errors that this package defines."""


class NotFoundError(ModelError, LookupError):
    """A model, version, alias or file that does not exist in the repository."""


class ManifestError(ModelError):
    """A manifest that is not JSON, lacks a field or has a `schema_version` that this release cannot read."""


class IntegrityError(ModelError):
    """A published file that is missing, or whose size or SHA-256 differs from the manifest's."""


class PolicyError(ModelError):
    """An ONNX file that does not load or run, or lacks the documented inputs and outputs of a policy."""


class RepositoryError(ModelError):
    """The repository cannot be read or written: no space, no permission, locked for too long."""


class PromotionError(ModelError):
    """A promotion or rollback that does not apply, e.g. because the champion was replaced in the meantime."""


@contextlib.contextmanager
def wrap_os_errors(action: str) -> Iterator[None]:
    """Converts OSError to RepositoryError; `action` completes its message, "Cannot {action}: ..."."""
    try:
        yield
    except PermissionError as error:
        place = f" for {error.filename}" if error.filename and str(error.filename) not in action else ""
        raise RepositoryError(f"Cannot {action}: {error.strerror or error}{place}.") from error
    except OSError as error:
        raise RepositoryError(f"Cannot {action}: {error.strerror or error}.") from error
