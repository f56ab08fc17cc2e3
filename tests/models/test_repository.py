"""Publishing, reading, promoting and pruning when nothing goes wrong, and refusals that are the caller's fault."""

from pathlib import Path

import pytest

from dqn_models.errors import NotFoundError
from dqn_models.manifest import Manifest
from dqn_models.reader import RepositoryReader
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import draft, linear_onnx, publish_linear


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """An empty repository whose directory does not exist yet."""
    return ModelRepository(tmp_path / "not/yet/there")


def test_an_empty_repository_can_be_read(repository: ModelRepository) -> None:
    """A repository that does not exist yet has no models, and reading it creates nothing."""
    assert repository.models() == []
    assert repository.versions("cartpole") == []
    assert repository.aliases("cartpole") == {}
    assert repository.history("cartpole") == []
    assert repository.alias("cartpole") is None
    assert not repository.root.exists()


def test_versions_count_up_and_can_be_read_at_once(repository: ModelRepository) -> None:
    """Each publish gives the next number; its manifest and files are what was given."""
    assert [publish_linear(repository, bias=bias).version for bias in (0.0, 1.0)] == [1, 2]
    reader = RepositoryReader(repository.root)
    assert reader.models() == ["cartpole"]
    assert reader.versions("cartpole") == [1, 2]
    assert reader.read_file("cartpole", 2, "model.onnx") == linear_onnx(bias=1.0)
    assert reader.manifest("cartpole", 2).model == "cartpole"
    assert sorted(path.name for path in (repository.root / "cartpole/1").iterdir()) == ["manifest.json", "model.onnx"]


def test_documents_are_made_from_the_manifest_and_listed_in_it(repository: ModelRepository) -> None:
    """A model card is written with knowledge of its version, and verified like any other file."""

    def card(manifest: Manifest) -> bytes:
        return f"{manifest.model} version {manifest.version}, {len(manifest.files)} files".encode()

    manifest = repository.publish(draft(), {"model.onnx": linear_onnx()}, {"MODEL_CARD.md": card})
    assert repository.read_file("cartpole", 1, "MODEL_CARD.md") == b"cartpole version 1, 1 files"
    assert set(manifest.files) == {"model.onnx", "MODEL_CARD.md"}
    assert repository.verify("cartpole", 1) == manifest


def test_a_publish_that_fails_leaves_nothing(repository: ModelRepository) -> None:
    """If a document cannot be created, no version, directory or event is left, and no lock of a new model."""

    def broken(_: Manifest) -> bytes:
        raise ArithmeticError("no ink")

    with pytest.raises(ArithmeticError, match="no ink"):
        repository.publish(draft(), {"model.onnx": linear_onnx()}, {"MODEL_CARD.md": broken})
    assert not list(repository.root.iterdir())
    assert repository.models() == []
    publish_linear(repository)
    before = sorted((repository.root / "cartpole").rglob("*"))
    with pytest.raises(ArithmeticError, match="no ink"):
        repository.publish(draft(), {"model.onnx": linear_onnx()}, {"MODEL_CARD.md": broken})
    assert sorted((repository.root / "cartpole").rglob("*")) == before


def test_a_job_that_publishes_nothing_leaves_nothing(repository: ModelRepository) -> None:
    """A first job that fails, or one within another, leaves no directory of the model; a later one keeps versions."""
    with pytest.raises(KeyError), repository.job("cartpole", "retrain"), repository.job("cartpole", "publish"):
        raise KeyError
    assert not list(repository.root.iterdir())
    with repository.job("cartpole", "retrain"):
        publish_linear(repository)
    assert repository.versions("cartpole") == [1]


def test_aliases_name_versions(repository: ModelRepository) -> None:
    """A promotion returns what the alias named before; numbers and aliases resolve to numbers."""
    for _ in range(2):
        publish_linear(repository)
    assert repository.promote("cartpole", 1) is None
    assert repository.promote("cartpole", 2) == 1
    assert repository.promote("cartpole", 1, alias="challenger") is None
    assert repository.aliases("cartpole") == {"challenger": 1, "champion": 2}
    assert [repository.resolve("cartpole", which) for which in (1, "champion", "challenger")] == [1, 2, 1]
    assert (repository.root / "cartpole/aliases/champion").read_bytes() == b"2\n"


def test_promoting_the_champion_again_changes_nothing(repository: ModelRepository) -> None:
    """A second promotion of the same version is not an event, so a rollback still goes to the previous champion."""
    for _ in range(2):
        publish_linear(repository, promote=True)
    events = repository.history("cartpole")
    assert repository.promote("cartpole", 2) == 2
    assert repository.history("cartpole") == events
    assert repository.rollback("cartpole") == 1


def test_prune_keeps_the_newest_the_named_and_the_way_back(repository: ModelRepository) -> None:
    """Besides the newest, versions with an alias and the rollback target stay; a dry run removes nothing."""
    for _ in range(8):
        publish_linear(repository)
    for version, alias in ((2, "champion"), (4, "champion"), (5, "challenger")):
        repository.promote("cartpole", version, alias=alias)
    assert repository.prune("cartpole", keep=2, dry_run=True).versions == [1, 3, 6]
    assert repository.versions("cartpole") == list(range(1, 9))
    assert repository.prune("cartpole", keep=2) == ([1, 3, 6], [])
    assert repository.versions("cartpole") == [2, 4, 5, 7, 8]
    assert repository.rollback("cartpole") == 2
    with pytest.raises(ValueError, match="keep is 0"):
        repository.prune("cartpole", keep=0)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (7, r"cartpole has no version 7; it has versions 1-3, 5 and aliases champion\."),
        ("best", r"cartpole has no alias 'best'; it has versions 1-3, 5 and aliases champion\."),
        ("../1", r"cartpole has no alias '\.\./1'"),
    ],
)
def test_an_error_about_what_is_missing_lists_what_exists(
    repository: ModelRepository, which: int | str, message: str
) -> None:
    """The error about an unknown version or alias lists those that exist."""
    for _ in range(3):
        publish_linear(repository)
    (repository.root / "cartpole/4").mkdir()
    publish_linear(repository, promote=True)
    with pytest.raises(NotFoundError, match=message):
        repository.resolve("cartpole", which)


@pytest.mark.parametrize("model", ["unknown", "../cartpole", ".", "", "a/b"])
def test_an_unknown_model_is_reported_and_not_created(repository: ModelRepository, model: str) -> None:
    """No call but publish creates a model's directory, and none leaves the repository."""
    publish_linear(repository, promote=True)
    for attempt in (repository.resolve, repository.rollback, repository.prune):
        with pytest.raises(NotFoundError, match="There is no model"):
            attempt(model)
    with pytest.raises(NotFoundError):
        repository.promote(model, 1)
    assert [path.name for path in repository.root.iterdir()] == ["cartpole"]


def test_a_model_or_file_with_a_name_that_leads_outside_is_not_published(repository: ModelRepository) -> None:
    """Names are checked before anything is written."""
    for model, name in (("../evil", "model.onnx"), ("cartpole", "../evil"), ("cartpole", "manifest.json")):
        with pytest.raises(ValueError, match="is not a valid"):
            repository.publish(draft(model), {name: b""})
    assert not repository.root.exists()
