"""Tests of :mod:`aiproxy.gateway.lane`: with it and without, all is the same, but for the time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Timeouts
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.dialect import AnswerReader, StreamReader
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatChunk
from aiproxy.errors import AnswerTooLarge, StreamCut
from aiproxy.gateway.continuation import Capabilities
from aiproxy.gateway.takeover import GiveUp, Takeover
from aiproxy.gateway.transcode import StreamTranscoder
from tests.dialects.recordings import read_recordings
from tests.dialects.streams import ROOMY, bytewise, split_at
from tests.gateway.test_takeover import FIRST, REQUEST, SECOND
from tests.untraced import untraced

#: Those whose streams the OpenAI dialect reads.
COMPATIBLE = (
    *("azure", "cerebras", "cloudflare", "deepseek", "gemini", "github", "groq", "huggingface"),
    *("mistral", "ollama", "openai", "openrouter", "perplexity", "together", "xai", "zai"),
)


class Passage:
    """
    One stream on its way, with the lane or without.

    :ivar steps: what was written for each piece, and what was known after it.
    :ivar read: bytes that were read one by one.
    """

    def __init__(
        self,
        pieces: Iterable[bytes],
        *,
        quick: bool,
        dialect: AnswerReader | None = None,
        takeover: Takeover | None = None,
        choices: int = 1,
        max_event_bytes: int = ROOMY,
        closes: bool = True,
    ) -> None:
        self._closes = closes
        reader = (dialect or OpenAIDialect()).stream_reader(
            choices=choices, max_event_bytes=max_event_bytes
        )
        self.read = 0
        self._count(reader)
        writer = OpenAIFace().stream_writer(REQUEST, identity="made", created=7, model="mine")
        transcoder = StreamTranscoder(
            reader, writer, Timeouts(), reasoning=False, takeover=takeover, quick=quick
        )
        self.steps: list[tuple[bytes, object, object]] = []
        for written in self._feed(transcoder, pieces):
            known = (transcoder.started, transcoder.ended, transcoder.finished)
            heard = (reader.said, reader.skipped, reader.usage, transcoder.patience)
            self.steps.append((written, known, heard))
        error = transcoder.error
        self.fault = None if error is None else (type(error), vars(error))
        self.written = b"".join(step[0] for step in self.steps)

    def _feed(self, transcoder: StreamTranscoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if transcoder.ended:
                return
            yield transcoder.feed(piece)
        if self._closes and not transcoder.ended:
            yield transcoder.close()

    def _count(self, reader: StreamReader) -> None:
        feed = reader.feed

        def count(data: bytes) -> list[ChatChunk]:
            self.read += len(data)
            return feed(data)

        reader.feed = count  # type: ignore[method-assign]

    @property
    def told(self) -> tuple[object, ...]:
        """All of it, as values that can be compared."""
        return self.steps, self.fault


def new_takeover() -> Takeover:
    """Make what remembers an answer, from the beginning."""
    takeover = Takeover(REQUEST, capabilities=Capabilities())
    takeover.begin(FIRST)
    return takeover


def remembered(takeover: Takeover) -> object:
    """Say what a takeover would go on from, and what it would tell if nobody could."""
    step = takeover.cut(StreamCut("cut"))
    if isinstance(step, GiveUp):
        return step.error.message
    told = takeover.give_up(StreamCut("cut")).message
    return step.barren, told, takeover.ask(SECOND).request


def both(pieces: list[bytes], **options: Any) -> tuple[Passage, Passage]:
    """Let a stream pass without the lane and with it; all that can be seen is the same."""
    slow_memory, quick_memory = new_takeover(), new_takeover()
    slow = Passage(pieces, quick=False, takeover=slow_memory, **options)
    quick = Passage(pieces, quick=True, takeover=quick_memory, **options)
    assert quick.told == slow.told, pieces
    assert remembered(quick_memory) == remembered(slow_memory), pieces
    alone = Passage(pieces, quick=True, **options)
    assert alone.told == Passage(pieces, quick=False, **options).told, pieces
    return slow, quick


# --- streams -------------------------------------------------------------------------

#: Texts that come twice, or look like what stands around them; and any others.
_WORDS = st.one_of(
    st.sampled_from(
        [
            " the",
            ":",
            ",",
            '","',
            '"}',
            '"},"',
            "content",
            "c-1",
            "\\",
            "\\n",
            "\n\n",
            "data: ",
            "\x7f",
        ]
    ),
    st.text(max_size=8),
    st.text('aé€😀\ud83d\ude00\x00\x1f\u2028"\\/', max_size=4),
)


def openai_event(delta: object, *, reason: str | None = None, **fields: object) -> dict[str, Any]:
    """Make an event of OpenAI's."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    frame = {"id": "c-1", "object": "chat.completion.chunk", "created": 5, "model": "theirs"}
    return {**frame, "choices": [choice], "usage": None, **fields}


_CALL = {"index": 0, "id": "k", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}

_OPENAI = (
    _WORDS.map(lambda text: openai_event({"content": text})),
    _WORDS.map(lambda text: openai_event({"content": text, "role": "assistant"})),
    _WORDS.map(lambda text: openai_event({"reasoning_content": text, "content": ""})),
    _WORDS.map(lambda text: openai_event({"reasoning": text})),
    st.builds(
        lambda text, padding: openai_event({"content": text}, obfuscation=padding), _WORDS, _WORDS
    ),
    _WORDS.map(lambda text: openai_event({"content": text}, reason="stop")),
    st.builds(
        lambda text, usage: openai_event({"content": text}, usage=usage),
        _WORDS,
        st.fixed_dictionaries(dict.fromkeys(_USAGE, st.integers(0, 99))),
    ),
    st.builds(
        lambda text, number: openai_event(
            {"content": text}, x_groq={"usage": {"total_tokens": number}}
        ),
        _WORDS,
        st.integers(0, 9),
    ),
    _WORDS.map(lambda text: openai_event({"content": text, "extra": "?"})),
    st.just(openai_event({"tool_calls": [_CALL]})),
    st.just({**openai_event({}), "choices": [{"index": 1, "delta": {"content": "other"}}]}),
    st.just({"error": {"message": "broken"}}),
    st.sampled_from([": ping", "data: {", "data: [DONE]", "event: x", "id: 1\ndata: {}"]),
)


def anthropic_event(kind: str, **fields: object) -> dict[str, Any]:
    """Make an event of Anthropic's, of its second block."""
    return {"type": kind, "index": 1, **fields}


def anthropic_text(text: str) -> dict[str, Any]:
    """Make an event that tells a text."""
    return anthropic_event("content_block_delta", delta={"type": "text_delta", "text": text})


_ANTHROPIC = (
    _WORDS.map(anthropic_text),
    _WORDS.map(
        lambda text: anthropic_event(
            "content_block_delta", delta={"type": "thinking_delta", "thinking": text}
        )
    ),
    _WORDS.map(
        lambda text: anthropic_event(
            "content_block_start", content_block={"type": "text", "text": text}
        )
    ),
    st.just(anthropic_event("content_block_stop")),
    st.just({"type": "ping"}),
    st.just({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}),
    st.just({"type": "message_stop"}),
)


def gemini_event(part: object, usage: object = None, **fields: object) -> dict[str, Any]:
    """Make an event of Gemini's, of one part."""
    candidate = {"content": {"parts": [part], "role": "model"}, "index": 0, **fields}
    frame = {"modelVersion": "gemini-2.5-flash", "responseId": "r-1"}
    return {"candidates": [candidate], "usageMetadata": usage, **frame}


_COUNT = st.one_of(st.integers(0, 99), st.just(10**15 - 1), st.just(2**70), st.just(0.25))
_COUNTS = st.builds(
    lambda prompt, said, kind: {
        "promptTokenCount": prompt,
        "candidatesTokenCount": said,
        "promptTokensDetails": [{"modality": kind, "tokenCount": prompt}],
    },
    _COUNT,
    _COUNT,
    st.sampled_from(["TEXT", "TEXT", "AUDIO", "1", ",2,"]),
)

_GEMINI = (
    st.builds(lambda text, usage: gemini_event({"text": text}, usage), _WORDS, _COUNTS),
    st.builds(lambda text, usage: gemini_event({"text": text}, usage), _WORDS, _COUNTS),
    _WORDS.map(lambda text: gemini_event({"text": text, "thought": True}, {"totalTokenCount": 9})),
    _WORDS.map(
        lambda text: gemini_event({"text": text}, {"thoughtsTokenCount": 5}, finishReason="STOP")
    ),
    _WORDS.map(lambda text: gemini_event({"text": text, "thoughtSignature": "s"})),
    st.just(gemini_event({"functionCall": {"name": "f", "args": {}}}, {"totalTokenCount": 3})),
    st.just({"promptFeedback": {"blockReason": "SAFETY"}}),
    st.just({"usageMetadata": {"totalTokenCount": 8}}),
)


def encode(event: dict[str, Any] | str, *, plain: bool, spaces: int, end: str) -> bytes:
    """Write an event as one of many senders may."""
    if isinstance(event, str):
        return f"{event}{end}{end}".encode()
    separators = (",", ":") if plain else (", ", ": ")
    text = json.dumps(event, ensure_ascii=not plain, separators=separators)
    text = text[:-1] + " " * spaces + "}"
    name = f"event: {event['type']}{end}" if "type" in event else ""
    return f"{name}data: {text}{end}{end}".encode("utf-8", "surrogatepass")


@st.composite
def streams(draw: st.DrawFn, kinds: tuple[st.SearchStrategy[Any], ...]) -> list[bytes]:
    """Write events, most of one kind, and split them anywhere."""
    events = draw(st.lists(draw(st.sampled_from(kinds)) | st.one_of(kinds), min_size=1, max_size=9))
    plain = draw(st.booleans())
    spaces = draw(st.sampled_from([0, 0, 3]))
    end = draw(st.sampled_from(["\n", "\n", "\n", "\r\n"]))
    written = [
        encode(event, plain=plain, spaces=draw(st.integers(0, spaces)), end=end) for event in events
    ]
    return split(draw, b"".join(written))


def split(draw: Callable[[st.SearchStrategy[list[int]]], list[int]], stream: bytes) -> list[bytes]:
    """Split a stream anywhere."""
    places = draw(st.lists(st.integers(0, len(stream)), max_size=6))
    return split_at(stream, *sorted(places))


def steady(texts: Iterable[str]) -> list[bytes]:
    """Write the events of a stream of texts, the role first."""
    events = [openai_event({"role": "assistant", "content": ""})]
    events += [openai_event({"content": text}) for text in texts]
    return plainly(events)


def plainly(events: Iterable[dict[str, Any] | str]) -> list[bytes]:
    """Write each event as most senders do."""
    return [encode(event, plain=True, spaces=0, end="\n") for event in events]


class SamenessTests(SynchronousTestCase):
    """What is written, what is known and what is remembered."""

    @settings(max_examples=500, deadline=None)
    @given(streams(_OPENAI))
    def test_openai(self, pieces: list[bytes]) -> None:
        """Any events of OpenAI's, in any pieces, become the same."""
        both(pieces)

    @settings(max_examples=300, deadline=None)
    @given(streams(_ANTHROPIC))
    def test_anthropic(self, pieces: list[bytes]) -> None:
        """Any events of Anthropic's, in any pieces, become the same."""
        both(pieces, dialect=AnthropicDialect())

    @settings(max_examples=400, deadline=None)
    @given(streams(_GEMINI))
    def test_gemini(self, pieces: list[bytes]) -> None:
        """Any events of Gemini's, in any pieces, become the same."""
        both(pieces, dialect=GeminiDialect())

    @settings(max_examples=200, deadline=None)
    @given(st.lists(_WORDS, max_size=12), st.data())
    def test_texts(self, texts: list[str], data: st.DataObject) -> None:
        """Texts in one frame, in any pieces, become the same."""
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        both(split(data.draw, b"".join(steady(texts))))

    def test_splits(self) -> None:
        """A stream that is split at any place becomes the same."""
        stream = b"".join(steady([" Tell", " me", " all"])) + b": ping\n\ndata: [DONE]\n\n"
        with untraced():
            for place in range(len(stream) + 1):
                both(split_at(stream, place))
            both(bytewise(stream))

    def test_recordings(self) -> None:
        """Each recorded stream becomes the same, whole and in pieces."""
        chance = random.Random(7)
        read = [
            (OpenAIDialect(), read_recordings("chat", *COMPATIBLE)),
            (AnthropicDialect(), read_recordings("messages", "anthropic", "vertex")),
            (GeminiDialect(), read_recordings("streamGenerateContent", "gemini", "vertex")),
        ]
        passed = 0
        with untraced():
            for dialect, recordings in read:
                for recording in recordings:
                    body = recording.body
                    if not recording.streamed or not body:
                        continue
                    _, quick = both([body], dialect=dialect)
                    passed += quick.read < len(body)
                    for _ in range(3):
                        places = chance.sample(range(len(body)), min(len(body), 40))
                        both(split_at(body, *sorted(places)), dialect=dialect)
        self.assertGreater(passed, 20)

    def test_overflow(self) -> None:
        """An answer that has become too long to be remembered is so either way."""
        for size in (9, 10, 11):
            memories = []
            for quick in (False, True):
                memory = Takeover(REQUEST, capabilities=Capabilities(), limit_bytes=5 * size)
                memory.begin(FIRST)
                Passage([b"".join(steady(["\u00e9" * 5] * 5))], quick=quick, takeover=memory)
                memories.append(remembered(memory))
            self.assertEqual(memories[0], memories[1])

    def test_continuation(self) -> None:
        """A continuation becomes the same, before its seam and behind it, and is counted so."""
        answer = [f"Word {number} of many. " for number in range(90)]
        usage = {"prompt_tokens": 900, "completion_tokens": 700, "total_tokens": 1600}
        told = []
        for quick in (False, True):
            memory = new_takeover()
            Passage(steady(answer[:20]), quick=quick, takeover=memory)
            remembered(memory)
            memory.begin(SECOND, memory.ask(SECOND))
            end: list[dict[str, Any] | str] = [
                openai_event({}, reason="stop"),
                openai_event({}, usage=usage),
                "data: [DONE]",
            ]
            second = Passage(steady(answer[10:]) + plainly(end), quick=quick, takeover=memory)
            told.append((second.told, memory.rescued, memory.usage, remembered(memory), second))
        (*slow, slowly), (*fast, quickly) = told
        self.assertEqual(fast, slow)
        self.assertTrue(memory.rescued)
        self.assertIn(answer[-1].encode(), quickly.written)
        self.assertLess(quickly.read, slowly.read / 2)

    def test_line_ends(self) -> None:
        """Events that end with other line ends go out as soon as they are whole."""
        for end in ("\r\n", "\r"):
            both([encode(openai_event({"content": " a"}), plain=True, spaces=0, end=end)] * 4)

    def test_several_lines(self) -> None:
        """The second line of an event is not taken for an event of its own."""
        event = plainly([openai_event({"content": " a"})])[0]
        rest = event.replace(b'"id"', b'{}, "id"').replace(b"data: {", b"data: ")
        both([event, b'data: {"more":' + b" " * 20_000 + b"\n", rest, rest])
        both([event, event, b"data: " + b"y" * 20_000 + b"\n", event])

    def test_blocks(self) -> None:
        """Thoughts and other fields of Anthropic's blocks are held although texts went before."""
        thinking = {"type": "thinking", "thinking": "", "signature": "s"}
        begin = anthropic_event("content_block_start", content_block=thinking)
        thoughts = [
            anthropic_event("content_block_delta", delta={"type": "x", "thinking": f" {number}"})
            for number in range(5)
        ]
        other = [
            anthropic_event("content_block_delta", delta={"text": f" {number}", "note": "x" * 50})
            for number in range(9)
        ]
        stop = anthropic_event("content_block_stop")
        text = anthropic_text(" a")
        slow, _ = both(plainly([begin, text, *thoughts, stop]), dialect=AnthropicDialect())
        self.assertIn(b" 0 1 2 3 4", slow.written)
        slow, _ = both(plainly(other), dialect=AnthropicDialect(), max_event_bytes=300)
        assert slow.fault is not None
        self.assertIs(slow.fault[0], AnswerTooLarge)
        again = [
            anthropic_event("content_block_start", content_block={"type": "text", "text": f" {n}"})
            for n in range(3)
        ]
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        both(plainly([text, *again, stop, end]), dialect=AnthropicDialect())


class UseTests(SynchronousTestCase):
    """What passes unread."""

    def assertPasses(self, pieces: list[bytes], *, read: int, **options: Any) -> None:
        """No more than so many events are read, and nothing is different for it."""
        bound = read * max(map(len, pieces))
        for packets in (pieces, [b"".join(pieces)]):
            _, quick = both(packets, **options)
            self.assertLessEqual(quick.read, bound)

    def test_texts(self) -> None:
        """After the role and one text all texts pass, of whatever characters."""
        texts = [" one", ' "two"', "\\", "\n\n", "\u20ac", "\U0001f600", "\x7f", "}", " nine"]
        self.assertPasses(steady(texts), read=2)

    def test_pieces(self) -> None:
        """Packets that end within an event pass too."""
        events = steady([f" word{number}" for number in range(40)])
        stream = b"".join(events)
        size = len(events[-1])
        for step in (1, 7, size - 1, 3 * size + 5):
            pieces = [stream[place : place + step] for place in range(0, len(stream), step)]
            _, quick = both(pieces)
            self.assertLess(quick.read, 8 * size, step)

    def test_one_packet(self) -> None:
        """A whole stream in one packet passes too, whichever of its first events is a text."""
        texts = steady([f" word{number}" for number in range(40)])[1:]
        for others in range(5):
            before = b": other\n\n" * others
            _, quick = both([before + b"".join(texts)])
            self.assertLessEqual(quick.read, len(before) + 2 * len(texts[0]), others)

    def test_escapes(self) -> None:
        """Texts that are written with other escapes than ours pass too."""
        events = [
            openai_event({"content": text}) for text in (" a", " b", " c", "\u00e9", "/", " d")
        ]
        pieces = [
            encode(event, plain=False, spaces=0, end="\n").replace(b"/", b"\\/") for event in events
        ]
        self.assertPasses(pieces, read=2)

    def test_padding(self) -> None:
        """Padding that changes from event to event, OpenAI's and Anthropic's, is no obstacle."""
        pads = ["", "x", "xyz", '"', "xy", "z"]
        openai = [
            encode(
                openai_event({"content": f" {pad}!"}, obfuscation=pad),
                plain=True,
                spaces=0,
                end="\n",
            )
            for pad in pads
        ]
        self.assertPasses(openai, read=2)
        anthropic = [
            encode(
                anthropic_text(f" {pad}!"),
                plain=True, spaces=spaces, end="\n",
            )
            for spaces, pad in enumerate(pads)
        ]  # fmt: skip
        self.assertPasses(anthropic, read=3, dialect=AnthropicDialect())

    def test_thoughts(self) -> None:
        """Thoughts that we tell under two names pass."""
        events = [openai_event({"reasoning": f" thought{number}"}) for number in range(9)]
        self.assertPasses(plainly(events), read=2)

    def test_usage(self) -> None:
        """Usage that each event tells, Gemini's and OpenAI's, is no obstacle: the last counts."""
        gemini: list[dict[str, Any] | str] = [
            gemini_event(
                {"text": f" word{number}"}, {"promptTokenCount": 9, "totalTokenCount": number}
            )
            for number in range(20)
        ]
        gemini[-1] = gemini_event({"text": ""}, {"totalTokenCount": 99}, finishReason="STOP")
        openai: list[dict[str, Any] | str] = [
            openai_event(
                {"content": f" word{number}"}, usage={**_USAGE, "completion_tokens": number}
            )
            for number in range(20)
        ]
        openai += [openai_event({}, reason="stop", usage={**_USAGE, "completion_tokens": 99})]
        openai += ["data: [DONE]"]
        streams: list[tuple[list[dict[str, Any] | str], AnswerReader]] = [
            (gemini, GeminiDialect()),
            (openai, OpenAIDialect()),
        ]
        for events, dialect in streams:
            for end in ("\n", "\r\n"):
                pieces = [encode(event, plain=True, spaces=0, end=end) for event in events]
                self.assertPasses(pieces, read=4, dialect=dialect)
                self.assertIn(b":99", Passage(pieces, quick=True, dialect=dialect).written)

    def test_interruption(self) -> None:
        """After an event of another kind the texts pass again."""
        events = steady([f" word{number}" for number in range(9)])
        self.assertPasses([*events, b": ping\n\n", *events[1:]], read=4)

    def test_useless(self) -> None:
        """Where each event has another frame, few are tried, however many come at once."""
        events = [openai_event({"content": f" {place}"}, place=place) for place in range(400)]
        pieces = plainly(events)
        for size in (1, 2, 5, 6, 7, 10, 400):
            packets = [b"".join(pieces[at : at + size]) for at in range(0, len(pieces), size)]
            tries = self.count_tries(packets)
            self.assertTrue(5 <= tries <= 80, (size, tries))

    def count_tries(self, pieces: list[bytes]) -> int:
        """Let a stream pass, and count the events that might have become templates."""
        calls = 0
        reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=ROOMY)
        assert isinstance(reader, OpenAIStreamReader)
        follow = reader.follow

        def count(characters: int) -> bool:
            nonlocal calls
            calls += 1
            return follow(characters)

        reader.follow = count  # type: ignore[method-assign]
        writer = OpenAIFace().stream_writer(REQUEST, identity="made", created=7, model="mine")
        transcoder = StreamTranscoder(reader, writer, Timeouts(), reasoning=False)
        for piece in pieces:
            transcoder.feed(piece)
        return calls

    def test_bounds(self) -> None:
        """An event that is too long is refused, although it has the frame of the last."""
        events = steady([" one", " two", " three", " x" * 200, " five"])
        for pieces in (events, [b"".join(events)], bytewise(b"".join(events))):
            _, quick = both(pieces, max_event_bytes=len(events[0]) + 9)
            assert quick.fault is not None
            self.assertIs(quick.fault[0], AnswerTooLarge)
            self.assertEqual(b" three" in quick.written, len(pieces) > 1)

    def test_held(self) -> None:
        """Of an event that is not whole, no more than a little is kept from the reader."""
        events = steady([" one", " two", " y" * 50_000])
        begun = sum(map(len, events[:3]))
        for number in (1, 1000, 16_000, 17_000, 99_000):
            pieces = [*events[:3], events[3][:number]]
            both(pieces)
            kept = begun + number - Passage(pieces, quick=True, closes=False).read
            self.assertLessEqual(kept, len(events[2]) + 16 * 1024)
        stream = b"".join(events)
        both([stream[place : place + 4096] for place in range(0, len(stream), 4096)])
