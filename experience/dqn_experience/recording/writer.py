"""Writes the log: decisions without waiting, outcomes that are acknowledged once they are durable.

A thread commits everything that has accumulated in one transaction: at once if an outcome waits, else 30 ms after the
first decision. What arrives during a commit shares the next one. So a power failure or a kill loses the
decisions of 30 ms and those of the commit under way, and no acknowledged outcome.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_experience.errors import UnavailableError
from dqn_experience.log.outcome_index import WHOLE_EPISODE, Key, OutcomeIndex, twice
from dqn_experience.log.reading import recent_reports
from dqn_experience.recording.log_output import LogOutput
from dqn_experience.recording.pending import PER_DECISION, Batch, PackedRun, Report, all_done, pack
from dqn_experience.recording.sampling import STEADY, Sampler
from dqn_experience.recording.settings import Counters, WriterSettings
from dqn_experience.records import Behavior, Outcome, RecordedEpisode, check_outcome, check_recorded, content_of

_REMEMBERED_REPORTS = 100_000

log = logging.getLogger(__name__)


class ExperienceWriter:
    """Records the decisions and outcomes of one process. Call `append` and `report` in one thread, as of an event loop.

    Attributes:
        counters: what it has done so far.
    """

    def __init__(self, store: Path, settings: WriterSettings | None = None) -> None:
        """Writes under `store`, which is created with the first record."""
        self._store, self._settings = store, settings or WriterSettings()
        self.counters = Counters()
        self._sampler = Sampler(self._settings.sample, self._settings.salt)
        self._output = LogOutput(store, self._settings, self.counters)
        self._unwritten: list[PackedRun] = []
        self._index, self._index_lock = OutcomeIndex(), threading.Lock()
        self._batches: deque[Batch] = deque()
        self._reports: deque[Report] = deque()
        self._steady_bytes = STEADY * self._settings.buffer_bytes
        self._taken_in, self._written_out = 0, 0  # bytes; each is changed by one thread alone
        self._is_failing, self._has_warned, self._commit_began = False, False, 0.0
        self._closing = threading.Event()
        self._wake, self._urgent = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="experience", daemon=True)
        self._thread.start()

    @property
    def fraction(self) -> float:
        """The fraction of episodes being recorded: less than the setting while the disk does not keep up."""
        return self._sampler.fraction

    @property
    def pending_bytes(self) -> int:
        """Approximate bytes that wait in memory to be written."""
        return self._taken_in - self._written_out

    @property
    def is_available(self) -> bool:
        """Whether outcomes are accepted: the last commit did not fail, and none has been under way for too long."""
        works = self._thread.is_alive() and not self._closing.is_set()
        return works and not self._is_failing and not self._is_stuck

    @property
    def _is_stuck(self) -> bool:
        began = self._commit_began
        return began > 0.0 and time.monotonic() - began > self._settings.patience_seconds

    def append(
        self,
        behavior: Behavior,
        episodes: Sequence[str],
        steps: Sequence[int],
        observations: NDArray[Any],
        actions: Sequence[int | Sequence[int]],
        propensities: Sequence[float],
        epsilons: Sequence[float],
        masks: NDArray[np.bool_] | None = None,
    ) -> None:
        """Records the decisions of one batch; never waits and never fails.

        All arguments have n elements; `observations` are rows [n] of the behavior's dtype, `actions` indices, `masks`
        [n, n_actions] or None if all actions were allowed. Sequences must not change afterwards; arrays may.
        """
        rows, fraction = observations.tobytes(), self._sampler.fraction
        waiting = self._taken_in - self._written_out + len(rows) + PER_DECISION * len(steps)
        if waiting > self._steady_bytes:
            self._sampler.tighten(waiting / self._settings.buffer_bytes)
            fraction = self._sampler.fraction
        kept_mask = None if masks is None else masks.copy()
        now = time.time_ns() // 1_000_000
        batch = Batch(behavior, now, fraction, episodes, steps, rows, actions, propensities, epsilons, kept_mask)
        if fraction < 1.0:
            batch = self._sampled(batch)
        if len(batch.steps) == 0:
            return
        self._taken_in += batch.size
        self._batches.append(batch)
        if len(self._batches) == 1:  # the writer empties it after it has cleared the event, so one for all is enough
            self._wake.set()

    def _sampled(self, batch: Batch) -> Batch:
        """The decisions of episodes that are being recorded; counts the others."""
        model = batch.behavior.model
        kept = [row for row, episode in enumerate(batch.episodes) if self._sampler.takes(model, episode)]
        if len(kept) == len(batch.steps):
            return batch
        fraction, sample = self._sampler.fraction, self._sampler.sample
        reason = "sampling" if fraction == sample else "full" if fraction == 0.0 else "overload"
        self.counters.dropped[reason] += len(batch.steps) - len(kept)
        return batch.only(kept)

    def report(self, model: str, outcomes: Sequence[Outcome], row_bytes: int | None = None) -> "Future[None]":
        """Records outcomes: all of them, or none. The future is done once they are durable.

        `row_bytes` is the size of an observation's row, if known. An outcome that is already known is not recorded
        again, but waited for if necessary. Raises RecordError for an invalid outcome, ContradictionError if another
        one of the same step was recorded, UnavailableError if the store accepts none; the future also raises that if
        the commit fails.
        """
        for outcome in outcomes:
            check_outcome(outcome, row_bytes)
        keys = [Key(model, outcome.episode, outcome.step) for outcome in outcomes]
        report = Report(model, None, time.time_ns() // 1_000_000, list(outcomes), None, keys, Future())
        return self._take(report, list(map(content_of, outcomes)))

    def record(self, behavior: Behavior, recorded: RecordedEpisode) -> "Future[None]":
        """Records a whole episode, as `report` records outcomes."""
        check_recorded(recorded, behavior)
        keys = [Key(behavior.model, recorded.episode, WHOLE_EPISODE)]
        report = Report(behavior.model, behavior, time.time_ns() // 1_000_000, [], recorded, keys, Future())
        return self._take(report, [content_of(recorded)])

    def _take(self, report: Report, contents: list[bytes]) -> "Future[None]":
        if not self.is_available:
            self.counters.refused += len(contents)
            raise UnavailableError(
                "The store of experience takes no outcomes now: its disk is full, slow or gone. Try again later."
            )
        with self._index_lock:
            new, waiting = self._new_among(report, contents)
            if not new:
                return all_done(waiting)
            for row in new:
                self._index.add(report.keys[row], hash(contents[row]), report.durable)
        self._reports.append(report.only(new))
        self._urgent.set()
        self._wake.set()
        return all_done([*waiting, report.durable])

    def _new_among(self, report: Report, contents: list[bytes]) -> tuple[list[int], "list[Future[None]]"]:
        """The rows that are not known yet, and the futures of those that are."""
        new: dict[Key, int] = {}
        waiting = []
        for row, (key, content) in enumerate(zip(report.keys, contents, strict=True)):
            if key in new and contents[new[key]] == content:
                continue
            if key in new:
                raise twice(key)
            if not self._sampler.is_sampled(key.model, key.episode) and key.step != WHOLE_EPISODE:
                continue
            if not self._index.is_known(key, hash(content)):
                new[key] = row
            elif future := self._index.waiting(key):
                waiting.append(future)
        return list(new.values()), waiting

    def close(self, timeout: float = 10.0) -> None:
        """Writes what waits, as far as the disk allows, seals the file and stops, within `timeout` seconds."""
        self._closing.set()
        self._wake.set()
        self._urgent.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        self._remember()
        while not self._closing.is_set():
            self._wake.wait(self._output.seconds_to_seal())
            if not self._reports and self._batches:
                self._urgent.wait(self._settings.group_seconds)
            self._wake.clear()
            self._urgent.clear()
            if not self._write():
                self._closing.wait(self._settings.retry_seconds)
                self._wake.set()  # for what is not written yet
        self._write()
        self._output.close()

    def _remember(self) -> None:
        """Learns what was reported before this process began, so that a repeat is recognized."""
        try:
            for key, content in recent_reports(self._store, _REMEMBERED_REPORTS):
                with self._index_lock:
                    self._index.remember(key, hash(content))
        except Exception:
            log.warning("the log of experience could not be read", exc_info=True)

    def _write(self) -> bool:
        """Commits what waits and returns whether that succeeded. On failure all but outcomes is retried."""
        if not self._unwritten:
            batches = [self._batches.popleft() for _ in range(len(self._batches))]
            self._unwritten = pack(batches, self.counters)
            self._written_out += sum(batch.size for batch in batches) - sum(packed.size for packed in self._unwritten)
        reports = [self._reports.popleft() for _ in range(len(self._reports))]
        self._commit_began = time.monotonic()
        try:
            self._output.commit(self._unwritten, reports)
        except Exception as error:  # noqa: BLE001  (whatever it is, outcomes must be refused and decisions go on)
            self._fail(reports, error)
            return False
        finally:
            self._commit_began = 0.0
        self._written_out += sum(packed.size for packed in self._unwritten)
        if self._has_warned and (self._unwritten or reports):
            self._has_warned = False
            log.warning("experience is recorded again")
        self._is_failing = False
        self._unwritten = []
        self._settle(reports, None)
        self._sampler.relax(self.pending_bytes / self._settings.buffer_bytes)
        return True

    def _fail(self, reports: list[Report], error: Exception) -> None:
        self.counters.failures += 1
        self._is_failing = True
        if not self._has_warned:
            self._has_warned = True
            log.warning("experience cannot be recorded: %s", error)
        refused = sum(len(report.keys) for report in reports)
        self.counters.refused += refused
        self._settle(reports, UnavailableError(f"The experience store could not be written: {error}. Try again later."))

    def _settle(self, reports: list[Report], error: UnavailableError | None) -> None:
        with self._index_lock:
            for report in reports:
                self._index.settle(report.keys, recorded=error is None)
        for report in reports:
            if error is None:
                report.durable.set_result(None)
            else:
                report.durable.set_exception(error)
