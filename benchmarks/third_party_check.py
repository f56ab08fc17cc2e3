"""Serves the model in the working directory and requests an action for a first observation: third_party_check.py MODEL.

Prints one JSON line with the action. The observation and its mask, where the server requires one, are passed to the
client as the environment returns them.
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np

from dqn_client import PolicyClient, PolicyClientError
from dqn_models.reader import RepositoryReader
from dqn_training.envs.make import make_described


def main(model: str) -> None:
    """Prints the action, waiting at most a minute for the server."""
    with contextlib.redirect_stdout(sys.stderr):
        described = RepositoryReader("models/store").manifest(model, 1).environment
        environment = make_described(described).env
        observation, info = environment.reset(seed=0)
        masks = {
            "info": lambda: {"action_mask": info["action_mask"]},
            "method": lambda: {"action_mask": environment.get_wrapper_attr("action_masks")()},
        }
        mask = masks.get(described.action_mask or "", dict[str, Any])()
        environment.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = ["dqn-serve", "--port", str(port)]
    server = subprocess.Popen(words, stdout=sys.stderr)
    try:
        print(json.dumps({"action": _action(f"http://127.0.0.1:{port}", observation, mask)}))
    finally:
        server.terminate()
        server.wait()


def _action(url: str, observation: Any, mask: dict[str, Any]) -> object:
    with PolicyClient(url) as client:
        for _ in range(120):
            with contextlib.suppress(PolicyClientError):
                if client.ready().ready:
                    break
            time.sleep(0.5)
        return np.asarray(client.act(observation, **mask).action).tolist()


if __name__ == "__main__":
    main(sys.argv[1])
