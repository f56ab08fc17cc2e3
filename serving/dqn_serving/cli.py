"""`dqn-serve`: serve the policies of a model repository."""

import signal
import sys
from collections.abc import Callable
from functools import partial
from socket import socket

import structlog

from dqn_models import cli_support
from dqn_serving.process import logs
from dqn_serving.process.sockets import listen, listen_together, raise_file_limit
from dqn_serving.process.supervisor import Supervisor
from dqn_serving.settings import ServerSettings, ignore_service_link, read_settings
from dqn_serving.telemetry.shared_memory import SharedMetrics

log = structlog.get_logger()


def _work(
    settings: ServerSettings, shared: SharedMetrics, listener: socket, worker: int, note_start: Callable[[], None]
) -> None:
    from dqn_serving.process.server import serve  # noqa: PLC0415  (starts threads, which the process that forks workers must not have)

    serve(settings, listener, shared, worker, note_start)


def _main() -> None:
    link = ignore_service_link()
    settings = read_settings(sys.argv[1:])
    logs.configure(settings.log_format)
    if link is not None:
        remedy = "set enableServiceLinks: false, or rename the Service"
        log.warning("DQN_PORT ignored", value=link, reason="Kubernetes sets it for a Service named dqn", remedy=remedy)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    settings = settings.model_copy(update={"max_connections": raise_file_limit(settings.max_connections)})
    shared = SharedMetrics(settings.workers + 1)  # the last one is the supervisor's
    work = partial(_work, settings, shared)
    if settings.workers == 1:
        work(listen(settings.host, settings.port), 0, lambda: None)
    else:
        logs.count_lost_lines(shared.segment(settings.workers))
        Supervisor(listen_together(settings.host, settings.port, settings.workers), work).run()


def main() -> None:
    """Entry point of `dqn-serve`."""
    sys.exit(cli_support.run(_main))
