"""Environments of third-party packages, used as their READMEs suggest: does each train, serve and evaluate?

    .venv/bin/python benchmarks/third_party.py --only minigrid tetris
    .venv/bin/python benchmarks/third_party.py --only-report

The packages are not dependencies of this project: install those that you want to try in a separate virtual environment,
with `pip install --no-deps` if they pin other versions of gymnasium or numpy. Missing ones are reported and skipped.
Each task is one JSON line in the results file; existing ones are not repeated.
"""

import contextlib
import json
import os
import re
import resource
import shlex
import signal
import site
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import documents
import tyro
from third_party_tasks import TASKS, Task

_HERE = Path(__file__).parent
_CHECK = _HERE / "third_party_check.py"
_TIMEOUT = 3_000  # seconds by the clock
_BEGIN, _END = "<!-- benchmarks/third_party.py -->", "<!-- /benchmarks/third_party.py -->"


@dataclass(frozen=True)
class Options:
    """Tries the tasks missing from the results file, and writes the table."""

    only: tuple[str, ...] = ()
    """Names of tasks to try; default: all whose packages are installed."""
    results: Path = Path("docs/third_party.jsonl")
    """File of results, JSON Lines."""
    page: Path = Path("docs/third-party.md")
    """Page with the table to write."""
    cpu_seconds: int = 150
    """Limit of CPU seconds for each command."""
    only_report: bool = False
    """Only write the table."""


def main(options: Options) -> None:
    """Tries each task as typed and, if that is refused, with its remedy."""
    unknown = set(options.only) - set(TASKS)
    if unknown:
        raise SystemExit(f"{', '.join(sorted(unknown))}: expected names among {', '.join(TASKS)}.")
    for name, task in TASKS.items():
        if not options.only_report and (not options.only or name in options.only):
            _try_once(options, name, task)
    found = {(line["name"], line["remedy"]): line for line in _read(options.results)}
    _write(options.page, list(found.values()))


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _try_once(options: Options, name: str, task: Task) -> None:
    wanted = [word.partition("[")[0] for word in (task.package, task.requires) if word]
    missing = [word for word in wanted if not _installed(word)]
    if missing:
        print(f"{name}: skipped; pip install {' '.join(filter(None, (task.package, task.requires)))}", file=sys.stderr)
        return
    for remedy in filter(None, ("as typed", task.remedy)):
        done = {line["remedy"]: line for line in _read(options.results) if line["name"] == name}
        if remedy in done or done.get("as typed", {}).get("outcome") == "published":
            continue
        line = {"name": name, "remedy": remedy, "steps": task.steps} | _try(options, task, remedy)
        with options.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, file=sys.stderr)


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _try(options: Options, task: Task, remedy: str) -> dict[str, Any]:
    """Trains in an empty folder; if that publishes a version, serves and evaluates it."""
    flags = task.flags if remedy == "as typed" else f"{task.flags} {remedy}"
    words = [word.replace("$SITE", _site("sumo_rl")) for word in shlex.split(flags)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["--env-id", *words, "--total-env-steps", str(task.steps), "--json"]
        code, printed, said, seconds = _call(options, folder, "dqn-train", *command)
        record: dict[str, Any] = {"cpu_seconds": seconds, "says": [line for line in said if _is_notice(line)]}
        if code:
            slow = code in (-24, 152, -9)  # SIGXCPU, as a shell reports it, or SIGKILL if a library handles SIGXCPU
            return record | {"outcome": "not ended" if slow else "refused", "sentence": _sentence(said)}
        manifest = json.loads(printed[-1])
        result, environment = manifest["evaluation"], manifest["environment"]
        record |= {"outcome": "published", "mean": result["mean"], "random": result.get("random_mean")}
        record |= {"observations": _space(environment["observation_space"])}
        record |= {"actions": _space(environment["action_space"]), "masks": environment["action_mask"]}
        record |= {"evaluation_env_steps": manifest["training"].get("evaluation_env_steps")}
        code, printed, said, _ = _call(options, folder, str(sys.executable), str(_CHECK), manifest["model"])
        record["served"] = json.loads(printed[-1]) if not code else {"error": _sentence(said)}
        code, printed, said, _ = _call(options, folder, "dqn-evaluate", manifest["model"], "--episodes", "5", "--json")
        record["evaluated"] = json.loads(printed[-1])["mean"] if not code else _sentence(said)
        return record


def _call(options: Options, folder: str, *command: str) -> tuple[int, list[str], list[str], float]:
    """Exit status, lines of standard output and of standard error, and CPU seconds including child processes."""
    limited = ["nice", "-n", "19", "prlimit", f"--cpu={options.cpu_seconds}:{options.cpu_seconds + 5}", "--"]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_HERE), "SUMO_HOME": _site("sumo"), "SDL_VIDEODRIVER": "dummy"}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        started = subprocess.Popen(
            [*limited, *command],
            cwd=folder,
            env=os.environ | own,
            stdout=printed,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = started.wait(_TIMEOUT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)  # simulators of a run that was at its limit
            started.wait()
        lines = [_lines(file) for file in (printed, said)]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return code, lines[0], lines[1], round(seconds, 1)


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def _site(package: str) -> str:
    """The folder of a package's files for sumo, else the folder of all packages."""
    spec = find_spec(package) if package == "sumo" else None
    if spec and spec.submodule_search_locations:
        return str(spec.submodule_search_locations[0])
    return next((place for place in sys.path if Path(place, package).is_dir()), site.getsitepackages()[0])


def _is_notice(line: str) -> bool:
    """Whether a line of the run's output says what it chose or left out."""
    return line.startswith(
        ("general:", "These parts of the observations", "The environment has no", "Action masks", "A process can hold")
    )


def _sentence(said: Sequence[str]) -> str:
    """The last message of a command, from `error:` on."""
    text = "\n".join(line for line in said if line.strip())
    _, found, rest = text.rpartition("error: ")
    return re.sub(r"\s+", " ", found + rest if found else "\n".join(text.splitlines()[-1:]))[:600]


def _space(space: dict[str, Any]) -> str:
    """A space as text for a table."""
    kind = space["type"]
    if kind == "Dict":
        parts = space["spaces"].values()
        return f"Dict of {len(parts)}: {', '.join(sorted({_space(part) for part in parts}))}"
    if kind == "Tuple":
        return f"Tuple of {', '.join(map(_space, space['spaces']))}"
    if kind == "Box":
        return f"Box{space['shape']} {space['dtype']}"
    return f"{kind}({space.get('n', space.get('nvec', space.get('shape')))})"


def _write(page: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Puts the table of results between the markers of the page."""
    table = documents.table(
        ("`dqn-train --env-id`", "spaces", "before", "now: mean return (random)", "CPU s", "served, evaluated"),
        [_row(line) for name in TASKS for line in lines if line["name"] == name],
    )
    missing = [name for name in TASKS if name not in {line["name"] for line in lines}]
    table += f"\n\nNot measured here yet: {', '.join(missing)}." if missing else ""
    packages = {name: version(name) for name in ("torch", "numpy", "gymnasium")}
    text, new = page.read_text(), f"{_BEGIN}\n{table}\n\n{documents.machine(packages)}\n{_END}"
    start, end = text.index(_BEGIN), text.index(_END) + len(_END)
    page.write_text(text[:start] + new + text[end:])


def _row(line: dict[str, Any]) -> list[str]:
    task, typed = TASKS[line["name"]], line["remedy"] == "as typed"
    env_id = task.flags.partition(" ")[0]
    command = f"`{env_id}`" if typed else f"... `{line['remedy']}`"
    before, seconds = task.before if typed else "", f"{line['cpu_seconds']:.0f}"
    if line["outcome"] != "published":
        return [command, "", before, _failed(line, env_id), seconds, "-"]
    masks = f", masks ({line['masks']})" if line["masks"] else ""
    random = "" if line["random"] is None else f" ({line['random']:.3g})"
    served, played = line["served"] or {"error": "not tried"}, line["evaluated"]
    checked = f"{'yes' if 'action' in served else served['error']}, {'yes' if isinstance(played, float) else played}"
    spaces = f"{line['observations']} -> {line['actions']}{masks}"
    return [command, spaces, before, f"**{line['mean']:.3g}**{random}, {line['steps']:,} steps", seconds, checked]


def _failed(line: dict[str, Any], env_id: str) -> str:
    """The beginning of the error message, and the flag that it names."""
    if line["outcome"] == "not ended":
        return "not ended"
    said = line["sentence"].removeprefix("error: ").removeprefix(f"{env_id} ").replace("|", "\\|")
    named = re.search(r"--(reward-weights|wrapper|discretize|env-kwargs|num-envs)\b", said)
    return f"refused: {textwrap.shorten(said, 150, placeholder=' ...')}" + (f" Names `{named[0]}`" if named else "")


if __name__ == "__main__":
    main(tyro.cli(Options))
