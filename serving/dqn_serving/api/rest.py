"""The FastAPI application: every call but those that choose actions, and its errors as problem documents."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Lifespan

from dqn_models.errors import ModelError
from dqn_serving.api.admin import admin_router
from dqn_serving.api.catalog import catalog_router
from dqn_serving.api.docs_page import pages_router
from dqn_serving.api.health import health_router
from dqn_serving.api.openapi import describe
from dqn_serving.api.stream.routes import stream_router
from dqn_serving.problems import Problem, from_model_error, internal_error
from dqn_serving.services import Services

_DESCRIPTION = (
    "Observations in, actions and Q-values out, from the champion of each model in the repository. Errors are RFC 9457 "
    'problem documents (`application/problem+json`), and `{"error": ...}` below `/v2`; a method other than those below '
    "is a 405 with `Allow`, but `HEAD` is answered wherever `GET` is. Any request may have `X-Request-ID` and "
    "`traceparent`: they stand in the log, and the id comes back."
)


def create_rest_app(services: Services, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """Builds the application."""
    app = FastAPI(
        title="dqn-policy-server",
        version=version("dqn-policy-server"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        strict_content_type=False,  # there is one kind of body here; `curl -d` need not name it
        generate_unique_id_function=lambda route: route.name,
        redoc_url=None,
        docs_url=None,  # FastAPI's page loads from other people's servers
    )
    routers = (
        health_router(services),
        catalog_router(services),
        admin_router(services),
        pages_router(),
        stream_router(),
    )
    for router in routers:
        app.include_router(router)
    for kind, problem_of in _PROBLEM_OF.items():
        app.add_exception_handler(kind, _handler(problem_of))
    app.openapi = _openapi_once(app, services)  # type: ignore[method-assign]  # FastAPI's documented extension point
    return app


def _openapi_once(app: FastAPI, services: Services) -> Callable[[], dict[str, Any]]:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            settings = services.settings
            app.openapi_schema = describe(
                app, token_needed=settings.require_token, max_batch_size=settings.max_batch_size
            )
        return app.openapi_schema

    return openapi


def _handler(problem_of: Callable[[Any], Problem]) -> Callable[[Request, Exception], Response]:
    def handle(_request: Request, error: Exception) -> Response:
        answer = problem_of(error).answer()
        response = Response(answer.body["body"], answer.status)
        response.raw_headers = list(answer.start["headers"])
        return response

    return handle


def _from_http(error: HTTPException) -> Problem:
    """Starlette's own 404 and 405, and FastAPI's 400 for a body that it cannot read."""
    details = {
        404: "There is no such path here; /docs lists those that there are.",
        405: "The method is not allowed here; the Allow header names those that are.",
    }
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    return Problem(error.status_code, details.get(error.status_code, str(error.detail)), headers=headers)


def _from_validation(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return Problem(400, f"The body is not JSON: {first['ctx']['error']}.", reason="not_json")
    place = ".".join(str(part) for part in first["loc"])
    return Problem(422, f"{place}: {first['msg']}.", reason="fields")


_PROBLEM_OF: dict[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda problem: problem,
    ModelError: from_model_error,
    HTTPException: _from_http,
    RequestValidationError: _from_validation,
    Exception: lambda _: internal_error(),
}
