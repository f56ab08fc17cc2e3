"""What a call can fail with. The message of a refusal is the server's own sentence."""

import ssl
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

_NOT_READY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_SHOWN_CHARACTERS = 200


class PolicyClientError(Exception):
    """Base of everything that a call raises on purpose."""

    request_id: str | None = None
    """The `X-Request-ID` of the answer, which the server's log has as well."""


class RequestRefusedError(PolicyClientError):
    """The server understood the call and refused it (4xx); the same call again is refused again."""

    def __init__(self, status: int, title: str, detail: str, reason: str | None = None) -> None:
        """`reason` is the kind of fault of a body, such as "shape"; the message is `detail`."""
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.reason = reason


class NotFoundError(RequestRefusedError):
    """No such model, version or alias (404)."""


class AccessDeniedError(RequestRefusedError):
    """The bearer token is missing or wrong (401), or admin calls are off (403)."""


class NotReadyError(PolicyClientError):
    """The server, or a proxy before it, cannot answer for now (502, 503, 504), and did not within the retries."""

    def __init__(self, status: int, title: str, detail: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the server asks to wait; the message is `detail`."""
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after = retry_after


class ConnectionLostError(PolicyClientError, ConnectionError):
    """The server could not be reached, or the connection ended before the answer, and retries did not help."""

    def __init__(self, message: str, *, was_open: bool, may_pass: bool = True) -> None:
        """`was_open`: the server may have carried out the call; `may_pass`: the next attempt may succeed."""
        super().__init__(message)
        self.was_open = was_open
        self.may_pass = may_pass


class TimedOutError(PolicyClientError, TimeoutError):
    """The server accepted the call but did not answer within the timeout."""


class UnexpectedAnswerError(PolicyClientError):
    """Not an answer of dqn-serve, or its own failure (500)."""


class _Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem document."""

    title: str
    detail: str
    reason: str | None = None


_read_problem = msgspec.json.Decoder(_Problem).decode


def error_from(status: int, headers: Mapping[str, str], body: bytes, url: str) -> PolicyClientError:
    """The error that an answer other than 200 stands for."""
    try:
        problem = _read_problem(body)
    except msgspec.DecodeError:  # a proxy's answer, or another server's
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown status"
        problem = _Problem(phrase, f"{url} answered {status} {phrase}: {shown(body)}")
    error = refusal(status, problem.title, problem.detail, problem.reason, headers.get("retry-after"))
    error.request_id = headers.get("x-request-id")
    return error


def refusal(
    status: int, title: str, detail: str, reason: str | None = None, retry_after: str | None = None
) -> PolicyClientError:
    """The error for a status, as it comes in an answer, a handshake or an error frame."""
    if status in _NOT_READY:
        return NotReadyError(status, title, detail, _seconds(retry_after))
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(status, title, detail, reason)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessDeniedError(status, title, detail, reason)
    if 400 <= status < 500:
        return RequestRefusedError(status, title, detail, reason)
    return UnexpectedAnswerError(detail)


def unreachable(url: str, error: BaseException) -> ConnectionLostError:
    """The error where no connection could be made; one whose certificate is not trusted will not be next time."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    is_distrusted = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
    return ConnectionLostError(f"Cannot reach {url}: {reason_of(error)}.", was_open=False, may_pass=not is_distrusted)


def reason_of(error: BaseException) -> str:
    """What a library's exception says, for the middle of a sentence."""
    return (str(error) or type(error).__name__).rstrip(".")


def shown(body: bytes) -> str:
    """The beginning of a body, for a message."""
    text = body[:_SHOWN_CHARACTERS].decode(errors="replace").strip()
    return repr(text) if text else "an empty body"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After; dates, which dqn-serve never sends, count as none."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdecimal() else None
