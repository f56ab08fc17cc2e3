"""Several tokens with names, from a file that may change while the server runs."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.security.auth import parse
from dqn_serving.security.reloading import read_small
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until

ACT = {"observation": [0.1, 0.2, 0.3, 0.4]}
FILE = "# who may promote\n\nalice: one\nbob:two:with:colons\n"


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with versions 1 (champion) and 2."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    return empty


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of tokens that only its owner can read."""
    path = tmp_path / "tokens"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(store: ModelRepository, file: Path) -> Iterator[Server]:
    """A server that requires a token for every call: one of the file, or that of the variable."""
    with running_server(store, env={"DQN_API_TOKEN": "three"}, api_token_file=file, require_token=True) as server:
        server.wait_ready()
        yield server


def status(server: Server, token: str) -> int:
    """The status of an act call with a token."""
    return server.post("/act", ACT, headers={"Authorization": f"Bearer {token}"}).status_code


def promote(server: Server, token: str, version: int) -> int:
    """Promotes; returns the status."""
    headers = {"Authorization": f"Bearer {token}"}
    path = "/models/cartpole/aliases/champion"
    return server.request("PUT", path, json={"version": version}, headers=headers).status_code


def test_names_appear_in_log_and_history(guarded: Server, store: ModelRepository) -> None:
    """Each token works; promotions are recorded by name, and no token is ever disclosed."""
    for token, name, version in (("one", "alice", 2), ("two:with:colons", "bob", 1), ("three", "http", 2)):
        assert promote(guarded, token, version) == 200
        assert store.history("cartpole")[-1]["by"] == name
        guarded.wait_log("alias set", by=name, version=version)
    assert [status(guarded, token) for token in ("four", "one:", "alice", "alice:one")] == [401] * 4
    assert not any("colons" in str(record) for record in guarded.records)


def is_logged(server: Server, text: str) -> bool:
    """Whether the log has a reason that contains this text."""
    return any(text in str(record.get("reason")) for record in list(server.records))


@pytest.mark.slow
def test_tokens_change_without_a_restart(guarded: Server, file: Path) -> None:
    """A new file takes effect within a second or two; an invalid or missing one is only logged and counted."""
    file.with_suffix(".new").write_text("carol:five\n")
    file.with_suffix(".new").replace(file)
    wait_until(lambda: status(guarded, "five") == 200, 20, "reloaded")
    assert [status(guarded, token) for token in ("one", "three", "five")] == [401, 200, 200]
    for contents, said in (("carol", "line 1"), ("", "there is no token"), (None, "is not a file")):
        file.unlink() if contents is None else file.write_text(contents)
        wait_until(partial(is_logged, guarded, said), 20, "told")
        assert [status(guarded, token) for token in ("one", "three", "five")] == [401, 200, 200]
    headers = {"Authorization": "Bearer five"}
    metrics = guarded.get("/metrics", headers=headers).text
    assert 'dqn_file_reloads_total{file="api_tokens",outcome="success"} 1.0' in metrics
    assert 'dqn_file_reloads_total{file="api_tokens",outcome="failure"} 3.0' in metrics


@pytest.mark.slow
def test_every_worker_follows(store: ModelRepository, file: Path) -> None:
    """With several workers, each picks up the new tokens and drops the old ones."""
    with running_server(store, workers=2, api_token_file=file, require_token=True) as server:
        server.wait_ready()
        assert status(server, "one") == 200
        file.write_text("carol:five")
        for _ in range(2):
            wait_until(lambda: status(server, "five") == 200, 20, "reloaded")
        wait_until(lambda: all(status(server, "one") == 401 for _ in range(20)), 20, "forgotten")


def test_file_that_others_read_is_warned_about(store: ModelRepository, file: Path) -> None:
    """Tokens that every user of the machine can read are accepted, with a warning that names the remedy."""
    file.chmod(0o644)
    with running_server(store, api_token_file=file) as server:
        assert server.wait_log("every user of this machine can read the tokens")["remedy"] == "chmod o-r"
        server.wait_ready()
        assert promote(server, "one", 2) == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no token in it"),
        ("# only a comment\n", "there is no token in it"),
        ("secret", "line 1 is not name:token"),
        ("a:b\n: secret", "line 2 is not name:token"),
        ("a b:secret", "line 1 is not name:token"),
        ("a:", "the token in line 1 must be printable ASCII"),
        ("a:sec ret", "the token in line 1 must be printable ASCII"),
        ("a:sécret", "the token in line 1 must be printable ASCII"),
        ("a:secret\nb:secret", "line 2 repeats a token"),
    ],
)
def test_wrong_files_are_refused_by_line(text: str, said: str) -> None:
    """An error names the number of the line, and never shows the token."""
    with pytest.raises(ValueError, match=said) as caught:
        parse(text.encode())
    assert "secret" not in str(caught.value)


def test_a_name_may_have_two_tokens() -> None:
    """A name may have two valid tokens, and files with other systems' line endings are read."""
    assert sorted(parse(b"a:1\r\na:2\r\n").values()) == ["a", "a"]


def test_fifo_does_not_stop_the_server_from_saying_so(tmp_path: Path) -> None:
    """A path that is not a regular file is refused without waiting for it."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="is not a file"):
        read_small(tmp_path / "fifo")
