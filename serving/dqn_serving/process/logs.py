"""Logs on standard error: JSON lines for machines, colours for a terminal."""

import logging
import sys
from typing import Literal

import structlog

from dqn_models.streams import LossyStream
from dqn_serving.telemetry.metrics import counter
from dqn_serving.telemetry.shared_memory import WorkerSegment


def count_lost_lines(segment: WorkerSegment) -> None:
    """Counts log lines that cannot be written on this process's segment."""
    count = counter(segment, "log_lines_lost")
    if isinstance(sys.stderr, LossyStream):
        sys.stderr.on_loss = count


def configure(log_format: Literal["auto", "json", "console"]) -> None:
    """Sends all logs, including the web server's, to standard error in one format."""
    is_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,  # the request's id and trace
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without the values of variables: a token could be among them.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    last: list[structlog.typing.Processor] = [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(),
    ]
    if is_console:
        last = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line in one write: workers share the stream
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, *last]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # Malformed HTTP is the client's fault and could fill the disk; the client gets an answer.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.access").disabled = True
