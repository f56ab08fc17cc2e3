"""`dqn-tune`: searches settings for an environment."""

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dqn_models import cli_support
from dqn_training.cli.flags import Flag, PresetName, parse, preset_of, read_first, seconds
from dqn_training.cli.running import needs_extra, see_working_directory, wrong_usage
from dqn_training.config import DQNConfig
from dqn_training.presets import default_model_name
from dqn_training.run.directory import runs_directory

if TYPE_CHECKING:
    from optuna.study import Study

    from dqn_training.tuning.confirm import Confirmed
    from dqn_training.tuning.objective import Search


_LEAST = {
    "trials": 1,
    "seeds": 1,
    "first_seed": 100,
    "evaluations": 1,
    "episodes": 1,
    "finalists": 0,
    "confirm_seeds": 1,
    "jobs": 1,
}


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """Search settings for an environment, and write the best as a preset file for `dqn-train --preset`.

    A trial trains with some settings, a run for each seed, and is given up when it is among the worst third from the
    middle of the first run on. Its score is the mean over the run of the best evaluation so far: it must become good
    early and end good. The first trial is the preset itself. The best trials, the finalists, and the preset then train
    again with other seeds, because the best of many noisy trials is partly luck; the best of them is written. The same
    command goes on with what was interrupted.
    """

    preset: PresetName
    """Settings to start from, by name or in a file; those that the search does not vary stay."""
    config: DQNConfig
    trials: int = 20
    """Finished trials to reach, those of earlier calls and given-up ones included."""
    timeout: str | None = None
    """Time after which no trial begins and the running one ends, such as 90s, 10m or 2h; by default none. The finalists
    train after it."""
    storage: Path | None = None
    """SQLite file of the search; preset.toml and tuning.png are written beside it. Default: runs/tune-NAME/study.db."""
    seeds: int = 3
    """Training runs of each trial; more make lucky settings less likely to win."""
    first_seed: int = 100
    """Seed of the first of them; at least 100, as smaller ones are for reporting."""
    evaluations: int = 20
    """Greedy evaluations of each run, which are its score."""
    episodes: int = 20
    """Episodes of each evaluation."""
    finalists: int = 3
    """Trials that train again with other seeds, the default beside them; 0 for none."""
    confirm_seeds: int = 5
    """Training runs of each finalist, with the seeds that follow those of the trials."""
    jobs: int = 1
    """Processes that train at the same time."""
    json: Flag = False
    """Print the result as one JSON line on standard output."""


def tune_options(args: Sequence[str]) -> TuneOptions:
    """Reads the flags of `dqn-tune`."""
    preset, config = preset_of(read_first(args))
    options = parse(TuneOptions, "dqn-tune", args, TuneOptions(preset=preset, config=config))
    for name, low in _LEAST.items():
        if getattr(options, name) < low:
            flag = name.replace("_", "-")
            raise cli_support.UsageError(f"--{flag} is {getattr(options, name)}; it must be at least {low}.")
    if options.timeout is not None:
        seconds(options.timeout, "--timeout")
    return options


def run_tune(options: TuneOptions) -> None:
    """Searches, reports and writes the preset."""
    see_working_directory()
    with needs_extra("dqn-tune", "tune"):
        from dqn_training.tuning.study import finished, open_study, work, work_in_processes  # noqa: PLC0415

    deadline = time.time() + seconds(options.timeout, "--timeout") if options.timeout else float("inf")
    search = _search(options)
    path = options.storage or runs_directory() / f"tune-{default_model_name(options.config.env_id)}" / "study.db"
    study = open_study(path, search)
    try:
        if options.jobs == 1:
            work(path, search, options.trials, deadline)
        else:
            work_in_processes(path, search, options.trials, deadline, options.jobs)
        confirmed = _confirm(options, study, search)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted; {len(finished(study))} finished trials are kept in {path}, and the same command goes on."
        ) from None
    _report(options, study, search, confirmed, path)


def _search(options: TuneOptions) -> "Search":
    from dqn_training.envs.make import environment_for  # noqa: PLC0415
    from dqn_training.run.resources import check_machine  # noqa: PLC0415
    from dqn_training.tuning.objective import Search  # noqa: PLC0415

    with wrong_usage():
        environment = environment_for(options.config)
        check_machine(options.config, environment)
        return Search(
            base=options.config,
            environment=environment,
            first_seed=options.first_seed,
            seeds=options.seeds,
            evaluations=options.evaluations,
            episodes=options.episodes,
        )


def _confirm(options: TuneOptions, study: "Study", search: "Search") -> "list[Confirmed]":
    from dqn_training.tuning.confirm import confirm, finalists  # noqa: PLC0415
    from dqn_training.tuning.study import completed  # noqa: PLC0415

    if not options.finalists or not completed(study):
        return []
    who = finalists(study, search, options.finalists)
    names = ", ".join(finalist.name for finalist in who)
    print(f"training {names} with {options.confirm_seeds} other seeds each", file=sys.stderr)
    return confirm(study, search, who, options.confirm_seeds, options.jobs)


def _report(options: TuneOptions, study: "Study", search: "Search", confirmed: "list[Confirmed]", path: Path) -> None:
    from dqn_training.tuning import report  # noqa: PLC0415

    preset, picture = path.with_name("preset.toml"), path.with_name("tuning.png")
    report.write_preset(preset, study, search, confirmed, shlex.join(["dqn-tune", *sys.argv[1:]]))
    report.draw(picture, study, f"{options.config.env_id}, {options.seeds} seeds a trial")
    if options.json:
        files = {"preset": str(preset), "storage": str(path), "plot": str(picture)}
        cli_support.print_json(report.result(study, confirmed) | files)
        return
    report.print_table(study)
    if confirmed:
        report.print_confirmed(confirmed, search)
    print(f"picture  {picture}\npreset   {preset}\ntrain    dqn-train --preset {preset}")
