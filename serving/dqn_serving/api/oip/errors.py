"""Every error of the protocol: `{"error": ...}`, with the status of the problem that it tells of."""

import json

from dqn_serving.problems import Answer, Problem, make_answer


def error_answer(problem: Problem) -> Answer:
    """A problem in the protocol's form."""
    body = json.dumps({"error": problem.detail}).encode()  # ASCII only, whatever a client sent
    return make_answer(body, problem.status, headers=problem.headers)
