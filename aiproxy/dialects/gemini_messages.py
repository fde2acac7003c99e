"""
From OpenAI's messages to Gemini's contents.

Gemini knows two roles, ``user`` and ``model``; neighbors of one role are one
content.  What a function gave back stands in a user content, under the name of
the function, all of a turn together; the signature of a call goes back with it.

Source: Gemini API reference (v1beta), "Content" and "Part"; "Thought signatures".
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, field

from aiproxy.dialects.earlier_turns import find_extra, read_arguments
from aiproxy.dialects.refusals import cannot, wrong_value
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import JSONError, loads

__all__ = ["Contents"]

#: Accepted by Gemini 3 in the place of a signature that nobody has any more.
_NO_SIGNATURE: Final = "skip_thought_signature_validator"
#: Ids that :func:`aiproxy.dialects.openai_repairs.made_call_id` makes: the call had none.
_MADE_ID: Final = re.compile(r"call_[0-9a-f]{24}")
_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,", re.IGNORECASE)

Part = dict[str, Any]


@define
class Contents:
    """
    The conversation, as it is written.

    :param signature: finds the signature of a call, by its id and name.
    :param needs_signatures: the model refuses calls that have none.
    :ivar system: what stands above the conversation.
    :ivar dropped: what of the messages is not in it.
    """

    signature: Callable[[str, str], str | None]
    needs_signatures: bool
    contents: list[dict[str, Any]] = field(factory=list)
    system: list[Part] = field(factory=list)
    dropped: set[str] = field(factory=set)
    _names: dict[str, str] = field(init=False, factory=dict)

    def read(self, request: ChatRequest) -> None:
        """
        Write all messages of a request.

        :raises InvalidRequest: with the place that Gemini has no words for.
        """
        for place, message in enumerate(request["messages"]):
            where = f"messages[{place}]"
            role = message["role"]
            if role in ("system", "developer"):
                self.system += self._parts(message.get("content"), where)
            elif role == "user":
                self._add("user", self._parts(message.get("content"), where))
            elif role == "assistant":
                self._add("model", self._answer(message, where))
            elif role in ("tool", "function"):
                self._add("user", self._result(message, where))
            else:
                raise cannot("google", f"{where}.role", f"messages of the role {role!r}")
            if message.get("name") and role != "function":
                self.dropped.add("messages[].name")
        if not self.contents:
            # It must say something: then the instructions are the question.
            self._add("user", self.system or [{"text": ""}])
            self.system = []

    def _add(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    # --- what the user says -----------------------------------------------------------

    def _parts(self, content: Any, where: str) -> list[Part]:
        if content is None:
            return []
        if isinstance(content, str):
            return [{"text": content}]
        if not isinstance(content, list):
            raise wrong_value(f"{where}.content", "a text or a list of parts")
        return [self._part(part, f"{where}.content[{place}]") for place, part in enumerate(content)]

    def _part(self, part: Any, where: str) -> Part:
        kind = part.get("type") if isinstance(part, Mapping) else None
        told = part.get(kind) if isinstance(kind, str) else None
        if kind in ("text", "refusal") and isinstance(told, str):
            return {"text": told}
        if kind in ("image_url", "video_url"):
            if isinstance(told, Mapping):
                if told.get("detail") not in (None, "auto"):
                    self.dropped.add("image_url.detail")
                told = told.get("url")
            return _linked(told, where)
        if kind == "input_audio" and isinstance(told, Mapping):
            return _inline(f"audio/{told.get('format') or 'wav'}", told.get("data"), where)
        if kind == "file" and isinstance(told, Mapping):
            return _file(told, where)
        raise cannot("google", where, f"content parts of the type {kind!r}")

    # --- what the model said ------------------------------------------------------------

    def _answer(self, message: Mapping[str, Any], where: str) -> list[Part]:
        extra = find_extra(message, "google")
        told = extra.get("parts")
        listed = told if isinstance(told, list) else []
        # Their places are for who joins a stream.
        parts: list[Part] = [
            {name: value for name, value in part.items() if name != "index"}
            for part in listed
            if isinstance(part, dict)
        ]
        said = [part for part in self._parts(message.get("content"), where) if part.get("text")]
        if message.get("refusal"):
            said.append({"text": message["refusal"]})
        signature = extra.get("thought_signature")
        calls = self._calls(message, where)
        if isinstance(signature, str) and not (calls and "thoughtSignature" in calls[0]):
            # It came with the last text, or after it.
            if not said and not calls:
                said = [{"text": ""}]
            (said or calls)[-1]["thoughtSignature"] = signature
        if message.get("reasoning_content"):
            # Gemini takes no thoughts back: their signature stands for them.
            self.dropped.add("messages[].reasoning_content")
        if message.get("audio"):
            self.dropped.add("messages[].audio")
        return parts + said + calls

    def _calls(self, message: Mapping[str, Any], where: str) -> list[Part]:
        parts: list[Part] = []
        told = message.get("tool_calls")
        if not isinstance(told, list):
            told = []
        legacy = message.get("function_call")
        if isinstance(legacy, Mapping):
            told = [{"id": legacy.get("name"), "function": legacy}]
        for place, call in enumerate(told):
            function = call.get("function") if isinstance(call, Mapping) else None
            name = function.get("name") if isinstance(function, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(name, str):
                raise cannot(
                    "google", f"{where}.tool_calls[{place}]", "tool calls but those of functions"
                )
            call_id = str(call.get("id") or "")
            self._names[call_id] = name
            written: Part = {"name": name, "args": read_arguments(function.get("arguments"))}
            if not legacy and call_id and not _MADE_ID.fullmatch(call_id):
                written["id"] = call_id
            part: Part = {"functionCall": written}
            signature = find_extra(call, "google").get("thought_signature") or self.signature(
                call_id, name
            )
            if isinstance(signature, str):
                part["thoughtSignature"] = signature
            elif self.needs_signatures and not parts:
                part["thoughtSignature"] = _NO_SIGNATURE
            parts.append(part)
        return parts

    # --- what a function gave back --------------------------------------------------------

    def _result(self, message: Mapping[str, Any], where: str) -> list[Part]:
        call_id = str(message.get("tool_call_id") or "")
        name = self._names.get(call_id) or message.get("name")
        if not isinstance(name, str):
            raise InvalidRequest(
                f"{where} answers no tool call of the conversation",
                param=f"{where}.tool_call_id",
                code="invalid_value",
            )
        parts = self._parts(message.get("content"), where)
        text = "".join(part.get("text", "") for part in parts)
        result: Part = {"name": name, "response": _response(text)}
        if message["role"] == "tool" and call_id and not _MADE_ID.fullmatch(call_id):
            result["id"] = call_id
        # Files stand beside it (recorded).
        return [{"functionResponse": result}, *(part for part in parts if "text" not in part)]


def _response(text: str) -> dict[str, Any]:
    try:
        response = loads(text)
    except JSONError:
        response = None
    return response if isinstance(response, dict) else {"output": text}


def _linked(url: Any, where: str) -> Part:
    """Write a file by its URL: one that holds it, one of Google's, or one on the web."""
    if not isinstance(url, str):
        raise wrong_value(where, "a part with a url")
    if url[:5].lower() == "data:":
        found = _DATA_URL.match(url)
        if found is None:
            raise wrong_value(where, "a data URL in base64")
        return _inline(found[1] or "application/octet-stream", url[found.end() :], where)
    if url.partition(":")[0].lower() not in ("http", "https", "gs"):
        raise wrong_value(where, "a data, http, https or gs URL")
    kind, _ = mimetypes.guess_type(urlsplit(url).path)
    return {"fileData": {"fileUri": url, **({"mimeType": kind} if kind else {})}}


def _inline(kind: str, data: Any, where: str) -> Part:
    if not isinstance(data, str):
        raise wrong_value(where, "a part with data in base64")
    return {"inlineData": {"mimeType": kind, "data": data}}


def _file(told: Mapping[str, Any], where: str) -> Part:
    data, name = told.get("file_data"), told.get("filename")
    if isinstance(data, str):
        if data[:5].lower() == "data:":
            return _linked(data, where)
        kind, _ = mimetypes.guess_type(name if isinstance(name, str) else "")
        return _inline(kind or "application/pdf", data, where)
    return _linked(told.get("file_id"), where)
