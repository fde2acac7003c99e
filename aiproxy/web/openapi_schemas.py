"""
The bodies of our HTTP face, as JSON Schemas.

Of a request they tell what aiproxy itself reads or checks, of an answer what it
always has: whatever else there is passes through.  So a field that only the
provider checks has a description and no type.

Source: JSON Schema 2020-12, which is OpenAPI 3.1's; what is read is in
:mod:`aiproxy.dialects`, in the modules whose names end in ``_face``.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

__all__ = ["SCHEMAS", "Schema", "refer", "told"]

Schema: TypeAlias = dict[str, Any]


def refer(name: str, kind: str = "schemas") -> Schema:
    """Refer to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def told(description: str, **schema: object) -> Schema:
    """Describe a value; without a schema, any value will do."""
    return {**schema, "description": description}


def _record(*required: str, **properties: Schema) -> Schema:
    """Describe an object that may have more fields than these."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": True,
    }


def _array(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _one_of(*values: object) -> Schema:
    return {"enum": list(values)}


def _maybe(kind: str, **more: object) -> Schema:
    return {"type": [kind, "null"], **more}


_TEXT: Final[Schema] = {"type": "string"}
_FILLED: Final[Schema] = {"type": "string", "minLength": 1}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_MODEL: Final = told("A model, a group, `SMALL` or `BIG`.", **_FILLED)
_SERVED: Final = told("The configured model that has answered.", **_TEXT)
_STREAM: Final = told("Whether the answer comes as a stream of events.", **_maybe("boolean"))
_NO_STREAM: Final = told("There is no such stream.", **_one_of(False, None))
_NUMBER: Final = told("How many answers.", **_maybe("integer", minimum=1, maximum=128))
_TOKENS: Final = _array(_COUNT, minItems=1)
#: Blank by Python's rules, which know more spaces than this pattern, is empty too.
_PROMPT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 32_000, "pattern": r"\S"}
_USAGE: Final = told("What the provider says that it has used.", type="object")

_CHAT_REQUEST: Final = _record(
    "model",
    "messages",
    model=_MODEL,
    messages=_array(
        _record("role", role=_TEXT, content=told("A text, or a list of parts.")), minItems=1
    ),
    stream=_STREAM,
    stream_options=told("`include_usage` asks for a chunk with it.", **_maybe("object")),
    tools=told("What the model may call.", **_maybe("array")),
    n=_NUMBER,
    **{
        name: told("As OpenAI has it; the provider checks it.")
        for name in (
            *("max_completion_tokens", "max_tokens", "reasoning_effort", "response_format"),
            *("seed", "stop", "temperature", "tool_choice", "top_p"),
        )
    },
)

_CHAT_ANSWER: Final = _record(
    "id",
    "object",
    "created",
    "model",
    "choices",
    id=_TEXT,
    object=_one_of("chat.completion"),
    created=told("Seconds since the epoch.", **_COUNT),
    model=_SERVED,
    choices=_array(
        _record(
            "index",
            "message",
            index=_COUNT,
            message=_record("role", role=_one_of("assistant")),
            finish_reason=_maybe("string"),
        )
    ),
    usage=_USAGE,
)

_EMBEDDINGS_REQUEST: Final = _record(
    "model",
    "input",
    model=_MODEL,
    input=told(
        "A text, texts, or either in token ids where the provider takes them.",
        anyOf=[_FILLED, _array(_FILLED, minItems=1), _TOKENS, _array(_TOKENS, minItems=1)],
    ),
    encoding_format=_one_of("float", "base64", None),
    dimensions=_maybe("integer", minimum=1),
    stream=_NO_STREAM,
)

_EMBEDDINGS_ANSWER: Final = _record(
    "object",
    "data",
    "model",
    object=_one_of("list"),
    model=_SERVED,
    data=_array(
        _record(
            "object",
            "index",
            "embedding",
            object=_one_of("embedding"),
            index=_COUNT,
            embedding={"anyOf": [_array({"type": "number"}), _TEXT]},
        )
    ),
    usage=_USAGE,
)

_IMAGES_REQUEST: Final = _record(
    "model",
    "prompt",
    model=_MODEL,
    prompt=_PROMPT,
    n=_NUMBER,
    size=told("Such as `1024x1024`.", **_maybe("string")),
    response_format=_one_of("b64_json", "url", None),
    stream=_NO_STREAM,
)

_IMAGES_ANSWER: Final = _record(
    "created",
    "model",
    "data",
    created=told("Seconds since the epoch.", **_COUNT),
    model=_SERVED,
    data=_array(_record(b64_json=_TEXT, url=_TEXT), minItems=1),
    usage=_USAGE,
)

_IMAGE_REQUEST: Final = {
    **_record(
        model=told("Without one, or with `all`: each image model in turn.", **_maybe("string")),
        prompt=_maybe("string"),
        inputs=told("Another name of `prompt`; where there are both, they are the same."),
        n=_one_of(1, None),
        size=_maybe("string"),
        response_format=_one_of("b64_json", None),
        stream=_NO_STREAM,
    ),
    "anyOf": [
        {"required": ["prompt"], "properties": {"prompt": _PROMPT}},
        {"required": ["inputs"], "properties": {"inputs": _PROMPT}},
    ],
}

_FORM: Final = _record(
    "model",
    model=_MODEL,
    stream=told("`true` or `1`: as a stream of events.", **_TEXT),
    file=told("The sound.", type="string", contentMediaType="application/octet-stream"),
)

_LISTED_MODEL: Final = _record(
    "id",
    "object",
    "created",
    "owned_by",
    id=told("What to ask for.", **_TEXT),
    object=_one_of("model"),
    created=_COUNT,
    owned_by=told("The provider; of groups `aiproxy`.", **_TEXT),
    context_window=told("In tokens, where it is known.", **_COUNT),
)

_EXPLANATION: Final = _record(
    "object",
    "model",
    "data",
    object=_one_of("list"),
    model=told("What was asked for.", **_TEXT),
    data=_array(
        _record(
            "model",
            "provider",
            "upstream_model",
            "token",
            "priority",
            "running",
            "first_token_s",
            "in",
            model=_TEXT,
            provider=_TEXT,
            upstream_model=_TEXT,
            token=told("The key's fingerprint.", **_maybe("string")),
            priority={"type": "integer"},
            running=told("Calls of now.", **_COUNT),
            first_token_s=told("Usual seconds to the first token.", **_maybe("number")),
            **{"in": told("Whether it would be asked.", type="boolean")},
            reason=told("Why not.", **_TEXT),
            back_in_s=told("When a limit lets it in again.", **_maybe("number")),
        )
    ),
)

_RELOAD: Final = _record(
    "object",
    "configuration",
    "models",
    "warnings",
    "needs_restart",
    object=_one_of("reload"),
    configuration=told("The file.", **_TEXT),
    models=told("How many.", **_COUNT),
    warnings=_array(_TEXT),
    needs_restart=told("What takes effect only with a restart.", **_array(_TEXT)),
)

_ERROR: Final = _record(
    "error",
    error=_record(
        "message",
        "type",
        "param",
        "code",
        message=told("For humans.", **_TEXT),
        type=told(
            "Who must act.",
            **_one_of(
                *("validation_error", "authentication_error", "model_selection_error"),
                *("rate_limit_error", "provider_error", "network_error", "configuration_error"),
            ),
        ),
        param=told("The field at fault.", **_maybe("string")),
        code=told("For programs; the provider's own if any.", type=["string", "integer", "null"]),
        provider=told("Where it is known.", **_TEXT),
        model=told("Where it is known.", **_TEXT),
    ),
)

_ANTHROPIC_ERROR: Final = _record(
    "type",
    "error",
    type=_one_of("error"),
    error=_record("type", "message", type=_TEXT, message=_TEXT),
)

#: OpenAPI 3.1 does not say whether a schema is of the whole stream or of each event.
_EVENTS: Final = told(
    "Server-sent events. What fails late is an event with an error.",
    type=["string", "object"],
    required=["data"],
    properties={"event": _TEXT, "data": _TEXT},
)

#: By name.
SCHEMAS: Final[dict[str, Schema]] = {
    "ChatRequest": _CHAT_REQUEST,
    "ChatCompletion": _CHAT_ANSWER,
    "EmbeddingsRequest": _EMBEDDINGS_REQUEST,
    "Embeddings": _EMBEDDINGS_ANSWER,
    "ImagesRequest": _IMAGES_REQUEST,
    "Images": _IMAGES_ANSWER,
    "ImageRequest": _IMAGE_REQUEST,
    "PassedRequest": _record("model", model=_MODEL, stream=_STREAM),
    "PassedForm": _FORM,
    "PassedAnswer": told("The provider's own, perhaps under the configured name of the model."),
    "Model": _LISTED_MODEL,
    "ModelList": _record("object", "data", object=_one_of("list"), data=_array(refer("Model"))),
    "Explanation": _EXPLANATION,
    "Reload": _RELOAD,
    "Health": _record("status", status=_one_of("ok", "ready")),
    "NotReady": _record("status", "reason", status=_one_of("not ready"), reason=_TEXT),
    "Events": _EVENTS,
    "Error": _ERROR,
    "AnthropicError": _ANTHROPIC_ERROR,
}
