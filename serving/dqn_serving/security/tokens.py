"""Bearer tokens and the names of who has them; only their digests stay in memory."""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import structlog
from pydantic import SecretStr

from dqn_serving.security.reloading import ReloadedFiles, read_small
from dqn_serving.telemetry.shared_memory import Page

UNNAMED = "http"
"""Who called with the token of DQN_API_TOKEN, which has no name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_READABLE_BY_OTHERS = 0o004

log = structlog.get_logger()


class Tokens:
    """The tokens that a server knows."""

    def __init__(self, token: SecretStr | None, file: Path | None, page: Page) -> None:
        """`token` is the one without a name. A file that is wrong now opens nothing until it is right."""
        self._unnamed = {} if token is None else {_digest(token.get_secret_value().encode()): UNNAMED}
        self._named: Mapping[bytes, str] = {}
        self._file = file
        self.is_any_expected = token is not None or file is not None
        self.files = None if file is None else ReloadedFiles("api_tokens", [file], self._accept, page)
        if self.files is not None:
            self.files.look()

    def name_of(self, token: bytes) -> str | None:
        """Whose token it is; None where it is nobody's. Takes as long for every token of a length."""
        digest, found = _digest(token), None
        for known, name in (*self._unnamed.items(), *self._named.items()):
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _accept(self, contents: bytes) -> None:
        if self._file is not None and self._file.stat().st_mode & _READABLE_BY_OTHERS:
            log.warning("every user of this machine can read the tokens", file=str(self._file), remedy="chmod o-r")
        self._named = parse(contents)


def check_file(path: Path) -> None:
    """Raises ValueError with a sentence where the file cannot be read or is not as `parse` wants it."""
    try:
        parse(read_small(path))
    except OSError as error:
        raise ValueError(str(error)) from None


def parse(contents: bytes) -> dict[bytes, str]:
    """Names by the digest of their token, from lines `name:token`; blank lines and lines that begin with # say nothing.

    A name may have several tokens. Raises ValueError with the number of the line, never with what it says.
    """
    found: dict[bytes, str] = {}
    for number, line in enumerate(contents.decode("utf-8", "replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, token = (part.strip() for part in text.partition(":"))
        if not colon or not _NAME.fullmatch(name):
            raise ValueError(f"line {number} is not name:token, with a name of letters, digits and . _ @ -")
        digest = _digest(check_token(token, f"the token in line {number}").encode())
        if digest in found:
            raise ValueError(f"line {number} repeats a token of a line before it")
        found[digest] = name
    if not found:
        raise ValueError("there is no token in it; expected are lines name:token")
    return found


def check_token(token: str, what: str) -> str:
    """The token. Raises ValueError where it could not be sent in a header."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{what} must be printable ASCII without spaces, and not empty")
    return token


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
