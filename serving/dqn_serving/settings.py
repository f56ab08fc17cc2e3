"""The server's settings: one class defines the flags, the environment variables, their checks and `--help`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from dqn_models.cli_support import UsageError
from dqn_models.layout import DEFAULT_REPOSITORY, MODEL_NAME
from dqn_serving.security import auth, tls
from dqn_serving.telemetry.request_log import check_endpoint

ENV_PREFIX = "DQN_"
_SERVICE_LINK = re.compile("(tcp|udp|sctp)://")
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def _fits_a_header(token: SecretStr) -> SecretStr:
    auth.check_token(token.get_secret_value(), "it")
    return token


def _split_at_commas(origins: str | Sequence[str]) -> list[str]:
    """Origins from a repeated option, or from one comma-separated variable."""
    joined = origins if isinstance(origins, str) else ",".join(origins)
    return [part.strip() for part in joined.split(",") if part.strip()]


def _is_an_origin(origin: str) -> str:
    """The origin, if it has the form that browsers send. Raises ValueError otherwise."""
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(
            f"{origin!r} is not an origin; expected one such as https://lab.example or http://localhost:3000"
        )
    return origin


class ServerSettings(BaseSettings):
    """Serve policies over HTTP and keep them fresh. Options take precedence over the environment variables shown."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,  # they are the help of the options
        cli_prog_name="dqn-serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_show_env_vars=True,
        cli_exit_on_error=False,
    )

    host: str = Field("127.0.0.1", min_length=1)
    """address to listen on; 0.0.0.0 for all IPv4 addresses, :: for all IPv6 and IPv4 addresses"""
    port: int = Field(8000, ge=0, le=65535)
    """TCP port to listen on, with the API's documentation under /docs; 0 lets the system choose one"""
    workers: int = Field(1, ge=1, le=256)
    """worker processes that share the port, each with all models in memory; use one per core"""
    repository: Path = DEFAULT_REPOSITORY
    """directory of the model repository"""
    model: str | None = Field(None, pattern=f"^{MODEL_NAME.pattern}$")
    """default model, for calls that name none, such as /act; if unset: cartpole, or the only model in the repository"""
    refresh_seconds: float = Field(1.0, ge=0.05, le=3600)
    """seconds between checks of the repository for a new champion"""
    api_token: Annotated[SecretStr, AfterValidator(_fits_a_header)] | None = None
    """bearer token for the admin calls, which answer 403 without one; prefer the environment variable, which other
    users of the machine cannot read"""
    api_token_file: Annotated[Path, AfterValidator(auth.check_file)] | None = None
    """file of additional tokens, one name:token per line; lines that begin with # are comments. The name appears in
    the log and the history. Reloaded when it changes"""
    require_token: bool = False
    """require a token for every call except the health calls"""
    tls_certificate: Path | None = None
    """PEM file of the TLS certificate, followed by its issuers; the server then speaks HTTPS only. Reloaded when it
    changes"""
    tls_key: Path | None = None
    """PEM file of the TLS certificate's private key, unencrypted"""
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_is_an_origin)], ...], NoDecode, BeforeValidator(_split_at_commas)
    ] = ()
    """comma-separated origins whose web pages may call this server, such as https://lab.example, or * for all"""
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, le=1024**3)
    """maximum size of a request body in bytes; larger ones get 413"""
    max_batch_size: int = Field(4096, ge=1, le=1_000_000)
    """maximum observations per request; larger batches get 413"""
    lenient_masks: bool = False
    """also answer requests without action_mask for models that were trained with their environment's action masks; by
    default such requests get 422, since the model might choose an action that the environment forbids"""
    max_loaded_versions: int = Field(8, ge=1, le=1000)
    """maximum versions kept in memory besides the champions, because requests named them"""
    drain_seconds: float = Field(1.0, ge=0, le=3600)
    """seconds to keep answering after SIGTERM while /readyz reports not ready, so that load balancers stop sending"""
    shutdown_seconds: int = Field(30, ge=1, le=3600)
    """maximum seconds to wait for requests in flight at shutdown"""
    keep_alive_seconds: int = Field(75, ge=1, le=86400)
    """seconds after which an idle connection is closed"""
    request_seconds: float = Field(10.0, ge=0.1, le=3600)
    """maximum seconds each to receive a request's head, to receive its body, and for the client to read the response;
    a request that takes longer gets 408, and the connection is closed"""
    max_connections: int = Field(10_000, ge=1, le=1_000_000)
    """maximum connections per worker; further ones get 503"""
    max_waiting_seconds: float = Field(0.5, ge=0.01, le=3600)
    """seconds of computation that may be queued; further requests get 503 at once, so that accepted ones are answered
    within about twice this time"""
    stream_ping_seconds: float = Field(20.0, gt=0, le=86400)
    """seconds of silence after which a stream is pinged; after as many more without a reply it is closed"""
    access_log: bool = False
    """log every request"""
    otlp_endpoint: Annotated[str, Field(pattern="^https?://[^ ]+$"), AfterValidator(check_endpoint)] | None = None
    """base URL of an OpenTelemetry collector (OTLP over HTTP), such as http://localhost:4318, that receives a
    span for each request; needs the extra `otel`. OTEL_EXPORTER_OTLP_ENDPOINT does the same"""
    log_format: Literal["auto", "json", "console"] = "auto"
    """format of the log lines on standard error; auto: console on a terminal, else json"""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "ServerSettings":
        certificate, key = self.tls_certificate, self.tls_key
        if certificate is not None and key is not None:
            tls.check(certificate, key)
        elif certificate is not key:
            given, missing = ("key", "certificate") if certificate is None else ("certificate", "key")
            raise ValueError(f"tls_{given} is set but tls_{missing} is not: set DQN_TLS_{missing.upper()} as well")
        if self.require_token and self.api_token is None and self.api_token_file is None:
            raise ValueError("require_token is true but there is no token: set DQN_API_TOKEN or DQN_API_TOKEN_FILE")
        return self


def ignore_service_link() -> str | None:
    """Removes DQN_PORT from the environment if Kubernetes has set it for a Service named `dqn`, and returns it."""
    link = os.environ.get(f"{ENV_PREFIX}PORT", "")
    return os.environ.pop(f"{ENV_PREFIX}PORT") if _SERVICE_LINK.match(link) else None


def read_settings(arguments: Sequence[str]) -> ServerSettings:
    """The settings from command-line arguments and the environment.

    Raises UsageError with one sentence that names the setting, its value and what is allowed; `--help` exits.
    """
    try:
        return ServerSettings(_cli_parse_args=list(arguments))  # type: ignore[call-arg]  # seen by its metaclass only
    except ValidationError as error:
        raise UsageError(" ".join(_sentence(dict(fault)) for fault in error.errors())) from None
    except SettingsError as error:
        raise UsageError(f"{str(error).removeprefix('error parsing CLI: ')}; see dqn-serve --help.") from None


def _sentence(fault: dict[str, Any]) -> str:
    reason = re.sub("^(Input|String) should", "it should", str(fault["msg"]).removeprefix("Value error, "))
    if not fault["loc"]:
        return f"{reason}."
    name = str(fault["loc"][0])
    flag = f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()})"
    if name == "api_token":
        return f"{flag} {reason}."
    return f"{flag} is {str(fault['input'])!r}; {reason}."
