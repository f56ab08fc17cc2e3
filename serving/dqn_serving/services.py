"""The parts of a running server that its calls share, put together once."""

from dataclasses import dataclass

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
from dqn_serving.security.reloading import ReloadedFiles
from dqn_serving.settings import ServerSettings
from dqn_serving.telemetry.metrics import RequestMeasures
from dqn_serving.telemetry.prometheus import Exposition
from dqn_serving.telemetry.request_log import RequestLog
from dqn_serving.telemetry.shared_memory import SharedMetrics, WorkerSegment
from dqn_serving.telemetry.tracing import create_traces


@dataclass(frozen=True)
class Services:
    """Everything that the calls use."""

    settings: ServerSettings
    segment: WorkerSegment
    repository: ModelRepository
    registry: Registry
    loader: Loader
    refresher: Refresher
    batcher: MicroBatcher
    requests: RequestMeasures
    exposition: Exposition
    access: Access
    reloaded: list[ReloadedFiles]
    admission: Admission
    bodies: BodyReader
    request_log: RequestLog
    tasks: BackgroundTasks

    def unavailable_reason(self) -> str | None:
        """Why requests that name no model cannot be answered, or will soon not be; None when they can."""
        if self.admission.is_draining:
            return "The server is shutting down."
        return self.tasks.unavailable_reason() or self.registry.unavailable_reason()


def assemble(settings: ServerSettings, shared: SharedMetrics | None = None, worker: int = 0) -> Services:
    """Builds the parts of one worker, which counts on its segment of the metrics; nothing is read or started yet."""
    shared = shared or SharedMetrics()
    segment = shared.segment(worker)
    repository = ModelRepository(settings.repository)
    registry = Registry(settings.model, str(settings.repository), settings.max_loaded_versions, segment)
    loader = Loader(repository, registry, settings.max_batch_size)
    traces = create_traces(settings.otlp_endpoint, "http" if settings.tls_certificate is None else "https")
    access = Access(settings.api_token, settings.api_token_file, segment, is_always_needed=settings.require_token)
    admission = Admission(settings.max_waiting_seconds)
    return Services(
        settings=settings,
        segment=segment,
        repository=repository,
        registry=registry,
        loader=loader,
        refresher=Refresher(repository, registry, loader),
        batcher=MicroBatcher(np.random.default_rng()),
        requests=RequestMeasures(segment),
        exposition=Exposition(shared.totals, registry.note_loaded, registry.published),
        access=access,
        reloaded=[access.files] if access.files else [],
        admission=admission,
        bodies=BodyReader(settings.max_body_bytes, settings.request_seconds, admission),
        request_log=RequestLog(access_log=settings.access_log, traces=traces),
        tasks=BackgroundTasks(segment),
    )
