"""Many requests for one observation over a few connections at the same time, as fast as a test can send them."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any

from dqn_testing.server import Server

CONNECTIONS = 32


def ask_together(server: Server, bodies: Iterable[dict[str, Any]], path: str = "/act") -> list[Any]:
    """The answers to all bodies, in their order; each connection sends its next request as soon as it can."""
    host, port = server.url.removeprefix("http://").split(":")
    jobs = enumerate(json.dumps(body).encode() for body in bodies)
    answers: dict[int, Any] = {}

    async def everyone() -> None:
        await asyncio.gather(*(_work(host, int(port), path, jobs, answers) for _ in range(CONNECTIONS)))

    asyncio.run(everyone())
    return [answers[index] for index in range(len(answers))]


async def _work(host: str, port: int, path: str, jobs: Iterator[tuple[int, bytes]], answers: dict[int, Any]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for index, body in jobs:
        writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answers[index] = json.loads(await reader.readexactly(length))
    writer.close()
