"""The server process: startup, signals, draining and shutdown."""

import asyncio
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from typing_extensions import override

from dqn_serving.app import Server
from dqn_serving.http.fast_path import FastProtocol
from dqn_serving.policies.registry import Registry, UnavailableError
from dqn_serving.process import logs
from dqn_serving.process.sockets import Acceptor
from dqn_serving.services import Services
from dqn_serving.settings import ServerSettings
from dqn_serving.telemetry.shared_memory import SharedMetrics

_SWITCH_SECONDS = 0.0005  # how long a thread that loads a version may hold up the event loop; Python's default is 5 ms
_HEADERS_OF_EVERY_ANSWER = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_LAST_CALL_SECONDS = 0.5  # for requests in transit once no more connections are accepted

log = structlog.get_logger()


class GracefulServer(uvicorn.Server):
    """uvicorn's server, which on SIGTERM first reports not ready for a while and then exits with status 0."""

    def __init__(self, server: Server, address: str, note_start: Callable[[], None]) -> None:
        super().__init__(_configuration(server))
        self._services = server.services
        self._streams = server.streams
        self._address = address
        self._note_start = note_start
        self._stop_at: float | None = None
        self._acceptors: list[Acceptor] = []
        self.was_interrupted = False

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C closes idle connections at once, a second one all; SIGTERM drains first."""
        self._services.admission.is_draining = True
        if sig == signal.SIGTERM and self._stop_at is None and not self.should_exit:
            self._stop_at = time.monotonic() + self._services.settings.drain_seconds
        elif sig == signal.SIGINT:
            self.force_exit = self.should_exit
            self.should_exit = self.was_interrupted = True

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to exit; called ten times a second."""
        self._services.admission.note_time()
        if self._services.admission.is_draining:
            self._streams.announce_draining()
        is_drained = self._stop_at is not None and time.monotonic() >= self._stop_at
        return await super().on_tick(counter) or is_drained

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts accepting connections, and logs the address and the champion in one line."""
        await super().startup([])
        if self.should_exit:
            return
        _keep_pauses_short()
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        protocol = partial(make, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        tls = {"ssl": self.config.ssl, "ssl_handshake_timeout": self._services.settings.request_seconds}
        self._acceptors = [Acceptor(listener, protocol, tls if self.config.ssl else {}) for listener in sockets or []]
        self._log_start(self._services.registry)
        self._note_start()

    def _log_start(self, registry: Registry) -> None:
        try:
            state: dict[str, Any] = registry.get(None).require_champion().served._asdict()
        except UnavailableError as error:
            state = {"ready": False, "reason": str(error)}
        log.info("serving", address=self._address, **state, models=len(registry.models))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers the requests that have arrived, then closes idle connections."""
        await asyncio.gather(*(acceptor.stop() for acceptor in self._acceptors))
        closes_at = time.monotonic() + (0 if self.was_interrupted else _LAST_CALL_SECONDS)
        while self.server_state.connections and time.monotonic() < closes_at:  # noqa: ASYNC110  (uvicorn has no event)
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)


def _keep_pauses_short() -> None:
    """Shortens pauses of the event loop, as measured by benchmarks/refresh.py and benchmarks/serving.py (batches)."""
    gc.collect()
    gc.freeze()  # otherwise each full collection traverses all imported modules while requests wait
    sys.setswitchinterval(_SWITCH_SECONDS)


def serve(
    settings: ServerSettings,
    listener: socket.socket,
    shared: SharedMetrics,
    worker: int,
    note_start: Callable[[], None],
) -> None:
    """Serves until SIGTERM (returns) or Ctrl-C (raises KeyboardInterrupt); counts on the worker's segment.

    `note_start` is called once it serves. Raises ChildProcessError if it cannot start; the log says why.
    """
    host, port = listener.getsockname()[:2]
    services = Services(settings, shared, worker)
    logs.count_lost_lines(services.segment)
    scheme = "http" if services.certificate is None else "https"
    address = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    server = GracefulServer(Server(services), address, note_start)
    server.run(sockets=[listener])
    if not server.started and not server.was_interrupted:
        raise ChildProcessError("The server could not start; its log says why.")
    log.info("stopped")
    if server.was_interrupted:
        raise KeyboardInterrupt


def _configuration(server: Server) -> uvicorn.Config:
    settings, certificate = server.services.settings, server.services.certificate
    return uvicorn.Config(
        server.app,
        http=partial(FastProtocol, server.connection_parts()),  # type: ignore[arg-type]  # all that uvicorn does is call it
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[*_HEADERS_OF_EVERY_ANSWER.items(), ("keep-alive", f"timeout={settings.keep_alive_seconds}")],
        proxy_headers=False,  # nothing here depends on who the client is
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
    )
