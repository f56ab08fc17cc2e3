"""A model's history: an append-only log of what changed, who changed it, when and why.

A change and its line cannot be written in one step. The line is first written durably but marked as pending: with `#`
as its first byte it is not JSON, hence not yet an event. After the change that byte is corrected; if the change
failed, the line is removed. A kill may leave the last line pending: it is an event if its change took place.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from dqn_models import durable

_PENDING = b"#"


class Event(TypedDict, total=False):
    """One line of `history.jsonl`. Lines written by other releases may have fewer or more keys."""

    at: str
    """RFC 3339, UTC"""
    event: Literal["publish", "promote", "rollback", "prune"]
    by: str
    reason: str
    version: int
    """the version published, or the one that `alias` names from now on"""
    gate: dict[str, Any] | None
    """for a publication: the manifest's gate result"""
    alias: str
    previous: int | None
    """the version that `alias` named before"""
    versions: list[int]
    """pruned versions"""
    garbage: list[int]
    """pruned directories that crashes had left behind"""


Happened = Callable[[Event], bool]
"""Whether the change of a pending event took place."""


def now() -> datetime:
    """The current time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def who() -> str:
    """Who makes a change, as user@host; the user id where it has no name, as in some containers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextlib.contextmanager
def recorded(path: Path, event: Event, happened: Happened) -> Iterator[None]:
    """Records the change made within the block as an event; the caller must hold the model's lock."""
    stamped = {"at": now().isoformat().replace("+00:00", "Z")} | event
    durable.append_line(path, _PENDING + json.dumps(stamped, ensure_ascii=False).encode(errors="backslashreplace")[1:])
    try:
        yield
    finally:
        settle(path, happened)


def settle(path: Path, happened: Happened) -> None:
    """Completes or removes a pending last line; the caller must hold the model's lock."""
    data = path.read_bytes() if path.exists() else b""
    start = data.rfind(b"\n", 0, -1) + 1
    if not data.startswith(_PENDING, start):
        return
    event = _parsed(data[start:].replace(_PENDING, b"{", 1))
    durable.overwrite(path, start, b"{" if event and happened(event) else b"")


def read(path: Path, happened: Happened) -> list[Event]:
    """All events, oldest first. A line cut off by a crash is skipped."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = [event for line in lines if (event := _parsed(line)) is not None]
    if lines and lines[-1].startswith(_PENDING):
        last = _parsed(lines[-1].replace(_PENDING, b"{", 1))
        events += [last] if last and happened(last) else []
    return events


def _parsed(line: bytes) -> Event | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return cast("Event", record) if isinstance(record, dict) else None


def highest_version(events: Sequence[Event]) -> int:
    """The highest version number in the history (0 if none), so that no number is ever used twice."""
    numbers = [0]
    for event in events:
        numbers += [event.get("version", 0), *event.get("versions", []), *event.get("garbage", [])]
    return max(number for number in numbers if isinstance(number, int))


def previous_version(events: Sequence[Event], alias: str, current: int) -> int | None:
    """The version that `alias` named before `current`: promotions are a stack, and a rollback pops it."""
    stack: list[int] = []
    for event in events:
        if event.get("alias") != alias or not isinstance(event.get("version"), int):
            continue
        if event.get("event") == "rollback" and event["version"] in stack:
            while stack[-1] != event["version"]:
                stack.pop()
        elif not stack or stack[-1] != event["version"]:
            stack.append(event["version"])
    if current in stack:  # entries above it are promotions that a crash prevented
        while stack.pop() != current:
            pass
    return stack[-1] if stack else None
