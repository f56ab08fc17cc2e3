"""Both clients behind one blocking interface, so that each test holds for both; servers that misbehave on purpose."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from dqn_client import AsyncPolicyClient, PolicyClient, RetryPolicy

KINDS = ["sync", "asyncio"]
QUICK = RetryPolicy(max_retries=3, deadline=20, initial_backoff=0.01, max_backoff=0.05)
"""RetryPolicy for tests in which every attempt fails."""
PATIENT = RetryPolicy(max_retries=1000, deadline=60, initial_backoff=0.02, max_backoff=0.1)
"""RetryPolicy for tests that wait for a server on a busy machine."""


class Blocking:
    """Wraps an asyncio object (a client or a stream): its coroutines run to completion immediately."""

    def __init__(self, asynchronous: Any, runner: "asyncio.Runner") -> None:
        """`runner` runs every call."""
        self._asynchronous = asynchronous
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        """A method that blocks, or a value."""
        member = getattr(self._asynchronous, name)
        if not callable(member):  # a value
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            answer = member(*arguments, **options)
            return self._runner.run(answer) if asyncio.iscoroutine(answer) else Blocking(answer, self._runner)

        return call

    def __enter__(self) -> "Blocking":  # noqa: PYI034  (what the asynchronous object returns)
        """Enters the asynchronous context."""
        return Blocking(self._runner.run(self._asynchronous.__aenter__()), self._runner)

    def __exit__(self, *error: object) -> None:
        """Exits the asynchronous context."""
        self._runner.run(self._asynchronous.__aexit__(*error))


@contextlib.contextmanager
def open_client(kind: str, url: str, **options: Any) -> Iterator[Any]:
    """A PolicyClient, or an AsyncPolicyClient that blocks."""
    if kind == "sync":
        with PolicyClient(url, **options) as client:
            yield client
    else:
        with asyncio.Runner() as runner, Blocking(AsyncPolicyClient(url, **options), runner) as blocking:
            yield blocking


class Answering:
    """An HTTP server that answers each request with the next of some responses, and repeats the last one."""

    def __init__(self, *answers: bytes) -> None:
        """Each answer is the bytes sent after a request; b"" closes the connection."""
        self.requests: list[str] = []
        seen, waiting = self.requests, list(answers)

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen.append(f"{self.command} {self.path}")
                self.wfile.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
                self.close_connection = True

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815  (http.server's names)

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Starts the server."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the server."""
        self._server.shutdown()
        self._server.server_close()


def response(status: str, body: bytes, *headers: str) -> bytes:
    """The bytes of an HTTP response; `status` is like "200 OK"."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class InBackground:
    """Calls a function repeatedly in a thread until stopped; keeps what it returned or raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        """Not started yet: enter it."""
        self.results: list[Any] = []
        self._function = function
        self._is_over = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                result = self._function()
            except Exception as error:  # noqa: BLE001  (the test looks at it)
                result = error
                self._is_over.set()
            with self._changed:
                self.results.append(result)
                self._changed.notify_all()

    def wait_for(self, more: int, timeout: float = 60.0) -> None:
        """Waits until this many more calls have ended; fails if one raised."""
        with self._changed:
            wanted = len(self.results) + more
            self._changed.wait_for(lambda: len(self.results) >= wanted or self._is_over.is_set(), timeout)
        assert not isinstance(self.results[-1], Exception), self.results[-1]
        assert len(self.results) >= wanted

    def __enter__(self) -> Self:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops after the current call."""
        self._is_over.set()
        self._thread.join()
