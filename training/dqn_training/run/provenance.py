"""What a result depends on besides its settings: libraries and the commit."""

import platform
import subprocess
from importlib.metadata import version

_LIBRARIES = ("torch", "gymnasium", "numpy", "onnx", "onnxruntime")


def library_versions() -> dict[str, str]:
    """Versions of Python and the libraries that a policy comes from."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def git_commit() -> str | None:
    """The commit of the working directory, where there is one."""
    try:
        command = ["git", "rev-parse", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
