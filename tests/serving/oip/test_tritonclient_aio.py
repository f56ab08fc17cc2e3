"""tritonclient's asyncio HTTP client, unmodified, against a real server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from dqn_models.repository import ModelRepository
from dqn_testing.server import Server

OBSERVATIONS = np.random.default_rng(5).normal(size=(6, 4)).astype(np.float32)


def use(server: Server, calls: Callable[[Any], Awaitable[None]]) -> None:
    """Runs calls with a client of the server."""

    async def connected() -> None:
        async with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
            await calls(client)

    asyncio.run(connected())


def tensor(*, binary: bool = True) -> Any:
    """An input of the client."""
    return triton.InferInput("observation", [6, 4], "FP32").set_data_from_numpy(OBSERVATIONS, binary)


def test_health_and_metadata(server: Server) -> None:
    """Health, metadata, configuration, index and statistics are the same as with the synchronous client."""

    async def calls(client: Any) -> None:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("cartpole", "2")
        assert not await client.is_model_ready("pong")
        assert (await client.get_server_metadata())["name"] == "dqn-policy-server"
        assert (await client.get_model_metadata("cartpole"))["versions"] == ["1", "2", "3"]
        assert (await client.get_model_config("cartpole"))["name"] == "cartpole"
        assert len(await client.get_model_repository_index()) == 4
        assert (await client.get_inference_statistics("cartpole"))["model_stats"]

    use(server, calls)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_infer(server: Server, repository: ModelRepository, *, binary: bool, compression: str | None) -> None:
    """Many requests at once get the file's answers, in both forms and every compression."""
    q_values, actions = repository.load_policy("cartpole", 2).run(OBSERVATIONS)

    async def infer(client: Any, number: int) -> None:
        answer = await client.infer(
            "cartpole",
            [tensor(binary=binary)],
            model_version="2",
            request_id=str(number),
            outputs=None if binary else [triton.InferRequestedOutput(name, False) for name in ("q_values", "action")],  # noqa: FBT003  (the client's own)
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        assert np.array_equal(answer.as_numpy("q_values"), q_values)
        assert np.array_equal(answer.as_numpy("action"), actions)
        assert answer.get_response()["id"] == str(number)

    async def calls(client: Any) -> None:
        await asyncio.gather(*(infer(client, number) for number in range(16)))

    use(server, calls)


def test_parameters_and_errors(server: Server) -> None:
    """`epsilon` and `seed` repeat a choice; an error arrives as the client's exception."""

    async def calls(client: Any) -> None:
        explore = {"epsilon": 1.0, "seed": 3}
        first, again = [await client.infer("cartpole", [tensor()], parameters=explore) for _ in range(2)]
        assert first.as_numpy("action").tolist() == again.as_numpy("action").tolist()
        assert first.as_numpy("propensity").tolist() == [0.5] * 6
        with pytest.raises(InferenceServerException, match=r"parameters\.epsilon"):
            await client.infer("cartpole", [tensor()], parameters={"epsilon": 2.0})

    use(server, calls)
