"""Who may call: bearer tokens, compared in constant time."""

import hmac

from pydantic import SecretStr
from starlette.types import Scope

from serving.problems import Problem

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="dqn-policy-server"'),)


class Gate:
    """Checks the token of a request."""

    def __init__(self, token: SecretStr | None, *, is_always_needed: bool) -> None:
        """`is_always_needed` closes every call but health, not only the admin calls."""
        self._token = token.get_secret_value().encode() if token else None
        self.is_always_needed = is_always_needed

    def check_admin(self, scope: Scope) -> None:
        """Lets an admin call pass. Raises Problem: 403 where no token is configured, 401 where it is not sent."""
        if self._token is None:
            raise Problem(403, "Admin calls are off: this server runs without DQN_API_TOKEN.")
        self._check(scope, self._token)

    def check(self, scope: Scope) -> None:
        """Lets any call pass that needs no token or has it. Raises Problem (401)."""
        if self._token is not None and self.is_always_needed and scope["path"] not in OPEN_PATHS:
            self._check(scope, self._token)

    def _check(self, scope: Scope, token: bytes) -> None:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, credentials = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(credentials.strip(), token):
            found = "a wrong one was sent" if sent else "none was sent"
            raise Problem(401, f"This call needs the bearer token of the server; {found}.", headers=_CHALLENGE)
