"""Error responses: which problem an exception becomes, in the form of the path's API."""

import json
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from dqn_models.errors import ModelError
from dqn_serving.problems import Answer, Header, Problem, from_model_error, internal_error, make_answer

OIP_PREFIX = "/v2"

_WHOLE_SERVER = frozenset({"*", "/", ""})
"""Targets of load balancers' OPTIONS requests that are not the path of any call."""

log = structlog.get_logger()


def render_problem(path: str, problem: Problem) -> Answer:
    """A problem in the form of the API that the path belongs to."""
    return oip_error(problem) if is_oip(path) else problem.answer()


def is_oip(path: str) -> bool:
    """Whether a path belongs to the Open Inference Protocol."""
    return path == OIP_PREFIX or path.startswith(f"{OIP_PREFIX}/")


def oip_error(problem: Problem) -> Answer:
    """A problem in the form of the Open Inference Protocol: `{"error": ...}` with the problem's status."""
    body = json.dumps({"error": problem.detail}).encode()  # ASCII only, whatever a client sent
    return make_answer(body, problem.status, headers=problem.headers)


async def handle_error(request: Request, error: Exception) -> Any:
    """The response to a request that raised an exception; None if the client has gone."""
    if isinstance(error, ClientDisconnect):
        return None
    problem = problem_of(error)
    if problem.status == 405 and request.method == "OPTIONS":
        return _allowed_methods(problem.headers)
    if problem.status == 404 and request.method == "OPTIONS" and request.scope["path"] in _WHOLE_SERVER:
        return Answer(204, ((b"allow", b"GET, HEAD, OPTIONS, POST, PUT"),), b"", b"")
    if problem.status == 500:
        log.error("request failed", path=request.scope["path"], exc_info=error)
    return render_problem(request.scope["path"], problem)


def problem_of(error: Exception) -> Problem:
    """The problem that a client gets for an exception."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ModelError):
        return from_model_error(error)
    if isinstance(error, HTTPException):
        return _from_http(error)
    return internal_error()


def _from_http(error: HTTPException) -> Problem:
    """Starlette's own 404 and 405."""
    headers = tuple((name.lower().encode(), _in_order(value).encode()) for name, value in (error.headers or {}).items())
    if error.status_code == 404:
        return Problem(404, "There is no such path; /docs lists all calls.", headers=headers)
    if error.status_code == 405:
        allowed = dict(headers).get(b"allow", b"").decode()
        return Problem(405, f"The method is not allowed here; use {allowed}.", headers=headers)
    return Problem(error.status_code, str(error.detail), headers=headers)


def _in_order(methods: str) -> str:
    """The value of an Allow header, in which Starlette puts HEAD before or after GET at random, or leaves it out."""
    return ", ".join(sorted({method.strip() for method in methods.split(",")} - {"HEAD"}))


def _allowed_methods(headers: tuple[Header, ...]) -> Answer:
    """The response to OPTIONS, from the Allow header of the 405 that it would otherwise get."""
    allowed = next((value for name, value in headers if name == b"allow"), b"")
    methods = {b"OPTIONS", *(method.strip() for method in allowed.split(b",") if method)}
    methods |= {b"HEAD"} if b"GET" in methods else set()
    return Answer(204, ((b"allow", b", ".join(sorted(methods))),), b"", b"")
