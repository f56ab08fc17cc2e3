"""`/docs`: Swagger UI on a page that needs nothing but this server."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from dqn_serving.api.calls import CallRoute

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
# Swagger UI uses inline styles and data URLs. Everything else comes from this server, and nobody may frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_routes() -> list[BaseRoute]:
    """`/docs` and what it loads: Swagger UI from the package fastapi-swagger."""

    async def page(_request: Request) -> Response:
        return Response(_PAGE, headers={"content-security-policy": _POLICY}, media_type="text/html")

    async def start(_request: Request) -> Response:
        return Response(_START, media_type="text/javascript")

    files = StaticFiles(packages=[("fastapi_swagger", "resources")])
    return [CallRoute("GET", "/docs", page), CallRoute("GET", "/docs/start.js", start), Mount("/docs", files)]
