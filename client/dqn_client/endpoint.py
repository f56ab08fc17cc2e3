"""A server as a client sees it: calls become httpx requests, responses become results or errors.

Requests go straight to httpx's transports: its `Client` adds cookies, redirects, proxies from the environment and a
third to the time, none of which a control loop wants.
"""

import contextlib
import re
import ssl
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata

import httpx
import msgspec

from dqn_client.api import Call, Result
from dqn_client.errors import (
    ConnectionLostError,
    UnexpectedResponseError,
    error_from,
    excerpt,
    message_of,
    timed_out,
    unreachable,
)

_KEEP_SECONDS = 60.0  # less than the server's DQN_KEEP_ALIVE_SECONDS
_CONNECTIONS = 100
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110


class Endpoint:
    """The server's URL and what all requests have in common."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None,
        timeout: float,
        headers: Mapping[str, str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Raises ValueError for an invalid URL, token, header or timeout."""
        self.url = _checked_url(base_url)
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; it must be more than 0 (seconds).")
        self.timeout = timeout
        self.headers = _checked_headers(token, headers)
        self._tls = tls
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}
        self._request_headers = httpx.Headers(self.headers)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context that checks the server's certificate; None for http://."""
        if self._tls is None and self.url.startswith("https:"):
            self._tls = ssl.create_default_context()
        return self._tls

    @property
    def pool(self) -> httpx.Limits:
        """How many idle connections are kept, and for how many seconds."""
        return httpx.Limits(
            max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEEP_SECONDS
        )

    @property
    def verify(self) -> ssl.SSLContext:
        """The context that httpx requires, even for http://."""
        return self.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def request(self, call: Call[Result]) -> httpx.Request:
        """The request of a call."""
        return httpx.Request(
            call.method,
            _parsed(self.url + call.path),
            headers=self._request_headers,
            content=call.body,
            extensions=self._extensions,
        )

    def decode(self, call: Call[Result], response: httpx.Response) -> Result:
        """The result in a response. Raises the PolicyClientError that the response represents."""
        body = response.content
        if response.status_code != 200:
            raise error_from(response.status_code, response.headers, body, self.url + call.path)
        try:
            return call.decode(body)
        except msgspec.DecodeError:
            raise UnexpectedResponseError(
                f"{self.url}{call.path} answered 200 with {excerpt(body)}, which is not a dqn-serve response "
                f"to this {call.method}; is the URL right?"
            ) from None

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Translates httpx's exceptions into this package's."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise unreachable(self.url, error) from error
        except httpx.TimeoutException as error:
            raise timed_out(self.url, self.timeout) from error
        except httpx.TransportError as error:
            raise ConnectionLostError(
                f"Lost the connection to {self.url}: {message_of(error)}.", was_open=True
            ) from error


def _checked_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, UnicodeEncodeError):
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise ValueError(
            f"base_url is {base_url!r}; expected a URL such as http://127.0.0.1:8000 or https://host/prefix."
        )
    return str(url).rstrip("/")


def _checked_headers(token: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    for name in headers or ():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(
                f"headers has the name {name!r}; expected letters, digits and hyphens, as in X-Request-ID."
            )
    for what, value in {"token": token, **(headers or {})}.items():
        if value is not None and not (value.isascii() and value.isprintable() and value == value.strip() != ""):
            raise ValueError(f"{what} must consist of printable ASCII characters, without leading or trailing spaces.")
    own = {"User-Agent": f"dqn-client/{_release()}"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return own | dict(headers or {})


@lru_cache
def _release() -> str:
    try:
        return metadata.version("dqn-policy-server")
    except metadata.PackageNotFoundError:  # the package copied into another project
        return "unknown"


@lru_cache(maxsize=256)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)
