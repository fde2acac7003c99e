"""
What the upstream answers: scripts of packets in the providers' own shapes.

``@@number@@`` in them becomes the number of the request, ``@@microseconds@``
the time of sending (both are as long as what takes their place).  No two events
of a stream have the same words: a gateway that guards against repetition would
stop it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

EVENTS = 200
EVENT_BYTES = 280
EVENTS_IN_A_PACKET = 10
PLAIN_BYTES = 800
PACED_EVENTS = 50
PACE_SECONDS = 0.1

_WORDS = (
    *("a", "river", "and", "the", "town", "below", "it", "wake", "before", "light", "boats"),
    *("leave", "with", "nets", "bread", "lamps", "while", "gulls", "turn", "over", "slow"),
    *("water", "nobody", "speaks", "until", "sun", "finds", "first", "roof"),
)
_CREATED = 1741569952
_ANSWER = "Answer @@number@@ "


@frozen
class Script:
    """
    One kind of answer.

    :param interval: seconds between packets; 0: as fast as they are taken.
    :param hold: the answer never ends.
    """

    packets: Sequence[bytes]
    interval: float = 0.0
    hold: bool = False

    def save(self, file: Path) -> None:
        """Write it as the upstream reads it (``upstream.c``)."""
        parts = [b"%d %d\n" % (round(self.interval * 1e6), self.hold)]
        parts += [b"%d\n%b" % (len(packet), packet) for packet in self.packets]
        file.write_bytes(b"".join(parts))


def make_scripts() -> dict[str, Script]:
    """Make every kind of answer, by the name with which a request asks for it."""
    openai = [_openai_event(number) for number in range(EVENTS)]
    paced = [_openai_event(number, "t@@microseconds@") for number in range(PACED_EVENTS)]
    return {
        "plain": Script([_plain()]),
        "openai": _stream([*openai, *_openai_end()], EVENTS_IN_A_PACKET),
        "gemini": _stream(_gemini_events(), EVENTS_IN_A_PACKET),
        "anthropic": _stream(_anthropic_events(), EVENTS_IN_A_PACKET),
        "paced": _stream([*paced, *_openai_end()], 1, interval=PACE_SECONDS),
        "held": _stream(openai[:1], 1, hold=True),
    }


def _write(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _text(number: int, words: int, stamp: str = "") -> str:
    """Say which event this is, and then something that no other says."""
    chosen = " ".join(random.Random(number).choices(_WORDS, k=words))
    answer = _ANSWER if number == 0 else ""
    return f"{answer}e{number:03}.{stamp} {chosen}"


def _plain() -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": _ANSWER, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    answer: dict[str, object] = {
        "id": "chatcmpl-@@number@@",
        "object": "chat.completion",
        "created": _CREATED,
        "model": "gpt-4.1-2025-04-14",
        "choices": [choice],
        "usage": _openai_usage(),
        "service_tier": "default",
    }
    words = " ".join(random.Random(0).choices(_WORDS, k=PLAIN_BYTES))
    message["content"] = _ANSWER + words[: PLAIN_BYTES - len(_write(answer))]
    body = _write(answer)
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _openai_usage() -> dict[str, Any]:
    details = {"reasoning_tokens": 0, "audio_tokens": 0}
    return {
        "prompt_tokens": 19,
        "completion_tokens": 400,
        "total_tokens": 419,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": details,
    }


def _openai_chunk(choices: list[object], **more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-@@number@@",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": "gpt-4.1-2025-04-14",
        "service_tier": "default",
        "choices": choices,
        **more,
    }


def _openai_event(number: int, stamp: str = "") -> bytes:
    delta = {"content": ""}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    chunk = _openai_chunk([choice])
    room = EVENT_BYTES - len(_sse(chunk))
    delta["content"] = _text(number, EVENT_BYTES, stamp)[:room]
    return _sse(chunk)


def _openai_end() -> list[bytes]:
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    usage = _openai_chunk([], usage=_openai_usage())
    return [_sse(_openai_chunk([choice])), _sse(usage), b"data: [DONE]\n\n"]


def _gemini_events() -> list[bytes]:
    """``:streamGenerateContent?alt=sse``: usage so far in each event, lines that end in CRLF."""
    events = []
    for number in range(EVENTS):
        content = {"parts": [{"text": _text(number, 8)}], "role": "model"}
        candidate: dict[str, object] = {"content": content, "index": 0}
        if number == EVENTS - 1:
            candidate["finishReason"] = "STOP"
        usage = {
            "promptTokenCount": 19,
            "candidatesTokenCount": 2 * number + 2,
            "totalTokenCount": 2 * number + 21,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 19}],
        }
        event = {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r-@@number@@",
        }
        events.append(b"data: " + _write(event) + b"\r\n\r\n")
    return events


def _anthropic_events() -> list[bytes]:
    """``/messages``: named events; one block of text."""
    usage = {"input_tokens": 19, "output_tokens": 1, "service_tier": "standard"}
    message: dict[str, object] = {
        "model": "claude-sonnet-4-20250514",
        "id": "msg_@@number@@",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    block = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    deltas = [{"type": "text_delta", "text": _text(number, 20)} for number in range(EVENTS)]
    return [
        _named("message_start", message=message),
        _named("content_block_start", index=0, content_block=block),
        _named("ping"),
        *(_named("content_block_delta", index=0, delta=delta) for delta in deltas),
        _named("content_block_stop", index=0),
        _named("message_delta", delta=end, usage={"output_tokens": 400}),
        _named("message_stop"),
    ]


def _sse(value: object) -> bytes:
    return b"data: " + _write(value) + b"\n\n"


def _named(name: str, **fields: object) -> bytes:
    return b"event: " + name.encode() + b"\n" + _sse({"type": name, **fields})


def _stream(
    events: Sequence[bytes], in_a_packet: int, interval: float = 0.0, hold: bool = False
) -> Script:
    """Make packets of chunks; each event is a chunk, as where each is flushed."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    packets = [
        b"".join(_chunk(event) for event in events[start : start + in_a_packet])
        for start in range(0, len(events), in_a_packet)
    ]
    packets[0] = head + b"Transfer-Encoding: chunked\r\n\r\n" + packets[0]
    if not hold:
        packets[-1] += _chunk(b"")
    return Script(packets, interval, hold)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
