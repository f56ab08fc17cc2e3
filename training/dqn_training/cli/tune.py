"""`dqn-tune`: searches for good settings for an environment."""

import shlex
import sys
import time
from pathlib import Path

from optuna.study import Study

from dqn_models import cli_support
from dqn_models.streams import output_to_stderr
from dqn_training.cli.flags import seconds
from dqn_training.cli.options import TuneOptions
from dqn_training.cli.running import fitted, wrong_usage
from dqn_training.envs.make import environment_for
from dqn_training.presets import default_model_name
from dqn_training.run.directory import runs_directory
from dqn_training.seeds import trial_seeds
from dqn_training.tuning import report
from dqn_training.tuning.confirm import Finalist, confirm, finalists
from dqn_training.tuning.objective import SEARCH_FRACTION, Search
from dqn_training.tuning.study import completed, finished, open_study, work
from dqn_training.workers import in_processes


def run(options: TuneOptions) -> None:
    """Searches, confirms, reports and writes the preset."""
    with output_to_stderr():
        deadline = time.time() + seconds(options.timeout, "--timeout") if options.timeout else float("inf")
        path = options.storage or runs_directory() / f"tune-{default_model_name(options.config.env_id)}" / "study.db"
        search = _search(options)
        study = open_study(path, search)
        try:
            _work(options, path, search, deadline)
            confirmed = _confirm(options, study, search)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Interrupted; {len(finished(study))} finished trials are stored in {path}. The same command resumes "
                "the search."
            ) from None
    _report(options, study, search, confirmed, path)


def _search(options: TuneOptions) -> Search:
    with wrong_usage():
        environment = environment_for(options.config)
        options = fitted(options, environment)
    fraction = options.config.eval_fraction
    if "eval_fraction" not in (options.given or ()):
        fraction = max(SEARCH_FRACTION, fraction)
    size = (options.first_seed, options.seeds, options.evaluations, options.episodes, fraction)
    return Search(options.config, environment, *size)


def _work(options: TuneOptions, path: Path, search: Search, deadline: float) -> None:
    """Runs the trials, in this process unless there are several jobs."""
    if options.jobs == 1:
        work(path, search, options.trials, deadline)
        return
    works = [(path, search, options.trials, deadline, number) for number in range(options.jobs)]
    with in_processes(work, works, options.jobs) as ended:
        for _ in ended:
            pass


def _other_seeds(options: TuneOptions) -> range:
    return trial_seeds(options.first_seed, options.confirm_seeds, after=options.seeds)


def _confirm(options: TuneOptions, study: Study, search: Search) -> list[Finalist]:
    if not options.finalists or not completed(study):
        return []
    who = finalists(study, search, options.finalists)
    names = ", ".join(finalist.name for finalist in who)
    print(f"training {names} with {options.confirm_seeds} other seeds each", file=sys.stderr)
    return confirm(study, search, who, _other_seeds(options), options.jobs)


def _report(options: TuneOptions, study: Study, search: Search, confirmed: list[Finalist], path: Path) -> None:
    preset, plot = path.with_name("preset.toml"), path.with_name("tuning.png")
    report.write_preset(preset, study, search, confirmed, shlex.join(["dqn-tune", *sys.argv[1:]]))
    report.draw(plot, study, f"{options.config.env_id}, {options.seeds} seeds per trial")
    if options.json:
        files = {"preset": str(preset), "storage": str(path), "plot": str(plot)}
        cli_support.print_json(report.result(study, confirmed) | files)
        return
    report.print_table(study)
    if confirmed:
        report.print_confirmed(confirmed, _other_seeds(options))
    print(f"plot    {plot}\npreset  {preset}\ntrain   dqn-train --preset {preset}")
