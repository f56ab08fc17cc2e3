"""The errors of a call; for a refusal, the message is the server's own."""

import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

_NOT_READY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_EXCERPT_CHARACTERS = 200


class PolicyClientError(Exception):
    """Base class of all errors of a call; picklable, so that worker processes can raise them."""

    request_id: str | None = None
    """The `X-Request-ID` of the response, which also appears in the server's log."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Restores an error without calling its constructor, whose arguments are not those of `Exception`."""
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[PolicyClientError], args: tuple[Any, ...]) -> PolicyClientError:
    error = kind.__new__(kind)
    error.args = args
    return error


class RequestRefusedError(PolicyClientError):
    """The server understood the call and refused it (4xx); the same call would be refused again."""

    def __init__(self, status: int, title: str, detail: str, reason: str | None = None) -> None:
        """`reason` is the kind of fault in a body, such as "shape"; the message is `detail`."""
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
    """The server, or a proxy in front of it, could not answer (502, 503, 504) within the retries."""

    def __init__(self, status: int, title: str, detail: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the server asks to wait; the message is `detail`."""
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after = retry_after


class ConnectionLostError(PolicyClientError, ConnectionError):
    """The server could not be reached, or the connection ended before the response, and retries did not help."""

    def __init__(self, message: str, *, was_open: bool, may_pass: bool = True) -> None:
        """`was_open`: the server may have executed the call; `may_pass`: the next attempt may succeed."""
        super().__init__(message)
        self.was_open = was_open
        self.may_pass = may_pass


class TimedOutError(PolicyClientError, TimeoutError):
    """The server accepted the call but did not answer within the timeout."""


class UnexpectedResponseError(PolicyClientError):
    """The response is not from dqn-serve, or reports an internal error (500)."""


class _Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem document."""

    title: str
    detail: str
    reason: str | None = None


_decode_problem = msgspec.json.Decoder(_Problem).decode


def error_from(status: int, headers: Mapping[str, str], body: bytes, url: str) -> PolicyClientError:
    """The error for a response with a status other than 200."""
    try:
        problem = _decode_problem(body)
    except msgspec.DecodeError:  # from a proxy, or another server
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown status"
        problem = _Problem(phrase, f"{url} answered {status} {phrase}: {excerpt(body)}")
    error = refusal(status, problem.title, problem.detail, problem.reason, headers.get("retry-after"))
    error.request_id = headers.get("x-request-id")
    return error


def refusal(
    status: int, title: str, detail: str, reason: str | None = None, retry_after: str | None = None
) -> PolicyClientError:
    """The error for a status in a response, a handshake or an error frame."""
    if status in _NOT_READY:
        return NotReadyError(status, title, detail, _seconds(retry_after))
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(status, title, detail, reason)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessDeniedError(status, title, detail, reason)
    if 400 <= status < 500:
        return RequestRefusedError(status, title, detail, reason)
    return UnexpectedResponseError(detail)


def unreachable(url: str, error: BaseException) -> ConnectionLostError:
    """The error if no connection could be established; retrying does not help against an untrusted certificate."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    is_untrusted = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
    return ConnectionLostError(f"Cannot reach {url}: {message_of(error)}.", was_open=False, may_pass=not is_untrusted)


def lost(url: str, error: OSError) -> ConnectionLostError:
    """The error if an open stream's connection failed."""
    return ConnectionLostError(f"Lost the stream {url}: {message_of(error)}.", was_open=True)


def timed_out(url: str, timeout: float) -> TimedOutError:
    """The error after `timeout` seconds without a response."""
    return TimedOutError(f"{url} did not answer within {timeout:g} s.")


def message_of(error: BaseException) -> str:
    """The message of a library's exception, to embed in a sentence."""
    return (str(error) or type(error).__name__).rstrip(".")


def excerpt(body: bytes) -> str:
    """The beginning of a body, for a message."""
    text = body[:_EXCERPT_CHARACTERS].decode(errors="replace").strip()
    return repr(text) if text else "an empty body"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After; dates, which dqn-serve never sends, are ignored."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdecimal() else None
