"""The optional input `action_mask`, in every form that a tensor can have."""

import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from dqn_testing.server import Server
from tests.serving.oip.wire import LAKE, ROW, binary_tensor, read, send, tensor

Masks = list[list[bool]]

LEFT_ONLY: Masks = [[True, False]]


def mask_tensor(masks: Any, shape: Any = (1, 2), **fields: Any) -> dict[str, Any]:
    """A mask in JSON."""
    return {"name": "action_mask", "shape": shape, "datatype": "BOOL", "data": masks} | fields


@pytest.mark.parametrize("data", [LEFT_ONLY, LEFT_ONLY[0]], ids=["nested", "flat"])
def test_masked_actions_are_not_chosen(server: Server, data: Any) -> None:
    """The best allowed action is taken, and all Q-values are returned; the order of the inputs does not matter."""
    free = read(send(server, {"inputs": [tensor()]}))[1]
    for inputs in ([tensor(), mask_tensor(data)], [mask_tensor(data), tensor()]):
        _, outputs = read(send(server, {"inputs": inputs}))
        assert (free["action"].tolist(), outputs["action"].tolist()) == ([1], [0])
        assert np.array_equal(outputs["q_values"], free["q_values"])
        assert "propensity" not in outputs


def test_masks_in_binary(server: Server) -> None:
    """Each tensor's bytes follow in the order of the inputs, whether or not the other one is in JSON."""
    rows = np.array([ROW, [-0.5, 0.1, -0.3, 0.2]], np.float32)
    masks = np.array([[1, 0], [0, 1]], np.uint8)
    sent_rows, sent_masks = binary_tensor(rows.nbytes, [2, 4]), mask_tensor(None, [2, 2])
    del sent_masks["data"]
    sent_masks["parameters"] = {"binary_data_size": masks.nbytes}
    in_json = mask_tensor(masks.astype(bool).tolist(), [2, 2])
    requests = [
        ([sent_rows, sent_masks], rows.tobytes() + masks.tobytes()),
        ([sent_masks, sent_rows], masks.tobytes() + rows.tobytes()),
        ([in_json, sent_rows], rows.tobytes()),
        ([tensor(rows.tolist(), [2, 4]), sent_masks], masks.tobytes()),
    ]
    for inputs, raw in requests:
        text = json.dumps({"inputs": inputs}).encode()
        _, outputs = read(send(server, text + raw, length=len(text)))
        assert outputs["action"].tolist() == [0, 1]


def test_exploring_among_the_allowed(server: Server) -> None:
    """With epsilon, actions are drawn from the allowed ones, with the propensities of the native call."""
    masks = [[True, False, False, True], [False, True, True, True], [False, False, True, False]]
    observations = [2, 0, 2]
    inputs = [
        tensor(observations, [3], datatype="INT64"),
        mask_tensor(masks, [3, 4]),
    ]
    for seed in range(20):
        parameters = {"epsilon": 0.6, "seed": seed}
        _, outputs = read(send(server, {"inputs": inputs, "parameters": parameters}, LAKE))
        body = {"observations": observations, "action_mask": masks, **parameters}
        native = server.post("/models/lake/act", body).json()
        assert outputs["action"].tolist() == native["actions"]
        assert outputs["propensity"].tolist() == native["propensity"]


def test_tritonclient_sends_masks(server: Server) -> None:
    """A client sends masks as it sends any input, and the configuration lists them as optional."""
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    configured = client.get_model_config("lake")["input"]
    assert [(each["name"], each["optional"]) for each in configured] == [("observation", False), ("action_mask", True)]
    assert configured[1] | {"format": ""} == {
        "name": "action_mask",
        "data_type": "TYPE_BOOL",
        "dims": [4],
        "format": "",
        "optional": True,
    }
    for is_binary in (True, False):
        observation, mask = (
            triton.InferInput("observation", [1, 4], "FP32"),
            triton.InferInput("action_mask", [1, 2], "BOOL"),
        )
        observation.set_data_from_numpy(np.array([ROW], np.float32), binary_data=is_binary)
        mask.set_data_from_numpy(np.array(LEFT_ONLY), binary_data=is_binary)
        assert client.infer("cartpole", [observation, mask]).as_numpy("action").tolist() == [0]
    client.close()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"shape": [2, 2]}, "action_mask has shape [2, 2]; cartpole version 1 expects [1, 2] for this batch"),
        ({"shape": [2]}, "action_mask has shape [2]"),
        ({"datatype": "FP32"}, "action_mask has datatype 'FP32'; expected BOOL"),
        ({"data": [True]}, "The data of action_mask has 1 elements; its shape is [1, 2]"),
        ({"data": [[True], [False]]}, "The data of action_mask has shape [2, 1]"),
        ({"data": [[True, False], [True]]}, "not a list of booleans"),
        ({"data": [1, 2]}, "not a list of booleans"),
        ({"data": "x"}, "not a list of booleans"),
        ({"data": [False, False]}, "action_mask[0] masks every action"),
        ({"name": "mask"}, "The inputs are 'observation', 'mask'"),
    ],
)
def test_wrong_masks(server: Server, changes: dict[str, Any], error: str) -> None:
    """A mask that does not fit is refused with what was sent and what is expected."""
    response = send(server, {"inputs": [tensor(), mask_tensor(LEFT_ONLY) | changes]})
    assert response.status_code == 422
    assert error in response.json()["error"]


@pytest.mark.parametrize(
    ("size", "raw", "error"),
    [
        (2, b"\x01\x02", "element 1 of the binary action_mask is 2; expected 0 or 1"),
        (2, b"\x01", "binary_data_size 2 and 1 bytes after the JSON"),
        (3, b"\x01\x00\x01", "needs 2 bytes"),
        (2, b"\x01\x00\x00", "binary_data_size 2 and 3 bytes"),
        (2, b"\x00\x00", "masks every action"),
    ],
)
def test_wrong_binary_masks(server: Server, size: int, raw: bytes, error: str) -> None:
    """A binary mask that does not fit is refused with what was sent and what is expected."""
    mask = mask_tensor(None, parameters={"binary_data_size": size})
    del mask["data"]
    text = json.dumps({"inputs": [tensor(), mask]}).encode()
    response = send(server, text + raw, length=len(text))
    assert response.status_code == 422
    assert error in response.json()["error"]
