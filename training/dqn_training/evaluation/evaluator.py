"""Evaluations of one environment, in this process or, where a process can hold only one instance, in another."""

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.evaluation.play import Episodes, Player, RandomPolicy, Tick, play
from dqn_training.interrupts import end_when_asked
from dqn_training.seeds import seed_process

_GRACE_SECONDS = 5.0


class Evaluator:
    """Plays episodes. To be closed by the caller.

    With more than one environment at a time these are made in this process for each evaluation, so that none knows of
    an earlier one. A single one lives in a process of its own, which is kept: training may have one open here.
    """

    def __init__(self, environment: EnvironmentInfo, slots: int, step_limit: int) -> None:
        """At most `slots` environments play at a time; an episode ends after `step_limit` steps."""
        self._environment = environment
        self._slots = slots
        self._step_limit = step_limit
        self._process: _Process | None = None

    def play(
        self,
        onnx: bytes | None,
        seed: int,
        episodes: int,
        most_steps: int | None = None,
        tick: Tick = lambda _: None,
    ) -> Episodes:
        """Plays an exported policy, or random actions for None, an episode at a time; see `evaluation.play.play`.

        Raises FaultyEnvironmentError when the environment breaks down.
        """
        slots = 1 if onnx is None else self._slots
        arguments = (onnx, self._environment, seed, episodes, self._step_limit, slots, most_steps)
        if self._slots > 1:
            return _play(tick, *arguments)
        self.open()
        assert self._process is not None  # noqa: S101  (open makes it)
        return self._process.play(arguments, tick)

    def open(self) -> None:
        """Starts the process, if there is to be one, which takes seconds; otherwise `play` does."""
        if self._slots == 1 and self._process is None:
            self._process = _Process(self._environment.id)

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.close()


def _play(
    tick: Tick,
    onnx: bytes | None,
    environment: EnvironmentInfo,
    seed: int,
    episodes: int,
    step_limit: int,
    slots: int,
    most_steps: int | None,
) -> Episodes:
    player: Player = RandomPolicy(environment, seed) if onnx is None else Policy(onnx)
    return play(player, environment, seed, episodes, step_limit, slots=slots, most_steps=most_steps, tick=tick)


class _Process:
    """A new interpreter: a fork would inherit what this process knows of its own instance."""

    def __init__(self, env_id: str) -> None:
        self._id = env_id
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), name="evaluation")
        self._process.start()
        theirs.close()
        self._answers()

    def play(self, arguments: tuple[Any, ...], tick: Tick) -> Episodes:
        with contextlib.suppress(ConnectionError):  # the answer tells
            self._connection.send(arguments)
        while isinstance(message := self._answers(), int):
            tick(message)
        if isinstance(message, Exception):
            raise message
        return Episodes(*message)

    def _answers(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise FaultyEnvironmentError(f"The process in which {self._id} was evaluated ended.") from error

    def close(self) -> None:
        self._connection.close()
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(_GRACE_SECONDS)
        self._process.kill()


def _answer(connection: Connection) -> None:
    """Plays what is asked for until the other end is closed, or its process is gone."""
    end_when_asked()
    with contextlib.suppress(EOFError, ConnectionError):
        connection.send("ready")
        while True:
            arguments: tuple[Any, ...] = connection.recv()
            seed_process(arguments[2])  # an evaluation does not depend on those before it
            try:
                answer: Any = tuple(_play(connection.send, *arguments))
            except Exception as error:  # noqa: BLE001  (raised where the evaluation was asked for)
                answer = error
            connection.send(answer)
