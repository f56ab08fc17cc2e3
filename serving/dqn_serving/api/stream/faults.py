"""What is wrong with a frame: the slow path, taken by faulty frames only."""

from typing import Any, NamedTuple

from msgspec import UNSET, MsgspecError, UnsetType

from dqn_serving.api import explain
from dqn_serving.api.explain import Document, is_integer, rejected, shown
from dqn_serving.api.stream.codecs import Codec
from dqn_serving.api.stream.messages import GREATEST_ID, LEAST_ID, LONGEST_ID, StreamError, StreamRequest
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.problems import Problem

FIELDS = StreamRequest.__struct_fields__

FrameId = int | str | UnsetType


class Fault(NamedTuple):
    """A problem, and the `id` of the frame that has it, where it has a valid one."""

    problem: Problem
    identity: FrameId = UNSET


def diagnose(frame: bytes, codec: Codec, loaded: LoadedPolicy, error: Exception) -> Fault:
    """The first fault found in a frame that the typed decoders refused with `error`."""
    identity: FrameId = UNSET
    try:
        document = codec.parse(frame)
        if _is_id(document.get("id")):
            identity = document["id"]
        _check(document)
        reader = codec.reader_of(loaded)
        explain.check_observations(document, reader, str(loaded))
        explain.check_mask(document, reader, str(loaded))
    except Problem as problem:
        return Fault(problem, identity)
    found = str(error) if isinstance(error, MsgspecError) else type(error).__name__
    return Fault(Problem(422, f"The frame does not fit: {found}.", reason="type"), identity)


def _check(document: Document) -> None:
    explain.check_names(document, FIELDS, "frame")
    if "observation" not in document:
        raise rejected("fields", "The frame has no observation; expected one.")
    explain.check_options(document)
    if "id" in document and not _is_id(document["id"]):
        expected = f"an integer or a string of at most {LONGEST_ID} characters"
        raise rejected("fields", f"id is {shown(document['id'])}; expected {expected}.")


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_ID and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return is_integer(value) and LEAST_ID <= value <= GREATEST_ID


def error_message(fault: Fault) -> StreamError:
    """The frame that tells of a fault."""
    document = fault.problem.document()
    reason = fault.problem.reason or UNSET
    title, detail = str(document["title"]), fault.problem.detail
    return StreamError(fault.problem.status, title, detail, reason, fault.identity)
