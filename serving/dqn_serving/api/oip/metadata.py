"""Metadata of the server, of its models and their tensors, and their configuration as Triton writes it."""

import asyncio
from importlib.metadata import version as version_of
from typing import Any

from dqn_models.layout import ONNX_FILE
from dqn_models.manifest import Manifest, TensorSpec
from dqn_serving.api.catalog import published_versions
from dqn_serving.api.oip.messages import IndexEntry, ModelMetadata, ServerMetadata, TensorMetadata
from dqn_serving.api.oip.tensors import DATATYPES, MASK, MASK_DATATYPE
from dqn_serving.policies.registry import ServedModel
from dqn_serving.services import Services

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]

_NOT_LOADED = "not loaded; the first request that names this version loads it"


def server_metadata() -> ServerMetadata:
    """The server's name, version and extensions."""
    return ServerMetadata("dqn-policy-server", version_of("dqn-policy-server"), EXTENSIONS)


async def find_manifest(services: Services, served: ServedModel, version: int | None) -> Manifest:
    """The manifest of a version, or of the champion; read from the repository if the version is not in memory.

    Raises Problem (503) or ModelError.
    """
    if version is None:
        return served.require_champion().manifest
    for loaded in services.registry.loaded():
        if (loaded.model, loaded.version) == (served.name, version):
            return loaded.manifest
    return await asyncio.to_thread(services.repository.manifest, served.name, version)


async def model_metadata(services: Services, served: ServedModel, version: int | None) -> ModelMetadata:
    """A model's tensors, and every version that may be asked for."""
    manifest = await find_manifest(services, served, version)
    versions = await asyncio.to_thread(published_versions, services, served.name)
    inputs, outputs = ([_tensor(spec) for spec in specs] for specs in (manifest.onnx.inputs, manifest.onnx.outputs))
    return ModelMetadata(served.name, [str(number) for number in versions], PLATFORM, inputs, outputs)


async def model_config(services: Services, served: ServedModel, version: int | None) -> dict[str, Any]:
    """The model's configuration as Triton writes it; `dims` are without the batch."""
    manifest = await find_manifest(services, served, version)
    onnx, actions = manifest.onnx, manifest.environment.action_space.n
    return {
        "name": served.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"all": {}},
        "max_batch_size": services.settings.max_batch_size,
        "input": [
            *(_configured(spec) | {"format": "FORMAT_NONE", "optional": False} for spec in onnx.inputs),
            {
                "name": MASK,
                "data_type": f"TYPE_{MASK_DATATYPE}",
                "dims": [actions],
                "format": "FORMAT_NONE",
                "optional": True,
            },
        ],
        "output": [_configured(spec) | {"label_filename": ""} for spec in onnx.outputs],
        "instance_group": [{"name": served.name, "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": ONNX_FILE,
        "parameters": {},
    }


async def repository_index(services: Services, *, only_ready: bool) -> list[IndexEntry]:
    """Every published version of every model, sorted."""
    entries = []
    for name in sorted(services.registry.models):
        loaded = services.registry.loaded_versions(name)
        versions = [] if only_ready else await asyncio.to_thread(published_versions, services, name)
        for number in sorted({*versions, *loaded}):
            state, reason = ("READY", "") if number in loaded else ("UNAVAILABLE", _NOT_LOADED)
            entries.append(IndexEntry(name, str(number), state, reason))
    return entries


def _sizes(spec: TensorSpec) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in spec.shape]


def _tensor(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(spec.name, DATATYPES[spec.dtype], _sizes(spec))


def _configured(spec: TensorSpec) -> dict[str, Any]:
    """A tensor as Triton configures it; for shape [batch], Triton's clients see [batch, 1]."""
    dims = _sizes(spec)[1:]
    known: dict[str, Any] = {"name": spec.name, "data_type": f"TYPE_{DATATYPES[spec.dtype]}", "dims": dims or [1]}
    return known if dims else known | {"reshape": {"shape": []}}
