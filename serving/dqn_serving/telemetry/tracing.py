"""Whether requests are traced: only where a collector is named and the packages of the extra `otel` are there."""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from dqn_serving.telemetry.traces import Traces

REMEDY = "pip install 'dqn-policy-server[otel]'"
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = structlog.get_logger()


def is_installed() -> bool:
    """Whether the packages are there."""
    try:
        return all(find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:  # not even the first part of a name
        return False


def create_traces(endpoint: str | None, scheme: str) -> "Traces | None":
    """The traces of a worker; None where neither `endpoint` nor a variable of OpenTelemetry's names a collector."""
    is_wanted = endpoint is not None or any(os.environ.get(name) for name in _ENDPOINTS)
    if not is_wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not is_installed():
        log.warning("requests are not traced", reason="OpenTelemetry is not installed", remedy=REMEDY)
        return None
    from dqn_serving.telemetry.traces import Traces  # noqa: PLC0415  (not everybody has its packages, and it starts threads)

    return Traces(endpoint, scheme)
