"""The calls of the Open Inference Protocol: a table of routes and their operations; all but infer are answered here."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version as version_of
from typing import Any

from starlette.requests import Request

from dqn_models.layout import CHAMPION, ONNX_FILE, version_number
from dqn_models.manifest import Manifest, TensorSpec
from dqn_models.masks import ACTION_MASK
from dqn_serving.api.calls import CallRoute, Document, encode, get, operation, reference, success
from dqn_serving.api.explain import decode_problem
from dqn_serving.api.oip import messages
from dqn_serving.api.oip.framing import collect, inflate
from dqn_serving.api.oip.infer import InferCall
from dqn_serving.api.oip.messages import IndexEntry, InferAnswer, OutputTensor, TensorMetadata
from dqn_serving.api.oip.tensors import DATATYPES, MASK_DATATYPE
from dqn_serving.api.status import published_versions
from dqn_serving.policies.masks import MASKS_SENT
from dqn_serving.policies.observations import DECODE_ERRORS
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services

_MODEL = "/v2/models/{model}"
_PLATFORM = "onnxruntime_onnx"
_EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]
_NOT_LOADED = "not loaded; the first request that names this version loads it"

# examples for the OpenAPI document
_SERVER = messages.ServerMetadata("dqn-policy-server", "0.1.0", _EXTENSIONS)
_METADATA = messages.ModelMetadata(
    "cartpole",
    ["1", "2", "3"],
    _PLATFORM,
    [TensorMetadata("observation", "FP32", [-1, 4])],
    [TensorMetadata("q_values", "FP32", [-1, 2])],
)
_CONFIG = {"name": "cartpole", "platform": _PLATFORM, "max_batch_size": 4096}
_STATISTICS = {"model_stats": [{"name": "cartpole", "version": "3", "inference_count": 12, "execution_count": 3}]}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_OBSERVATION = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.01, -0.02, 0.03, 0.04]}
_MASK = {"name": "action_mask", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}
_INFER_REQUESTS: Document = {
    "one observation": {"value": {"id": "42", "inputs": [_OBSERVATION]}},
    "exploring": {"value": {"inputs": [_OBSERVATION], "parameters": {"epsilon": 0.1, "seed": 7}}},
    "masked": {"value": {"inputs": [_OBSERVATION, _MASK]}},
    "only the action": {"value": {"inputs": [_OBSERVATION], "outputs": [{"name": "action"}]}},
}
_OUTPUTS = [OutputTensor("q_values", [1, 2], "FP32", data=[9.1, 9.4]), OutputTensor("action", [1], "INT64", data=[1])]
_INFERRED = InferAnswer(model_name="cartpole", model_version="3", id="42", outputs=_OUTPUTS)


class OipApi:
    """All calls under /v2."""

    def __init__(self, services: Services, infer: InferCall) -> None:
        self._services = services
        self._infer = infer

    def routes(self) -> list[CallRoute]:
        """The routes, for the framework: the first that matches a path answers."""
        index = "/v2/repository/index"
        request = {"schema": reference("IndexRequest"), "example": {"ready": True}}
        entries = success([IndexEntry("cartpole", "3", "READY", "")])
        indexed = _operation(index, "List the published versions", entries, 413, 415, 422) | {
            "requestBody": {"required": False, "content": {"application/json": request}}
        }
        return [
            CallRoute("POST", index, self._index, indexed),
            _get("/v2", self._server_metadata, "Show the server's metadata", _SERVER),
            _get("/v2/health/live", self._live, "Check that the process is alive", messages.Live()),
            _get("/v2/health/ready", self._ready, "Check that the server can infer", messages.ServerReady()),
            _get("/v2/models/stats", self._all_statistics, "Show the statistics of all versions", _STATISTICS),
            *self._model_routes(_MODEL),
            *self._model_routes(f"{_MODEL}/versions/{{version}}"),
        ]

    def _model_routes(self, root: str) -> list[CallRoute]:
        inferred = success(_INFERRED)
        inferred["200"]["content"] |= _BINARY
        request = {"application/json": {"schema": reference("InferRequest"), "examples": _INFER_REQUESTS}, **_BINARY}
        infer = _operation(f"{root}/infer", "Infer", inferred, 404, 413, 415, 422) | {
            "description": "With the header Inference-Header-Content-Length, tensors follow the JSON in binary.",
            "requestBody": {"required": True, "content": request},
        }
        return [
            _get(root, self._metadata, "Show the model's metadata", _METADATA, 404),
            _get(
                f"{root}/ready",
                self._model_ready,
                "Check that the model can infer",
                messages.ModelReady("cartpole"),
                404,
            ),
            _get(f"{root}/config", self._config, "Show the configuration in Triton's format", _CONFIG, 404),
            _get(f"{root}/stats", self._statistics, "Show the statistics in Triton's format", _STATISTICS, 404),
            CallRoute("POST", f"{root}/infer", self._respond_infer, infer),
        ]

    # the server

    async def _server_metadata(self, _request: Request) -> messages.ServerMetadata:
        return messages.ServerMetadata("dqn-policy-server", version_of("dqn-policy-server"), _EXTENSIONS)

    async def _live(self, _request: Request) -> messages.Live:
        return messages.Live()

    async def _ready(self, _request: Request) -> messages.ServerReady:
        reason = self._services.unavailable_reason()
        if reason is not None:
            raise Problem(503, reason)
        return messages.ServerReady()

    async def _all_statistics(self, _request: Request) -> dict[str, Any]:
        return {"model_stats": self._infer.statistics.documents()}

    async def _index(self, request: Request) -> Answer:
        """Every published version of every model, sorted."""
        bodies, registry = self._services.bodies, self._services.registry
        body = await bodies.read(request.scope, request.receive)
        body = inflate(body, collect(request.scope), bodies.limit)
        try:
            wanted: messages.IndexRequest = messages.decode_index_request(body or b"{}")
        except DECODE_ERRORS as error:
            raise decode_problem(body, error) from None
        entries = []
        for name in sorted(registry.models):
            loaded = registry.loaded_versions(name)
            published = [] if wanted.ready else await published_versions(self._services, name)
            for number in sorted({*published, *loaded}):
                state, reason = ("READY", "") if number in loaded else ("UNAVAILABLE", _NOT_LOADED)
                entries.append(IndexEntry(name, str(number), state, reason))
        return make_answer(encode(entries))

    # a model, and the version that the path names

    def _named(self, request: Request) -> tuple[ServedModel, int | str]:
        """The model and the version that a path names; without a version, the champion. Raises Problem (404)."""
        served = self._services.registry.get(request.path_params["model"])
        named = request.path_params.get("version", CHAMPION)
        version = CHAMPION if named is CHAMPION else version_number(named)
        if version is None:
            raise Problem(404, f"{served.name} has no version {named[:40]!r}; versions are positive integers.")
        return served, version

    async def _respond_infer(self, request: Request) -> Answer:
        return await self._infer.respond(*self._named(request), request.scope, request.receive)

    async def _model_ready(self, request: Request) -> messages.ModelReady:
        """Loads a version that is not in memory: only then is it known whether it can infer."""
        served, version = self._named(request)
        await self._services.loader.select(served, version)
        return messages.ModelReady(served.name)

    async def _statistics(self, request: Request) -> dict[str, Any]:
        served, version = self._named(request)
        found = self._infer.statistics.documents(served.name, None if version == CHAMPION else int(version))
        if not found:
            which = "versions" if version == CHAMPION else f"version {version}"
            raise Problem(404, f"{served.name} has no {which} in memory, hence no statistics.")
        return {"model_stats": found}

    async def _manifest(self, request: Request) -> Manifest:
        """The manifest, read from disk if the version is not in memory. Raises Problem (503) or ModelError."""
        served, version = self._named(request)
        loaded = self._services.loader.get_loaded(served, version)
        if loaded is None and version == CHAMPION:
            return served.require_champion().manifest  # raises
        if loaded is not None:
            return loaded.manifest
        return await asyncio.to_thread(self._services.repository.manifest, served.name, int(version))

    async def _metadata(self, request: Request) -> messages.ModelMetadata:
        """A model's tensors, and every version that may be requested."""
        manifest, model = await self._manifest(request), request.path_params["model"]
        onnx = manifest.onnx
        versions = await published_versions(self._services, model)
        inputs, outputs = ([_tensor(spec) for spec in specs] for specs in (onnx.inputs, onnx.outputs))
        if self._needs_mask(manifest):
            shape = [-1, manifest.environment.action_space.n]
            inputs.append(TensorMetadata(ACTION_MASK, MASK_DATATYPE, shape))
        return messages.ModelMetadata(model, [str(number) for number in versions], _PLATFORM, inputs, outputs)

    def _needs_mask(self, manifest: Manifest) -> bool:
        return manifest.environment.action_mask in MASKS_SENT and not self._services.settings.lenient_masks

    async def _config(self, request: Request) -> dict[str, Any]:
        """The model's configuration in Triton's format; `dims` omit the batch."""
        manifest, model = await self._manifest(request), request.path_params["model"]
        actions = manifest.environment.action_space.n
        mask: dict[str, Any] = {"name": ACTION_MASK, "data_type": f"TYPE_{MASK_DATATYPE}", "dims": [actions]}
        mask["optional"] = not self._needs_mask(manifest)
        inputs = [_configured(spec) | {"optional": False} for spec in manifest.onnx.inputs]
        return {
            "name": model,
            "platform": _PLATFORM,
            "backend": "onnxruntime",
            "version_policy": {"all": {}},
            "max_batch_size": self._services.settings.max_batch_size,
            "input": [tensor | {"format": "FORMAT_NONE"} for tensor in (*inputs, mask)],
            "output": [_configured(spec) | {"label_filename": ""} for spec in manifest.onnx.outputs],
            "instance_group": [{"name": model, "kind": "KIND_CPU", "count": 1}],
            "default_model_filename": ONNX_FILE,
            "parameters": {},
        }


def _get(path: str, call: Callable[[Request], Awaitable[Any]], summary: str, example: Any, *errors: int) -> CallRoute:
    return get(path, call, _operation(path, summary, success(example), *errors))


def _operation(path: str, summary: str, answers: Document, *errors: int) -> Document:
    name = path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    which = ("", " (the champion)", " (a version)")[path.count("{")]
    return operation(path, name, "open inference protocol", summary + which, answers, *errors)


def _sizes(spec: TensorSpec) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in spec.shape]


def _tensor(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(spec.name, DATATYPES[spec.dtype], _sizes(spec))


def _configured(spec: TensorSpec) -> dict[str, Any]:
    """A tensor in Triton's configuration; clients of Triton see [batch, 1] where the shape is [batch]."""
    dims = _sizes(spec)[1:]
    known: dict[str, Any] = {"name": spec.name, "data_type": f"TYPE_{DATATYPES[spec.dtype]}", "dims": dims or [1]}
    return known if dims else known | {"reshape": {"shape": []}}
