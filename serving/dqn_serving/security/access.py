"""Who may call: bearer tokens, compared in constant time."""

from starlette.types import Scope

from dqn_serving.problems import Problem
from dqn_serving.security.tokens import Tokens

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="dqn-policy-server"'),)


class Gate:
    """Checks the token of a request."""

    def __init__(self, tokens: Tokens, *, is_always_needed: bool) -> None:
        """`is_always_needed` closes every call but health, not only the admin calls."""
        self._tokens = tokens
        self.is_always_needed = is_always_needed

    def check_admin(self, scope: Scope) -> str:
        """Lets an admin call pass, and returns the name of its caller.

        Raises Problem: 403 where no token is configured, 401 where none of them is sent.
        """
        if not self._tokens.is_any_expected:
            raise Problem(403, "Admin calls are off: this server runs without DQN_API_TOKEN and DQN_API_TOKEN_FILE.")
        return self._check(scope)

    def check(self, scope: Scope) -> None:
        """Lets any call pass that needs no token or has it. Raises Problem (401)."""
        if self.is_always_needed and scope["path"] not in OPEN_PATHS:
            self._check(scope)

    def _check(self, scope: Scope) -> str:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, credentials = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        name = self._tokens.name_of(credentials.strip()) if scheme.lower() == b"bearer" else None
        if name is None:
            found = "a wrong one was sent" if sent else "none was sent"
            raise Problem(401, f"This call needs a bearer token of the server; {found}.", headers=_CHALLENGE)
        return name
