"""The loop of rounds: it survives failed ones, counts them, and continues whatever becomes of its log."""

import sys
import time
from collections.abc import Callable

import structlog

from dqn_models import cli_support, streams
from dqn_training.retraining.metrics import RetrainMetrics
from dqn_training.retraining.round import RoundResult


def run_loop(
    model: str, interval: float, next_round: Callable[[], RoundResult], metrics: RetrainMetrics, *, json: bool
) -> None:
    """Starts a round every `interval` seconds until SIGTERM or Ctrl-C; `json` prints each result.

    A round that raises is counted and logged, and so is a line that cannot be written.
    """
    _configure_logs()
    log = structlog.get_logger()
    log.info("retraining", model=model, every_seconds=interval)
    while True:
        started = time.monotonic()
        try:
            result = next_round()
        except Exception as error:  # noqa: BLE001  (a loop outlives whatever one round meets)
            metrics.count("failed", time.monotonic() - started)
            log.error("round failed", model=model, error=str(error), kind=type(error).__name__)  # noqa: TRY400
        else:
            metrics.count(result.decision, time.monotonic() - started)
            log.info("round done", **result._asdict(), seconds=round(time.monotonic() - started, 1))
            if json:
                with streams.tolerant_output():
                    cli_support.print_json(result._asdict())
        metrics.lost_writes(streams.lost_writes())
        time.sleep(max(0.0, started + interval - time.monotonic()))


def _configure_logs() -> None:
    """Logs are JSON lines on standard error, or coloured text on a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
