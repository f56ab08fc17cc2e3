"""The parts of a running server, put together once."""

from dataclasses import dataclass

from dqn_models.repository import ModelRepository
from dqn_serving.api.act import NativeApi
from dqn_serving.api.oip.infer import InferCall
from dqn_serving.api.stream.hub import Streams
from dqn_serving.http.body import BodyReader
from dqn_serving.inference.admission import Admission
from dqn_serving.policies.loader import VersionSelector
from dqn_serving.policies.refresher import Refresher
from dqn_serving.policies.registry import Registry
from dqn_serving.process.lifecycle import Lifecycle
from dqn_serving.security.access import Gate
from dqn_serving.security.reloading import ReloadedFiles
from dqn_serving.security.tokens import Tokens
from dqn_serving.settings import ServerSettings
from dqn_serving.telemetry.metrics import RequestMeasures
from dqn_serving.telemetry.prometheus import Exposition
from dqn_serving.telemetry.request_log import Journal
from dqn_serving.telemetry.shared_memory import Ledger
from dqn_serving.telemetry.tracing import create_traces


@dataclass(frozen=True)
class Services:
    """Everything that the calls use."""

    settings: ServerSettings
    repository: ModelRepository
    registry: Registry
    refresher: Refresher
    selector: VersionSelector
    requests: RequestMeasures
    exposition: Exposition
    gate: Gate
    reloaded: list[ReloadedFiles]
    lifecycle: Lifecycle
    admission: Admission
    bodies: BodyReader
    native: NativeApi
    infer: InferCall
    journal: Journal
    streams: Streams


def assemble(settings: ServerSettings, ledger: Ledger | None = None, worker: int = 0) -> Services:
    """Builds the parts of one worker, which counts on its page of the ledger; nothing is read or started yet."""
    ledger = ledger or Ledger()
    page = ledger.page(worker)
    repository = ModelRepository(settings.repository)
    registry = Registry(settings.model, str(settings.repository), settings.max_loaded_versions, page)
    requests = RequestMeasures(page)
    selector = VersionSelector(repository, registry, settings.max_batch_size)
    traces = create_traces(settings.otlp_endpoint, "http" if settings.tls_certificate is None else "https")
    tokens = Tokens(settings.api_token, settings.api_token_file, page)
    admission = Admission(settings.max_waiting_seconds)
    bodies = BodyReader(settings.max_body_bytes, settings.request_seconds)
    native = NativeApi(registry, selector, requests, bodies, admission)
    journal, lifecycle = Journal(access_log=settings.access_log, traces=traces), Lifecycle()
    return Services(
        settings=settings,
        repository=repository,
        registry=registry,
        refresher=Refresher(repository, registry, settings.refresh_seconds, settings.max_batch_size),
        selector=selector,
        requests=requests,
        exposition=Exposition(ledger, registry),
        reloaded=[tokens.files] if tokens.files else [],
        gate=Gate(tokens, is_always_needed=settings.require_token),
        admission=admission,
        bodies=bodies,
        lifecycle=lifecycle,
        native=native,
        infer=InferCall(registry, selector, requests, bodies, admission, native.turn),
        journal=journal,
        streams=Streams(settings, registry, selector, requests, native.turn, journal, lifecycle, page),
    )
