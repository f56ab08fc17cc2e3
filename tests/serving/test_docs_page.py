"""/docs works without any other server, in a real browser."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dqn_testing.server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_everything_on_the_page_is_served_here(server: Server) -> None:
    """/docs loads everything from this server by relative paths, and its security policy allows nothing else."""
    page = server.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(loaded) == 5
    for path in loaded:
        assert "//" not in path
        response = server.get(f"/{path}")
        assert response.status_code == 200
        assert len(response.content) > 100
    assert "<script>" not in page.text


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; .ci/run installs it")

# What Swagger UI does when a user clicks "Execute" on the call healthz.
EXECUTE = """const ui = SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", onComplete: async () => {
  const {specSelectors, oas3Selectors, fn} = ui.getSystem();
  const request = {spec: specSelectors.specJson().toJS(), operationId: "healthz", parameters: {},
    contextUrl: new URL(specSelectors.url(), location).href, server: oas3Selectors.selectedServer()};
  const answer = await fetch(fn.buildRequest(request).url);
  document.body.append("answered: " + await answer.text());
}});"""


@pytest.fixture
def proxied(server: Server) -> Iterator[str]:
    """The URL of `/prefix` on a proxy that forwards everything under it; `/prefix/execute` is a page of its own."""
    page = server.get("/docs").text.replace('"docs/start.js"', '"execute.js"')
    own = {"/prefix/execute": ("text/html", page), "/prefix/execute.js": ("text/javascript", EXECUTE)}

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = server.get(self.path.removeprefix("/prefix")) if self.path.startswith("/prefix/") else None
            kind = found.headers["content-type"] if found is not None else "text/plain"
            body = found.content if found is not None else b""
            if self.path in own:
                kind, body = own[self.path][0], own[self.path][1].encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}/prefix"
        proxy.shutdown()
        thread.join()


@pytest.mark.slow
@needs_browser
def test_calls_reach_the_server_below_a_proxys_prefix(proxied: str, tmp_path: Path) -> None:
    """Behind a proxy that serves us under a prefix, the page's calls also go to that prefix."""
    assert 'answered: {"status":"ok"}' in browse(f"{proxied}/execute", tmp_path).stdout


@pytest.mark.slow
@needs_browser
def test_browser_shows_every_call(server: Server, tmp_path: Path) -> None:
    """A browser that can reach only this server shows all calls, and reports no error."""
    shown = browse(f"{server.url}/docs", tmp_path)
    document = server.get("/openapi.json").json()
    for item in document["paths"].values():
        for operation in item.values():
            assert f">{operation['summary']}<" in shown.stdout
    assert "CONSOLE" not in shown.stderr


def browse(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The page as a browser shows it, and what it logs."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-logging=stderr"]
    words = [str(CHROMIUM), *flags, "--virtual-time-budget=30000", "--dump-dom", url]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
