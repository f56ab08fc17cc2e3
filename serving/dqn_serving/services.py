"""The parts of a running server that its calls share, assembled once."""

import numpy as np

from dqn_models.repository import ModelRepository
from dqn_serving.background import BackgroundTasks
from dqn_serving.http.body import BodyReader
from dqn_serving.inference.admission import Admission
from dqn_serving.inference.batcher import MicroBatcher
from dqn_serving.policies.loader import Loader
from dqn_serving.policies.refresher import Refresher
from dqn_serving.policies.registry import Registry
from dqn_serving.security.auth import Access
from dqn_serving.security.tls import Certificate
from dqn_serving.settings import ServerSettings
from dqn_serving.telemetry.metrics import RequestMeasures
from dqn_serving.telemetry.prometheus import Exposition
from dqn_serving.telemetry.request_log import RequestLog, create_traces
from dqn_serving.telemetry.shared_memory import SharedMetrics


class Services:
    """Everything that the calls of one worker use."""

    def __init__(self, settings: ServerSettings, shared: SharedMetrics | None = None, worker: int = 0) -> None:
        """Builds the parts of a worker, which counts on its segment of the metrics; nothing is read or started yet."""
        shared = shared or SharedMetrics()
        self.settings = settings
        self.segment = segment = shared.segment(worker)
        self.tasks = BackgroundTasks(segment)
        self.repository = ModelRepository(settings.repository)
        self.registry = Registry(settings.model, str(settings.repository), settings.max_loaded_versions, segment)
        self.loader = Loader(
            self.repository, self.registry, settings.max_batch_size, lenient_masks=settings.lenient_masks
        )
        self.refresher = Refresher(self.repository, self.registry, self.loader)
        self.batcher = MicroBatcher(np.random.default_rng())
        self.admission = Admission(settings.max_waiting_seconds)
        self.bodies = BodyReader(settings.max_body_bytes, settings.request_seconds, self.admission)
        self.access = Access(
            settings.api_token, settings.api_token_file, segment, is_always_needed=settings.require_token
        )
        certificate, key = settings.tls_certificate, settings.tls_key
        self.certificate = Certificate(certificate, key, segment) if certificate and key else None
        self.reloaded = [part.files for part in (self.access, self.certificate) if part and part.files]
        self.requests = RequestMeasures(segment)
        self.exposition = Exposition(shared.totals, self.registry.note_loaded, self.registry.published)
        scheme = "http" if settings.tls_certificate is None else "https"
        self.traces = create_traces(settings.otlp_endpoint, scheme, segment)
        self.request_log = RequestLog(access_log=settings.access_log, traces=self.traces)

    def unavailable_reason(self) -> str | None:
        """Why requests that name no model cannot be answered, or soon will not be; None if they can."""
        if self.admission.is_draining:
            return "The server is shutting down."
        return self.tasks.unavailable_reason() or self.registry.unavailable_reason()
