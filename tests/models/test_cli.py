"""`dqn-models`, as users run it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import run, run_here
from dqn_testing.repositories import publish_linear


class Shell:
    """Runs `dqn-models` on one repository, given through the environment."""

    def __init__(self, repository: Path) -> None:
        """Remembers the repository's directory."""
        self._environment = {"DQN_REPOSITORY": str(repository)}

    def run(self, *arguments: str, status: int = 0, is_here: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one command, in this process or a new one; it must exit with this status and without a traceback."""
        with patch.dict(os.environ, self._environment):
            done = (run_here if is_here else run)("dqn-models", *arguments)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, status: int = 0) -> Any:
        """Runs one command with --json and reads its one line."""
        output = self.run(*arguments, "--json", status=status).stdout
        assert output.count("\n") == 1
        return json.loads(output)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """Two versions; both were champions, and the second still is."""
    repository = ModelRepository(tmp_path / "store")
    for _ in range(2):
        publish_linear(repository, promote=True)
    return repository


@pytest.fixture
def shell(repository: ModelRepository) -> Shell:
    """The commands on that repository."""
    return Shell(repository.root)


def test_list_shows_every_version(shell: Shell) -> None:
    """The table and the JSON have a row for each version, with its aliases and its mean return."""
    lines = shell.run("list").stdout.splitlines()
    assert sum("CartPole-v1" in line and "400.00" in line for line in lines) == 2
    assert sum("champion" in line for line in lines) == 1
    rows = shell.json("list", "cartpole")
    assert [(row["version"], row["aliases"], row["mean_return"]) for row in rows] == [
        (1, [], 400),
        (2, ["champion"], 400),
    ]


def test_a_process_does_the_same(shell: Shell) -> None:
    """What the other tests see in their own process is what users see."""
    for arguments, status in ((["list", "--json"], 0), (["show", "nothing"], 1), (["fly"], 2)):
        here, process = (shell.run(*arguments, status=status, is_here=is_here) for is_here in (True, False))
        assert (here.stdout, here.stderr) == (process.stdout, process.stderr)


def test_list_of_an_empty_repository_says_what_to_do(tmp_path: Path) -> None:
    """If there is nothing yet, it names the command to get something."""
    shell = Shell(tmp_path / "nothing")
    assert "dqn-train" in shell.run("list").stdout
    assert shell.json("list") == []
    assert shell.json("verify") == []


def test_list_continues_past_damage(shell: Shell, repository: ModelRepository) -> None:
    """A version with a broken manifest has its error in its row; the others are listed as usual."""
    (repository.root / "cartpole/1/manifest.json").write_text("[bold]{")
    rows = shell.json("list")
    assert "is not valid JSON" in rows[0]["error"]
    assert rows[1]["mean_return"] == 400
    assert "champion" in shell.run("list").stdout


def test_show_prints_the_manifest(shell: Shell, repository: ModelRepository) -> None:
    """Without a version it is the champion's; the text is the file's."""
    assert shell.run("show", "cartpole").stdout == (repository.root / "cartpole/2/manifest.json").read_text()
    assert shell.json("show", "cartpole@1")["version"] == 1


def test_promote_and_rollback_change_the_champion(shell: Shell, repository: ModelRepository) -> None:
    """Each reports what the alias names now and what it named before, and the history records why."""
    assert shell.json("rollback", "cartpole", "--reason", "worse") == {
        "model": "cartpole", "alias": "champion", "version": 1, "previous": 2,
    }  # fmt: skip
    assert "champion of cartpole is now version 2 (was 1)" in shell.run("promote", "cartpole@2").stdout
    shell.run("promote", "cartpole@1", "--alias", "challenger")
    assert repository.aliases("cartpole") == {"challenger": 1, "champion": 2}
    assert repository.history("cartpole")[-3]["reason"] == "worse"


def test_verify_finds_what_is_damaged(shell: Shell, repository: ModelRepository) -> None:
    """A sound repository gives status 0; damage is listed along with what is sound, and gives status 1."""
    assert [finding["ok"] for finding in shell.json("verify")] == [True, True]
    (repository.root / "cartpole/1/model.onnx").write_bytes(b"")
    (repository.root / "cartpole/aliases/challenger").write_text("9\n")
    done = shell.run("verify", status=1)
    assert "cartpole version 2: ok" in done.stdout
    assert "model.onnx differs from what was published" in done.stdout
    assert "challenger of cartpole names version 9, which no longer exists" in done.stdout
    assert done.stderr == "error: 2 of 3 checks failed.\n"
    assert [finding["ok"] for finding in shell.json("verify", "cartpole@2")] == [True]
    assert not shell.json("verify", "cartpole", status=1)[0]["ok"]


def test_prune_says_what_it_removes(shell: Shell, repository: ModelRepository) -> None:
    """A dry run only reports; a prune removes old versions and what crashes left."""
    for _ in range(2):
        publish_linear(repository)
    (repository.root / "cartpole/5").mkdir()
    dry = shell.run("prune", "--keep", "1", "--dry-run").stdout
    assert dry == "cartpole: would remove versions [3] and crash leftovers [5]\n"
    assert shell.json("prune", "cartpole", "--keep", "1") == [
        {"model": "cartpole", "versions": [3], "garbage": [5], "dry_run": False}
    ]
    assert repository.versions("cartpole") == [1, 2, 4]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["list", "nothing"], "There is no model 'nothing' in"),
        (["show", "cartpole@9"], "cartpole has no version 9; it has versions 1-2 and aliases champion."),
        (["show", "../../etc"], "There is no model '../../etc' in"),
        (["promote", "cartpole@9"], "cartpole has no version 9"),
        (["promote", "cartpole@1", "--alias", "A/B"], "'A/B' is not a valid alias"),
        (["rollback", "cartpole", "--alias", "best"], "cartpole has no alias 'best'"),
        (["verify", "nothing"], "There is no model 'nothing' in"),
        (["prune", "nothing"], "There is no model 'nothing' in"),
    ],
)
def test_a_failure_is_one_sentence_and_status_1(shell: Shell, arguments: list[str], sentence: str) -> None:
    """What cannot be done is reported in one line on standard error, and nothing goes to standard output."""
    done = shell.run(*arguments, status=1)
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["promote", "cartpole"], ["prune", "--keep", "0"], ["prune", "--keep", "many"], ["list", "--fast"]],
)
def test_wrong_usage_is_status_2(shell: Shell, arguments: list[str]) -> None:
    """An unknown command or option, or an invalid value, is wrong usage, reported on standard error."""
    assert shell.run(*arguments, status=2).stderr


@pytest.mark.parametrize("command", ["list", "show", "promote", "rollback", "verify", "prune"])
def test_every_command_explains_itself(shell: Shell, command: str) -> None:
    """--help names the options that all commands share."""
    text = shell.run(command, "--help").stdout
    assert "--repository" in text
    assert "--json" in text
