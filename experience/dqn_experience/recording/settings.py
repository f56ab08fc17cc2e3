"""Settings and counters of recording."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WriterSettings:
    """How much is recorded, and how.

    Attributes:
        sample: fraction of episodes that is recorded.
        salt: of the hash used for sampling.
        quota_bytes: maximum size of the log on the disk; the oldest sealed files are removed first. 0: no limit.
        group_seconds: how long decisions wait for others to share a commit.
        buffer_bytes: how much may wait in memory while the disk is slow or gone.
        patience_seconds: how long an outcome waits for the disk before further ones are refused.
        retry_seconds: pause between a failed commit and the next attempt.
        seal_bytes, seal_seconds: size and age at which a file is sealed.
        node: part of the file names, next to the time (default: the name of the machine).
    """

    sample: float = 1.0
    salt: str = ""
    quota_bytes: int = 0
    group_seconds: float = 0.03
    buffer_bytes: int = 64 << 20
    patience_seconds: float = 2.0
    retry_seconds: float = 1.0
    seal_bytes: int = 64 << 20
    seal_seconds: float = 300.0
    node: str = ""


@dataclass
class Counters:
    """What a writer has done since it started; may be read at any time.

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
