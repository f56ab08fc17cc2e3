"""What can be set about recording, and what is counted of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WriterSettings:
    """How much is recorded, and how.

    Attributes:
        sample: fraction of episodes that is recorded.
        salt: of the hash that samples.
        quota_bytes: what the log may take on the disk; the oldest sealed files go first. 0: all there is.
        group_seconds: how long decisions wait for others to be committed with.
        buffer_bytes: what may wait in memory while the disk is slow or gone.
        patience_seconds: how long an outcome waits for the disk before further ones are refused.
        retry_seconds: how long after a failed commit the next one is tried.
        seal_bytes, seal_seconds: when a file is sealed.
        node: what files are named after, beside the time (default: the machine).
    """

    sample: float = 1.0
    salt: str = ""
    quota_bytes: int = 0
    group_seconds: float = 0.04
    buffer_bytes: int = 64 << 20
    patience_seconds: float = 2.0
    retry_seconds: float = 1.0
    seal_bytes: int = 64 << 20
    seal_seconds: float = 300.0
    node: str = ""


@dataclass
class Counters:
    """What a writer has done since it began; a metrics layer reads them at any time.

    Attributes:
        decisions, outcomes, episodes: recorded durably.
        bytes: of these, before what SQLite adds.
        dropped: decisions that were not recorded, by reason: "sampling", "overload", "full", "invalid".
        refused: outcomes and episodes that were refused because the store was unavailable.
        commits, commit_seconds, slowest_commit_seconds: successful commits and how long they took.
        failures: failed commits.
        sealed, removed: files that were sealed, and that were removed for the quota.
    """

    decisions: int = 0
    outcomes: int = 0
    episodes: int = 0
    bytes: int = 0
    dropped: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("sampling", "overload", "full", "invalid"), 0)
    )
    refused: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    slowest_commit_seconds: float = 0.0
    failures: int = 0
    sealed: int = 0
    removed: int = 0
