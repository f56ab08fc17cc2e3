"""Damage on the disk: named errors, while everything else keeps working."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from dqn_models.errors import IntegrityError, ManifestError, ModelError, NotFoundError, PolicyError, RepositoryError
from dqn_models.inspection import check, describe
from dqn_models.manifest import FileEntry
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import draft, graph_onnx, linear_onnx, publish_linear

BAD, GOOD = 1, 2


def identity_onnx() -> bytes:
    """Valid ONNX that is not a policy."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph_onnx([node], [("x", TensorProto.FLOAT, ["n", 4])], [("y", TensorProto.FLOAT, ["n", 4])], {})


def edit_manifest(folder: Path, **changes: object) -> None:
    """Replaces top-level fields of a manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_onnx(folder: Path, data: bytes) -> None:
    """Replaces the policy and makes the manifest agree, as a wrong publisher would."""
    (folder / "model.onnx").write_bytes(data)
    edit_manifest(folder, files={"model.onnx": FileEntry.of(data).model_dump()})


def flip_last_byte(path: Path) -> None:
    """Changes a file's content but not its size."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], type[ModelError], str]] = {
    "unknown schema version": (lambda at: edit_manifest(at, schema_version=3), ManifestError, "schema_version 3; this"),
    "no schema version": (lambda at: (at / "manifest.json").write_text("{}"), ManifestError, "schema_version None"),
    "broken JSON": (lambda at: (at / "manifest.json").write_text('{"schema_'), ManifestError, "is not valid JSON"),
    "empty manifest": (lambda at: (at / "manifest.json").write_bytes(b""), ManifestError, "is not valid JSON"),
    "binary manifest": (lambda at: (at / "manifest.json").write_bytes(b"\xff\x00"), ManifestError, "not valid JSON"),
    "JSON of another kind": (lambda at: (at / "manifest.json").write_text("[1]"), ManifestError, "schema_version None"),
    "missing field": (lambda at: edit_manifest(at, environment={}), ManifestError, "field 'environment.id'"),
    "wrong hash": (lambda at: flip_last_byte(at / "model.onnx"), IntegrityError, "differs from what was published"),
    "truncated ONNX": (lambda at: (at / "model.onnx").write_bytes(linear_onnx()[:99]), IntegrityError, "99 bytes with"),
    "ONNX gone": (lambda at: (at / "model.onnx").unlink(), IntegrityError, "missing from the disk"),
    "ONNX not listed": (lambda at: edit_manifest(at, files={}), NotFoundError, "no file 'model.onnx'"),
    "truncated before publishing": (lambda at: replace_onnx(at, linear_onnx()[:99]), PolicyError, "does not load"),
    "empty ONNX": (lambda at: replace_onnx(at, b""), PolicyError, "does not load"),
    "not ONNX": (lambda at: replace_onnx(at, b"GIF89a"), PolicyError, "does not load"),
    "foreign ONNX": (
        lambda at: replace_onnx(at, identity_onnx()),
        PolicyError,
        "is not a policy: it has inputs x float",
    ),
    "another policy": (
        lambda at: replace_onnx(at, linear_onnx(np.ones((3, 2), np.float32))),
        PolicyError,
        "differ from its manifest",
    ),
}


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """Version 1, to be damaged; version 2, the champion; and another model."""
    repository = ModelRepository(tmp_path)
    publish_linear(repository)
    publish_linear(repository, promote=True)
    publish_linear(repository, "other", promote=True)
    return repository


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_version_is_named_and_affects_no_other(repository: ModelRepository, damage: str) -> None:
    """Loading, verifying and promoting it raise the documented error; the others load, list and can be promoted."""
    apply, expected, message = DAMAGES[damage]
    apply(repository.root / "cartpole" / str(BAD))
    for attempt in (repository.load_policy, repository.verify, repository.promote):
        with pytest.raises(expected) as raised:
            attempt("cartpole", BAD)
        assert message in str(raised.value)
    assert repository.alias("cartpole") == GOOD
    assert [(row["model"], row["version"]) for row in describe(repository)] == [
        ("cartpole", 1),
        ("cartpole", 2),
        ("other", 1),
    ]
    assert [finding["ok"] for finding in check(repository)] == [False, True, True]
    new = publish_linear(repository, promote=True).version
    assert repository.load_policy("cartpole", new).n_actions == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"two\n", b"-1\n", b"0\n", b"1.5\n", b"1 2\n", b"\xff\xfe", b"9" * 99])
def test_an_alias_with_garbage_is_named_and_can_be_repaired(repository: ModelRepository, content: bytes) -> None:
    """Reading it is an error that shows what it holds; listing continues; a promotion repairs it."""
    (repository.root / "cartpole/aliases/champion").write_bytes(content)
    for attempt in (repository.alias, repository.resolve, repository.aliases, repository.rollback, repository.prune):
        with pytest.raises(RepositoryError, match=r"champion holds .*; expected a version number"):
            attempt("cartpole")
    assert [row["aliases"] for row in describe(repository)] == [[], [], ["champion"]]
    assert sum(not finding["ok"] for finding in check(repository)) == 1
    assert repository.promote("cartpole", GOOD) is None
    assert repository.resolve("cartpole") == GOOD


def test_an_alias_to_a_missing_version_is_named_and_can_be_repaired(repository: ModelRepository) -> None:
    """Resolving it says which version is gone; nothing else is affected, and a rollback repairs it."""
    (repository.root / "cartpole/aliases/champion").write_text("7\n")
    with pytest.raises(
        NotFoundError, match="champion of cartpole names version 7, which no longer exists; it has versions 1-2"
    ):
        repository.resolve("cartpole")
    assert [finding["error"] for finding in check(repository) if not finding["ok"]]
    assert repository.load_policy("cartpole", GOOD).n_actions == 2
    assert repository.rollback("cartpole") == GOOD


def test_strange_entries_are_ignored(repository: ModelRepository) -> None:
    """Files and folders that are not models, versions or aliases are ignored."""
    before = describe(repository)
    for folder in ("cartpole/0", "cartpole/01", "cartpole/notes", "cartpole/3", ".hidden/1", "cartpole/aliases/UPPER"):
        (repository.root / folder).mkdir(parents=True)
    (repository.root / "README").write_text("hello")
    (repository.root / "cartpole/9").write_text("a file")
    assert describe(repository) == before
    assert repository.aliases("cartpole") == {"champion": GOOD}
    assert publish_linear(repository).version == 4


def test_a_manifest_with_unknown_fields_is_read(repository: ModelRepository) -> None:
    """A newer writer may add fields without a new schema version."""
    edit_manifest(repository.root / "cartpole" / str(BAD), colour="blue")
    assert repository.verify("cartpole", BAD).version == BAD
    assert draft().model == "cartpole"
