"""
From Gemini's answers and events to OpenAI's shape.

An event of a stream has the shape of a whole answer, so one translation
serves both; what has to be known of the events before stands in
:class:`AnswerTranslator`.

Source: Gemini API reference (v1beta), "GenerateContentResponse"; recorded
traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.openai_repairs import made_call_id
from aiproxy.dialects.shapes import ChatChunk, Usage, add_usage
from aiproxy.errors import AnswerTooLarge, UpstreamFailed
from aiproxy.wire.json import dumps

__all__ = ["AnswerTranslator", "join_answers", "write_usage"]

#: The numbers of finish reasons, where enumerations are asked for as numbers (recorded).
_NUMBERED: Final = (
    *("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"),
    *("BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL"),
)
#: Finish reasons that are real ends; SAFETY and its kin are below, all others mean a failure.
_REASONS: Final = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED: Final = frozenset(
    {
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        *("NO_IMAGE", "MODEL_ARMOR"),
    }
)
#: What of a candidate is told in OpenAI's own words; all else goes into ``extra_content``.
_TOLD: Final = frozenset({"content", "finishReason", "index", "tokenCount", "logprobsResult"})
#: More of it no candidate has: what a stream's translator keeps is bounded.
_MOST_EXTRAS: Final = 32


@define
class AnswerTranslator:
    """
    Translates one answer, event by event.

    :param note: told the signature of each call: id, name and signature.
    :param one_call: only the first call of each choice counts
        (``parallel_tool_calls: false``).
    """

    note: Callable[[str, str, str], None]
    one_call: bool = False
    _usage: dict[str, Any] = field(init=False, factory=dict)
    #: How many calls, images and other parts each choice has so far.
    _calls: dict[int, int] = field(init=False, factory=dict)
    _images: Counter[int] = field(init=False, factory=Counter)
    _parts: Counter[int] = field(init=False, factory=Counter)
    #: What each choice has that is told as a whole, again and again.
    _extras: dict[int, dict[str, Any]] = field(init=False, factory=dict)

    def chunk(self, document: Mapping[str, Any]) -> ChatChunk:
        """
        Translate an event, but for its usage: that is for :func:`write_usage`.

        :raises UpstreamFailed: the model has failed, by its finish reason.
        :raises AnswerTooLarge: there is too much that must be kept.
        """
        chunk = self._frame(document)
        chunk["choices"] = [
            self._choice(candidate, place, chunk, "delta")
            for place, candidate in enumerate(_candidates(document))
        ]
        return chunk

    def follow(self, characters: int) -> bool:
        """See :meth:`OpenAIStreamReader.follow`: nothing is kept of a text."""
        return True

    def rest(self, index: int) -> dict[str, Any]:
        """
        Give what of a choice was kept for its end.

        Ratings and the like come with each event, and the last ones count; but
        openai-python joins what deltas say, and fails where lists are told twice.
        """
        extra = self._extras.get(index)
        return {"extra_content": {"google": extra}} if extra else {}

    def recount(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Take an event's usage; return all that is known of it."""
        # The last one counts, but may leave out what the others told.
        add_usage(self._usage, usage)
        return self._usage

    def answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Translate a whole answer; it raises as :meth:`chunk`."""
        answer = self._frame(document)
        if "usage" in answer:
            answer["usage"] = write_usage(answer["usage"])
        answer["choices"] = [
            self._choice(candidate, place, answer, "message")
            for place, candidate in enumerate(_candidates(document))
        ]
        return answer

    def _frame(self, document: Mapping[str, Any]) -> dict[str, Any]:
        frame: dict[str, Any] = {}
        for name, theirs in (("id", "responseId"), ("model", "modelVersion")):
            if document.get(theirs):
                frame[name] = document[theirs]
        usage = document.get("usageMetadata")
        if usage and isinstance(usage, dict):
            frame["usage"] = self.recount(usage)
        return frame

    def _choice(
        self, candidate: Mapping[str, Any], place: int, answer: Mapping[str, Any], field: str
    ) -> dict[str, Any]:
        index = candidate.get("index")
        index = index if isinstance(index, int) else place
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        said, extra = self._say(parts if isinstance(parts, list) else [], index, answer)
        if not _TOLD.issuperset(candidate):
            extra.update(
                (name, told) for name, told in candidate.items() if name not in _TOLD and told
            )
        if extra:
            self._tell_extra(said, extra, index, streamed=field == "delta")
        choice: dict[str, Any] = {"index": index, field: said}
        reason = _reason(candidate["finishReason"]) if "finishReason" in candidate else None
        if reason is not None:
            word, native = reason
            # Calls finish with STOP (recorded).
            choice["finish_reason"] = (
                "tool_calls" if word == "stop" and self._calls.get(index) else word
            )
            if native:
                choice["native_finish_reason"] = native
        logprobs = candidate.get("logprobsResult")
        if isinstance(logprobs, dict):
            choice["logprobs"] = {"content": _logprobs(logprobs)}
        return choice

    def _tell_extra(
        self, said: dict[str, Any], extra: dict[str, Any], index: int, *, streamed: bool
    ) -> None:
        """Put what only Gemini understands into a message; of a stream, most is kept."""
        if streamed:
            parts = extra.pop("parts", None)
            kept = self._extras.setdefault(index, {})
            kept.update(extra)
            if len(kept) > _MOST_EXTRAS:
                raise AnswerTooLarge("the upstream's answer has too much that must be held back")
            if parts is None:
                return
            start = self._parts[index]
            self._parts[index] += len(parts)
            extra = {"parts": [{**part, "index": at} for at, part in enumerate(parts, start)]}
        said["extra_content"] = {"google": extra}

    def _say(
        self, parts: list[Any], index: int, answer: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put the parts of a content into one message or delta, and what only Gemini has."""
        texts: dict[str, list[str]] = {}
        calls: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        google: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict):
                continue
            signature = part.get("thoughtSignature")
            if isinstance(part.get("text"), str):
                name = "reasoning_content" if part.get("thought") else "content"
                texts.setdefault(name, []).append(part["text"])
                if signature:
                    google["thought_signature"] = signature
            elif isinstance(part.get("functionCall"), dict):
                call = self._call(part["functionCall"], signature, index, answer)
                if call is not None:
                    calls.append(call)
            elif (image := _image(part.get("inlineData"))) is not None:
                if part.get("thought"):
                    continue  # A draft: the answer's own image follows.
                images.append({**image, "index": self._images[index]})
                self._images[index] += 1
                if signature:
                    google["thought_signature"] = signature
            elif part:
                # What ran at Google itself goes back as it came.
                google.setdefault("parts", []).append(dict(part))
        said: dict[str, Any] = {
            name: text for name, pieces in texts.items() if (text := "".join(pieces))
        }
        if calls:
            said["tool_calls"] = calls
        if images:
            said["images"] = images
        return said, google

    def _call(
        self, told: Mapping[str, Any], signature: Any, index: int, answer: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        number = self._calls.get(index, 0)
        if self.one_call and number:
            return None
        self._calls[index] = number + 1
        name = told.get("name")
        call_id = told.get("id") or made_call_id(answer, index, number)
        function = {"name": name, "arguments": dumps(told.get("args") or {}).decode()}
        call: dict[str, Any] = {"id": call_id, "type": "function", "function": function}
        if signature:
            call["extra_content"] = {"google": {"thought_signature": signature}}
            self.note(str(call_id), str(name), signature)
        return call


def join_answers(documents: list[Any]) -> dict[str, Any]:
    """
    Join the events of a stream into one answer of Gemini's.

    Without ``alt=sse`` a stream comes as one JSON array (recorded).
    """
    joined: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for document in documents:
        if not isinstance(document, dict):
            continue
        joined.update(document)
        usage.update(document.get("usageMetadata") or {})
        for place, candidate in enumerate(_candidates(document)):
            index = candidate.get("index", place)
            known = candidates.setdefault(index, {"content": {"parts": []}})
            content = candidate.get("content") or {}
            known["content"]["parts"] += content.get("parts") or []
            known.update({name: candidate[name] for name in candidate if name != "content"})
    joined["candidates"] = list(candidates.values())
    joined["usageMetadata"] = usage
    return joined


def _candidates(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the candidates; a prompt that was blocked has one that says so."""
    told = document.get("candidates")
    candidates = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    feedback = document.get("promptFeedback")
    if not candidates and isinstance(feedback, dict) and feedback.get("blockReason"):
        reason = feedback["blockReason"]
        blocked = reason if reason in _BLOCKED else "PROHIBITED_CONTENT"
        return [{"finishReason": blocked, "promptFeedback": feedback}]
    return candidates


def _reason(told: Any) -> tuple[str, str | None] | None:
    """Return the finish reason, and the provider's own where it says more."""
    if isinstance(told, int) and 0 < told < len(_NUMBERED):
        told = _NUMBERED[told]
    if not isinstance(told, str) or told == _NUMBERED[0]:
        return None
    if told in _REASONS:
        return _REASONS[told], None
    if told in _BLOCKED or told.startswith("IMAGE_"):
        return "content_filter", told
    raise UpstreamFailed(f"the upstream broke its answer off: {told}", code=told)


def _image(told: Any) -> dict[str, Any] | None:
    """Write an image as OpenRouter does: Chat Completions have no field for it."""
    if not isinstance(told, dict):
        return None
    kind, data = told.get("mimeType"), told.get("data")
    if not isinstance(kind, str) or not kind.startswith("image/") or not isinstance(data, str):
        return None
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def write_usage(told: Mapping[str, Any]) -> Usage:
    """Write usage; thoughts are a part of the completion, tools' results one of the prompt."""
    counts = {name: value for name, value in told.items() if isinstance(value, int)}.get
    thoughts = counts("thoughtsTokenCount", 0)
    prompt = counts("promptTokenCount", 0) + counts("toolUsePromptTokenCount", 0)
    completion = counts("candidatesTokenCount", 0) + thoughts
    details: dict[str, dict[str, Any]] = {
        "promptTokensDetails": {"cached_tokens": min(counts("cachedContentTokenCount", 0), prompt)},
        "candidatesTokensDetails": {"reasoning_tokens": thoughts},
    }
    for name, kept in details.items():
        listed = told.get(name)
        for detail in listed if isinstance(listed, list) else ():
            kind = detail.get("modality") if isinstance(detail, dict) else None
            if kind in ("AUDIO", "IMAGE", "VIDEO"):
                kept[f"{kind.lower()}_tokens"] = detail.get("tokenCount")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": max(counts("totalTokenCount", 0), prompt + completion),
        "prompt_tokens_details": details["promptTokensDetails"],
        "completion_tokens_details": details["candidatesTokensDetails"],
    }


def _logprobs(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write log probabilities: each token that was chosen, with what else it could have been."""
    chosen = told.get("chosenCandidates") or []
    others = told.get("topCandidates") or []
    written = []
    for place, token in enumerate(chosen):
        top = others[place].get("candidates") or [] if place < len(others) else []
        written.append({**_token(token), "top_logprobs": [_token(other) for other in top]})
    return written


def _token(told: Mapping[str, Any]) -> dict[str, Any]:
    text = str(told.get("token") or "")
    return {
        "token": text,
        "logprob": told.get("logProbability", 0.0),
        "bytes": list(text.encode("utf-8", "surrogatepass")),
    }
