"""Evaluates policies in one environment, in this process or, if a process can hold only one instance, in another."""

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
    """Plays episodes. The caller must close it.

    If several environments play at once, they are made in this process for each evaluation, so that evaluations are
    independent. A single one lives in a separate, persistent process, since training may have one open in this one.
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
        """Plays an exported policy, or random actions for None, one episode at a time; see `evaluation.play.play`.

        Raises FaultyEnvironmentError if the environment fails.
        """
        slots = 1 if onnx is None else self._slots
        arguments = (onnx, self._environment, seed, episodes, self._step_limit, slots, most_steps)
        if self._slots > 1:
            return _play(tick, *arguments)
        self.open()
        assert self._process is not None  # noqa: S101  (open makes it)
        return self._process.play(arguments, tick)

    def open(self) -> None:
        """Starts the separate process, if one is needed; this takes seconds, which `play` would otherwise spend."""
        if self._slots == 1 and self._process is None:
            self._process = _Process(self._environment.id)

    def close(self) -> None:
        """Ends the separate process, if there is one."""
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
    """An evaluation process, spawned because a fork would inherit the state of this process's own instance."""

    def __init__(self, env_id: str) -> None:
        self._id = env_id
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), name="evaluation")
        self._process.start()
        theirs.close()
        self._answers()

    def play(self, arguments: tuple[Any, ...], tick: Tick) -> Episodes:
        with contextlib.suppress(ConnectionError):  # receiving the answer reports it
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
            raise FaultyEnvironmentError(f"The process in which {self._id} was evaluated died.") from error

    def close(self) -> None:
        self._connection.close()
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(_GRACE_SECONDS)
        self._process.kill()


def _answer(connection: Connection) -> None:
    """Plays the requested episodes until the other end is closed or its process has ended."""
    end_when_asked()
    with contextlib.suppress(EOFError, ConnectionError):
        connection.send("ready")
        while True:
            arguments: tuple[Any, ...] = connection.recv()
            seed_process(arguments[2])  # evaluations must not depend on earlier ones
            try:
                answer: Any = tuple(_play(connection.send, *arguments))
            except Exception as error:  # noqa: BLE001  (re-raised in the parent)
                answer = error
            connection.send(answer)
