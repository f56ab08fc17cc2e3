"""`dqn-retrain`: one round, or a loop of rounds that survives failed ones and can be watched."""

import contextlib
import time

import structlog
from prometheus_client import start_http_server

from dqn_models import cli_support
from dqn_models.errors import RepositoryError
from dqn_models.repository import ModelRepository
from dqn_training.cli.flags import seconds
from dqn_training.cli.retrain import RetrainOptions
from dqn_training.presets import default_model_name
from dqn_training.retraining.champion import round_seed
from dqn_training.retraining.logs import configure_logs
from dqn_training.retraining.metrics import RetrainMetrics
from dqn_training.retraining.round import RoundResult, run_round
from dqn_training.tracking.progress import TrainingProgress


def run_once(options: RetrainOptions) -> None:
    """One round, with progress; raises what went wrong."""
    result = _round(options, quiet=False)
    if options.json:
        cli_support.print_json(result._asdict())
    else:
        print(f"{result.model} version {result.challenger_version} {result.decision}: {result.reason}")


def run_loop(options: RetrainOptions) -> None:
    """Rounds at the asked interval until SIGTERM or Ctrl-C; a failed round is counted and logged."""
    configure_logs()
    log = structlog.get_logger()
    interval = seconds(options.every or "")
    model = _model(options)
    metrics = RetrainMetrics(model)
    if options.metrics_port:
        try:
            start_http_server(options.metrics_port, options.metrics_host, metrics.registry)
        except OSError as error:
            address = f"{options.metrics_host}:{options.metrics_port}"
            raise RepositoryError(
                f"Cannot serve metrics on {address}: {error.strerror}. Use --metrics-port."
            ) from error
    log.info("retraining", model=model, every=options.every, start=options.start, metrics_port=options.metrics_port)
    while True:
        started = time.monotonic()
        try:
            result = _round(options, quiet=True)
        except Exception as error:  # noqa: BLE001  (a loop outlives whatever one round meets)
            metrics.count("failed", time.monotonic() - started)
            log.error("round failed", model=model, error=str(error), kind=type(error).__name__)  # noqa: TRY400
        else:
            metrics.count(result.decision, time.monotonic() - started)
            log.info("round done", **result._asdict(), seconds=round(time.monotonic() - started, 1))
            if options.json:
                cli_support.print_json(result._asdict())
        time.sleep(max(0.0, started + interval - time.monotonic()))


def _round(options: RetrainOptions, *, quiet: bool) -> RoundResult:
    repository = ModelRepository(options.repository)
    model = _model(options)
    config = round_seed(repository, model, options.config)
    with contextlib.ExitStack() as stack:
        watch = (lambda *_: None) if quiet else stack.enter_context(TrainingProgress(config, f"{model}, retraining"))
        return run_round(repository, model, config, options.preset, options.start, options.gate, watch)


def _model(options: RetrainOptions) -> str:
    return options.name or default_model_name(options.config.env_id)
