"""What all streams of a server share: their routes, their micro-batches, how they are counted and how they end."""

from collections.abc import Callable
from typing import NamedTuple

from dqn_serving.problems import Served
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import Counts, EndpointMeasures
from dqn_serving.telemetry.request_context import RequestContext

DEFAULT_TEMPLATE = "/act/stream"
NAMED_TEMPLATE = "/models/{model}/act/stream"
_GAUGE = "streams"


class StreamRoute(NamedTuple):
    """The path of a stream: which model, and where to count."""

    path: str
    measures: EndpointMeasures
    model: str | None


class StreamHub:
    """All streams of this process."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._log = services.request_log
        requests, segment = services.requests, services.segment
        self._open: set[Callable[[], None]] = set()
        self._default = StreamRoute(DEFAULT_TEMPLATE, requests.endpoint(DEFAULT_TEMPLATE), None)
        self._named_measures = requests.endpoint(NAMED_TEMPLATE)
        self._counts: Counts[str] = Counts(segment, _GAUGE)
        for name, values in segment.entries():
            if name[0] == _GAUGE:  # a worker before this one was killed with these open
                values[0] = 0.0
        self._is_draining = False
        self.has_single_stream = False
        """Whether a single stream is open, so that waiting for other frames to run with gains nothing."""

    def route(self, path: str) -> StreamRoute | None:
        """The route of a path; None if it is not a stream's."""
        if path == DEFAULT_TEMPLATE:
            return self._default
        parts = path.split("/")
        is_named = len(parts) == 5 and (parts[1], parts[3], parts[4]) == ("models", "act", "stream")
        return StreamRoute(path, self._named_measures, parts[2]) if is_named else None

    def add(self, say_draining: Callable[[], None], model: str) -> None:
        """Counts an open stream; `say_draining` announces to its client that the server is shutting down."""
        self._open.add(say_draining)
        self.has_single_stream = len(self._open) == 1
        self._counts.add(model)
        if self._is_draining:
            say_draining()

    def remove(self, say_draining: Callable[[], None], model: str) -> None:
        """Counts a stream that has ended."""
        self._open.remove(say_draining)
        self.has_single_stream = len(self._open) == 1
        self._counts.add(model, -1)

    def say_draining(self) -> None:
        """Tells each client, once, that the server is about to end."""
        if not self._is_draining:
            self._is_draining = True
            for say in list(self._open):
                say()

    def count(
        self, route: StreamRoute, status: int, seconds: float, context: RequestContext, served: Served | None = None
    ) -> None:
        """Counts a handshake, or a frame that `served` answered."""
        self._log.observe(route.measures, "STREAM", route.path, status, seconds, context, served)

    def name(self, context: RequestContext) -> RequestContext:
        """The context that ties a stream to its log lines; with a request id if every request has one."""
        return context.with_request_id() if self._log.assigns_request_ids else context
