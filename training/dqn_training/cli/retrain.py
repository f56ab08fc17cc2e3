"""`dqn-retrain`: one retraining round, or a loop of rounds."""

import contextlib
import sys

from dqn_models import cli_support
from dqn_models.repository import ModelRepository
from dqn_models.streams import output_to_stderr
from dqn_training.cli.flags import seconds
from dqn_training.cli.options import RetrainOptions, retrain_options
from dqn_training.cli.running import with_choices, wrong_usage
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import environment_for
from dqn_training.retraining.loop import RetrainMetrics, run_loop
from dqn_training.retraining.round import Round, RoundResult
from dqn_training.run.resources import check_machine


def run(options: RetrainOptions) -> None:
    """Runs one round, or rounds until stopped."""
    with output_to_stderr(), contextlib.suppress(FaultyEnvironmentError), wrong_usage():  # a round reports its faults
        check_machine(options.config, environment_for(options.config))
    if options.every is None:
        result = _round(options, progress=True)
        if options.json:
            cli_support.print_json(result._asdict())
        else:
            print(f"{result.model} version {result.challenger_version} {result.decision}: {result.reason}")
        return
    metrics = RetrainMetrics(options.name)
    metrics.serve(options.metrics_host, options.metrics_port)
    run_loop(options.name, seconds(options.every), _next_round, metrics, json=options.json)


def _next_round() -> RoundResult:
    """Runs a round with the current champion's settings."""
    try:
        options = retrain_options(sys.argv[1:])
    except SystemExit as wrong:  # from the flag parser; SIGTERM's has status 0
        if not wrong.code:
            raise
        raise cli_support.UsageError("The flags do not fit the current champion's settings.") from wrong
    return _round(options, progress=False)


def _round(options: RetrainOptions, *, progress: bool) -> RoundResult:
    with output_to_stderr():
        if options.given is not None:
            options = with_choices(options, environment_for(options.config))
        repository = ModelRepository(options.repository)
        asked = (options.name, options.config, options.preset, options.start, options.gate)
        return Round(repository, *asked, progress=progress).run()
