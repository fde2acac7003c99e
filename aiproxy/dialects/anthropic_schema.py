"""
From any JSON schema to one that Anthropic can hold an answer to.

It refuses bounds of numbers, of texts and of lists, and objects that may hold
what nobody has named (published: "For 'integer' type, property 'minimum' is
not supported").  As Anthropic's own client does it, objects are closed, and a
bound becomes words in the description.

Source: Anthropic API reference, "Structured outputs"; anthropic-python,
``lib/_parse/_transform.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.wire.json import dumps

__all__ = ["fit_schema"]

#: Refused, whatever they say.
_BOUNDS: Final = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
_FORMATS: Final = frozenset(
    {
        *("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"),
        "uuid",
    }
)
#: What holds values, and no schemas.
_VALUES: Final = frozenset({"enum", "const", "default", "examples"})
#: What holds schemas by names that anybody may choose.
_NAMED: Final = frozenset({"properties", "$defs", "definitions"})
#: What says what is in an object.
_TELLING: Final = frozenset({"properties", "anyOf", "oneOf", "allOf", "$ref"})


def fit_schema(schema: Any) -> tuple[Any, set[str]] | None:
    """
    Write a schema as Anthropic takes it.

    :return: the schema, and the keywords that are only words in it; ``None`` if
        an object in it may hold anything, for closed it would hold nothing.
    """
    fitting = _Fitting()
    fitted = fitting.fit(schema)
    return None if fitting.open else (fitted, fitting.lost)


@define
class _Fitting:
    """
    Fits one schema.

    :ivar lost: the keywords that are only words in it.
    :ivar open: an object in it may hold anything.
    """

    lost: set[str] = field(init=False, factory=set)
    open: bool = field(init=False, default=False)

    def fit(self, schema: Any) -> Any:
        """Write a part of the schema."""
        if isinstance(schema, list):
            return [self.fit(one) for one in schema]
        if not isinstance(schema, Mapping):
            return schema
        fitted: dict[str, Any] = {}
        bounds: dict[str, Any] = {}
        for name, value in schema.items():
            if _is_refused(name, value):
                bounds[name] = value
            elif name in _VALUES:
                fitted[name] = value
            elif name in _NAMED and isinstance(value, Mapping):
                fitted[name] = {key: self.fit(one) for key, one in value.items()}
            elif name == "oneOf" and "anyOf" not in schema:
                fitted["anyOf"] = self.fit(value)
            else:
                fitted[name] = self.fit(value)
        if bounds:
            self.lost.update(bounds)
            words = dumps(bounds).decode()
            told = fitted.get("description")
            fitted["description"] = f"{told} {words}" if told else words
        kind = fitted.get("type")
        if kind == "object" or (isinstance(kind, list) and "object" in kind):
            self._close(schema, fitted)
        return fitted

    def _close(self, schema: Mapping[str, Any], fitted: dict[str, Any]) -> None:
        """Let an object hold only what is named."""
        told = schema.get("additionalProperties")
        if told is not False and not schema.get("properties"):
            self.open = self.open or told is not None or _TELLING.isdisjoint(schema)
        if told:
            self.lost.add("additionalProperties")
        fitted["additionalProperties"] = False


def _is_refused(name: str, value: Any) -> bool:
    if name == "minItems":
        return value not in (0, 1)
    if name == "format":
        return value not in _FORMATS if isinstance(value, str) else value is not None
    return name in _BOUNDS
