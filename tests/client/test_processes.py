"""Clients in several processes and event loops: each has its own connections, or an error says why it cannot."""

import asyncio
import copy
import multiprocessing
import pickle
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import httpx
import pytest
from websockets.sync.server import ServerConnection

import dqn_client
from dqn_client import AsyncPolicyClient, PolicyClient, PolicyClientError
from dqn_testing.server import Server
from tests.client.clients import QUICK
from tests.client.test_stream_faults import Peer, answer, answer_all, receive_observation

FORKING = """
import asyncio, contextlib, os, sys, threading
from dqn_client import *

url = sys.argv[1]

def forked(function):
    "Runs the function in a forked process; returns its id."
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child

def wait(*children):
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(statuses), statuses

def act(actor, state, times=150):
    for _ in range(times):
        assert actor.act(state).action == state

async def act_async(actor, state, times=50):
    for _ in range(times):
        assert (await actor.act(state)).action == state

def refused(function, part):
    try:
        function()
    except PolicyClientError as error:
        assert part in str(error), str(error)
    else:
        raise AssertionError(f"expected an error with {part!r}")
"""


def run_program(program: str, url: str) -> None:
    """Runs a separate program, which begins with FORKING; there, `lake` returns states 0 to 3 as the action."""
    words = [sys.executable, "-c", FORKING + program, url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def pickled(value: Any) -> Any:
    """What arrives in another process: the object after a round trip through pickle."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301  (written here)


@pytest.mark.parametrize("policy", ["client", "client.stream()"])
def test_parent_and_children_act_at_once(server: Server, policy: str) -> None:
    """After a fork, the parent and its children use shared clients at the same time, and each gets its own answers."""
    run_program(
        f"""
with PolicyClient(url, model="lake") as client, contextlib.closing({policy}) as policy:
    act(policy, 0)
    children = [forked(lambda: act(policy, state)) for state in (1, 2, 3)]
    act(policy, 0)
    wait(*children)
    act(policy, 0)
""",
        server.url,
    )


def test_fork_while_a_thread_acts() -> None:
    """A child does not wait for a thread of the parent that was acting, nor does its exit disturb that thread."""
    is_asked, is_child_done = threading.Event(), threading.Event()

    def script(peer: Peer, connection: ServerConnection) -> None:
        if len(peer.paths) > 1:
            answer_all(peer, connection)
        answer(connection, receive_observation(connection))
        question = receive_observation(connection)
        is_asked.set()
        assert is_child_done.wait(30)
        answer(connection, question)

    program = """
with PolicyClient(url, timeout=30) as client, client.stream() as stream:
    act(stream, 7, times=1)
    thread = threading.Thread(target=act, args=(stream, 8, 1))
    thread.start()
    input()
    def child():
        with stream:
            act(stream, 9, times=1)
    wait(forked(child))
    print("done", flush=True)
    thread.join()
"""
    words = [sys.executable, "-c", FORKING + program]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with Peer(script) as peer, subprocess.Popen([*words, peer.url], **pipes) as running:
        assert is_asked.wait(30)
        assert running.stdout is not None
        print(file=running.stdin, flush=True)
        assert running.stdout.readline() == "done\n"
        is_child_done.set()
        assert running.wait(30) == 0
        assert len(peer.paths) == 2


def test_asyncio_after_a_fork(server: Server) -> None:
    """A forked process uses the clients in its own event loop; in an inherited one it gets an error that says why."""
    run_program(
        """
client = AsyncPolicyClient(url, model="lake")
stream = client.stream()

def child_in_a_new_loop():
    for policy in (client, stream):
        asyncio.run(act_async(policy, 2))

async def fork_while_running():
    for policy in (client, stream):
        await act_async(policy, 1)
    children = [forked(child_in_a_new_loop)]
    for policy in (client, stream):
        await act_async(policy, 3)
    wait(*children)

with asyncio.Runner() as runner:
    runner.run(fork_while_running())
    def child_in_the_inherited_loop():
        for policy in (client, stream):
            refused(lambda: runner.run(act_async(policy, 2)), "asyncio.run(...)")
    wait(forked(child_in_the_inherited_loop))
    runner.run(act_async(client, 3))
    runner.run(stream.close())
    runner.run(client.close())
""",
        server.url,
    )


def test_asynchronous_client_in_several_event_loops(server: Server) -> None:
    """A client, and a stream, that were used in an event loop that has ended work in the next one."""
    run_program(
        """
client = AsyncPolicyClient(url, model="lake")
stream = client.stream(pin=True)
for state in range(3):
    for policy in (client, stream):
        asyncio.run(act_async(policy, state))
""",
        server.url,
    )


def test_event_loops_at_once(server: Server) -> None:
    """Two running event loops may share a client; a stream, which is for one control loop, says that they may not."""

    async def play() -> None:
        async with AsyncPolicyClient(server.url, model="lake") as client, client.stream() as stream:
            assert (await client.act(1)).action == (await stream.act(1)).action == 1
            await asyncio.to_thread(asyncio.run, play_in_another(client, stream))
            assert (await client.act(3)).action == (await stream.act(3)).action == 3

    async def play_in_another(client: AsyncPolicyClient, stream: dqn_client.AsyncStream) -> None:
        async with client:
            assert (await client.act(2)).action == 2
            with pytest.raises(PolicyClientError, match="another event loop"):
                await stream.act(2)

    asyncio.run(play())


def test_outside_of_asyncio() -> None:
    """If no asyncio event loop is running, as under trio, the asynchronous client says what it needs."""
    client = AsyncPolicyClient("http://127.0.0.1:8000")
    for call in (client.act(1), client.stream().act(1)):
        with pytest.raises(PolicyClientError, match="No asyncio event loop is running"):
            call.send(None)


def test_custom_transport_stays_where_it_was_used(server: Server) -> None:
    """A custom transport cannot be used in a second process or event loop; the client says so."""
    run_program(
        """
import httpx
with PolicyClient(url, model="lake", transport=httpx.HTTPTransport()) as client:
    act(client, 1)
    wait(forked(lambda: refused(lambda: client.act(1), "works only in the process that used it first")))
    act(client, 2)

client = AsyncPolicyClient(url, model="lake", transport=httpx.AsyncHTTPTransport())
asyncio.run(act_async(client, 1))
refused(lambda: asyncio.run(act_async(client, 1)), "event loop, that used it first")
""",
        server.url,
    )


def test_pickled_client_acts_in_another_process(server: Server) -> None:
    """A client's methods can be sent to worker processes, and what they return or raise comes back intact."""
    with (
        PolicyClient(server.url, model="lake", retries=QUICK) as client,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        assert client.act(1).action == 1
        assert [action.action for action in pool.map(client.act, range(4))] == [0, 1, 2, 3]
        with pytest.raises(dqn_client.RequestRefusedError) as caught:
            pool.submit(client.act, [0.5]).result()
        assert (caught.value.status, caught.value.title) == (422, "Unprocessable Content")
        assert caught.value.request_id


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_copied_client(server: Server, copied: Callable[[Any], Any]) -> None:
    """Copies have the client's arguments, and their own connections: closing one leaves the other open."""

    async def act() -> None:
        async with AsyncPolicyClient(server.url, model="lake") as client:
            assert (await client.act(1)).action == 1
            async with copied(client) as other:
                assert (await other.act(2)).action == 2
            assert (await client.act(3)).action == 3

    asyncio.run(act())


@pytest.mark.parametrize("make", [PolicyClient, AsyncPolicyClient])
def test_what_cannot_be_pickled_says_so(make: type[PolicyClient] | type[AsyncPolicyClient]) -> None:
    """A stream, and a client with a TLS context or a custom transport, say why and what to do instead."""
    url = "http://127.0.0.1:8000"
    transport: Any = httpx.MockTransport(lambda _: httpx.Response(200))
    for whole, part in (
        (make(url).stream(), "pickle its client"),
        (make(url, tls=ssl.create_default_context()), "`tls` cannot be pickled"),
        (make(url, transport=transport), "`transport` cannot be pickled"),
    ):
        with pytest.raises(PolicyClientError, match=part):
            pickle.dumps(whole)


@pytest.mark.parametrize(
    "error",
    [
        dqn_client.RequestRefusedError(422, "Unprocessable Content", "observation is empty.", "shape"),
        dqn_client.NotFoundError(404, "Not Found", "There is no model 'pong'."),
        dqn_client.AccessDeniedError(401, "Unauthorized", "The token is wrong."),
        dqn_client.NotReadyError(503, "Service Unavailable", "There is no champion.", 2.0),
        dqn_client.ConnectionLostError("Cannot reach http://127.0.0.1:1.", was_open=False, may_pass=False),
        dqn_client.TimedOutError("It did not answer."),
        dqn_client.UnexpectedResponseError("It is another server."),
        PolicyClientError("This stream is in use."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_be_pickled(error: PolicyClientError) -> None:
    """An error that a worker process raises arrives with its type, message and fields."""
    error.request_id = "4bf92f35"
    restored = pickled(error)
    assert (type(restored), str(restored), vars(restored)) == (type(error), str(error), vars(error))
