"""schemathesis against a running server: requests generated from `/openapi.json`, answers checked against it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_COMMAND = str(Path(sys.executable).with_name("schemathesis"))
_CONFIGURATION = str(Path(__file__).with_name("schemathesis.toml"))


class Conformance(NamedTuple):
    """The findings."""

    cases: int
    is_conform: bool
    report: str


def check(url: str, token: str, *, examples: int, seed: int, folder: Path, timeout: float) -> Conformance:
    """Sends what schemathesis generates, with all checks; `examples` is the maximum for each call and phase."""
    words = [_COMMAND, "--config-file", _CONFIGURATION, "run", f"{url}/openapi.json", "--checks=all", "--no-color"]
    words += ["--header", f"Authorization: Bearer {token}", "--continue-on-failure", "--generation-database=none"]
    words += [f"--max-examples={examples}", f"--seed={seed}"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=timeout, check=False)
    found = re.search(r"([\d,]+) generated", done.stdout)
    cases = int(found[1].replace(",", "")) if found else 0
    return Conformance(cases, done.returncode == 0, done.stdout + done.stderr)
