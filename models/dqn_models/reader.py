"""Read-only access to a model repository, for serving and evaluation. It takes no locks and writes nothing."""

import contextlib
from functools import partial
from pathlib import Path

from dqn_models import history, layout
from dqn_models.errors import IntegrityError, NotFoundError, PolicyError, RepositoryError, wrap_os_errors
from dqn_models.history import Event
from dqn_models.layout import CHAMPION, DEFAULT_REPOSITORY, MANIFEST_FILE, ONNX_FILE
from dqn_models.manifest import FileEntry, Manifest
from dqn_models.policy import Policy


class RepositoryReader:
    """Lists, resolves, loads and verifies the versions below one directory."""

    def __init__(self, root: Path | str = DEFAULT_REPOSITORY) -> None:
        """Opens the repository at `root`, which need not exist yet."""
        self.root = Path(root)

    def models(self) -> list[str]:
        """Sorted names of the models that have at least one version or whose versions cannot be read.

        Raises RepositoryError if the repository itself cannot be read, rather than reporting it as empty.
        """
        with wrap_os_errors(f"read {self.root}"):
            names = [path.name for path in self._entries(self.root) if path.is_dir()]
        return sorted(name for name in names if layout.MODEL_NAME.fullmatch(name) and self._is_model(name))

    def _is_model(self, name: str) -> bool:
        try:
            return bool(self.versions(name))
        except RepositoryError:
            return True  # `versions` then explains why they cannot be read

    def versions(self, model: str) -> list[int]:
        """A model's published version numbers, ascending; a directory without a manifest does not count.

        Raises RepositoryError if they cannot be read.
        """
        with wrap_os_errors(f"read {self.root / model}"):
            numbers = self._directories(model)
            return [number for number in numbers if self._path(model, number, MANIFEST_FILE).is_file()]

    def manifest(self, model: str, version: int) -> Manifest:
        """A version's manifest. Raises NotFoundError, ManifestError, or RepositoryError if it cannot be read."""
        path = self._path(model, version, MANIFEST_FILE)
        data = _read(path)
        if data is None:
            raise NotFoundError(self._no_version(model, version))
        return Manifest.parse(data, str(path))

    def manifest_digest(self, model: str, version: int) -> str:
        """SHA-256 of a version's manifest; identifies the version independently of its number.

        Raises NotFoundError, or RepositoryError if the manifest cannot be read.
        """
        data = _read(self._path(model, version, MANIFEST_FILE))
        if data is None:
            raise NotFoundError(self._no_version(model, version))
        return FileEntry.of(data).sha256

    def aliases(self, model: str) -> dict[str, int]:
        """A model's aliases and the versions that they name. Raises RepositoryError if one cannot be read."""
        found = {name: self.alias(model, name) for name in self.alias_names(model)}
        return {name: version for name, version in found.items() if version is not None}

    def alias_names(self, model: str) -> list[str]:
        """Sorted names of a model's aliases, damaged ones included. Raises RepositoryError if they cannot be read."""
        names = [path.name for path in self._entries(self._path(model, "aliases"))]
        return sorted(name for name in names if layout.ALIAS_NAME.fullmatch(name))

    def alias(self, model: str, alias: str = CHAMPION) -> int | None:
        """The version that an alias names; None if there is no such alias. Raises RepositoryError if unreadable."""
        path = self._path(model, "aliases", alias)
        data = _read(path) if layout.ALIAS_NAME.fullmatch(alias) else None
        if data is None:
            return None
        version = layout.version_number(data.decode(errors="replace").strip())
        if version is None:
            raise RepositoryError(f"{path} holds {data[:40]!r}; expected a version number.")
        return version

    def resolve(self, model: str, version: int | str = CHAMPION) -> int:
        """Resolves a version number or an alias to a published version. Raises NotFoundError or RepositoryError."""
        number = self.alias(model, version) if isinstance(version, str) else version
        if number is None or number not in self.versions(model):
            raise NotFoundError(self._no_version(model, version))
        return number

    def read_file(self, model: str, version: int, name: str) -> bytes:
        """A published file's bytes, checked against the manifest.

        Raises NotFoundError, ManifestError, IntegrityError or RepositoryError.
        """
        return self._read_published(self.manifest(model, version), model, version, name)

    def load(self, model: str, version: int) -> tuple[Manifest, Policy]:
        """A version's manifest and its policy, verified and warmed up.

        Raises NotFoundError, ManifestError, IntegrityError, PolicyError or RepositoryError.
        """
        manifest = self.manifest(model, version)
        where = str(self._path(model, version, ONNX_FILE))
        policy = Policy(self._read_published(manifest, model, version, ONNX_FILE), where=where)
        if policy.inputs != manifest.onnx.inputs or policy.outputs != manifest.onnx.outputs:
            raise PolicyError(f"The inputs or outputs of {where} differ from its manifest.")
        policy.warm_up()
        return manifest, policy

    def load_policy(self, model: str, version: int) -> Policy:
        """A version's policy, verified and warmed up; raises what `load` raises."""
        return self.load(model, version)[1]

    def verify(self, model: str, version: int) -> Manifest:
        """Checks every file of a version against its manifest and loads its policy; raises what `load` raises."""
        manifest, _ = self.load(model, version)
        for name in manifest.files:
            self._read_published(manifest, model, version, name)
        return manifest

    def history(self, model: str) -> list[Event]:
        """A model's events, oldest first. Raises RepositoryError if the history cannot be read."""
        with wrap_os_errors(f"read the history of {model}"):
            return history.read(self._history(model), partial(self._has_happened, model))

    def _has_happened(self, model: str, event: Event) -> bool:
        """Whether the change of a pending event took place."""
        if event.get("event") == "publish":
            return self._path(model, event["version"], MANIFEST_FILE).exists()
        if event.get("event") == "prune":
            return not {*event["versions"], *event["garbage"]}.intersection(self._directories(model))
        return self._current(model, event["alias"]) == event["version"]

    def _current(self, model: str, alias: str) -> int | None:
        """The version that an alias names; None if it is missing or damaged."""
        with contextlib.suppress(RepositoryError):
            return self.alias(model, alias)
        return None

    def _read_published(self, manifest: Manifest, model: str, version: int, name: str) -> bytes:
        entry = manifest.files.get(name)
        if entry is None:
            raise NotFoundError(f"{model} version {version} has no file {name!r}.")
        path = self._path(model, version, name)
        data = _read(path)
        if data is None:
            raise IntegrityError(f"{path} is listed in the manifest but missing from the disk.")
        found = FileEntry.of(data)
        if found != entry:
            raise IntegrityError(
                f"{path} differs from what was published: {found.size} bytes with SHA-256 {found.sha256[:12]}..., "
                f"expected {entry.size} bytes with {entry.sha256[:12]}..."
            )
        return data

    def _entries(self, folder: Path) -> list[Path]:
        with wrap_os_errors(f"read {folder}"):
            return list(folder.iterdir()) if folder.is_dir() else []

    def _directories(self, model: str) -> list[int]:
        entries = self._entries(self._path(model))
        numbers = (layout.version_number(path.name) for path in entries if path.is_dir())
        return sorted(number for number in numbers if number is not None)

    def _path(self, model: str, *parts: str | int) -> Path:
        if not layout.MODEL_NAME.fullmatch(model):
            raise NotFoundError(f"There is no model {model!r} in {self.root}.")
        return self.root.joinpath(model, *(str(part) for part in parts))

    def _history(self, model: str) -> Path:
        return self._path(model, "history.jsonl")

    def _no_version(self, model: str, version: int | str) -> str:
        versions = self.versions(model)
        if not versions:
            return f"There is no model {model!r} in {self.root}."
        known = f"it has versions {_ranges(versions)} and aliases {', '.join(self.alias_names(model)) or 'none'}."
        if isinstance(version, int):
            return f"{model} has no version {version}; {known}"
        if version in self.alias_names(model):
            return f"{version} of {model} names version {self.alias(model, version)}, which no longer exists; {known}"
        return f"{model} has no alias {version!r}; {known}"


def _read(path: Path) -> bytes | None:
    """A file's bytes; None if there is no such file."""
    with wrap_os_errors(f"read {path}"):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text with runs abbreviated, e.g. "1-3, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
