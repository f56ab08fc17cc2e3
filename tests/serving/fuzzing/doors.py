"""The entry points of a server for bytes from outside, as functions in this process, and what must hold for each."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import httptools

from dqn_models.repository import ModelRepository
from dqn_serving.app import Server
from dqn_serving.http.head_cache import Head
from dqn_serving.problems import Answer
from dqn_serving.services import Services
from dqn_serving.settings import read_settings
from dqn_testing.repositories import publish_discrete, publish_linear
from tests.serving.fuzzing.streams import Streams

NATIVE_PATHS = ("/act", "/q-values", "/models/lake/act", "/models/lake/q-values")
INFER_PATHS = ("/v2/models/cartpole/infer", "/v2/models/lake/infer", "/v2/models/cartpole/versions/1/infer")
_ALLOWED = {200, 400, 404, 413, 415, 422}
_MAX_BODY_BYTES = 100_000


class Doors:
    """A server without sockets: the functions that its connections call."""

    def __init__(self, folder: Path) -> None:
        repository = ModelRepository(folder)
        publish_linear(repository, promote=True)
        publish_discrete(repository)
        arguments = ["--repository", str(folder), "--max-body-bytes", str(_MAX_BODY_BYTES), "--max-batch-size", "64"]
        arguments += ["--max-waiting-seconds", "3600"]  # a busy machine is not an overload here
        self._services = Services(read_settings(arguments))
        self._server = Server(self._services)
        self._heads = self._server.connection_parts().heads
        streams = Streams(self._services)
        self.frame, self.piece = streams.frame, streams.piece

    async def open(self) -> None:
        """Loads the policies."""
        await self._services.refresher.poll()

    async def native(self, data: bytes) -> str:
        """A body of a native call, whose first byte chooses the URL; both paths must give the same answer."""
        path, body = NATIVE_PATHS[data[0] % len(NATIVE_PATHS)], data[1:]
        route = self._server.find_route(path)
        assert route is not None
        delivered: list[Answer] = []
        is_short = route.begin({}, body, delivered.append)
        if is_short:
            self._services.batcher.flush()
            (answer,) = delivered
            assert answer.status in {200, 422}, answer
        status, document = await self._long(path, [], body)
        if is_short:
            assert status == delivered[0].status
            assert b'"epsilon"' in body or b"\\u" in body or document == json.loads(delivered[0].body)
        return f"native {status}"

    async def infer(self, data: bytes) -> str:
        """A body of an infer call, whose first three bytes choose path, encoding and framing."""
        data = data.ljust(3, b"\0")
        path, body = INFER_PATHS[data[0] % len(INFER_PATHS)], data[3:]
        headers = _encodings(data[1], body)
        body = headers.pop(b"", body)
        if data[2] & 1:
            headers[b"inference-header-content-length"] = str(_json_length(body) + data[2] // 64).encode()
        scope: Any = {"headers": list(headers.items())}
        delivered: list[Answer] = []
        route = self._server.find_route(path)
        is_short = route is not None and route.begin(scope, body, delivered.append)
        self._services.batcher.flush()
        status, document = await self._long(path, list(headers.items()), body)
        assert not is_short or status == delivered[0].status in {200, 422}
        assert status == 200 or list(document) == ["error"]
        return f"infer {status}"

    async def head(self, data: bytes) -> str:
        """A whole request: what the fast path takes is exactly what the parser of the slow path would have read."""
        length = data.find(b"\r\n\r\n") + 4
        found = self._heads.read(data[:length]) if length >= 4 else None
        again = self._heads.read(data[:length]) if length >= 4 else None
        assert (found and (found.route.measures, *found[1:])) == (again and (again.route.measures, *again[1:]))
        if found is None or len(data) != length + found.length:
            return "head long"
        seen = _Seen()
        parser = httptools.HttpRequestParser(seen)
        parser.feed_data(data)
        assert seen.complete == 1, "the parser does not find one whole request"
        assert parser.should_keep_alive()
        assert not parser.should_upgrade()
        assert (parser.get_method(), parser.get_http_version(), seen.body) == (b"POST", "1.1", data[length:])
        self._same(found, seen)
        return "head short"

    def _same(self, found: Head, seen: "_Seen") -> None:
        path = httptools.parse_url(seen.url).path.decode("ascii")
        route = self._server.find_route(path)
        assert route is not None
        assert (found.route.measures, found.scope["path"]) == (route.measures, path)
        varying = {b"x-request-id", b"traceparent", b"tracestate"}
        others = [(name, value) for name, value in seen.headers if name not in varying]
        assert [field for field in found.scope["headers"] if field[0] not in varying] == others
        ids = [value.strip() for name, value in seen.headers if name == b"x-request-id"]
        if found.context.request_id is not None:
            assert ids == [found.context.request_id.encode()]

    async def _long(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        await self._server.app(scope, receive, send)
        start, end = sent
        assert start["status"] in _ALLOWED, (start, end)
        fields = dict(start["headers"])
        assert len(end["body"]) == int(fields[b"content-length"])
        return start["status"], _document(fields, end["body"])


def _document(headers: dict[bytes, bytes], body: bytes) -> Any:
    return json.loads(body[: int(headers.get(b"inference-header-content-length", len(body)))])


def _encodings(choice: int, body: bytes) -> dict[bytes, bytes]:
    """Headers that say how a body is encoded, truly or not; under an empty name the body, where it was encoded."""
    match choice % 16:
        case 0:
            return {b"content-encoding": b"gzip", b"": gzip.compress(body, 1)}
        case 1:
            return {b"content-encoding": b"deflate", b"": zlib.compress(body, 1)}
        case 2:
            return {b"content-encoding": b"gzip"}
        case 3:
            return {b"content-encoding": b"deflate"}
        case 4:
            return {b"content-encoding": b"br"}
    return {}


def _json_length(body: bytes) -> int:
    """Where the JSON could end: after the last brace."""
    return body.rfind(b"}") + 1


class _Seen:
    """What the parser found."""

    def __init__(self) -> None:
        self.url, self.body, self.complete = b"", b"", 0
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1
