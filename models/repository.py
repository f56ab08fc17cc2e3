"""The model repository: versions and aliases on disk. All access to its files goes through this class.

The protocol needs three things of the storage: create-if-absent for a manifest, replace-in-one-step for an alias, and
append for the history. Readers take no lock and need no write permission.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from models import durable, history, layout
from models.errors import IntegrityError, NotFoundError, PolicyError, PromotionError, RepositoryError
from models.layout import CHAMPION, MANIFEST_FILE, ONNX_FILE
from models.manifest import FileEntry, Manifest, ManifestDraft
from models.policy import Policy

DEFAULT_REPOSITORY = Path("models/store")
_LOCK_WAIT_SECONDS = 30.0


class Pruned(NamedTuple):
    """What a prune removed (or would remove): published versions, and directories left behind by crashes."""

    versions: list[int]
    garbage: list[int]


class ModelRepository:
    """Publishes, reads, promotes, rolls back, verifies and prunes versions below one directory."""

    def __init__(self, root: Path | str = DEFAULT_REPOSITORY) -> None:
        """Opens the repository at `root`, which need not exist yet."""
        self.root = Path(root)

    # Reading

    def models(self) -> list[str]:
        """Names of the models with at least one version, sorted."""
        with _explained(f"read {self.root}"):
            if not self.root.is_dir():
                return []
            names = [path.name for path in self.root.iterdir() if path.is_dir()]
        return sorted(name for name in names if layout.MODEL_NAME.fullmatch(name) and self.versions(name))

    def versions(self, model: str) -> list[int]:
        """Numbers of a model's published versions, ascending; a directory without a manifest is not one."""
        return [number for number in self._directories(model) if self._path(model, number, MANIFEST_FILE).is_file()]

    def manifest(self, model: str, version: int) -> Manifest:
        """One version's manifest. Raises NotFoundError or ManifestError."""
        path = self._path(model, version, MANIFEST_FILE)
        data = _read(path)
        if data is None:
            raise NotFoundError(self._no_version(model, version))
        return Manifest.parse(data, str(path))

    def aliases(self, model: str) -> dict[str, int]:
        """All aliases of a model and the versions that they name."""
        folder = self._path(model, "aliases")
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = {name: self.alias(model, name) for name in names if layout.ALIAS_NAME.fullmatch(name)}
        return {name: version for name, version in found.items() if version is not None}

    def alias(self, model: str, alias: str = CHAMPION) -> int | None:
        """The version that an alias names; None when there is no such alias. Raises RepositoryError when unreadable."""
        path = self._path(model, "aliases", alias)
        data = _read(path)
        if data is None:
            return None
        version = layout.version_number(data.decode(errors="replace").strip())
        if version is None:
            raise RepositoryError(f"{path} holds {data[:40]!r}; expected is a version number.")
        return version

    def resolve(self, model: str, version: int | str = CHAMPION) -> int:
        """The number of a published version, given as a number or an alias. Raises NotFoundError."""
        if isinstance(version, str):
            number = self.alias(model, version) if layout.ALIAS_NAME.fullmatch(version) else None
            if number is None:
                raise NotFoundError(self._no_version(model, version))
        else:
            number = version
        if number not in self.versions(model):
            raise NotFoundError(self._no_version(model, version))
        return number

    def read_file(self, model: str, version: int, name: str) -> bytes:
        """A published file's bytes, checked against the manifest. Raises NotFoundError or IntegrityError."""
        entry = self.manifest(model, version).files.get(name)
        if entry is None:
            raise NotFoundError(f"{model} version {version} has no file {name!r}.")
        path = self._path(model, version, name)
        data = _read(path)
        if data is None:
            raise IntegrityError(f"{path} is in the manifest but gone from the disk.")
        if len(data) != entry.size or _sha256(data) != entry.sha256:
            raise IntegrityError(
                f"{path} is not what was published: {len(data)} bytes with SHA-256 {_sha256(data)[:12]}..., "
                f"expected are {entry.size} bytes with {entry.sha256[:12]}..."
            )
        return data

    def load_policy(self, model: str, version: int) -> Policy:
        """A version's policy, verified and warmed up.

        Raises NotFoundError, ManifestError, IntegrityError or PolicyError, each naming what is wrong.
        """
        manifest = self.manifest(model, version)
        where = str(self._path(model, version, ONNX_FILE))
        policy = Policy(self.read_file(model, version, ONNX_FILE), where=where)
        if policy.inputs != manifest.onnx.inputs or policy.outputs != manifest.onnx.outputs:
            raise PolicyError(f"{where} has other inputs or outputs than its manifest says.")
        policy.warm_up()
        return policy

    def verify(self, model: str, version: int) -> Manifest:
        """Checks every file of a version against its manifest and loads its policy; raises what `load_policy` does."""
        manifest = self.manifest(model, version)
        for name in manifest.files:
            self.read_file(model, version, name)
        self.load_policy(model, version)
        return manifest

    def history(self, model: str) -> list[history.Event]:
        """All events of a model, oldest first."""
        with _explained(f"read the history of {model}"):
            return history.read(self._history(model))

    # Writing

    def publish(
        self,
        draft: ManifestDraft,
        files: Mapping[str, bytes],
        documents: Mapping[str, Callable[[Manifest], bytes]] | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> Manifest:
        """Publishes a new version and returns its manifest. On any error nothing is published.

        `documents` are files written from the manifest (which then lacks only their own entries). Raises
        RepositoryError when the disk is full, the directory is read-only or the model stays locked.
        """
        layout.check_model_name(draft.model)
        for name in (*files, *(documents or {})):
            layout.check_file_name(name)
        with _explained(f"publish {draft.model} in {self.root}"), self._locked(draft.model):
            version = self._claim(draft.model)
            try:
                return self._write_version(draft, version, files, documents or {}, by, reason)
            except BaseException:
                if not self._path(draft.model, version, MANIFEST_FILE).exists():
                    shutil.rmtree(self._path(draft.model, version), ignore_errors=True)
                raise

    def promote(
        self,
        model: str,
        version: int,
        *,
        alias: str = CHAMPION,
        replacing: int | Literal["any"] | None = "any",
        by: str | None = None,
        reason: str = "",
    ) -> int | None:
        """Makes an alias name a version, which must verify; returns the version that it named before.

        With `replacing`, only if the alias still names that version (None: no version), else PromotionError.
        """
        layout.check_alias_name(alias)
        self.resolve(model, version)
        self.verify(model, version)
        with _explained(f"promote {model} version {version}"), self._locked(model):
            self.resolve(model, version)  # a prune may have come first
            current = self.alias(model, alias)
            if replacing not in ("any", current):
                raise PromotionError(
                    f"{alias} of {model} is version {current} by now, not {replacing}; version {version} was not "
                    "promoted."
                )
            if current != version:
                self._point(model, alias, version, "promote", current, by, reason)
        return current

    def rollback(self, model: str, *, alias: str = CHAMPION, by: str | None = None, reason: str = "") -> int:
        """Makes an alias name the version that it named before; returns it.

        Raises PromotionError when the history knows of none, and what `verify` raises when it is damaged.
        """
        with _explained(f"roll back {model}"), self._locked(model):
            current = self.alias(model, alias)
            if current is None:
                raise NotFoundError(self._no_version(model, alias))
            previous = history.previous_version(self.history(model), alias, current)
            if previous is None:
                raise PromotionError(f"{model} has no version before {current} that was {alias}; promote one instead.")
            self.verify(model, previous)
            self._point(model, alias, previous, "rollback", current, by, reason)
        return previous

    def prune(self, model: str, *, keep: int = 5, dry_run: bool = False, by: str | None = None) -> Pruned:
        """Removes garbage and all versions but the newest `keep`, those with an alias and the roll-back target."""
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one version must be kept.")
        with _explained(f"prune {model}"), self._locked(model):
            aliases = self.aliases(model)
            events = self.history(model)
            targets = {history.previous_version(events, name, version) for name, version in aliases.items()}
            versions = self.versions(model)
            old = [number for number in versions[:-keep] if number not in {*aliases.values(), *targets}]
            garbage = [number for number in self._directories(model) if number not in versions]
            if (old or garbage) and not dry_run:
                reason = f"keep the newest {keep}"
                history.append(self._history(model), "prune", by, reason, versions=old, garbage=garbage)
                for number in (*old, *garbage):
                    self._remove(model, number)
        return Pruned(old, garbage)

    # The protocol

    def _claim(self, model: str) -> int:
        """Makes the next version's directory; mkdir decides even where locks do not work."""
        seen = [*self._directories(model), history.highest_version(self.history(model))]
        version = max(seen) + 1
        while True:
            try:
                self._path(model, version).mkdir()
            except FileExistsError:
                version += 1
            else:
                return version

    def _write_version(
        self,
        draft: ManifestDraft,
        version: int,
        files: Mapping[str, bytes],
        documents: Mapping[str, Callable[[Manifest], bytes]],
        by: str | None,
        reason: str,
    ) -> Manifest:
        folder = self._path(draft.model, version)
        entries = {name: FileEntry(size=len(data), sha256=_sha256(data)) for name, data in files.items()}
        fields = {name: getattr(draft, name) for name in ManifestDraft.model_fields}
        manifest = Manifest(**fields, version=version, created_at=history.now(), files=entries)
        written = dict(files)
        for name, render in documents.items():
            written[name] = render(manifest)
        for name, data in written.items():
            durable.write_file(folder / name, data)
            entries[name] = FileEntry(size=len(data), sha256=_sha256(data))
        manifest = manifest.model_copy(update={"files": entries})
        temporary = durable.write_temporary(folder / MANIFEST_FILE, manifest.dump())
        durable.sync_directory(folder)
        durable.sync_directory(folder.parent)
        gate = draft.gate.model_dump() if draft.gate else None
        history.append(self._history(draft.model), "publish", by, reason, version=version, gate=gate)
        durable.commit_new(temporary, folder / MANIFEST_FILE)
        return manifest

    def _point(
        self, model: str, alias: str, version: int, event: str, previous: int | None, by: str | None, reason: str
    ) -> None:
        path = self._path(model, "aliases", alias)
        path.parent.mkdir(exist_ok=True)
        temporary = durable.write_temporary(path, f"{version}\n".encode())
        try:
            facts = {"alias": alias, "version": version, "previous": previous}
            history.append(self._history(model), event, by, reason, **facts)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        durable.commit_replace(temporary, path)
        durable.sync_directory(path.parent.parent)

    def _remove(self, model: str, version: int) -> None:
        folder = self._path(model, version)
        (folder / MANIFEST_FILE).unlink(missing_ok=True)  # first: from here on it is not a version
        durable.sync_directory(folder)
        shutil.rmtree(folder)

    @contextlib.contextmanager
    def _locked(self, model: str) -> Iterator[None]:
        folder = self._path(model)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            durable.sync_directory(folder.parent)
        with durable.exclusive_lock(folder / ".lock", "another publish or promotion", _LOCK_WAIT_SECONDS):
            yield

    def _directories(self, model: str) -> list[int]:
        folder = self._path(model)
        with _explained(f"read {folder}"):
            entries = list(folder.iterdir()) if folder.is_dir() else []
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
        wanted = f"alias {version!r}" if isinstance(version, str) else f"version {version}"
        return f"{model} has no {wanted}; it has versions {_ranges(versions)} and aliases {self.aliases(model)}."


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turns the system's refusals into RepositoryError."""
    try:
        yield
    except OSError as error:
        raise RepositoryError(f"Cannot {doing}: {error.strerror or error}.") from error


def _read(path: Path) -> bytes | None:
    """A file's bytes; None when there is no such file."""
    with _explained(f"read {path}"):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text, runs shortened: 1-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
