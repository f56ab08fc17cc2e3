"""Writes benchmark results into a document, between two markers, with the machine and the versions."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def write(document: str, name: str, markdown: str) -> None:
    """Puts `markdown` between `<!-- name -->` and `<!-- /name -->`. Raises ValueError if these are missing."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = (ROOT / document).read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, also_found, after = rest.partition(end)
    if not found or not also_found:
        raise ValueError(f"{document} has no markers {begin} and {end}.")
    (ROOT / document).write_text(f"{before}{begin}\n{markdown}\n{end}{after}", encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(versions: Mapping[str, str]) -> str:
    """One line that describes the machine and the versions."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    named = ", ".join(f"{package} {number}" for package, number in versions.items())
    processor = model.partition(":")[2].strip()
    return f"Machine: {os.cpu_count()} cores, {processor}, Python {platform.python_version()}; {named}."
