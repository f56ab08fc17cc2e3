"""`make up`: trains a first policy if there is none, then serves it and runs the retraining job until Ctrl-C.

Arguments are passed to `dqn-train`. Environment variables and their defaults: PORT (8000), DQN_MODEL (cartpole),
DQN_REPOSITORY (models/store), EVERY (15m: how often to retrain) and METRICS_PORT (8001: where the retraining job serves
its metrics; 0 disables them).
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dqn_models import cli_support, streams
from dqn_models.errors import ModelError
from dqn_models.manifest import Manifest
from dqn_models.reader import RepositoryReader

BIN = Path(sys.executable).parent
START_SECONDS = 60
POLL_SECONDS = 0.1


def say(line: str) -> None:
    """Prints a line; if that fails, training and serving continue."""
    with streams.tolerant_output():
        print(line, flush=True)


def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts one of our commands in its own process group, so that the terminal's Ctrl-C reaches only this script."""
    return subprocess.Popen([str(BIN / name), *arguments], process_group=0)  # noqa: S603


def end(*processes: subprocess.Popen[bytes], with_signal: int = signal.SIGTERM) -> None:
    """Asks commands to stop and waits for them; a second Ctrl-C kills them."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(with_signal)
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise


def train(model: str, arguments: list[str]) -> None:
    """Trains a first version. Raises ModelError if that fails."""
    say(f"There is no {model} yet: training one.")
    trainer = start("dqn-train", "--name", model, *arguments)
    try:
        status = trainer.wait()
    except KeyboardInterrupt:
        end(trainer, with_signal=signal.SIGINT)
        raise
    if status:
        raise ModelError(f"Training ended with status {status}, so there is nothing to serve.")


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Returns once the server is ready. Raises ModelError after START_SECONDS, or if the server exits."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(POLL_SECONDS)
    raise ModelError(f"The server on port {port} did not become ready; see its log above.")


def example(manifest: Manifest) -> str:
    """An example observation as JSON: the mean of those in training."""
    return json.dumps(manifest.environment.observation_space.example(manifest.observations.mean))


def serve(repository: RepositoryReader, model: str, port: int) -> None:
    """Serves and retrains until a signal stops this script.

    Raises ModelError if the server or the retraining job exits by itself.
    """
    running = [start("dqn-serve", "--port", str(port), "--model", model)]
    try:
        wait_until_ready(running[0], port)
        every, metrics = os.environ.get("EVERY") or "15m", os.environ.get("METRICS_PORT") or "8001"
        running.append(start("dqn-retrain", "--every", every, "--metrics-port", metrics, "--name", model))
        announce(repository.manifest(model, repository.resolve(model)), port)
        ended, _ = os.wait()
        name = "server" if ended == running[0].pid else "retraining job"
        raise ModelError(f"The {name} exited by itself; see its log above.")
    except KeyboardInterrupt:
        say("Stopping the server and the retraining job ...")
    finally:
        end(*running)


def announce(manifest: Manifest, port: int) -> None:
    """Prints what is being served and how to try it."""
    url = f"http://127.0.0.1:{port}"
    say(f"\nServing {manifest.model} and retraining it in the background; Ctrl-C stops both. Open or try:\n")
    say(f"  {url}/docs")
    say(f"  curl -s {url}/act -d '{{\"observation\": {example(manifest)}}}'\n")


def main() -> None:
    """Brings everything up, and down again at the end."""
    os.environ.setdefault("DQN_REPOSITORY", str(cli_support.default_repository()))
    repository = RepositoryReader(cli_support.default_repository())
    model = os.environ.get("DQN_MODEL") or "cartpole"
    if repository.alias(model) is None:
        train(model, sys.argv[1:])
    serve(repository, model, int(os.environ.get("PORT") or 8000))


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt("Interrupted.")


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    sys.exit(cli_support.run(main))
