"""`dqn-tune`: searches settings for an environment."""

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models import command
from training.commands.flags import Flag, PresetName, parse, preset_of, read_first, seconds
from training.commands.running import needs_extra, see_working_directory, wrong_usage
from training.config import DQNConfig
from training.presets import default_model_name
from training.run.directory import runs_directory

if TYPE_CHECKING:
    from optuna.study import Study

    from training.tuning.objective import Search


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """Search settings for an environment, and write the best as a preset file for `dqn-train --preset`.

    A trial trains with some settings, a run for each seed, and is given up when it is among the worst third from the
    middle of the first run on. Its score is the mean over the run of the best evaluation so far: it must become good
    early and end good. The first trial is the preset itself. The same command goes on with an interrupted search.
    """

    preset: PresetName
    """Settings to start from, by name or in a file; those that the search does not vary stay."""
    config: DQNConfig
    trials: int = 20
    """Finished trials to reach, those of earlier calls and given-up ones included."""
    timeout: str | None = None
    """Time after which no trial begins and the running one ends, such as 90s, 10m or 2h; by default none."""
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
    jobs: int = 1
    """Processes that train at the same time."""
    json: Flag = False
    """Print the result as one JSON line on standard output."""


def tune_options(args: Sequence[str]) -> TuneOptions:
    """Reads the flags of `dqn-tune`."""
    preset, config = preset_of(read_first(args))
    options = parse(TuneOptions, "dqn-tune", args, TuneOptions(preset=preset, config=config))
    for name, low in {"trials": 1, "seeds": 1, "first_seed": 100, "evaluations": 1, "episodes": 1, "jobs": 1}.items():
        if getattr(options, name) < low:
            flag = name.replace("_", "-")
            raise command.UsageError(f"--{flag} is {getattr(options, name)}; it must be at least {low}.")
    if options.timeout is not None:
        seconds(options.timeout, "--timeout")
    return options


def run_tune(options: TuneOptions) -> None:
    """Searches, reports and writes the preset."""
    see_working_directory()
    with needs_extra("dqn-tune", "tune"):
        from training.tuning.study import finished, open_study, work, work_in_processes  # noqa: PLC0415

    deadline = time.time() + seconds(options.timeout, "--timeout") if options.timeout else float("inf")
    search = _search(options)
    path = options.storage or runs_directory() / f"tune-{default_model_name(options.config.env_id)}" / "study.db"
    study = open_study(path, search)
    try:
        if options.jobs == 1:
            work(path, search, options.trials, deadline)
        else:
            work_in_processes(path, search, options.trials, deadline, options.jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted; {len(finished(study))} finished trials are kept in {path}, and the same command goes on."
        ) from None
    _report(options, study, search, path)


def _search(options: TuneOptions) -> "Search":
    from training.experience.environments import environment_for  # noqa: PLC0415
    from training.machine import check_machine  # noqa: PLC0415
    from training.tuning.objective import Search  # noqa: PLC0415

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


def _report(options: TuneOptions, study: "Study", search: "Search", path: Path) -> None:
    from training.tuning import report  # noqa: PLC0415

    preset, picture = path.with_name("preset.toml"), path.with_name("tuning.png")
    report.write_preset(preset, study, search, shlex.join(["dqn-tune", *sys.argv[1:]]))
    report.draw(picture, study, f"{options.config.env_id}, {options.seeds} seeds a trial")
    if options.json:
        command.print_json(report.result(study) | {"preset": str(preset), "storage": str(path), "plot": str(picture)})
        return
    report.print_table(study)
    print(f"picture  {picture}\npreset   {preset}\ntrain    dqn-train --preset {preset}")
