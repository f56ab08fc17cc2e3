"""Random inputs to the decoders of dqn-serve, in this process: no exception, no 500, the same answer on both paths.

    .venv/bin/python -m tests.serving.fuzzing.run --inputs 1000000

Guided by coverage instead, if Google's atheris is installed (`pip install atheris`; it is not among our dependencies):

    .venv/bin/python -m tests.serving.fuzzing.run --inputs 1000000 --coverage

Prints the result at the end; a fault is printed with its input and ends the run with status 1.
"""

import asyncio
import importlib
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import tyro

from tests.serving.fuzzing.mutations import SEEDS, TOKENS, mutated

NAMES = ("native", "infer", "head", "frame", "piece")


def main(inputs: int = 1_000_000, seed: int = 0, *, coverage: bool = False) -> None:
    """Arguments: the number of inputs, the random seed, and whether coverage guides the search."""
    with tempfile.TemporaryDirectory() as folder:
        if coverage:
            _guided(inputs, seed, Path(folder))
        else:
            asyncio.run(_mutate(inputs, seed, Path(folder)))


async def _mutate(inputs: int, seed: int, folder: Path) -> None:
    from tests.serving.fuzzing.doors import Doors

    doors, random, counts, began = Doors(folder / "store"), Random(seed), Counter[str](), time.monotonic()
    await doors.open()
    for number in range(inputs):
        name = NAMES[number % len(NAMES)]
        data = mutated(name, random)
        counts[await _try(doors, name, data)] += 1
    _report(counts, began)


async def _try(doors: Any, name: str, data: bytes) -> str:
    try:
        found: str = await getattr(doors, name)(data)
    except Exception:  # noqa: BLE001  (any exception is what the run looks for)
        traceback.print_exc()
        sys.exit(f"{name}: {data!r}")
    return found


def _guided(inputs: int, seed: int, folder: Path) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["dqn_serving"]):
        doors_module = importlib.import_module("tests.serving.fuzzing.doors")
    corpus, counts, loop = folder / "corpus", Counter[str](), asyncio.new_event_loop()
    corpus.mkdir()
    for index, name in enumerate(NAMES):
        for number, data in enumerate(SEEDS[name]):
            (corpus / f"{name}{number}").write_bytes(bytes([index]) + data)
    words = {token for name in NAMES for token in TOKENS[name] if len(token) < 60}
    dictionary = folder / "dictionary"
    dictionary.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words))
    doors, began = doors_module.Doors(folder / "store"), time.monotonic()
    loop.run_until_complete(doors.open())

    def test_one_input(data: bytes) -> None:
        name, body = NAMES[data[0] % len(NAMES)] if data else "head", data[1:] or b"\0"
        counts[loop.run_until_complete(_try(doors, name, body))] += 1
        if counts.total() == inputs:  # libFuzzer ends the process
            _report(counts, began)

    flags = [
        f"-runs={inputs}",
        f"-seed={seed + 1}",
        f"-dict={dictionary}",
        "-max_len=4096",
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], test_one_input)
    atheris.Fuzz()


def _report(counts: Counter[str], began: float) -> None:
    for name, count in sorted(counts.items()):
        print(f"{name:14} {count:9,}")
    print(f"{counts.total():,} inputs without a fault, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    tyro.cli(main)
