"""Whether the process means to go on: what SIGTERM changes first."""


class Lifecycle:
    """Set once, when the process was asked to end."""

    def __init__(self) -> None:
        self.is_draining = False
