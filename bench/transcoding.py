"""
What an event of a stream costs on its way from a provider's bytes to the client's.

``python -m bench.transcoding``: CPU microseconds an event, each kind of stream
in turn, without the lane and with it, in one run; the median of several.  No
sockets: reader, takeover and writer alone.  Packets hold ten events, or one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiproxy.config.schema import Timeouts
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.dialect import AnswerReader
from aiproxy.dialects.face import Face
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.raw import RawDialect
from aiproxy.dialects.responses_face import ResponsesFace
from aiproxy.gateway.continuation import Capabilities, Target
from aiproxy.gateway.takeover import Takeover
from aiproxy.gateway.transcode import StreamTranscoder
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event

EVENTS: Final = 200
STREAMS: Final = 40
RUNS: Final = 7

REQUEST: Final = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
TARGET: Final = Target("m", "p", "openai", "m")


def words(stream: int) -> Iterator[str]:
    """Give the words of a stream, which no other has."""
    return (f" word{stream * EVENTS + number}" for number in range(EVENTS))


def write_openai(stream: int) -> list[bytes]:
    """Write a stream of OpenAI's, with events of 280 bytes."""
    frame = {
        "id": f"chatcmpl-{stream:029}",
        "object": "chat.completion.chunk",
        "created": 1_764_000_000,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words(stream))]
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    return [write_event(dumps({**frame, "choices": [one]})) for one in choices] + [DONE]


def write_padded(stream: int) -> list[bytes]:
    """Write the same with OpenAI's padding."""
    return [
        event.replace(b"}\n\n", b',"obfuscation":"%s"}\n\n' % (b"x" * (place % 9)))
        for place, event in enumerate(write_openai(stream))
    ]


def write_anthropic(stream: int) -> list[bytes]:
    """Write a stream of Anthropic's."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    message = {"id": f"msg_{stream}", "model": "claude", "content": [], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in words(stream)
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\n".encode() + write_event(dumps(event)) for event in events]


def write_gemini(stream: int) -> list[bytes]:
    """Write a stream of Gemini's, which tells its usage in each event, in CRLF."""
    events = []
    for place, word in enumerate(words(stream)):
        candidate = {"content": {"parts": [{"text": word}], "role": "model"}, "index": 0}
        usage = {
            "promptTokenCount": 9,
            "candidatesTokenCount": place,
            "totalTokenCount": 9 + place,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
        }
        frame = {"modelVersion": "gemini-2.5-flash", "responseId": f"id-{stream}"}
        events.append({"candidates": [candidate], "usageMetadata": usage, **frame})
    events[-1]["candidates"] = [{"finishReason": "STOP", "index": 0}]
    return [write_event(dumps(event)).replace(b"\n", b"\r\n") for event in events]


def write_responses(stream: int) -> list[bytes]:
    """Write a stream of OpenAI's responses, which passes through."""
    events = [
        {
            "type": "response.output_text.delta",
            "sequence_number": place,
            "item_id": f"msg_{stream:048}",
            "output_index": 0,
            "content_index": 0,
            "delta": word,
            "logprobs": [],
        }
        for place, word in enumerate(words(stream))
    ]
    events.append({"type": "response.completed", "response": {"model": "m", "status": "completed"}})
    return [f"event: {event['type']}\n".encode() + write_event(dumps(event)) for event in events]


def measure(
    streams: list[list[bytes]], dialect: AnswerReader, face: Face, *, quick: bool, remembers: bool
) -> float:
    """Return the CPU microseconds for an event."""
    begun = time.process_time()
    for pieces in streams:
        takeover = Takeover(REQUEST, capabilities=Capabilities()) if remembers else None
        if takeover is not None:
            takeover.begin(TARGET)
        transcoder = StreamTranscoder(
            dialect.stream_reader(choices=1, max_event_bytes=1 << 20),
            face.stream_writer(REQUEST, identity="made", created=7, model="mine"),
            Timeouts(),
            reasoning=False,
            takeover=takeover,
            quick=quick,
        )
        for piece in pieces:
            transcoder.feed(piece)
        if not transcoder.ended:
            transcoder.close()
        if transcoder.error is not None:
            raise transcoder.error
    return (time.process_time() - begun) * 1e6 / (EVENTS * len(streams))


def main() -> None:
    """Print a table."""
    print(f"{'':12}{'packet':>8}{'bytes':>7}{'slow us':>9}{'lane us':>9}")
    responses_face = ResponsesFace()
    responses = RawDialect("responses").write_request(
        responses_face.read_request(dumps({"model": "m"})), model="m", stream=True
    )
    assert responses.reader is not None
    kinds: list[tuple[str, Callable[[int], list[bytes]], AnswerReader, Face]] = [
        ("openai", write_openai, OpenAIDialect(), OpenAIFace()),
        ("padded", write_padded, OpenAIDialect(), OpenAIFace()),
        ("anthropic", write_anthropic, AnthropicDialect(), OpenAIFace()),
        ("gemini", write_gemini, GeminiDialect(), OpenAIFace()),
        ("responses", write_responses, responses.reader, responses_face),
    ]
    for name, write, dialect, face in kinds:
        for size in (10, 1):
            streams = []
            for number in range(STREAMS):
                events = write(number)
                places = range(0, len(events), size)
                streams.append([b"".join(events[place : place + size]) for place in places])
            told: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(RUNS):
                for quick, costs in told.items():
                    remembers = face is not responses_face
                    costs.append(measure(streams, dialect, face, quick=quick, remembers=remembers))
            slow, lane = (statistics.median(costs) for costs in told.values())
            length = len(events[len(events) // 2])
            print(f"{name:12}{size:8}{length:7}{slow:9.2f}{lane:9.2f}")


if __name__ == "__main__":
    main()
