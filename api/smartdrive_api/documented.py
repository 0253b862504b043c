"""What the OpenAPI document says beyond what FastAPI makes of the routes: examples of whole answers."""

from __future__ import annotations

from typing import Any


def exemplified(schema: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document in which every object that can be made of the examples of its parts has one.

    What a model says of itself stays, to which the nulls come back that FastAPI leaves out. A part without an
    example is null where it may be, and absent otherwise.
    """
    schemas = schema["components"]["schemas"]
    for model in sorted(schemas.values(), key=lambda one: "examples" not in one):
        if model.get("type") == "object":
            (own,) = model.get("examples", [{}])[:1]
            made = {
                name: example
                for name, part in model.get("properties", {}).items()
                for example in ([own[name]] if name in own else _of(part, schemas))
            }
            if set(model.get("required", ())) <= set(made):
                model["examples"] = [made]
    return schema


def _of(part: dict[str, Any], schemas: dict[str, Any]) -> list[Any]:
    """An example of a part of an object, or none."""
    if "examples" in part:
        return list(part["examples"][:1])
    if "$ref" in part:
        return _of(schemas[part["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in part:
        kinds = part["anyOf"]
        found = [example for kind in kinds for example in _of(kind, schemas)]
        return found[:1] or ([None] if {"type": "null"} in kinds else [])
    if part.get("type") == "array":
        return [[example] for example in _of(part["items"], schemas)]
    return []
