"""Tests of :mod:`aiproxy.dialects.anthropic_schema`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.anthropic_schema import fit_schema
from aiproxy.wire.json import dumps


def an_object(**properties: Any) -> dict[str, Any]:
    """Make the schema of an object, not yet closed."""
    return {"type": "object", "properties": properties}


class FittingTests(SynchronousTestCase):
    """What Anthropic takes of a schema."""

    def check(self, schema: Any, expected: Any, *lost: str) -> None:
        """Check what a schema becomes, and that it is not changed itself."""
        before = dumps(schema)
        self.assertEqual(fit_schema(schema), (expected, set(lost)))
        self.assertEqual(dumps(schema), before)

    def test_bounds(self) -> None:
        """Bounds are refused, and become words; what is taken stays."""
        self.check(
            {"type": "integer", "minimum": 1, "maximum": 9, "description": "age"},
            {"type": "integer", "description": 'age {"minimum":1,"maximum":9}'},
            *("minimum", "maximum"),
        )
        self.check(
            {"type": "string", "minLength": 2, "pattern": "a+", "format": "uuid"},
            {"type": "string", "pattern": "a+", "format": "uuid", "description": '{"minLength":2}'},
            "minLength",
        )
        self.check(
            {"type": "string", "format": "binary"},
            {"type": "string", "description": '{"format":"binary"}'},
            "format",
        )
        for most, lost in ((0, ()), (1, ()), (2, ("minItems",))):
            schema = {"type": "array", "items": {"type": "string"}, "minItems": most}
            kept = {name: value for name, value in schema.items() if name not in lost}
            words = {"description": '{"minItems":2}'} if lost else {}
            self.check(schema, {**kept, **words}, *lost)

    def test_closed(self) -> None:
        """Every object holds only what is named, whatever the caller says."""
        inner = an_object(x={"type": "string"})
        closed = {**inner, "additionalProperties": False}
        for told in ({}, {"additionalProperties": False}):
            self.check({**inner, **told}, closed)
        self.check({**inner, "additionalProperties": True}, closed, "additionalProperties")
        self.check(
            {"$defs": {"a": inner}, "anyOf": [{"$ref": "#/$defs/a"}, inner, {"type": "null"}]},
            {"$defs": {"a": closed}, "anyOf": [{"$ref": "#/$defs/a"}, closed, {"type": "null"}]},
        )
        self.check({"oneOf": [inner]}, {"anyOf": [closed]})
        self.check(an_object(), {**an_object(), "additionalProperties": False})

    def test_names(self) -> None:
        """A property may be called as a keyword is; values are no schemas."""
        inner = an_object(x={"type": "string"})
        closed = {**inner, "additionalProperties": False}
        names = ("enum", "default", "examples", "minimum", "format", "oneOf", "properties", "type")
        self.check(
            an_object(**dict.fromkeys(names, inner)),
            {**an_object(**dict.fromkeys(names, closed)), "additionalProperties": False},
        )
        values = {"default": {"type": "object", "minimum": 1}, "enum": [{"type": "object"}]}
        self.check(values, values)

    def test_open(self) -> None:
        """An object that may hold anything could hold nothing if it were closed."""
        for schema in (
            {"type": "object"},
            {"type": "object", "additionalProperties": True},
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": ["object", "null"], "properties": {}, "additionalProperties": {}},
        ):
            self.assertIsNone(fit_schema(schema), schema)
            self.assertIsNone(fit_schema(an_object(a={"items": schema})), schema)
