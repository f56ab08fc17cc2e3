"""A model's history: an append-only log of what happened to it, who did it, when and why."""

import getpass
import json
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dqn_models.durable import append_line

Event = dict[str, Any]


def now() -> datetime:
    """The present time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def who() -> str:
    """The person or job at work, as user@host (a container may have a user id without a name)."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def append(path: Path, event: str, by: str | None, reason: str, **facts: Any) -> None:
    """Appends one event durably, before the change that it tells of takes effect."""
    at = now().isoformat().replace("+00:00", "Z")
    record = {"at": at, "event": event, "by": by or who(), "reason": reason, **facts}
    append_line(path, json.dumps(record, ensure_ascii=False).encode())


def read(path: Path) -> list[Event]:
    """All events, oldest first. A line torn by a crash is not an event and is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            events.append(record)
    return events


def highest_version(events: Sequence[Event]) -> int:
    """The highest version number that the history mentions, so that no number is ever used twice."""
    numbers = [0]
    for event in events:
        numbers += [event.get("version", 0), *event.get("versions", []), *event.get("garbage", [])]
    return max(number for number in numbers if isinstance(number, int))


def previous_version(events: Sequence[Event], alias: str, current: int) -> int | None:
    """The version that `alias` named before `current`: promotions are a stack, and a roll back pops it."""
    stack: list[int] = []
    for event in events:
        if event.get("alias") != alias or not isinstance(event.get("version"), int):
            continue
        if event.get("event") == "rollback" and event["version"] in stack:
            while stack[-1] != event["version"]:
                stack.pop()
        elif not stack or stack[-1] != event["version"]:
            stack.append(event["version"])
    if current in stack:  # a line above it tells of a promotion that a crash prevented
        while stack.pop() != current:
            pass
    return stack[-1] if stack else None
