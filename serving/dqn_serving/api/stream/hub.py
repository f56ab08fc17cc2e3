"""What all streams of a server share: routes, counters, and the announcement of shutdown."""

import re
from collections.abc import Callable
from typing import NamedTuple

from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import Counts, EndpointMeasures

DEFAULT_TEMPLATE = "/act/stream"
NAMED_TEMPLATE = "/models/{model}/act/stream"
_PATH = re.compile(r"(/models/(?P<model>[^/]+))?/act/stream")
_GAUGE = "streams"


class StreamRoute(NamedTuple):
    """The path of a stream, with its model and its metrics."""

    path: str
    measures: EndpointMeasures
    model: str | None


class StreamHub:
    """All streams of this process."""

    def __init__(self, services: Services) -> None:
        self.services = services
        requests, segment = services.requests, services.segment
        self._open: set[Callable[[], None]] = set()
        self._measures = {template: requests.endpoint(template) for template in (DEFAULT_TEMPLATE, NAMED_TEMPLATE)}
        self._counts = Counts(segment, _GAUGE)
        for name, values in segment.entries():
            if name[0] == _GAUGE:  # this worker's predecessor was killed with these open
                values[0] = 0.0
        self._is_draining = False
        self.has_single_stream = False
        """Whether a single stream is open, so that waiting for frames to share a run with gains nothing."""

    def route(self, path: str) -> StreamRoute | None:
        """The route of a path; None if it is not a stream's."""
        found = _PATH.fullmatch(path)
        template = NAMED_TEMPLATE if found and found["model"] else DEFAULT_TEMPLATE
        return StreamRoute(path, self._measures[template], found["model"]) if found else None

    def add(self, announce_draining: Callable[[], None], model: str) -> None:
        """Counts an open stream; `announce_draining` announces to its client that the server is shutting down."""
        self._open.add(announce_draining)
        self.has_single_stream = len(self._open) == 1
        self._counts.add(model)
        if self._is_draining:
            announce_draining()

    def remove(self, announce_draining: Callable[[], None], model: str) -> None:
        """Counts a stream that has ended."""
        self._open.remove(announce_draining)
        self.has_single_stream = len(self._open) == 1
        self._counts.add(model, -1)

    def announce_draining(self) -> None:
        """Announces to each client, once, that the server is about to stop."""
        if not self._is_draining:
            self._is_draining = True
            for announce in list(self._open):
                announce()
