"""Round trips on one connection: a frame on `/act/stream`, in JSON and in MessagePack, compared with `POST /act`.

    .venv/bin/python benchmarks/stream.py
    .venv/bin/python benchmarks/stream.py --awake

One client for all three, on core 1: a blocking socket that repeatedly sends the same bytes and receives each response
into the same buffer without parsing it; the server has core 0. Rounds are interleaved, so that noise affects all alike,
and ratios are per round. Each round trip puts both cores to sleep and wakes them again, which takes tens of
microseconds on a virtual machine, the same for all three; with --awake the cores do not sleep (Linux, as root).
"""

import contextlib
import os
import socket
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec
import tyro
from load import CLIENT_CORE, running
from peers.servers import ACT, dqn_serve
from policies import cartpole, publish_hardly_trained
from rich.console import Console
from rich.table import Table
from websockets.frames import Frame, Opcode

WARM_UP = 200
HTTP, JSON, MSGPACK = "POST /act", "stream, JSON", "stream, MessagePack"
REQUEST = b"POST /act HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(ACT.body), ACT.body)
OPENING = (
    "GET /act/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {}\r\n\r\n"
)
PACKED = msgspec.msgpack.encode(msgspec.json.decode(ACT.body))
SENT = {
    HTTP: ("", REQUEST),
    JSON: ("dqn.json", Frame(Opcode.TEXT, ACT.body).serialize(mask=True)),
    MSGPACK: ("dqn.msgpack", Frame(Opcode.BINARY, PACKED).serialize(mask=True)),
}


def main(rounds: int = 21, round_trips: int = 3000, *, awake: bool = False) -> None:
    """Measures.

    Args:
        rounds: number of rounds
        round_trips: round trips per round
        awake: keep all cores from sleeping
    """
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    p50s: dict[str, list[float]] = defaultdict(list)
    p99s: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        publish_hardly_trained(Path(folder), cartpole(128))
        system = dqn_serve("dqn-serve", Path(folder))
        server = stack.enter_context(running(system.command, system.request, Path(folder)))
        if awake:
            stack.enter_context(_no_sleep())
        for _ in range(rounds):
            for name, (subprotocol, data) in SENT.items():
                used = server.cpu_seconds()
                times = sorted(time_round_trips(server.port, subprotocol, data, round_trips))
                cpu[name].append((server.cpu_seconds() - used) / (round_trips + WARM_UP) * 1e6)
                p50s[name].append(times[len(times) // 2])
                p99s[name].append(times[len(times) * 99 // 100])
    table = Table("dqn-serve, 4-128-128-2", "p50 (us)", "p99 (us)", "server's CPU (us)", "p50 / p50 of POST /act")
    for name in SENT:
        ratio = median(mine / http for mine, http in zip(p50s[name], p50s[HTTP], strict=True))
        figures = (median(p50s[name]), median(p99s[name]), median(cpu[name]))
        table.add_row(name, *(f"{value:.1f}" for value in figures), f"{ratio:.3f}")
    Console(width=140).print(table)


def time_round_trips(port: int, subprotocol: str, data: bytes, count: int) -> list[float]:
    """The duration of each round trip, in microseconds."""
    clock, times = time.perf_counter_ns, []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if subprotocol:
            connection.sendall(OPENING.format(subprotocol).encode())
            received = b""
            while b"action_space" not in received:
                received += connection.recv(65536)
        send, receive, answer = connection.send, connection.recv_into, bytearray(4096)
        for _ in range(WARM_UP + count):
            began = clock()
            send(data)
            receive(answer)
            times.append((clock() - began) / 1e3)
    return times[WARM_UP:]


@contextlib.contextmanager
def _no_sleep() -> Iterator[None]:
    """Keeps cores awake: while this file is open, Linux limits their wake-up latency to the value written, 0 us."""
    with Path("/dev/cpu_dma_latency").open("wb", buffering=0) as latency:
        latency.write(struct.pack("i", 0))
        yield


if __name__ == "__main__":
    tyro.cli(main)
