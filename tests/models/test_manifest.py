"""The manifest as a document."""

import json
import math
from pathlib import Path

import pytest

from dqn_models.errors import ManifestError
from dqn_models.manifest import FileEntry, Manifest
from dqn_models.repository import ModelRepository
from dqn_models.spaces import BoxSpace
from dqn_testing.repositories import draft, linear_onnx, publish_linear


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    """A manifest as it is on the disk."""
    publish_linear(ModelRepository(tmp_path))
    return (tmp_path / "cartpole/1/manifest.json").read_bytes()


def test_a_manifest_survives_a_round_trip(written: bytes) -> None:
    """Reading and writing a manifest again gives the same bytes: UTF-8 JSON with a final newline."""
    assert Manifest.parse(written, "here").dump() == written
    assert written.endswith(b"}\n")


def test_a_manifest_says_when_in_utc_and_what_with_hashes(written: bytes) -> None:
    """`created_at` is RFC 3339 in UTC, and every file has its size and SHA-256."""
    document = json.loads(written)
    assert document["schema_version"] == 2
    assert document["created_at"].endswith("Z")
    assert document["files"] == {"model.onnx": FileEntry.of(linear_onnx()).model_dump()}
    assert document["gate"] is None


def test_infinite_bounds_are_strict_json(written: bytes) -> None:
    """JSON has no infinity: bounds are written as "inf" and "-inf", and read back as numbers."""
    space = json.loads(written, parse_constant=pytest.fail)["environment"]["observation_space"]
    assert (space["low"], space["high"]) == ("-inf", "inf")
    read = Manifest.parse(written, "here").environment.observation_space
    assert isinstance(read, BoxSpace)
    assert (read.low, read.high) == (-math.inf, math.inf)


def test_a_list_of_bounds_may_mix_finite_and_infinite() -> None:
    """Bounds that differ between elements keep their order and their infinities."""
    space = BoxSpace(shape=[2], dtype="float32", low=[-4.8, -math.inf], high=[4.8, math.inf])
    assert BoxSpace.model_validate_json(space.model_dump_json()) == space
    assert json.loads(space.model_dump_json())["low"] == [-4.8, "-inf"]


def test_a_manifest_cannot_be_changed() -> None:
    """A manifest is a value: setting a field is refused."""
    with pytest.raises(ValueError, match="frozen"):
        draft().model = "other"


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("version",), 0, "version"),
        (("evaluation", "mean"), "many", "evaluation.mean"),
        (("environment", "action_space", "n"), 0, "environment.action_space.Discrete.n"),
        (("files", "model.onnx", "sha256"), "abc", "files.model.onnx.sha256"),
        (("lineage", "origin"), "stork", "lineage.origin"),
        (("environment", "observation_space", "type"), "Text", "environment.observation_space"),
    ],
)
def test_a_wrong_field_is_named(written: bytes, path: tuple[str, ...], value: object, place: str) -> None:
    """The error says which file and which field are wrong."""
    document = json.loads(written)
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ManifestError) as raised:
        Manifest.parse(json.dumps(document).encode(), "store/cartpole/1/manifest.json")
    assert str(raised.value).startswith(f"store/cartpole/1/manifest.json: field '{place}': ")


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"schema_version": ' + b"1" * 5000 + b"}", b'{"schema_version": "1"}']
)
def test_hostile_json_is_a_manifest_error(data: bytes) -> None:
    """Extreme nesting, endless numbers and a version of the wrong type are refused like any other damage."""
    with pytest.raises(ManifestError):
        Manifest.parse(data, "here")


def test_a_manifest_of_the_first_schema_version_is_read_as_before(written: bytes) -> None:
    """Version 1 had fewer spaces and lacked some fields; it stays version 1 when it is written again."""
    document = json.loads(written) | {"schema_version": 1}
    del document["environment"]["left_out"], document["environment"]["action_mask"]
    manifest = Manifest.parse(json.dumps(document).encode(), "here")
    assert (manifest.environment.left_out, manifest.environment.action_mask) == ([], None)
    assert json.loads(manifest.dump())["schema_version"] == 1
