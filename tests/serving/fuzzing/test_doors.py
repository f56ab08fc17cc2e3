"""A few thousand of the inputs that `python -m tests.serving.fuzzing.run` sends by the million."""

import asyncio
from pathlib import Path
from random import Random

from tests.serving.fuzzing.doors import Doors
from tests.serving.fuzzing.mutations import mutated


def test_anything_is_answered_and_both_paths_agree(tmp_path: Path) -> None:
    """No input leads to an exception or a 500, and the fast path answers what it takes as the slow path does."""

    async def send_all() -> set[str]:
        doors, random = Doors(tmp_path / "store"), Random(0)
        await doors.open()
        names = ("native", "infer", "head", "frame", "piece")
        return {await getattr(doors, name)(mutated(name, random)) for _ in range(1_000) for name in names}

    assert {
        "native 200",
        "native 400",
        "native 422",
        "infer 200",
        "infer 422",
        "head short",
        "head long",
    } <= asyncio.run(send_all())
