"""/docs works without any other server, in a real browser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dqn_testing.server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_everything_on_the_page_is_served_here(server: Server) -> None:
    """What /docs loads lies on this server, by paths that are relative to the page, and its policy allows no other."""
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


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; .ci/run installs it")
def test_browser_shows_every_call(server: Server, tmp_path: Path) -> None:
    """A browser that can reach nothing but this server shows all calls, and reports no error."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-logging=stderr"]
    words = [str(CHROMIUM), *flags, "--virtual-time-budget=30000", "--dump-dom", f"{server.url}/docs"]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    document = server.get("/openapi.json").json()
    for item in document["paths"].values():
        for operation in item.values():
            assert f">{operation['summary']}<" in shown.stdout
    assert "CONSOLE" not in shown.stderr
