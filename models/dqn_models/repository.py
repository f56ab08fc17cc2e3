"""The model repository: versions and aliases on disk. All access to its files goes through this class or its reader.

The protocol needs three storage operations: create-if-absent for a manifest, atomic replace for an alias, and append
for the history.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from dqn_models import durable, history, layout
from dqn_models.errors import NotFoundError, PromotionError, RepositoryError, wrap_os_errors
from dqn_models.history import Event
from dqn_models.layout import CHAMPION, MANIFEST_FILE
from dqn_models.manifest import FileEntry, Manifest, ManifestDraft
from dqn_models.reader import RepositoryReader

_LOCK_WAIT_SECONDS = 30.0


class Pruned(NamedTuple):
    """What a prune removed (or would remove): published versions, and directories that crashes left behind."""

    versions: list[int]
    garbage: list[int]


class ModelRepository(RepositoryReader):
    """Reads, publishes, promotes, rolls back and prunes the versions below one directory."""

    def publish(
        self,
        draft: ManifestDraft,
        files: Mapping[str, bytes],
        documents: Mapping[str, Callable[[Manifest], bytes]] | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> Manifest:
        """Publishes a new version and returns its manifest; after any error nothing is published.

        Args:
            draft: the manifest without version, date and files.
            files: contents by file name.
            documents: functions by file name that render a file from the manifest, which then lacks only the entries
                of these documents.
            by: who publishes, for the history; default: the current user.
            reason: why, for the history.

        Raises ValueError for a bad model or file name, and RepositoryError if the disk is full, the directory is
        read-only or the model stays locked.
        """
        layout.check_model_name(draft.model)
        for name in (*files, *(documents or {})):
            layout.check_file_name(name)
        with wrap_os_errors(f"publish {draft.model} in {self.root}"), self._locked(draft.model, create=True):
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
        """Points an alias at a version, which must verify; returns the version that the alias named before.

        With `replacing`, the alias must still name that version (None: no version), else PromotionError is raised;
        without, a damaged alias is repaired. Raises what `verify` raises.
        """
        layout.check_alias_name(alias)
        self.resolve(model, version)
        self.verify(model, version)
        with wrap_os_errors(f"promote {model} version {version}"), self._locked(model):
            self.resolve(model, version)  # it may have been pruned in the meantime
            current = self._current(model, alias) if replacing == "any" else self.alias(model, alias)
            if replacing not in ("any", current):
                raise PromotionError(
                    f"{alias} of {model} is now version {current}, not {replacing}; version {version} was not promoted."
                )
            if current != version:
                self._set_alias(model, alias, version, "promote", current, by, reason)
        return current

    def rollback(self, model: str, *, alias: str = CHAMPION, by: str | None = None, reason: str = "") -> int:
        """Points an alias back at its previous version; returns that version.

        Raises PromotionError if the history has no previous version, and what `verify` raises if it is damaged.
        """
        with wrap_os_errors(f"roll back {model}"), self._locked(model):
            current = self.alias(model, alias)
            if current is None:
                raise NotFoundError(self._no_version(model, alias))
            previous = history.previous_version(self.history(model), alias, current)
            if previous is None:
                raise PromotionError(f"No version of {model} was {alias} before {current}; promote one instead.")
            self.verify(model, previous)
            self._set_alias(model, alias, previous, "rollback", current, by, reason)
        return previous

    def check_writable(self, model: str) -> None:
        """Raises ValueError or RepositoryError if publishing would fail, before hours of training are spent."""
        layout.check_model_name(model)
        with wrap_os_errors(f"write to {self.root}"):
            if self._path(model).exists():
                with self._locked(model):
                    return
            durable.make_directory(self.root)  # the model's own directory is created with its first version
            with tempfile.TemporaryDirectory(prefix=".check-", dir=self.root):
                pass

    @contextlib.contextmanager
    def job(self, model: str, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
        """Locks the model for a long job such as `retrain`; manual promotions remain possible.

        Raises RepositoryError if another such job is still running after `wait_seconds`. The lock is released when the
        process ends, however it ends; if the model has no versions by then, its directory is removed too.
        """
        layout.check_model_name(model)
        lock = self._path(model, f".{name}.lock")
        with (
            wrap_os_errors(f"start a {name} job for {model} in {self.root}"),
            durable.exclusive_lock(lock, f"another {name} job", wait_seconds),
        ):
            try:
                yield
            finally:
                self._leave_nothing(model, lock)

    def prune(self, model: str, *, keep: int = 5, dry_run: bool = False, by: str | None = None) -> Pruned:
        """Removes crash leftovers and all versions except the newest `keep`, aliased ones and rollback targets.

        Raises ValueError if `keep` is below 1.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one version must be kept.")
        with wrap_os_errors(f"prune {model}"), self._locked(model):
            aliases = self.aliases(model)
            events = self.history(model)
            targets = {history.previous_version(events, name, version) for name, version in aliases.items()}
            versions = self.versions(model)
            old = [number for number in versions[:-keep] if number not in {*aliases.values(), *targets}]
            garbage = [number for number in self._directories(model) if number not in versions]
            if (old or garbage) and not dry_run:
                self._remove(model, old, garbage, by, f"keep the newest {keep}")
        return Pruned(old, garbage)

    # The protocol

    def _claim(self, model: str) -> int:
        """Creates the next version's directory; mkdir is atomic even where locks do not work."""
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
        entries = {name: FileEntry.of(data) for name, data in files.items()}
        fields = {name: getattr(draft, name) for name in ManifestDraft.model_fields}
        manifest = Manifest(**fields, version=version, created_at=history.now(), files=entries)
        written = dict(files)
        for name, render in documents.items():
            written[name] = render(manifest)
        for name, data in written.items():
            durable.write_file(folder / name, data)
            entries[name] = FileEntry.of(data)
        manifest = manifest.model_copy(update={"files": entries})
        temporary = durable.write_temporary(folder / MANIFEST_FILE, manifest.dump())
        durable.sync_directory(folder)
        durable.sync_directory(folder.parent)
        gate = draft.gate.model_dump() if draft.gate else None
        event: Event = {
            "event": "publish",
            "by": by or history.who(),
            "reason": reason,
            "version": version,
            "gate": gate,
        }
        with self._recorded(draft.model, event):
            durable.commit_new(temporary, folder / MANIFEST_FILE)
        return manifest

    def _set_alias(
        self,
        model: str,
        alias: str,
        version: int,
        event: Literal["promote", "rollback"],
        previous: int | None,
        by: str | None,
        reason: str,
    ) -> None:
        path = self._path(model, "aliases", alias)
        durable.make_directory(path.parent)
        temporary = durable.write_temporary(path, f"{version}\n".encode())
        common: Event = {"event": event, "by": by or history.who(), "reason": reason}
        try:
            with self._recorded(model, common | {"alias": alias, "version": version, "previous": previous}):
                durable.commit_replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _remove(self, model: str, versions: list[int], garbage: list[int], by: str | None, reason: str) -> None:
        common: Event = {"event": "prune", "by": by or history.who(), "reason": reason}
        try:
            with self._recorded(model, common | {"versions": versions, "garbage": garbage}):
                for number in (*versions, *garbage):
                    folder = self._path(model, number)
                    (folder / MANIFEST_FILE).unlink(
                        missing_ok=True
                    )  # first: without it the directory is no longer a version
                    durable.sync_directory(folder)
                    shutil.rmtree(folder)
        except OSError:  # some may already be removed
            left = self.versions(model)
            if gone := [number for number in versions if number not in left]:
                with self._recorded(model, common | {"versions": gone, "garbage": []}):
                    pass
            raise

    def _recorded(self, model: str, event: Event) -> contextlib.AbstractContextManager[None]:
        return history.recorded(self._history(model), event, partial(self._has_happened, model))

    @contextlib.contextmanager
    def _locked(self, model: str, *, create: bool = False) -> Iterator[None]:
        folder = self._path(model)
        if not create and not folder.is_dir():
            raise NotFoundError(self._no_version(model, CHAMPION))
        lock = folder / ".lock"
        with durable.exclusive_lock(lock, "another publish or promotion", _LOCK_WAIT_SECONDS):
            try:
                history.settle(self._history(model), partial(self._has_happened, model))
                yield
            finally:
                self._leave_nothing(model, lock)

    def _leave_nothing(self, model: str, lock: Path) -> None:
        """Where no version was ever published, removes the lock, which is held, and an otherwise empty directory."""
        events = self._history(model)
        with contextlib.suppress(OSError, RepositoryError):  # not empty, or not ours to change
            if not self._directories(model) and not (events.exists() and events.stat().st_size):
                events.unlink(missing_ok=True)
                lock.unlink()
                lock.parent.rmdir()
