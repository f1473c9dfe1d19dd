"""The OpenAPI 3.1 document, made from the table of calls and the very types that decode their requests."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from geo_offers.web.calls import Call, NoQuery
from geo_offers.wire import Problem

_REFERENCE = "#/components/schemas/{name}"
_PROBLEM_STATUSES = {
    400: "The request cannot be read",
    401: "No good key or token",
    403: "Not allowed",
    404: "Nothing here",
    409: "Not in this state, or the first request under this key still runs",
    410: "Not kept any more",
    413: "Over a bound",
    415: "An encoding of the body that is not read here",
    422: "A field is wrong",
    429: "Over the rate",
    503: "Not now; send the same request again",
}


def document(calls: Sequence[Call]) -> bytes:
    """The document as JSON."""
    kinds = _kinds(calls)
    schemas, components = msgspec.json.schema_components([kind for kind, _ in kinds], ref_template=_REFERENCE)
    by_use = dict(zip([use for _, use in kinds], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for number, call in enumerate(calls):
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, number, by_use, components)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "geo-offers",
                "version": version("geo-offers"),
                "description": "Real-time proximity offers. Order is lat, lon; GeoJSON alone is lon, lat.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "pk_ app key, sk_ server key, mk_ manager key, or a device's access token",
                    }
                },
            },
        }
    )


def _kinds(calls: Sequence[Call]) -> list[tuple[Any, tuple[int, str]]]:
    found: list[tuple[Any, tuple[int, str]]] = [(Problem, (-1, "problem"))]
    for number, call in enumerate(calls):
        found += [(kind, (number, use)) for use, kind in (("body", call.body), ("answer", call.answer)) if kind]
        found.append((call.query or NoQuery, (number, "query")))
    return found


def _operation(
    call: Call, number: int, by_use: dict[tuple[int, str], Any], components: dict[str, Any]
) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status in (call.status, *call.other_statuses):
        answers[str(status)] = {"description": "Done"}
        if call.answer is not None:
            answers[str(status)]["content"] = {"application/json": {"schema": by_use[number, "answer"]}}
    for status, description in _PROBLEM_STATUSES.items():
        if status != 401 or call.who:
            schema = {"application/problem+json": {"schema": by_use[-1, "problem"]}}
            answers[str(status)] = {"description": description, "content": schema}
    operation: dict[str, Any] = {
        "operationId": call.handle.__name__,
        "summary": call.summary,
        "tags": [call.tag],
        "parameters": _parameters(call, by_use[number, "query"], components),
        "responses": answers,
        "security": [{"bearer": []}] if call.who else [],
    }
    if call.who:
        operation["description"] = f"For: {', '.join(call.who)}" + (
            f" (manager role {call.role} or above)." if "manager" in call.who else "."
        )
    if call.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": by_use[number, "body"]}},
        }
    return operation


def _parameters(call: Call, query: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": part[1:-1].partition(":")[0], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in call.path.split("/")
        if part.startswith("{")
    ]
    struct = components[query["$ref"].rsplit("/", 1)[-1]] if "$ref" in query else query
    found += [
        {"name": name, "in": "query", "required": name in struct.get("required", ()), "schema": schema}
        for name, schema in struct.get("properties", {}).items()
    ]
    if call.keyed:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    return found
