"""Writes the code map of ARCHITECTURE.md from the docstrings of the modules, so that it cannot go stale.

    .venv/bin/python scripts/code_map.py            # rewrite the map
    .venv/bin/python scripts/code_map.py --check    # fail if the map is out of date

Folders follow the order of the import-linter layers in pyproject.toml, highest first; files are sorted by name.
"""

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "training/dqn_training",
    "models/dqn_models",
    "experience/dqn_experience",
    "serving/dqn_serving",
    "client/dqn_client",
)
BEGIN, END = "<!-- scripts/code_map.py -->", "<!-- /scripts/code_map.py -->"
_NAME_COLUMN, _WIDTH = 26, 128


def code_map() -> str:
    """A line for each module and each folder: its name and the first sentence of its docstring."""
    order = _layers()
    blocks = ["\n".join(_lines(ROOT / package, order, 0)) for package in PACKAGES]
    return "```\n" + "\n\n".join(blocks) + "\n```"


def _lines(folder: Path, order: dict[str, int], depth: int) -> Iterator[str]:
    yield _line(f"{folder.relative_to(ROOT)}/" if depth == 0 else f"{folder.name}/", folder / "__init__.py", depth)
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    for path in files:
        yield _line(path.name, path, depth + 1)
    folders = [path.parent for path in folder.glob("*/__init__.py")]
    for path in sorted(folders, key=lambda path: (order.get(path.name, len(order)), path.name)):
        yield from _lines(path, order, depth + 1)


def _line(name: str, path: Path, depth: int) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = " ".join(docstring.split("\n\n")[0].split())
    text = f"{'  ' * depth}{name}".ljust(_NAME_COLUMN) + " " + sentence
    for end in ("; ", ": ", ", ", " "):  # cut a long sentence where it still reads well
        if len(text) <= _WIDTH:
            break
        text = text[:_WIDTH].rpartition(end)[0] if end in text[_NAME_COLUMN + 20 : _WIDTH] else text
    return text.rstrip(".,;:")


def _layers() -> dict[str, int]:
    """The rank of each folder among the layers of its package."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    names: list[str] = []
    for contract in tools["importlinter"]["contracts"]:
        for layer in contract.get("layers", ()):
            names += [name.strip().rsplit(".", 1)[-1] for name in layer.replace(":", "|").split("|")]
    return {name: place for place, name in enumerate(names)}


def main() -> None:
    """Rewrites the map, or checks that it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the map is out of date")
    options = parser.parse_args()
    document = ROOT / "ARCHITECTURE.md"
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    written = f"{before}{BEGIN}\n{code_map()}\n{END}{after}"
    if options.check:
        sys.exit(written != text and "ARCHITECTURE.md is out of date: run scripts/code_map.py.")
    document.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
