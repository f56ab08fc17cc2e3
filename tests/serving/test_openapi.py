"""/openapi.json is complete and correct."""

import json
from typing import Any

import jsonschema_rs
import pytest

from dqn_serving.api.schemas import ActRequest
from dqn_testing.server import Server

CALLS = {
    ("post", "/act"),
    ("post", "/q-values"),
    ("post", "/models/{model}/act"),
    ("post", "/models/{model}/q-values"),
    ("get", "/act/stream"),
    ("get", "/models/{model}/act/stream"),
    ("get", "/models"),
    ("get", "/models/{model}"),
    ("get", "/models/{model}/versions/{version}"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("put", "/models/{model}/aliases/{alias}"),
    ("post", "/models/{model}/refresh"),
    ("get", "/v2"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/stats"),
    ("post", "/v2/repository/index"),
} | {
    (method, f"/v2/models/{{model}}{version}{call}")
    for version in ("", "/versions/{version}")
    for method, call in (("get", ""), ("get", "/ready"), ("get", "/config"), ("get", "/stats"), ("post", "/infer"))
}


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    """The served document."""
    return server.get("/openapi.json").json()


def operations_of(document: Any) -> dict[tuple[str, str], Any]:
    """Every operation by method and path, with references to responses resolved."""
    shared = {f"#/components/responses/{name}": found for name, found in document["components"]["responses"].items()}
    operations = {(method, path): dict(one) for path, item in document["paths"].items() for method, one in item.items()}
    for operation in operations.values():
        responses = operation["responses"].items()
        operation["responses"] = {status: shared.get(found.get("$ref"), found) for status, found in responses}
    return operations


def test_every_call_is_described(document: Any) -> None:
    """The document has all calls and no others, each with a summary and its own operation id."""
    operations = operations_of(document)
    assert set(operations) == CALLS
    assert all(operation["summary"] for operation in operations.values())
    assert len({operation["operationId"] for operation in operations.values()}) == len(CALLS)


def test_references_resolve(document: Any) -> None:
    """Every $ref resolves, and every component is used."""
    text = json.dumps(document)
    for kind in ("schemas", "responses", "headers"):
        components = document["components"][kind]
        for name in components:
            assert f'"#/components/{kind}/{name}"' in text, name
        for part in text.split(f'"#/components/{kind}/')[1:]:
            assert part.split('"')[0] in components


def test_documented_statuses(document: Any) -> None:
    """Each call documents its statuses, errors with an example in the form of its API."""
    operations = operations_of(document)
    statuses = {call: set(operation["responses"]) for call, operation in operations.items()}
    anywhere = {"400", "408", "414", "431", "500", "503"}
    acting = {"200", "404", "413", "415", "422"} | anywhere
    for path in ("/act", "/q-values", "/models/{model}/act", "/models/{model}/q-values"):
        assert statuses["post", path] == acting
    assert statuses["get", "/readyz"] == {"200"} | anywhere
    assert statuses["get", "/models"] == {"200"} | anywhere
    assert {"401", "403", "404", "409", "422"} <= statuses["put", "/models/{model}/aliases/{alias}"]
    assert statuses["post", "/v2/models/{model}/infer"] == acting
    for (_, path), operation in operations.items():
        for status, response in operation["responses"].items():
            if not status.startswith("2") and path.startswith("/v2"):
                assert list(response["content"]["application/json"]["example"]) == ["error"]
            elif not status.startswith(("1", "2")):
                assert response["content"]["application/problem+json"]["example"]["status"] == int(status)


def test_examples_fit_their_schemas(document: Any) -> None:
    """Every example of a request or an answer, and every example within a schema, is valid against that schema."""
    checked = 0
    components = {"components": document["components"]}
    for operation in operations_of(document).values():
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in [content for part in parts for content in part.get("content", {}).values()]:
            examples = [content.get("example"), *(one["value"] for one in content.get("examples", {}).values())]
            validator = jsonschema_rs.validator_for(content["schema"] | components)
            for example in [example for example in examples if example is not None]:
                validator.validate(example)
                checked += 1
    for schema in document["components"]["schemas"].values():
        for part in [schema, *schema.get("properties", {}).values()]:
            for example in part.get("examples", []):
                jsonschema_rs.validator_for(part | components).validate(example)
                checked += 1
    assert checked > 100


def test_headers_of_errors_are_as_documented(server: Server, document: Any) -> None:
    """An error has the headers that its description promises."""
    promised = operations_of(document)["post", "/models/{model}/refresh"]["responses"]["401"]["headers"]
    assert set(promised) == {"X-Request-ID", "WWW-Authenticate"}
    refused = server.post("/models/cartpole/refresh", b"")
    assert set(promised) <= {name.title().replace("Id", "ID").replace("Www", "WWW") for name in refused.headers}


def test_request_examples_are_valid(server: Server, document: Any) -> None:
    """Every example of a request is answered with 200 by the server that documents it."""
    for path in ("/act", "/q-values", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for name, example in content["examples"].items():
            assert server.post(path.format(model="cartpole", version=1), example["value"]).status_code == 200, name


def test_answers_have_the_documented_fields(server: Server, document: Any) -> None:
    """Answers have the required fields of their documented schema, and no fields outside it."""
    schemas = document["components"]["schemas"]
    one, many = {"observation": [0, 0, 0, 1]}, {"observations": [[0, 0, 0, 1]]}
    for path, body, name in (
        ("/act", one, "ActAnswer"),
        ("/act", many, "ActBatchAnswer"),
        ("/q-values", one, "QValuesAnswer"),
        ("/q-values", many, "QValuesBatchAnswer"),
    ):
        plain = server.post(path, body).json()
        explored = server.post(path, body | {"epsilon": 0.5}).json()
        assert set(plain) == set(schemas[name]["required"])
        assert set(explored) == set(schemas[name]["properties"])


def test_request_schema_is_the_decoder(document: Any) -> None:
    """The documented request has the decoder's fields, allows no others, and requires exactly one of two."""
    schema = document["components"]["schemas"]["ActRequest"]
    assert list(schema["properties"]) == list(ActRequest.__struct_fields__)
    assert schema["additionalProperties"] is False
    assert schema["oneOf"] == [{"required": ["observation"]}, {"required": ["observations"]}]
    assert schema["properties"]["epsilon"]["maximum"] == 1
