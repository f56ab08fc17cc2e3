"""dqn-serve beside its peers and bare uvicorn with a fixed answer, the limit of this stack; needs Debian's `wrk`.

    .venv/bin/python benchmarks/serving.py --peers

One observation, a batch of 1,024 as JSON, and one observation for a network with two layers of 1,024. Each server has
core 0 to itself and the load generator core 1; rounds are interleaved: all meet the same noise, which disturbs the
server's CPU time for a request least. Every peer serves the same ONNX file, from an environment of its own (in
build/peers, or $PEERS) that is installed at the first run. With --save it writes README's table and docs/serving.png.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import numpy as np
import readme
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from peers.environments import peer_python, versions
from rich.console import Console
from rich.progress import track

from models.repository import ModelRepository
from training.challenger import train_challenger
from training.config import DQNConfig
from training.experience.environments import environment_for
from training.pipeline import publish

ONE = '{"observation": [0.02, -0.01, 0.03, 0.04]}'
ONE_TENSOR = (
    '{"inputs": [{"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.02, -0.01, 0.03, 0.04]}]}'
)
BATCH = 1024
HERE = Path(__file__).parent
PEERS = HERE / "peers"
PICTURE = HERE.parent / "docs/serving.png"
SERVER_CORE, CLIENT_CORE = "0", "1"


class System(NamedTuple):
    """A server: how it is started on a port, where it acts, and what it is sent."""

    name: str
    command: Callable[[int], Sequence[str | Path]]
    path: str = "/act"
    body: str = ONE
    package: str | None = None  # whose version is named
    python: Path = Path(sys.executable)
    seconds_to_start: int = 60


class Case(NamedTuple):
    """One row of the table."""

    system: System
    connections: int
    observations: int = 1  # in each request

    def body(self) -> str:
        """The request's body: numbers with six digits, as controllers send them."""
        if self.observations == 1:
            return self.system.body
        rows = np.random.default_rng(0).normal(size=(self.observations, 4)).round(6)
        return json.dumps({"observations": rows.tolist()})


class Load(NamedTuple):
    """What wrk saw in one round, and what the server's process used meanwhile."""

    requests_per_second: float
    p50: float  # microseconds
    p99: float
    cpu: float  # microseconds for each request
    errors: int


def main(seconds: int = 5, rounds: int = 5, *, peers: bool = False, save: bool = False) -> None:
    """Measures.

    Args:
        seconds: of load in a round
        rounds: how many
        peers: measure the peers too
        save: write README's table and the picture
    """
    measured: dict[Case, list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        bare = System("bare uvicorn, fixed answer", _bare, package="uvicorn")
        small = System("dqn-serve", _dqn_serve(folder / "small", 128))
        wide = System("dqn-serve, 4-1024-1024-2", _dqn_serve(folder / "wide", 1024))
        others = _peers(folder, folder / "small/cartpole/1/model.onnx") if peers else []
        cases = [
            *(Case(system, connections) for connections in (1, 32) for system in (bare, small, *others)),
            Case(small, 1, BATCH),
            *(Case(wide, connections) for connections in (1, 32)),
        ]
        systems = dict.fromkeys(case.system for case in cases)
        servers = {system: stack.enter_context(_running(system)) for system in systems}
        for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
            for case in cases:
                measured[case].append(_load(servers[case.system], case, seconds))
    text = f"{_table(measured)}\n\n{readme.machine(_versions(systems))}"
    print(text)
    if save:
        readme.write("benchmarks/serving.py", text)
        _draw(measured)


def _table(measured: dict[Case, list[Load]]) -> str:
    """Medians over the rounds; the ratio is to dqn-serve with as many connections and observations."""
    rates = {case: median(load.requests_per_second for load in loads) for case, loads in measured.items()}
    rows = []
    for case, loads in measured.items():
        _, p50, p99, cpu, _ = (median(values) for values in zip(*loads, strict=True))
        ours = next(
            (rate for other, rate in rates.items() if other[1:] == case[1:] and other.system.name == "dqn-serve"), 0.0
        )
        figures = (rates[case], rates[case] * case.observations, p50, p99, cpu, sum(load.errors for load in loads))
        rows.append(
            [
                case.system.name,
                f"{case.observations:,}",
                f"{case.connections}",
                *(f"{value:,.0f}" for value in figures),
                f"{ours / rates[case]:.2f}",
            ]
        )
    columns = ("system", "observations", "connections", "requests/s", "observations/s", "p50 (us)", "p99 (us)")
    return readme.table((*columns, "CPU (us)", "errors", "dqn-serve is faster by"), rows)


def _draw(measured: dict[Case, list[Load]]) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, connections in zip(figure.subplots(1, 2), (1, 32), strict=True):
        bars = {
            case.system.name: median(load.requests_per_second for load in loads)
            for case, loads in measured.items()
            if case.connections == connections and case.observations == 1
        }
        drawn = axes.barh(list(bars), list(bars.values()), color=["C3" if "dqn" in name else "C0" for name in bars])
        axes.bar_label(drawn, fmt="{:,.0f}", padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * max(bars.values()))
        axes.set_title(f"requests a second, {connections} connection{'s' * (connections > 1)}, one core")
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


def _bare(port: int) -> Sequence[str | Path]:
    words = ["fixed_answer:app", f"--app-dir={HERE}", "--log-level=critical", "--lifespan=off"]
    return [sys.executable, "-m", "uvicorn", *words, f"--port={port}"]


def _peers(folder: Path, model: Path) -> list[System]:
    """The peers, all with the same policy."""
    os.environ["MODEL"] = str(model)
    os.environ["PYTHONPATH"] = str(PEERS)
    fastapi = peer_python("plain", ["fastapi", "uvicorn[standard]", "onnxruntime"])
    litserve = peer_python("litserve", ["litserve", "onnxruntime"])
    bentoml = peer_python("bentoml", ["bentoml", "onnxruntime"])
    mlserver = peer_python("mlserver", ["mlserver", "onnxruntime"])
    mlserver_folder = folder / "mlserver"
    mlserver_folder.mkdir()
    (mlserver_folder / "model-settings.json").write_text('{"name": "m", "implementation": "serve_mlserver.Acting"}')

    def start_mlserver(port: int) -> Sequence[str | Path]:
        ports = {"http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port()}
        settings = {"parallel_workers": 0, "debug": False, "host": "127.0.0.1", **ports}
        (mlserver_folder / "settings.json").write_text(json.dumps(settings))
        return [mlserver.with_name("mlserver"), "start", mlserver_folder]

    return [
        System(
            "FastAPI, async def",
            lambda port: [fastapi, "-m", "uvicorn", "serve_fastapi:app", f"--port={port}", "--log-level=critical"],
            package="fastapi",
            python=fastapi,
        ),
        System("MLServer", start_mlserver, "/v2/models/m/infer", ONE_TENSOR, "mlserver", mlserver),
        System(
            "LitServe",
            lambda port: [litserve, PEERS / "serve_litserve.py", str(port)],
            "/predict",
            package="litserve",
            python=litserve,
        ),
        System(
            "BentoML",
            lambda port: [bentoml, "-m", "bentoml", "serve", "serve_bentoml:Acting", f"--port={port}", "-q"],
            package="bentoml",
            python=bentoml,
        ),
    ]


def _versions(systems: Iterable[System]) -> dict[str, str]:
    named = {"onnxruntime": version("onnxruntime")}
    for system in systems:
        if system.package:
            named |= versions(system.python, [system.package])
    return named


def _dqn_serve(folder: Path, width: int) -> Callable[[int], Sequence[str | Path]]:
    """Makes a policy (how well it plays does not matter here) and returns the command that serves it."""
    config = DQNConfig(
        hidden_sizes=(width, width), layer_norm=False, total_env_steps=2_000, report_episodes=2, eval_episodes=2
    )
    challenger = train_challenger(config, "general", environment_for(config), lambda *_: None)
    publish(challenger, ModelRepository(folder), "cartpole", "non-inferior", "benchmark")
    program = Path(sys.executable).with_name("dqn-serve")
    return lambda port: [program, "--repository", folder, "--log-format=json", f"--port={port}"]


class Running(NamedTuple):
    """A server's process, which leads a session of its own, and its port."""

    process_id: int
    port: int

    def cpu_seconds(self) -> float:
        """CPU time that its processes have used so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process_id:  # its session
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _running(system: System) -> Iterator[Running]:
    port = _free_port()
    words = ["taskset", "-c", SERVER_CORE, *system.command(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=PEERS, start_new_session=True)
        try:
            _wait(system, port)
            yield Running(process.pid, port)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(system: System, port: int) -> None:
    deadline = time.monotonic() + system.seconds_to_start
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            url, headers = f"http://127.0.0.1:{port}{system.path}", {"content-type": "application/json"}
            httpx.post(url, content=system.body, headers=headers).raise_for_status()
            return
        time.sleep(0.1)
    raise TimeoutError(f"{system.name} does not answer on port {port}.")


def _load(server: Running, case: Case, seconds: int) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = '{case.body()}'\n")
        script.write("wrk.headers['content-type'] = 'application/json'\n")
        script.write(
            "done = function(s, l, r) print('R', s.requests, s.duration, l:percentile(50), l:percentile(99), "
            "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout) end\n"
        )
        script.flush()
        words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{case.connections}", f"-d{seconds}", "-s", script.name]
        used = server.cpu_seconds()
        output = subprocess.run(
            [*words, f"http://127.0.0.1:{server.port}{case.system.path}"], capture_output=True, text=True, check=True
        ).stdout
        used = server.cpu_seconds() - used
    found = re.search(r"^R\s+(.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no result: {output}")
    requests, microseconds, p50, p99, errors = (float(value) for value in found[1].split())
    return Load(requests / microseconds * 1e6, p50, p99, used / requests * 1e6, int(errors))


if __name__ == "__main__":
    tyro.cli(main)
