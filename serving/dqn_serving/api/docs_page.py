"""`/docs`: Swagger UI on a page that needs nothing but this server."""

from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter, Response

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# Paths are relative to the page, so that it works below any prefix of a proxy.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dqn-policy-server</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>The calls are described in <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
# Swagger UI sets styles of elements, and its icons are data. All else comes from here, and nobody may frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def pages_router() -> APIRouter:
    """`/docs` and what it loads."""
    router = APIRouter(prefix="/docs", include_in_schema=False)
    headers = {"content-security-policy": _POLICY}
    router.add_api_route("", lambda: Response(_PAGE, headers=headers, media_type="text/html"), name="docs")
    router.add_api_route("/start.js", lambda: Response(_START, media_type="text/javascript"), name="docs_start")
    for name, media_type in _FILES.items():
        router.add_api_route(f"/{name}", _file(name, media_type), name=f"docs_{name}")
    return router


def _file(name: str, media_type: str) -> Callable[[], Response]:
    """Answers with a file of the Swagger UI that the package fastapi-swagger brings along; read when asked for."""

    def send() -> Response:
        return Response((files("fastapi_swagger") / "resources" / name).read_bytes(), media_type=media_type)

    return send
