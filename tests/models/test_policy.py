"""The ONNX policy."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper

from dqn_models.errors import PolicyError
from dqn_models.policy import Policy, PreparedRun
from dqn_models.spaces import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace, TupleSpace
from dqn_testing.repositories import CARTPOLE_WEIGHTS, discrete_onnx, graph_onnx, linear_onnx

OBSERVATIONS = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)


def test_q_values_and_actions_are_the_graph_s() -> None:
    """A linear policy returns what NumPy computes, for any batch size."""
    policy = Policy(linear_onnx(bias=0.5))
    q_values, actions = policy.run(OBSERVATIONS)
    expected = OBSERVATIONS @ CARTPOLE_WEIGHTS + 0.5
    np.testing.assert_allclose(q_values, expected, rtol=1e-5, atol=1e-6)
    assert actions.tolist() == expected.argmax(axis=1).tolist()
    assert policy.act(OBSERVATIONS[:1]).tolist() == actions[:1].tolist()


def test_ties_take_the_first_action_and_start_is_added() -> None:
    """Equal Q-values choose the lowest index, counted from the environment's first action."""
    policy = Policy(linear_onnx(np.zeros((4, 3), np.float32), start=-1))
    assert policy.act(OBSERVATIONS).tolist() == [-1] * 32


def test_a_policy_describes_itself() -> None:
    """Shape, dtype and number of actions come from the graph."""
    box, discrete = Policy(linear_onnx()), Policy(discrete_onnx(16, 4))
    assert (box.observation_shape, box.observation_dtype.name, box.n_actions) == ((4,), "float32", 2)
    assert (discrete.observation_shape, discrete.observation_dtype.name, discrete.n_actions) == ((), "int64", 4)
    assert discrete.act(np.array([0, 5, 10])).tolist() == [0, 1, 2]
    for policy in (box, discrete):
        policy.warm_up()


def test_threads_may_share_a_policy() -> None:
    """Results do not depend on other threads."""
    policy = Policy(linear_onnx())
    expected = policy.act(OBSERVATIONS).tolist()
    with ThreadPoolExecutor(4) as threads:
        assert all(answer == expected for answer in threads.map(lambda _: policy.act(OBSERVATIONS).tolist(), range(50)))


def linear_with(input_type: int, batch: str | int, outputs: list[str]) -> bytes:
    """A policy-like graph with another input type, batch dimension or output names."""
    nodes = [
        helper.make_node("Cast", ["observation"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["x"], [outputs[0]]),
        helper.make_node("ArgMax", ["x"], [outputs[1]], axis=1, keepdims=0),
    ]
    values: list[tuple[str, int, list[int | str]]] = [
        (outputs[0], TensorProto.FLOAT, [batch, 2]),
        (outputs[1], TensorProto.INT64, [batch]),
    ]
    return graph_onnx(nodes, [("observation", input_type, [batch, 2])], values, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (linear_with(TensorProto.FLOAT, "batch", ["q", "action"]), "is not a policy: it has .* outputs q float32"),
        (linear_with(TensorProto.FLOAT, "batch", ["q_values", "a"]), "is not a policy"),
        (
            linear_with(TensorProto.DOUBLE, "batch", ["q_values", "action"]),
            r"dtype tensor\(double\); expected float32",
        ),
        (linear_with(TensorProto.FLOAT, 1, ["q_values", "action"]), "does not run on a batch of 2"),
    ],
)
def test_a_graph_that_is_not_a_policy_is_refused(data: bytes, message: str) -> None:
    """Wrong names, a wrong dtype and a fixed batch are each refused with what was found."""
    with pytest.raises(PolicyError, match=message):
        Policy(data, where="x.onnx").warm_up()


def test_a_graph_that_returns_another_shape_is_refused() -> None:
    """Warm-up detects a graph whose outputs do not have the declared shapes."""
    nodes = [
        helper.make_node("Concat", ["observation", "observation"], ["q_values"], axis=0),
        helper.make_node("ArgMax", ["observation"], ["action"], axis=1, keepdims=0),
    ]
    data = graph_onnx(
        nodes,
        [("observation", TensorProto.FLOAT, ["batch", 2])],
        [("q_values", TensorProto.FLOAT, ["twice", 2]), ("action", TensorProto.INT64, ["batch"])],
        {},
    )
    with pytest.raises(PolicyError, match=r"q_values \[2, 2\] and action \[1\]; expected \[1, 2\] and \[1\]"):
        Policy(data).warm_up()


SEVERAL = DictSpace(
    spaces={
        "goal": TupleSpace(spaces=[BoxSpace(shape=[2], dtype="float32", low=-1, high=1)]),
        "bits": MultiBinarySpace(shape=[2]),
        "side": DiscreteSpace(n=3),
    }
)
JOINT = MultiDiscreteSpace(nvec=[2, 2], start=[0, 5])


def several_onnx(action_type: int = TensorProto.INT64) -> bytes:
    """A policy whose four Q-values are the goal and the bits, plus the side; joint actions of two components."""
    nodes = [
        helper.make_node("Cast", ["observation.bits"], ["bits"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["observation.goal.0", "bits"], ["features"], axis=1),
        helper.make_node("Cast", ["observation.side"], ["side"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["side", "column"], ["side_column"]),
        helper.make_node("Add", ["features", "side_column"], ["q_values"]),
        helper.make_node("ArgMax", ["q_values"], ["index"], axis=1, keepdims=0),
        helper.make_node("Gather", ["actions", "index"], ["action"], axis=0),
    ]
    table = JOINT.action(np.arange(4))
    return graph_onnx(
        nodes,
        [
            ("observation.goal.0", TensorProto.FLOAT, ["batch", 2]),
            ("observation.bits", TensorProto.UINT8, ["batch", 2]),
            ("observation.side", TensorProto.INT64, ["batch"]),
        ],
        [("q_values", TensorProto.FLOAT, ["batch", 4]), ("action", action_type, ["batch", 2])],
        {"actions": table.astype(helper.tensor_dtype_to_np_dtype(action_type)), "column": np.array([-1, 1])},
    )


def test_a_graph_with_an_input_for_each_leaf_takes_rows() -> None:
    """Rows of the space go in as one array, and actions come out in the environment's own form."""
    policy = Policy(several_onnx())
    assert policy.observation_dtype == SEVERAL.row_dtype
    rows = SEVERAL.sample(np.zeros(1, SEVERAL.row_dtype), 7, np.random.default_rng(0))
    q_values, actions = policy.run(rows)
    expected = np.concatenate([rows["goal.0"], rows["bits"]], axis=1) + rows["side"][:, None]
    np.testing.assert_allclose(q_values, expected, rtol=1e-6)
    assert actions.tolist() == JOINT.action(expected.argmax(axis=1)).tolist()
    assert policy.act(rows[::2]).tolist() == actions[::2].tolist()
    assert (policy.n_actions, policy.action_shape, policy.action_dtype.name) == (4, (2,), "int64")
    policy.warm_up()


def test_prepared_runs_of_several_leaves_answer_the_same() -> None:
    """A row, or a tuple of the leaves' values as in JSON, gives the result of a batch of one, every time."""
    policy = Policy(several_onnx(TensorProto.FLOAT))
    prepared = PreparedRun(policy)
    for row in SEVERAL.sample(np.zeros(1, SEVERAL.row_dtype), 5, np.random.default_rng(1)):
        expected = policy.run(row.reshape(1))
        for observation in (row, tuple(part.tolist() for part in row)):
            q_values, action = prepared(observation)
            assert q_values.tolist() == expected[0].tolist()
            assert action.tolist() == expected[1].tolist()
