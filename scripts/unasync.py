"""Generates the blocking client, `dqn_client/_sync`, from the asynchronous one, `dqn_client/_async`.

    python scripts/unasync.py           write the generated files
    python scripts/unasync.py --check   exit with status 1 if they differ from what would be written

The two clients share one source. What really differs (sockets, sleep, locks) is in `dqn_client/backends`.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "client" / "dqn_client"
RUFF = Path(sys.executable).with_name("ruff")

HEADER = "# Generated from {source} by scripts/unasync.py: change that file, then run `make generate`.\n"
RULES = [
    # keywords
    (r"\basync (def|with|for) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit)__", r"__\1__"),
    (r"\bAwaitable, ", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    # names of this package and of httpx
    (r"\b_async\b", "_sync"),
    (r"\bbackends\.aio\b", "backends.blocking"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bhandle_async_request\b", "handle_request"),
    (r"\ba(read|close)\b", r"\1"),
    # documentation
    (r"\bfor asyncio\b", "for programs without an event loop"),
    (r", (and|or) event loop,", ""),
    (r"\bin another event loop\b", "in another process"),
    (r"\btasks\b", "threads"),
    (r"The asynchronous client, written by hand; .*\.", "The blocking client: generated from `_async`, not edited."),
]


def blocking(source: Path) -> str:
    """The blocking version of an asynchronous module, formatted."""
    text = source.read_text("utf-8")
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    text = HEADER.format(source=source.relative_to(ROOT).as_posix()) + text
    formatted = subprocess.run(  # noqa: S603  (the formatter of this environment)
        [RUFF, "format", "--stdin-filename", source, "-"], input=text, capture_output=True, text=True, check=True
    )
    return formatted.stdout


def main() -> None:
    """Writes or checks every generated file."""
    parser = argparse.ArgumentParser(description="Generate the blocking client from the asynchronous one.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with status 1 if a file is outdated")
    is_check = parser.parse_args().check
    target = PACKAGE / "_sync"
    generated = {target / source.name: blocking(source) for source in sorted((PACKAGE / "_async").glob("*.py"))}
    outdated = [path for path, text in generated.items() if not path.exists() or path.read_text("utf-8") != text]
    outdated += [path for path in target.glob("*.py") if path not in generated]
    for path in outdated:
        print(f"{'outdated' if is_check else 'written'}: {path.relative_to(ROOT)}")
        if is_check:
            continue
        if path in generated:
            path.write_text(generated[path], "utf-8")
        else:
            path.unlink()
    if is_check and outdated:
        sys.exit("Run `make generate`.")


if __name__ == "__main__":
    main()
