"""Bodies that are not valid requests: what is sent, the expected status, and a part of the expected detail."""

from typing import NamedTuple

V = b'"observation": [0.1, 0.2, 0.3, 0.4]'


class Malformed(NamedTuple):
    """One row of the table."""

    body: bytes
    status: int
    detail: str
    path: str = "/act"


def one(number: bytes) -> bytes:
    """A body whose second number is replaced by another token."""
    return b'{"observation": [0.1, ' + number + b", 0.3, 0.4]}"


def with_field(field: bytes) -> bytes:
    """A body that is valid but for one more field."""
    return b"{" + V + b", " + field + b"}"


LAKE = "/models/lake/act"
BATCH = b'{"observations": [[0,0,0,0],[1,1,1,1]], '

NOT_JSON = {
    "empty body": Malformed(b"", 400, "empty"),
    "spaces": Malformed(b"   ", 400, "not JSON"),
    "text": Malformed(b"left", 400, "not JSON"),
    "form": Malformed(b"observation=1&observation=2", 400, "not JSON"),
    "cut off": Malformed(b'{"observation": [0.1, 0.2', 400, "not JSON"),
    "cut off in a string": Malformed(b'{"observ', 400, "not JSON"),
    "trailing comma": Malformed(b'{"observation": [0.1, 0.2, 0.3, 0.4,]}', 400, "not JSON"),
    "trailing text": Malformed(b"{" + V + b"} x", 400, "not JSON"),
    "two documents": Malformed(b"{" + V + b"}{" + V + b"}", 400, "not JSON"),
    "single quotes": Malformed(b"{'observation': [0.1, 0.2, 0.3, 0.4]}", 400, "not JSON"),
    "comment": Malformed(b"{" + V + b"} // ok", 400, "not JSON"),
    "leading zero": Malformed(one(b"01"), 400, "not JSON"),
    "plus sign": Malformed(one(b"+1"), 400, "not JSON"),
    "bare point": Malformed(one(b".5"), 400, "not JSON"),
    "hexadecimal": Malformed(one(b"0x10"), 400, "not JSON"),
    "None of Python": Malformed(one(b"None"), 400, "not JSON"),
    "nan in small letters": Malformed(one(b"nan"), 400, "not JSON"),
    "byte order mark": Malformed(b"\xef\xbb\xbf{" + V + b"}", 400, "not JSON"),
    "UTF-16": Malformed('{"observation": [1, 2, 3, 4]}'.encode("utf-16"), 400, "not UTF-8"),
    "invalid UTF-8 in a name": Malformed(b'{"observ\xffation": [1, 2, 3, 4]}', 400, "not UTF-8"),
    "invalid UTF-8 in a value": Malformed(with_field(b'"version": "\xc3\x28"'), 400, "not UTF-8"),
    "null byte": Malformed(b"\x00", 400, "not JSON"),
    "control character in a string": Malformed(with_field(b'"version": "a\nb"'), 400, "not JSON"),
    "gzip": Malformed(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 400, "not UTF-8"),
    "pickle": Malformed(b"\x80\x04\x95\x0b\x00\x00\x00", 400, "not UTF-8"),
    "deep lists": Malformed(b'{"observation": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", 400, "nested too deeply"),
    "deep unclosed lists": Malformed(b"[" * 90_000, 400, "nested too deeply"),
    "deep objects": Malformed(b'{"a":' * 15_000 + b"1" + b"}" * 15_000, 400, "nested too deeply"),
}

WRONG_FIELDS = {
    "array": Malformed(b"[0.1, 0.2, 0.3, 0.4]", 422, "a list of 4; expected a JSON object"),
    "number": Malformed(b"1", 422, "expected a JSON object"),
    "string": Malformed(b'"observation"', 422, "expected a JSON object"),
    "null": Malformed(b"null", 422, "expected a JSON object"),
    "NaN alone": Malformed(b"NaN", 422, "expected a JSON object"),
    "empty object": Malformed(b"{}", 422, "no observation"),
    "both": Malformed(b"{" + V + b', "observations": [[1, 2, 3, 4]]}', 422, "both observation and observations"),
    "unknown field": Malformed(with_field(b'"obs": 1'), 422, "unknown field 'obs'"),
    "unknown field with a surrogate": Malformed(with_field(b'"\\ud800": 1'), 422, "unknown field"),
    "other case": Malformed(b'{"Observation": [0.1, 0.2, 0.3, 0.4]}', 422, "unknown field 'Observation'"),
    "long unknown field": Malformed(with_field(b'"' + b"x" * 9_000 + b'": 1'), 422, "unknown field"),
    "version 0": Malformed(with_field(b'"version": 0'), 422, "version is 0; expected a positive integer"),
    "version -1": Malformed(with_field(b'"version": -1'), 422, "version is -1"),
    "version 1.5": Malformed(with_field(b'"version": 1.5'), 422, "version is 1.5"),
    "version true": Malformed(with_field(b'"version": true'), 422, "version is true"),
    "version null": Malformed(with_field(b'"version": null'), 422, "version is null"),
    "version list": Malformed(with_field(b'"version": [1]'), 422, "version is a list of 1"),
    "huge version": Malformed(with_field(b'"version": ' + b"9" * 5_000), 422, "version is Infinity"),
    "epsilon above 1": Malformed(with_field(b'"epsilon": 1.01'), 422, "epsilon is 1.01; expected a number from 0"),
    "epsilon below 0": Malformed(with_field(b'"epsilon": -1e-9'), 422, "epsilon is -1e-09"),
    "epsilon NaN": Malformed(with_field(b'"epsilon": NaN'), 422, "epsilon is NaN"),
    "epsilon text": Malformed(with_field(b'"epsilon": "0.1"'), 422, "epsilon is '0.1'"),
    "epsilon true": Malformed(with_field(b'"epsilon": true'), 422, "epsilon is true"),
    "epsilon null": Malformed(with_field(b'"epsilon": null'), 422, "epsilon is null"),
    "seed 1.5": Malformed(with_field(b'"seed": 1.5'), 422, "seed is 1.5; expected an integer from 0"),
    "seed -1": Malformed(with_field(b'"seed": -1'), 422, "seed is -1"),
    "seed text": Malformed(with_field(b'"seed": "7"'), 422, "seed is '7'"),
    "huge seed": Malformed(with_field(b'"seed": 9223372036854775808'), 422, "seed is 9.22337e+18"),
}

WRONG_OBSERVATIONS = {
    "too short": Malformed(b'{"observation": [0.1, 0.2, 0.3]}', 422, "has shape [3]; cartpole version 1 expects [4]"),
    "too long": Malformed(b'{"observation": [1, 2, 3, 4, 5]}', 422, "has shape [5]; cartpole version 1 expects [4]"),
    "empty list": Malformed(b'{"observation": []}', 422, "has shape [0]; cartpole version 1 expects [4]"),
    "scalar": Malformed(b'{"observation": 1}', 422, "has shape []; cartpole version 1 expects"),
    "batch as single": Malformed(b'{"observation": [[1, 2, 3, 4]]}', 422, "has shape [1, 4]"),
    "null observation": Malformed(b'{"observation": null}', 422, "the value null"),
    "object": Malformed(b'{"observation": {"x": 1}}', 422, "an object"),
    "text observation": Malformed(b'{"observation": "[1, 2, 3, 4]"}', 422, "'[1, 2, 3, 4]'"),
    "ragged": Malformed(b'{"observation": [1, [2], 3, 4]}', 422, "observation[1] is a list of 1"),
    "NaN": Malformed(one(b"NaN"), 422, "observation[1] is NaN; cartpole version 1 expects a finite"),
    "Infinity": Malformed(one(b"Infinity"), 422, "observation[1] is Infinity"),
    "-Infinity": Malformed(one(b"-Infinity"), 422, "observation[1] is -Infinity"),
    "1e400": Malformed(one(b"1e400"), 422, "observation[1] is Infinity"),
    "-1e400": Malformed(one(b"-1e400"), 422, "observation[1] is -Infinity"),
    "beyond float32": Malformed(one(b"1e39"), 422, "observation[1] is 1e+39"),
    "just beyond float32": Malformed(one(b"3.4028236e38"), 422, "observation[1] is 3.4028236e+38"),
    "integer of 400 digits": Malformed(one(b"1" * 400), 422, "observation[1] is Infinity"),
    "integer of 5000 digits": Malformed(one(b"-" + b"1" * 5_000), 422, "observation[1] is -Infinity"),
    "overflowing policy": Malformed(b'{"observation": [3e38, 3e38, 3e38, 3e38]}', 422, "overflow"),
    "text number": Malformed(one(b'"0.2"'), 422, "observation[1] is '0.2'"),
    "boolean": Malformed(one(b"true"), 422, "observation[1] is true"),
    "null number": Malformed(one(b"null"), 422, "observation[1] is null"),
    "object as number": Malformed(one(b"{}"), 422, "observation[1] is an object"),
    "last duplicate wins": Malformed(b"{" + V + b', "observation": [1]}', 422, "has shape [1]"),
    "empty batch": Malformed(b'{"observations": []}', 422, "observations is empty"),
    "batch is null": Malformed(b'{"observations": null}', 422, "null"),
    "batch is an object": Malformed(b'{"observations": {"0": [1, 2, 3, 4]}}', 422, "an object"),
    "single as batch": Malformed(b'{"observations": [1, 2, 3, 4]}', 422, "has shape [4]"),
    "batch too deep": Malformed(b'{"observations": [[[1, 2, 3, 4]]]}', 422, "has shape [1, 1, 4]"),
    "batch of empty lists": Malformed(b'{"observations": [[], []]}', 422, "has shape [0]"),
    "short row": Malformed(b'{"observations": [[1, 2, 3, 4], [1, 2, 3]]}', 422, "observations[1] has shape [3]"),
    "row is a number": Malformed(b'{"observations": [[1, 2, 3, 4], 5]}', 422, "observations[1] has shape []"),
    "bad number in a row": Malformed(
        b'{"observations": [[1, 2, 3, 4], [1, 2, "x", 4]]}', 422, "observations[1][2] is 'x'"
    ),
    "NaN in a row": Malformed(b'{"observations": [[1, 2, 3, NaN]]}', 422, "observations[0][3] is NaN"),
    "batch too large": Malformed(
        b'{"observations": [' + b"[1,2,3,4]," * 64 + b"[1,2,3,4]]}", 413, "65 entries; at most 64"
    ),
    "body too large": Malformed(b'{"observation": [' + b" " * 100_000 + b"1, 2, 3, 4]}", 413, "larger than the 100000"),
    "Discrete too large": Malformed(b'{"observation": 16}', 422, "observation is 16; lake version 1 expects", LAKE),
    "Discrete negative": Malformed(b'{"observation": -1}', 422, "an integer from 0 to 15", LAKE),
    "Discrete fraction": Malformed(b'{"observation": 1.5}', 422, "observation is 1.5", LAKE),
    "Discrete float": Malformed(b'{"observation": 1.0}', 422, "observation is 1.0", LAKE),
    "Discrete text": Malformed(b'{"observation": "1"}', 422, "observation is '1'", LAKE),
    "Discrete boolean": Malformed(b'{"observation": true}', 422, "observation is true", LAKE),
    "Discrete list": Malformed(b'{"observation": [1]}', 422, "a list of 1; lake version 1 expects an integer", LAKE),
    "Discrete null": Malformed(b'{"observation": null}', 422, "observation is null", LAKE),
    "Discrete batch out of range": Malformed(b'{"observations": [1, 99]}', 422, "observations[1] is 99", LAKE),
    "Discrete huge": Malformed(b'{"observation": ' + b"9" * 290 + b"}", 422, "observation is 1e+290", LAKE),
}

WRONG_MASKS = {
    "mask too short": Malformed(with_field(b'"action_mask": [true]'), 422, "action_mask has 1 entries"),
    "mask too long": Malformed(with_field(b'"action_mask": [true, true, true]'), 422, "expects a list of 2 booleans"),
    "mask of numbers": Malformed(with_field(b'"action_mask": [1, 2]'), 422, "a list with 2 in it"),
    "mask null": Malformed(with_field(b'"action_mask": null'), 422, "action_mask is null"),
    "mask object": Malformed(with_field(b'"action_mask": {}'), 422, "action_mask is an object"),
    "all masked": Malformed(with_field(b'"action_mask": [false, false]'), 422, "masks every action"),
    "mask of a batch for one": Malformed(with_field(b'"action_mask": [[true, true]]'), 422, "expects a list of 2"),
    "empty mask": Malformed(with_field(b'"action_mask": []'), 422, "action_mask has 0 entries"),
    "too few masks": Malformed(BATCH + b'"action_mask": [[true, true]]}', 422, "1 lists for 2 observations"),
    "one row all masked": Malformed(
        BATCH + b'"action_mask": [[true, true], [false, false]]}', 422, "action_mask[1] masks every action"
    ),
    "one row short": Malformed(BATCH + b'"action_mask": [[true, true], [true]]}', 422, "action_mask[1] has 1 entries"),
    "mixed rows": Malformed(BATCH + b'"action_mask": [[true, true], true]}', 422, "action_mask[1] is true"),
}

NOT_THERE = {
    "unknown version": Malformed(with_field(b'"version": 9'), 404, "cartpole has no version 9"),
    "unknown version of a wrong shape": Malformed(b'{"observation": [1], "version": 9}', 404, "no version 9"),
    "unknown alias": Malformed(with_field(b'"version": "best"'), 404, "cartpole has no alias 'best'"),
    "number as text": Malformed(with_field(b'"version": "1"'), 404, "cartpole has no alias '1'"),
    "empty alias": Malformed(with_field(b'"version": ""'), 404, "cartpole has no alias ''"),
    "path as alias": Malformed(with_field(b'"version": "../champion"'), 404, "no alias '../champion'"),
    "surrogate as alias": Malformed(with_field(b'"version": "\\ud800"'), 404, "no alias"),
    "null byte as alias": Malformed(with_field(b'"version": "\\u0000"'), 404, "no alias"),
    "unknown model": Malformed(b"{" + V + b"}", 404, "no model 'pong'", "/models/pong/act"),
    "path as model": Malformed(b"{" + V + b"}", 404, "no model '..'", "/models/%2e%2e/act"),
    "slashes in the model": Malformed(b"{" + V + b"}", 404, "no such path", "/models/..%2F..%2Fetc/act"),
    "empty model": Malformed(b"{" + V + b"}", 404, "no such path", "/models//act"),
    "unknown call": Malformed(b"{" + V + b"}", 404, "no such path", "/models/cartpole/actt"),
}

MALFORMED = NOT_JSON | WRONG_FIELDS | WRONG_OBSERVATIONS | WRONG_MASKS | NOT_THERE
