"""How many files and connections the system lets a process have open."""

import resource

import structlog

SPARE = 512
"""For everything that is not an accepted connection: models, logs, and connections that are being refused."""

log = structlog.get_logger()


def make_room(connections: int) -> int:
    """Raises the process's limit as far as it may; returns how many of these connections have room."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:  # some systems then refuse it as a soft limit
        hard = connections + SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = max(1, hard - SPARE)
    if room < connections:
        log.warning(
            "few file descriptors",
            limit=hard,
            max_connections=room,
            detail=f"DQN_MAX_CONNECTIONS is {connections}; raise the limit (ulimit -n) for more than {room}.",
        )
    return min(room, connections)
