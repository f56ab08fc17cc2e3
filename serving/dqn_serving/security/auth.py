"""Authentication by bearer tokens, compared in constant time. Only their digests stay in memory."""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import structlog
from pydantic import SecretStr
from starlette.types import Scope

from dqn_serving.problems import Problem
from dqn_serving.security.reloading import ReloadedFiles, read_small
from dqn_serving.telemetry.shared_memory import WorkerSegment

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""The health calls, which need no token and are answered even under overload."""
UNNAMED = "http"
"""The caller's name for the token of DQN_API_TOKEN, which has none."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_READABLE_BY_OTHERS = 0o004
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="dqn-policy-server"'),)

log = structlog.get_logger()


class Access:
    """The tokens that a server knows, and which calls need one."""

    def __init__(
        self, token: SecretStr | None, file: Path | None, segment: WorkerSegment, *, is_always_needed: bool
    ) -> None:
        """`token` is the one without a name. The tokens of an invalid `file` count only once it is valid.

        `is_always_needed` requires a token for every call except health, not only for the admin calls.
        """
        self._unnamed = {} if token is None else {_digest(token.get_secret_value().encode()): UNNAMED}
        self._named: Mapping[bytes, str] = {}
        self._file = file
        self.is_always_needed = is_always_needed
        self.files = None if file is None else ReloadedFiles("api_tokens", [file], self._accept, segment)
        if self.files is not None:
            self.files.poll()

    def check_admin(self, scope: Scope) -> str:
        """Admits an admin call and returns the name of its caller.

        Raises Problem: 403 if no token is configured, 401 if none of them was sent.
        """
        if not self._unnamed and self._file is None:
            raise Problem(403, "Admin calls are off: this server runs without DQN_API_TOKEN and DQN_API_TOKEN_FILE.")
        return self._check(scope)

    def check(self, scope: Scope) -> None:
        """Admits a call that needs no token or has a valid one. Raises Problem (401) otherwise."""
        if self.is_always_needed and scope["path"] not in OPEN_PATHS:
            self._check(scope)

    def _check(self, scope: Scope) -> str:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, credentials = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        name = self._name_of(credentials.strip()) if scheme.lower() == b"bearer" else None
        if name is None:
            found = "a wrong one was sent" if sent else "none was sent"
            raise Problem(401, f"This call needs a valid bearer token; {found}.", headers=_CHALLENGE)
        return name

    def _name_of(self, token: bytes) -> str | None:
        """The name of a token's owner, or None. Takes the same time for all tokens of a length."""
        digest, found = _digest(token), None
        for known, name in (*self._unnamed.items(), *self._named.items()):
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _accept(self, contents: bytes) -> None:
        if self._file is not None and self._file.stat().st_mode & _READABLE_BY_OTHERS:
            log.warning("every user of this machine can read the tokens", file=str(self._file), remedy="chmod o-r")
        self._named = parse(contents)


def check_file(path: Path) -> Path:
    """The path. Raises ValueError with a sentence if the file cannot be read or parsed."""
    try:
        parse(read_small(path))
    except OSError as error:
        raise ValueError(str(error)) from None
    return path


def parse(contents: bytes) -> dict[bytes, str]:
    """Names by the digest of their token, from lines `name:token`; blank lines and lines that begin with # are ignored.

    A name may have several tokens. Raises ValueError with the number of the line, never with its contents.
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
            raise ValueError(f"line {number} repeats a token of an earlier line")
        found[digest] = name
    if not found:
        raise ValueError("there is no token in it; expected lines name:token")
    return found


def check_token(token: str, what: str) -> str:
    """The token. Raises ValueError if it cannot be sent in a header."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{what} must be printable ASCII without spaces, and not empty")
    return token


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
