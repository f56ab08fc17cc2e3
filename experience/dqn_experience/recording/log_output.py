"""The output of a writer: its current file, created on demand, and sealed by size and age."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from dqn_experience.log import database, files
from dqn_experience.recording.pending import PackedRun, Report
from dqn_experience.recording.settings import Counters, WriterSettings
from dqn_experience.records import Behavior
from dqn_models import durable


class LogOutput:
    """The current file of one writer. All calls come from the writer's thread."""

    def __init__(self, store: Path, settings: WriterSettings, counters: Counters) -> None:
        """Writes under `store`."""
        self._store, self._settings, self._counters = store, settings, counters
        self._connection: sqlite3.Connection | None = None
        self._path, self._lock = Path(), -1
        self._behaviors: list[Behavior] = []
        self._begun, self._bytes = 0.0, 0
        share = settings.quota_bytes // 8 or settings.seal_bytes
        self._seal_bytes = min(settings.seal_bytes, share)

    def seconds_to_seal(self) -> float | None:
        """Seconds until the file is old enough to be sealed; None if there is none."""
        if self._connection is None:
            return None
        return max(0.0, self._begun + self._settings.seal_seconds - time.monotonic())

    def commit(self, runs: list[PackedRun], reports: list[Report]) -> None:
        """Returns once everything is durable. Raises sqlite3.Error or OSError if not: nothing is recorded then."""
        if runs or reports:
            self._commit(runs, reports)
        if self._connection and (self._bytes >= self._seal_bytes or self.seconds_to_seal() == 0.0):
            with contextlib.suppress(sqlite3.Error, OSError):  # what is in it is durable, sealed or not
                self.close()

    def _commit(self, runs: list[PackedRun], reports: list[Report]) -> None:
        started = time.perf_counter()
        try:
            connection = self._current()
            connection.execute("BEGIN IMMEDIATE")
            written = self._insert(connection, runs, reports)
            connection.execute("COMMIT")
            self._check_that_it_is_there()
        except BaseException as error:
            self._abandon(error)
            raise
        taken = time.perf_counter() - started
        counters = self._counters
        counters.decisions += sum(len(packed.run.columns["steps"]) for packed in runs)
        counters.outcomes += sum(len(report.outcomes) for report in reports)
        counters.episodes += sum(report.recorded is not None for report in reports)
        counters.bytes += written
        counters.commits += 1
        counters.commit_seconds += taken
        counters.slowest_commit_seconds = max(counters.slowest_commit_seconds, taken)
        self._bytes += written

    def _insert(self, connection: sqlite3.Connection, runs: list[PackedRun], reports: list[Report]) -> int:
        written = 0
        for packed in runs:
            number = self._number(connection, packed.behavior)
            written += database.insert_run(connection, packed.run._replace(behavior=number))
        for report in reports:
            if report.recorded is not None and report.behavior is not None:
                number = self._number(connection, report.behavior)
                written += database.insert_episode(connection, number, report.time, report.recorded)
            else:
                written += database.insert_outcomes(connection, report.model, report.time, report.outcomes)
        return written

    def _number(self, connection: sqlite3.Connection, behavior: Behavior) -> int:
        if behavior not in self._behaviors:
            self._behaviors.append(behavior)
        number = self._behaviors.index(behavior)
        database.insert_behavior(connection, number, behavior)
        return number

    def _current(self) -> sqlite3.Connection:
        if self._connection is None:
            durable.make_directory(files.log_folder(self._store))
            files.adopt(self._store)
            path = files.new_path(self._store, self._settings.node)
            lock = files.hold(path)
            if lock is None:
                raise OSError(f"{path} belongs to another process.")
            try:
                self._connection = database.open_new(path)
                durable.sync_directory(path.parent)
            except BaseException:
                files.remove(path)
                os.close(lock)
                raise
            self._path, self._lock, self._begun, self._bytes = path, lock, time.monotonic(), 0
        return self._connection

    def _check_that_it_is_there(self) -> None:
        """Raises FileNotFoundError if the file was removed: nobody would see what is written there."""
        self._path.stat()

    def _abandon(self, error: BaseException) -> None:
        """Abandons the file after a failure, since its last commit may be damaged; keeps it if only space was short."""
        if self._connection is None:
            return
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                return
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._release()

    def close(self) -> None:
        """Seals the file; the next commit creates a new one. Then removes the oldest files if the quota requires it."""
        if self._connection is None:
            return
        try:
            self._counters.sealed += files.seal(self._connection, self._path)
        finally:
            self._release()
        if self._settings.quota_bytes:
            room = self._settings.quota_bytes - self._seal_bytes
            self._counters.removed += len(files.enforce_quota(self._store, room))

    def _release(self) -> None:
        self._connection = None
        os.close(self._lock)
