"""One log file: a SQLite database with the columns of many decisions in a row, and a checksum for each row.

A column whose values are all equal is stored as one value. The observations are the last column, with a separate
checksum, so that they are read only when they are needed.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from dqn_experience.errors import DamagedError
from dqn_experience.records import Behavior, Outcome, RecordedEpisode

SCHEMA_VERSION = 1
APPLICATION_ID = 0x44514E45  # "DQNE": what `file` shows
LIVE, SEALED = ".live", ".sqlite"
"""Suffixes of files that are being written and of those that never change again."""
MAX_RUN = 65_536
"""Maximum decisions in a row: the indices of its episodes are uint16."""

_TABLES = """
CREATE TABLE behaviors (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE decisions (
  id INTEGER PRIMARY KEY, behavior INTEGER NOT NULL, count INTEGER NOT NULL, time INTEGER NOT NULL,
  until INTEGER NOT NULL, crc INTEGER NOT NULL, observations_crc INTEGER NOT NULL, episodes TEXT NOT NULL,
  numbers BLOB NOT NULL, steps BLOB NOT NULL, times BLOB NOT NULL, actions BLOB NOT NULL, propensities BLOB NOT NULL,
  epsilons BLOB NOT NULL, passes BLOB NOT NULL, masks BLOB, observations BLOB NOT NULL);
CREATE TABLE outcomes (
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, count INTEGER NOT NULL, time INTEGER NOT NULL, crc INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE TABLE episodes (
  id INTEGER PRIMARY KEY, behavior INTEGER NOT NULL, time INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE seals (id INTEGER PRIMARY KEY, time INTEGER NOT NULL);
"""
COLUMNS: dict[str, np.dtype[Any]] = {
    "numbers": np.dtype("<u2"),
    "steps": np.dtype("<u4"),
    "times": np.dtype("<u4"),
    "actions": np.dtype("<u2"),
    "propensities": np.dtype("<f4"),
    "epsilons": np.dtype("<f4"),
    "passes": np.dtype("<f4"),
}
"""The columns of a run and their dtypes: `numbers` are indices of `episodes`, `times` milliseconds since `time`."""

_decode_outcomes = msgspec.msgpack.Decoder(list[Outcome]).decode
_decode_episode = msgspec.msgpack.Decoder(RecordedEpisode).decode
_decode_behavior = msgspec.json.Decoder(Behavior).decode
_encode = msgspec.msgpack.Encoder().encode


class Run(NamedTuple):
    """A row of decisions: what one behavior decided within a short time, in order."""

    behavior: int
    time: int
    """Of the first decision, in milliseconds since 1970."""
    episodes: list[str]
    columns: dict[str, NDArray[Any]]
    """The columns, [count] each, by the names in COLUMNS."""
    masks: NDArray[np.uint8] | None
    """Bits [count, (n_actions + 7) // 8] of the actions that were allowed; None: all."""
    observations: bytes
    """Rows; empty if they were not read."""


def open_new(path: Path) -> sqlite3.Connection:
    """Creates a log file in which every commit is durable. Raises sqlite3.Error, also if the file exists."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a log file for reading.

    Raises DamagedError if it is not a log file or was written by a newer release, or if it turns out to be damaged
    while it is read; FileNotFoundError if it is gone.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is gone.")
    try:
        with contextlib.closing(_connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise DamagedError(
                    f"{path} has the log's schema version {version}, of a newer release; this one reads up to "
                    f"{SCHEMA_VERSION}. Upgrade it."
                )
            if path.suffix == SEALED and is_empty(connection):
                raise DamagedError(f"{path} was sealed but has no log in it.")
            yield connection
    except (sqlite3.Error, msgspec.MsgspecError, UnicodeDecodeError, OverflowError) as error:
        raise DamagedError(f"{path} is damaged or not a log file: {error}.") from error


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only connection; if the folder is not writable, the file is read as it is."""
    quoted = path.absolute().as_uri()
    ways = ("mode=rw", "mode=ro", "immutable=1") if path.suffix == SEALED else ("mode=rw", "mode=ro")
    for options in ways:
        connection = sqlite3.connect(f"{quoted}?{options}", uri=True, isolation_level=None, timeout=5.0)
        try:
            connection.execute("PRAGMA query_only=1")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if options == ways[-1]:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise AssertionError("unreachable")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file was abandoned before its tables were created."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_master WHERE name='seals'").fetchone()[0] == 0)


def insert_behavior(connection: sqlite3.Connection, number: int, behavior: Behavior) -> None:
    """Adds a behavior, to which runs refer by number, unless it is there."""
    body = msgspec.json.encode(behavior).decode()
    connection.execute("INSERT OR IGNORE INTO behaviors VALUES (?, ?, ?)", (number, _checksum(number, body), body))


def insert_run(connection: sqlite3.Connection, run: Run) -> int:
    """Adds decisions; returns the bytes that they take."""
    count = len(run.columns["steps"])
    columns = [_packed(run.columns[name].astype(dtype, copy=False)) for name, dtype in COLUMNS.items()]
    masks = None if run.masks is None else run.masks.tobytes()
    until = run.time + int(run.columns["times"].max())
    episodes = "\n".join(run.episodes)
    crc = _checksum(run.behavior, count, run.time, until, episodes, *columns, masks)
    head = (run.behavior, count, run.time, until, crc, zlib.crc32(run.observations), episodes)
    connection.execute(
        f"INSERT INTO decisions VALUES (NULL{', ?' * (9 + len(columns))})",  # noqa: S608  (only question marks)
        (*head, *columns, masks, run.observations),
    )
    return len(run.observations) + len(episodes) + sum(map(len, columns)) + 64


def insert_outcomes(connection: sqlite3.Connection, model: str, time: int, outcomes: Sequence[Outcome]) -> int:
    """Adds outcomes of a model that arrived at a time in milliseconds since 1970; returns the bytes that they take."""
    body = _encode(outcomes)
    crc = _checksum(model, len(outcomes), time, body)
    connection.execute("INSERT INTO outcomes VALUES (NULL, ?, ?, ?, ?, ?)", (model, len(outcomes), time, crc, body))
    return len(body) + 32


def insert_episode(connection: sqlite3.Connection, behavior: int, time: int, recorded: RecordedEpisode) -> int:
    """Adds a whole episode; returns the bytes that it takes."""
    body = _encode(recorded)
    values = (behavior, time, _checksum(behavior, time, body), body)
    connection.execute("INSERT INTO episodes VALUES (NULL, ?, ?, ?, ?)", values)
    return len(body) + 32


def behaviors(connection: sqlite3.Connection) -> dict[int, Behavior]:
    """The behaviors by the number that runs refer to, without those whose checksum is wrong."""
    rows = connection.execute("SELECT id, crc, body FROM behaviors")
    return {number: _decode_behavior(body) for number, crc, body in rows if crc == _checksum(number, body)}


def read_runs(connection: sqlite3.Connection) -> Iterator[tuple[int, Run | None]]:
    """The rows of decisions with their numbers, without observations; None for one whose checksum is wrong."""
    widths = {number: len(behavior.branches) for number, behavior in behaviors(connection).items()}
    fields = f"id, behavior, count, time, until, crc, episodes, {', '.join(COLUMNS)}, masks"
    for row in connection.execute(f"SELECT {fields} FROM decisions ORDER BY id"):  # noqa: S608  (names from above)
        number, behavior, count, time, until, crc, episodes, *columns, masks = row
        yield (
            number,
            (
                _run(behavior, count, time, episodes, columns, masks, widths.get(behavior, 0))
                if crc == _checksum(behavior, count, time, until, episodes, *columns, masks)
                else None
            ),
        )


def _run(
    behavior: int, count: int, time: int, episodes: str, columns: list[bytes], masks: bytes | None, width: int
) -> Run:
    unpacked = {
        name: _unpacked(data, dtype, count) for data, (name, dtype) in zip(columns, COLUMNS.items(), strict=True)
    }
    if width:  # actions branch
        actions = np.frombuffer(columns[list(COLUMNS).index("actions")], COLUMNS["actions"]).reshape(-1, width)
        unpacked["actions"] = np.broadcast_to(actions, (count, width))
    bits = None if masks is None else np.frombuffer(masks, np.uint8).reshape(count, -1)
    return Run(behavior, time, episodes.split("\n"), unpacked, bits, b"")


def read_rows(connection: sqlite3.Connection, number: int) -> tuple[bytes, bytes | None]:
    """Observations of a run, and its masks' bits. Raises DamagedError if they are not what was written."""
    fields = "observations, observations_crc, masks"
    found = connection.execute(f"SELECT {fields} FROM decisions WHERE id=?", (number,)).fetchone()  # noqa: S608  (names)
    if found is None or not isinstance(found[0], bytes) or zlib.crc32(found[0]) != found[1]:
        raise DamagedError(f"The observations of row {number} are not what was written.")
    return found[0], found[2]


def read_outcomes(connection: sqlite3.Connection) -> Iterator[tuple[str, int, list[Outcome] | None]]:
    """The model, the time and the outcomes of each row; None for one whose checksum is wrong."""
    for model, count, time, crc, body in connection.execute(
        "SELECT model, count, time, crc, body FROM outcomes ORDER BY id"
    ):
        yield model, time, _decode_outcomes(body) if crc == _checksum(model, count, time, body) else None


def read_episodes(connection: sqlite3.Connection) -> Iterator[tuple[int, int, RecordedEpisode | None]]:
    """The behavior, the time and the episode of each row; None for one whose checksum is wrong."""
    for behavior, time, crc, body in connection.execute("SELECT behavior, time, crc, body FROM episodes ORDER BY id"):
        yield behavior, time, _decode_episode(body) if crc == _checksum(behavior, time, body) else None


def last_time(connection: sqlite3.Connection) -> int:
    """When the last record of a file was made, in ms since 1970; 0 for a file without records."""
    tables = (("until", "decisions"), ("time", "outcomes"), ("time", "episodes"))
    found = [connection.execute(f"SELECT max({column}) FROM {table}").fetchone()[0] for column, table in tables]  # noqa: S608  (names from above)
    return max((value for value in found if isinstance(value, int)), default=0)


def _packed(values: NDArray[Any]) -> bytes:
    bits = values.view(f"u{values.itemsize}")  # so that NaN equals itself
    return (values[:1] if (bits == bits[0]).all() else values).tobytes()


def _unpacked(data: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    values = np.frombuffer(data, dtype)
    return np.broadcast_to(values, count) if len(values) == 1 else values  # for actions that branch: see above


def _checksum(*parts: Any) -> int:
    """The checksum of numbers, texts and bytes together."""
    crc = 0
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        crc = zlib.crc32(data, zlib.crc32(len(data).to_bytes(8, "little"), crc))
    return crc
