"""Tests of :mod:`aiproxy.dialects.anthropic` and its parts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.signatures import SignatureMemory
from aiproxy.wire.json import dumps
from tests.dialects.streams import Outcome, client_message, split_at
from tests.shown import PLAIN, STREAMED, show, show_answer

PIXEL = "data:image/png;base64,AAAA"
HI = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
#: Thinks within a budget, as long as it likes if asked, as long as it likes, and always.
OLD, MIDDLE, NEW, ALWAYS = (
    *("claude-sonnet-4-5", "claude-sonnet-4-6", "claude-sonnet-5", "claude-opus-5-5"),
)
MARK = {"type": "ephemeral"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "S"}
HIDDEN = {"type": "redacted_thinking", "data": "D"}


def text(said: str, **more: Any) -> dict[str, Any]:
    """Make a block or a part of text."""
    return {"type": "text", "text": said, **more}


def call(
    call_id: str = "c1", name: str = "f", arguments: str = "{}", **more: Any
) -> dict[str, Any]:
    """Make a tool call of an assistant's message."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function, **more}


def use(call_id: str = "c1", name: str = "f", **given: Any) -> dict[str, Any]:
    """Make Anthropic's block of a tool call."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id: str = "c1", content: Any = "r", **more: Any) -> dict[str, Any]:
    """Make a message with what a tool gave back."""
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def message(*blocks: dict[str, Any], reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    """Make an answer of Anthropic's."""
    usage = {"input_tokens": 2, "output_tokens": 3}
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": list(blocks),
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
        **more,
    }


def write_stream(*events: tuple[str, dict[str, Any]]) -> bytes:
    """Write events as Anthropic does: named, and padded with spaces."""
    written = [(name, json.dumps({"type": name, **event})) for name, event in events]
    return "".join(f"event: {name}\ndata: {data[:-1]}   }}\n\n" for name, data in written).encode()


def begin(index: int, block: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Make the event that begins a block."""
    return "content_block_start", {"index": index, "content_block": block}


def go_on(index: int, kind: str, **delta: Any) -> tuple[str, dict[str, Any]]:
    """Make an event that goes on with a block."""
    return "content_block_delta", {"index": index, "delta": {"type": kind, **delta}}


def end(index: int) -> tuple[str, dict[str, Any]]:
    """Make the event that ends a block."""
    return "content_block_stop", {"index": index}


def finish(reason: str, **usage: Any) -> tuple[str, dict[str, Any]]:
    """Make the event with the stop reason."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return "message_delta", {"delta": delta, "usage": usage or {"output_tokens": 3}}


PING: tuple[str, dict[str, Any]] = ("ping", {})
STOP: tuple[str, dict[str, Any]] = ("message_stop", {})
START: tuple[str, dict[str, Any]] = (
    "message_start",
    {"message": {**message(reason=""), "stop_reason": None}},
)


class WritingTestCase(SynchronousTestCase):
    """Writes requests."""

    def setUp(self) -> None:
        self.dialect = AnthropicDialect()

    def write(
        self, *messages: dict[str, Any], model: str = OLD, stream: bool = False, **more: Any
    ) -> WireRequest:
        """Write a request."""
        request = {"model": "m", "messages": list(messages or (HI,)), **more}
        before = json.dumps(request)
        wire = self.dialect.write_request(request, model=model, stream=stream)
        self.assertEqual(json.dumps(request), before)
        return wire

    def body(self, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Write a request; return its body."""
        body: dict[str, Any] = json.loads(self.write(*messages, **more).body)
        return body

    def told(self, *messages: dict[str, Any], **more: Any) -> list[tuple[str, Any]]:
        """Write messages; return roles and blocks."""
        return [(one["role"], one["content"]) for one in self.body(*messages, **more)["messages"]]

    def refused(self, param: str, *messages: dict[str, Any], **more: Any) -> None:
        """Assert that a request is refused, with the field at fault."""
        error = self.assertRaises(errors.InvalidRequest, self.write, *messages, **more)
        self.assertEqual(error.param, param)

    def dropped(self, *names: str, **more: Any) -> dict[str, Any]:
        """Assert what is named as left out; return the body."""
        wire = self.write(**more)
        self.assertEqual(wire.dropped, names)
        body: dict[str, Any] = json.loads(wire.body)
        return body


class RouteTests(WritingTestCase):
    """Where requests go."""

    def test_route(self) -> None:
        """One route serves both ways; the version stands in a header, the key is another's."""
        for stream in (False, True):
            wire = self.write(stream=stream)
            self.assertEqual(wire.route, "/messages")
            self.assertEqual(
                wire.headers,
                {"content-type": "application/json", "anthropic-version": "2023-06-01"},
            )
            self.assertEqual(json.loads(wire.body).get("stream", False), stream)
            self.assertEqual(json.loads(wire.body)["model"], OLD)

    def test_own_urls(self) -> None:
        """A model's own URL gets what it lacks."""
        wire = self.write()
        for url in ("https://h/v1", "https://h/v1/", "https://h/v1/messages"):
            self.assertEqual(self.dialect.locate(url, wire), "https://h/v1/messages")
        self.assertEqual(self.dialect.locate("https://h/v1?a=b", wire), "https://h/v1/messages?a=b")

    def test_images(self) -> None:
        """Images are left to Anthropic."""
        part = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
        request = {"messages": [{"role": "user", "content": [part]}]}
        self.assertFalse(self.dialect.wants_images(request, model=OLD))


class MessageTests(WritingTestCase):
    """From messages to messages."""

    def test_instructions(self) -> None:
        """System and developer messages stand above the conversation, wherever they stood."""
        one, two = {"role": "system", "content": "a"}, {"role": "developer", "content": "b"}
        body = self.body(one, HI, two)
        self.assertEqual(body["system"], "a\n\nb")
        self.assertEqual(body["messages"], [{"role": "user", "content": [text("Hi")]}])

    def test_cached_instructions(self) -> None:
        """They are blocks if the cache has to know one, by its part or by its message."""
        one = {"role": "system", "content": [text("a"), text("b", cache_control=MARK)]}
        two = {"role": "system", "content": "c", "cache_control": MARK}
        expected = [text("a"), text("b", cache_control=MARK), text("c", cache_control=MARK)]
        self.assertEqual(self.body(one, two, HI)["system"], expected)

    def test_instructions_only(self) -> None:
        """There is always something to answer."""
        body = self.body({"role": "system", "content": "a"})
        self.assertEqual(body["messages"], [{"role": "user", "content": [text("a")]}])
        self.assertNotIn("system", body)

    def test_images_as_instructions(self) -> None:
        """Instructions are words."""
        part = {"type": "image_url", "image_url": {"url": PIXEL}}
        self.refused("messages[0].content", {"role": "system", "content": [part]}, HI)

    def test_neighbors(self) -> None:
        """Messages of one role in a row are one message."""
        assistant = {"role": "assistant", "content": "x"}
        told = self.told(HI, HI, assistant, assistant, HI)
        self.assertEqual([role for role, _ in told], ["user", "assistant", "user"])
        self.assertEqual([len(blocks) for _, blocks in told], [2, 2, 1])

    def test_user_first(self) -> None:
        """A conversation that an assistant begins gets a user."""
        told = self.told({"role": "assistant", "content": "x"}, HI)
        self.assertEqual([role for role, _ in told], ["user", "assistant", "user"])
        self.assertTrue(told[0][1][0]["text"].strip())

    def test_blank(self) -> None:
        """Blank texts are left out; a user who says nothing last still has the word."""
        content = [text(" \n"), text("a"), text("")]
        self.assertEqual(self.told({"role": "user", "content": content}), [("user", [text("a")])])
        said = {"role": "assistant", "content": "x"}
        blanks: tuple[Any, ...] = ("", None, " ", [])
        for blank in blanks:
            told = self.told(HI, said, {"role": "user", "content": blank})
            self.assertEqual([role for role, _ in told], ["user", "assistant", "user"])
            self.assertEqual(len(self.told({"role": "user", "content": blank})[0][1]), 1)
        empty = {"role": "assistant", "content": ""}
        self.assertEqual(self.told(HI, empty, HI), [("user", [text("Hi"), text("Hi")])])

    def test_prefill(self) -> None:
        """A last answer that is to be continued stays; it ends without a space."""
        prefill = {"role": "assistant", "content": " so \n"}
        for model in (OLD, NEW):
            self.assertEqual(self.told(HI, prefill, model=model)[1], ("assistant", [text(" so")]))
        self.assertEqual(self.told(HI, prefill, HI)[1], ("assistant", [text(" so \n")]))
        self.assertEqual(self.told({**HI, "content": "Hi "}), [("user", [text("Hi ")])])

    def test_refusal(self) -> None:
        """What an assistant has refused goes back as what it said, in either form."""
        for said in (
            {"content": None, "refusal": "no"},
            {"content": [{"type": "refusal", "refusal": "no"}]},
        ):
            told = self.told(HI, {"role": "assistant", **said}, HI)
            self.assertEqual(told[1], ("assistant", [text("no")]))

    def test_parts(self) -> None:
        """Text, images and documents are blocks; links are left to Anthropic."""
        base64 = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        jpeg = {**base64, "media_type": "image/jpeg"}
        pdf = {**base64, "media_type": "application/pdf"}
        note = {"type": "text", "media_type": "text/plain", "data": "é"}
        own = {"type": "search_result", "source": "s", "title": "t", "content": [text("x")]}
        for part, expected in (
            (text("t", cache_control=MARK), text("t", cache_control=MARK)),
            (
                {"type": "image_url", "image_url": {"url": PIXEL}, "cache_control": MARK},
                {"type": "image", "source": base64, "cache_control": MARK},
            ),
            (
                {"type": "image_url", "image_url": "data:image/jpg;base64,AAAA"},
                {"type": "image", "source": jpeg},
            ),
            (
                {"type": "image_url", "image_url": {"url": "https://h/a", "detail": "auto"}},
                {"type": "image", "source": {"type": "url", "url": "https://h/a"}},
            ),
            (
                {"type": "image_url", "image_url": "data:application/pdf;base64,AAAA"},
                {"type": "document", "source": pdf},
            ),
            (
                {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
                {"type": "document", "source": pdf, "title": "a.pdf"},
            ),
            (
                {"type": "file", "file": {"file_data": PIXEL}},
                {"type": "image", "source": base64},
            ),
            (
                {"type": "file", "file": {"file_data": "data:text/markdown;base64,w6k="}},
                {"type": "document", "source": note},
            ),
            (
                {"type": "file", "file": {"file_id": "https://h/a.pdf"}},
                {"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}},
            ),
            ({"type": "image", "source": base64}, {"type": "image", "source": base64}),
            (own, own),
        ):
            self.assertEqual(self.told({"role": "user", "content": [part]}), [("user", [expected])])
        show("anthropic", "images, data URL", "images, http URL", "files and sound")

    def test_files(self) -> None:
        """A file by its id needs a feature that is still in beta, also in a tool's result."""
        part = {"type": "file", "file": {"file_id": "file_1"}}
        document = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
        for messages in (
            [{"role": "user", "content": [part]}],
            [HI, {"role": "assistant", "tool_calls": [call()]}, result(content=[part])],
        ):
            wire = self.write(*messages)
            self.assertIn(json.dumps(document), json.dumps(json.loads(wire.body)))
            self.assertEqual(wire.headers["anthropic-beta"], "files-api-2025-04-14")

    def test_refused_parts(self) -> None:
        """What Anthropic has no words for is refused, with its place."""
        for part in (
            {"type": "hologram", "hologram": {}},
            {"type": "image_url", "image_url": {}},
            {"type": "image_url", "image_url": {"url": "data:image/png,raw"}},
            {"type": "image_url", "image_url": {"url": "ftp://h/x.png"}},
            {"type": "input_audio", "input_audio": {"data": "BB", "format": "mp3"}},
            {"type": "file", "file": {"filename": "a.pdf"}},
            {"type": "file", "file": {"file_data": "data:text/plain;base64,//8="}},
            {"type": "image"},
            "text",
        ):
            self.refused("messages[0].content[0]", {"role": "user", "content": [part]})
        self.refused("messages[0].content", {"role": "user", "content": 7})
        self.refused("messages[0].role", {"role": "oracle", "content": "x"})

    def test_tool_turn(self) -> None:
        """Calls go back after the text; all results are one message, and stand first in it."""
        told = self.told(
            HI,
            {
                "role": "assistant",
                "content": "so",
                "tool_calls": [call(arguments='{"a":1}'), call("c2", "g", "", cache_control=MARK)],
            },
            result("c1", "one"),
            {"role": "user", "content": "and?"},
            result("c2", [text("two"), {"type": "image_url", "image_url": PIXEL}], is_error=True),
        )
        image = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        second = [text("two"), {"type": "image", "source": image}]
        self.assertEqual(
            told[1:],
            [
                (
                    "assistant",
                    [text("so"), use(a=1), {**use("c2", "g"), "cache_control": MARK}],
                ),
                (
                    "user",
                    [
                        {"type": "tool_result", "tool_use_id": "c1", "content": [text("one")]},
                        {
                            "type": "tool_result",
                            "tool_use_id": "c2",
                            "content": second,
                            "is_error": True,
                        },
                        text("and?"),
                    ],
                ),
            ],
        )

    def test_many_results(self) -> None:
        """Many results in a row stand in order, before the words that came between them."""
        turn = {"role": "assistant", "tool_calls": [call()]}
        between: list[dict[str, Any]] = []
        for number in range(100):
            between += [result(content=f"r{number}"), {"role": "user", "content": f"t{number}"}]
        _, _, (_, blocks) = self.told(HI, turn, *between)
        results = [
            {"type": "tool_result", "tool_use_id": "c1", "content": [text(f"r{number}")]}
            for number in range(100)
        ]
        self.assertEqual(blocks, [*results, *(text(f"t{number}") for number in range(100))])

    def test_empty_result(self) -> None:
        """A tool may give nothing back; the mark for the cache stands at its result."""
        turn = {"role": "assistant", "tool_calls": [call()]}
        told = self.told(HI, turn, result(content="", cache_control=MARK))
        expected = {"type": "tool_result", "tool_use_id": "c1", "cache_control": MARK}
        self.assertEqual(told[2], ("user", [expected]))

    def test_ids(self) -> None:
        """Ids that Anthropic refuses, or that come twice, are others, in the result too."""
        turn: dict[str, Any] = {"role": "assistant", "tool_calls": [call("a.b:1")]}
        again = {"role": "assistant", "tool_calls": [call("a.b:1"), call("a_b_1")]}
        messages = [HI, turn, result("a.b:1"), again, result("a.b:1"), result("a_b_1")]
        told = self.told(*messages)
        made = [block["id"] for _, blocks in told for block in blocks if "id" in block]
        answered = [block["tool_use_id"] for _, blocks in told for block in blocks
                    if "tool_use_id" in block]  # fmt: skip
        self.assertEqual(made, answered)
        self.assertEqual(len(set(made)), 3)
        self.assertEqual(made[2], "a_b_1")
        for one in made:
            self.assertRegex(one, r"^[a-zA-Z0-9_-]+$")
        self.assertEqual(self.told(*messages), told)

    @given(st.lists(st.text(), min_size=1, max_size=5))
    def test_any_ids(self, ids: list[str]) -> None:
        """Whatever the ids: each is one that Anthropic takes, and there is no other like it."""
        turn = {"role": "assistant", "tool_calls": [call(one) for one in ids]}
        request = {"messages": [HI, turn]}
        body = json.loads(AnthropicDialect().write_request(request, model=OLD, stream=False).body)
        made = [block["id"] for block in body["messages"][1]["content"]]
        self.assertEqual(len(set(made)), len(ids))
        for one in made:
            self.assertRegex(one, r"\A[a-zA-Z0-9_-]+\Z")

    def test_odd_calls(self) -> None:
        """Garbled arguments are kept as a text; results of unknown calls are refused."""
        for arguments, expected in (("{oh", "{oh"), ("[1]", [1])):
            turn = {"role": "assistant", "tool_calls": [call(arguments=arguments)]}
            self.assertEqual(self.told(HI, turn)[1][1], [use(arguments=expected)])
        made = {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}
        turn = {"role": "assistant", "tool_calls": [made]}
        self.assertEqual(self.told(HI, turn)[1][1], [use(a=1)])
        self.refused("messages[1].tool_call_id", HI, result("c9"))
        custom = {"id": "c", "type": "custom", "custom": {"name": "x", "input": "y"}}
        where = "messages[1].tool_calls[0]"
        self.refused(where, HI, {"role": "assistant", "tool_calls": [custom]})

    def test_legacy_call(self) -> None:
        """OpenAI's older form of a call and its result is understood."""
        told = self.told(
            HI,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "ok"},
        )
        (made,), (given_back,) = told[1][1], told[2][1]
        self.assertEqual((made["name"], made["id"]), ("f", given_back["tool_use_id"]))

    def test_marks(self) -> None:
        """The mark of a message stands at its last block that can have one."""
        kept = {"extra_content": {"anthropic": {"thinking_blocks": [THOUGHT]}}}
        turn = {"role": "assistant", "content": "a", "cache_control": MARK, **kept}
        told = self.told({**HI, "cache_control": MARK}, turn, HI)
        self.assertEqual(told[0][1], [text("Hi", cache_control=MARK)])
        self.assertEqual(told[1][1], [THOUGHT, text("a", cache_control=MARK)])

    def test_dropped(self) -> None:
        """What is left out of messages is named."""
        wire = self.write(
            {"role": "user", "name": "n", "content": [
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}},
                text(" ", cache_control=MARK),
            ]},
            {"role": "assistant", "content": "a", "reasoning_content": "r", "audio": {"id": "x"}},
            {"role": "user", "content": "", "cache_control": MARK},
        )  # fmt: skip
        self.assertEqual(
            wire.dropped,
            (
                *("image_url.detail", "messages[].audio", "messages[].cache_control"),
                *("messages[].content[].cache_control", "messages[].name"),
                "messages[].reasoning_content",
            ),
        )


class ThoughtTests(WritingTestCase):
    """What goes back as it came."""

    def answered(self, *, stream: bool) -> dict[str, Any]:
        """Let the model think and call a tool; return the message."""
        blocks = [THOUGHT, HIDDEN, use("toolu_1", a=1), use("toolu_2")]
        if not stream:
            body = dumps(message(*blocks, reason="tool_use"))
            told: dict[str, Any] = self.dialect.read_reply(body)["choices"][0]["message"]
            return told
        outcome = Outcome(
            [
                write_stream(
                    START,
                    begin(0, {"type": "thinking", "thinking": "", "signature": ""}),
                    go_on(0, "thinking_delta", thinking="h"),
                    go_on(0, "thinking_delta", thinking="m"),
                    go_on(0, "signature_delta", signature="S"),
                    end(0),
                    begin(1, HIDDEN),
                    end(1),
                    begin(2, use("toolu_1")),
                    go_on(2, "input_json_delta", partial_json='{"a":1}'),
                    end(2),
                    begin(3, use("toolu_2")),
                    end(3),
                    finish("tool_use"),
                    STOP,
                )
            ],
            dialect=self.dialect,
        )
        return client_message(outcome)

    def test_carried(self) -> None:
        """Thoughts are told with their signatures, and go back before the call as they came."""
        for stream in (False, True):
            said = self.answered(stream=stream)
            self.assertEqual(said["reasoning_content"], "hm")
            kept = said["extra_content"]["anthropic"]["thinking_blocks"]
            for place, block in enumerate(kept if stream else ()):
                self.assertEqual(block["index"], place)  # OpenAI's client joins lists by it.
            kept = [{**block, "index": 0} for block in kept]
            self.assertEqual(kept, [{**THOUGHT, "index": 0}, {**HIDDEN, "index": 0}])
            self.dialect = AnthropicDialect()  # One that remembers nothing.
            wire = self.write(HI, said, result("toolu_1"), result("toolu_2"))
            blocks = json.loads(wire.body)["messages"][1]["content"]
            self.assertEqual(blocks, [THOUGHT, HIDDEN, use("toolu_1", a=1), use("toolu_2")])
            self.assertEqual(wire.dropped, ())

    def test_remembered(self) -> None:
        """A client that sends the calls back without them loses nothing, plain or streamed."""
        for stream in (False, True):
            self.dialect = AnthropicDialect()
            said = self.answered(stream=stream)
            del said["extra_content"]
            wire = self.write(HI, said, result("toolu_1"), result("toolu_2"))
            blocks = json.loads(wire.body)["messages"][1]["content"]
            self.assertEqual(blocks[:2], [THOUGHT, HIDDEN])
            self.assertEqual(wire.dropped, ())
        show("anthropic", "signatures of thoughts")

    def test_kept_apart(self) -> None:
        """What is remembered is bounded with all else, and no signature of a call."""
        memory = SignatureMemory(most=1)
        self.dialect = AnthropicDialect(memory)
        said = self.answered(stream=False)
        self.assertIsNone(memory.find("toolu_1", "f"))
        memory.note("other", "f", "x")
        del said["extra_content"]
        self.assertEqual(self.told(HI, said)[1][1][0], use("toolu_1", a=1))

    def test_forgotten(self) -> None:
        """Calls without what was thought before them allow no thinking within a budget."""
        turn = {"role": "assistant", "tool_calls": [call()]}
        for model, dropped, kind in (
            (OLD, ("reasoning_effort",), None),
            (NEW, (), "adaptive"),
        ):
            wire = self.write(HI, turn, result(), model=model, reasoning_effort="low")
            self.assertEqual(wire.dropped, dropped)
            self.assertEqual(json.loads(wire.body).get("thinking", {}).get("type"), kind)
        kept = {"extra_content": {"anthropic": {"thinking_blocks": [THOUGHT]}}}
        body = self.body(HI, {**turn, **kept}, result(), reasoning_effort="low")
        self.assertEqual(body["thinking"]["type"], "enabled")

    def test_unsigned(self) -> None:
        """Thoughts without a signature are told, and not kept."""
        answer = self.dialect.read_reply(dumps(message({**THOUGHT, "signature": ""}, text("a"))))
        said = answer["choices"][0]["message"]
        self.assertEqual(said["reasoning_content"], "hm")
        self.assertNotIn("extra_content", said)

    def test_server_tools(self) -> None:
        """What ran at Anthropic is told as it came, at its end, and goes back."""
        ran = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}
        found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
        answer = self.dialect.read_reply(dumps(message(ran, found, text("a"))))
        said = answer["choices"][0]["message"]
        self.assertEqual(said["extra_content"], {"anthropic": {"blocks": [ran, found]}})
        self.assertEqual(self.told(HI, said, HI)[1][1], [ran, found, text("a")])
        outcome = Outcome(
            [
                write_stream(
                    START,
                    begin(0, {**ran, "input": {}}),
                    go_on(0, "input_json_delta", partial_json=""),
                    go_on(0, "input_json_delta", partial_json='{"q":'),
                    go_on(0, "input_json_delta", partial_json='"x"}'),
                    end(0),
                    begin(1, found),
                    end(1),
                    begin(2, {**ran, "input": {}}),
                    go_on(2, "input_json_delta", partial_json='{"q'),
                    end(2),
                    begin(3, {"type": "compaction", "content": None}),
                    go_on(3, "compaction_delta", content="so", more={"n": 1}),
                    end(3),
                    finish("pause_turn"),
                    STOP,
                )
            ],
            dialect=self.dialect,
        )
        told = [
            delta["extra_content"]["anthropic"]["blocks"]
            for delta in outcome.deltas()
            if "extra_content" in delta
        ]
        cut = {**ran, "input": '{"q'}
        other = {"type": "compaction", "content": "so", "more": {"n": 1}}
        blocks: list[dict[str, Any]] = [ran, found, cut, other]
        self.assertEqual(told, [[{**one, "index": place}] for place, one in enumerate(blocks)])
        self.assertEqual(outcome.reasons(), ["stop"])

    def test_callers(self) -> None:
        """Which code has made a call goes back with it."""
        caller = {"type": "code_execution_20260120", "tool_id": "s"}
        made = {**use("toolu_1"), "caller": caller}
        said = self.dialect.read_reply(dumps(message(made, reason="tool_use")))
        turn = said["choices"][0]["message"]
        self.assertEqual(self.told(HI, turn)[1][1], [made])


class ParameterTests(WritingTestCase):
    """Parameters."""

    def test_limits(self) -> None:
        """Anthropic always wants a limit."""
        both = {"max_tokens": 9, "max_completion_tokens": 8}
        self.assertEqual(self.body(**both)["max_tokens"], 8)
        self.assertEqual(self.body(max_tokens=9)["max_tokens"], 9)
        for model, most in (
            ("claude-3-haiku-20240307", 4096),
            ("claude-3-5-haiku-20241022", 8192),
            ("claude-opus-4-20250514", 32_000),
            ("claude-opus-4-1", 32_000),
            ("anthropic.claude-opus-4-20250514-v1:0", 32_000),
            (NEW, 32_000),
            ("claude-next", 32_000),
            ("another", 32_000),
        ):
            self.assertEqual(self.body(model=model)["max_tokens"], most, model)

    def test_sampling(self) -> None:
        """Parameters keep their names; a temperature has an end."""
        body = self.dropped(temperature=0.5, top_k=7, top_p=None)
        self.assertEqual((body["temperature"], body["top_k"]), (0.5, 7))
        self.assertNotIn("top_p", body)
        self.assertEqual(self.dropped("temperature", temperature=1.5)["temperature"], 1)
        show("anthropic", "sampling parameters")

    def test_one_way_of_sampling(self) -> None:
        """Newer models take a temperature or ``top_p``: the one that says something."""
        body = self.dropped("top_p", temperature=0.5, top_p=0.5)
        self.assertEqual((body["temperature"], "top_p" in body), (0.5, False))
        body = self.dropped(temperature=0.5, top_p=1)
        self.assertEqual((body["temperature"], "top_p" in body), (0.5, False))
        body = self.dropped(temperature=1, top_p=0.5)
        self.assertEqual((body["top_p"], "temperature" in body), (0.5, False))
        body = self.dropped(temperature=0.5, top_p=0.5, model="claude-3-5-haiku-20241022")
        self.assertEqual((body["temperature"], body["top_p"]), (0.5, 0.5))

    def test_no_sampling(self) -> None:
        """Models from Opus 4.7 on refuse to be told how to sample."""
        asked = {"temperature": 0.5, "top_p": 0.5, "top_k": 1}
        for model in ("claude-opus-4-7", NEW, ALWAYS, "claude-fable-5", "claude-mythos-preview"):
            body = self.dropped("temperature", "top_k", "top_p", model=model, **asked)
            self.assertFalse(set(asked) & set(body))
            self.dropped(model=model, temperature=1, top_p=1)

    def test_thinking_samples_alone(self) -> None:
        """A model that thinks takes next to none of them."""
        asked = {"reasoning_effort": "low", "temperature": 0.5, "top_k": 1}
        self.dropped("temperature", "top_k", **asked)
        self.assertEqual(self.dropped(reasoning_effort="low", top_p=0.96)["top_p"], 0.96)
        self.dropped("top_p", reasoning_effort="low", top_p=0.5)
        self.assertNotIn("temperature", self.dropped(reasoning_effort="low", temperature=1))

    def test_stop(self) -> None:
        """Stop sequences are a list without blank ones."""
        self.assertEqual(self.dropped(stop="x")["stop_sequences"], ["x"])
        self.assertEqual(self.dropped("stop", stop=["\n", "x"])["stop_sequences"], ["x"])
        self.assertNotIn("stop_sequences", self.dropped("stop", stop="\n\n"))
        self.assertNotIn("stop_sequences", self.dropped(stop=[]))
        show("anthropic", "stop")

    def test_one_choice(self) -> None:
        """There is one choice."""
        self.refused("n", n=2)
        self.dropped(n=1)

    def test_unknown_to_anthropic(self) -> None:
        """What only others have is left out and named, if it asks for anything."""
        self.dropped(
            *("frequency_penalty", "logit_bias", "logprobs", "modalities", "prediction"),
            *("presence_penalty", "seed", "store", "top_logprobs", "verbosity"),
            seed=0, presence_penalty=1, frequency_penalty=-1, logprobs=True, top_logprobs=2,
            logit_bias={"1": 2}, store=True, verbosity="low", prediction={"type": "content"},
            modalities=["text", "audio"],
        )  # fmt: skip
        body = self.dropped(logprobs=False, presence_penalty=0, modalities=["text"], store=False)
        self.assertEqual(set(body), {"model", "messages", "max_tokens"})

    def test_unknown_fields(self) -> None:
        """Fields of Anthropic's own pass, objects are merged."""
        body = self.dropped(
            model=MIDDLE,
            reasoning_effort="low",
            output_config={"task_budget": {"total": 1}},
            container="c",
        )
        self.assertEqual(body["container"], "c")
        self.assertEqual(body["output_config"], {"effort": "low", "task_budget": {"total": 1}})

    def test_users(self) -> None:
        """Who asks is told; the caller's other notes are not."""
        self.assertEqual(self.dropped(user="u")["metadata"], {"user_id": "u"})
        self.assertEqual(self.dropped(safety_identifier="u")["metadata"], {"user_id": "u"})
        body = self.dropped("metadata", metadata={"user_id": "u", "x": "y"})
        self.assertEqual(body["metadata"], {"user_id": "u"})
        body = self.dropped("safety_identifier", user="u", safety_identifier="v")
        self.assertEqual(body["metadata"], {"user_id": "u"})

    def test_tiers(self) -> None:
        """Of OpenAI's tiers of service Anthropic has two."""
        for tier, written in (("auto", "auto"), ("default", "standard_only")):
            self.assertEqual(self.dropped(service_tier=tier)["service_tier"], written)
        self.assertNotIn("service_tier", self.dropped("service_tier", service_tier="flex"))

    def test_formats(self) -> None:
        """A schema is Anthropic's own; JSON without one is asked in words."""
        inner = {"type": ["object", "null"], "properties": {"type": {"enum": [{"type": "object"}]}}}
        schema = {"type": "object", "properties": {"a": inner, "b": {"anyOf": [inner]}}}
        told = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        body = self.dropped(response_format=told)
        closed = {**inner, "additionalProperties": False}
        wanted = {
            "type": "object",
            "properties": {"a": closed, "b": {"anyOf": [closed]}},
            "additionalProperties": False,
        }
        self.assertEqual(
            body["output_config"], {"format": {"type": "json_schema", "schema": wanted}}
        )
        body = self.body(
            {"role": "system", "content": "s"}, HI, response_format={"type": "json_object"}
        )
        self.assertTrue(body["system"].startswith("s\n\nAnswer in JSON only"))
        self.assertNotIn("output_config", body)
        body = self.dropped("response_format", model="claude-opus-4-0", response_format=told)
        self.assertIn(json.dumps(schema, separators=(",", ":")), body["system"])
        bound = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
        told = {"type": "json_schema", "json_schema": {"name": "n", "schema": bound}}
        body = self.dropped("response_format.json_schema.schema.minimum", response_format=told)
        written = body["output_config"]["format"]["schema"]["properties"]["a"]
        self.assertEqual(written, {"type": "integer", "description": '{"minimum":1}'})
        told = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
        body = self.dropped("response_format", response_format=told)
        self.assertIn('JSON schema: {"type":"object"}', body["system"])
        self.assertNotIn("output_config", body)
        self.assertEqual(self.dropped(response_format={"type": "text"}).get("system"), None)
        show("anthropic", "JSON mode", "JSON schema")


class ReasoningTests(WritingTestCase):
    """How hard the model thinks."""

    def thinking(self, *dropped: str, **more: Any) -> tuple[Any, Any]:
        """Write a request; return what it says of thinking, and of the effort."""
        body = self.dropped(*dropped, **more)
        return body.get("thinking"), body.get("output_config")

    def test_budgets(self) -> None:
        """Models before 4.6 have a budget, always smaller than the answer."""
        for effort, tokens in (
            *(("minimal", 1024), ("low", 1024), ("medium", 4096), ("high", 16_384)),
            ("xhigh", 24_576),
        ):
            body = self.dropped(reasoning_effort=effort)
            thinking = {"type": "enabled", "budget_tokens": tokens}
            self.assertEqual(body["thinking"], thinking)
            self.assertGreater(body["max_tokens"], tokens)
        body = self.dropped(reasoning={"max_tokens": 60_000})
        self.assertGreater(body["max_tokens"], body["thinking"]["budget_tokens"])
        body = self.dropped(reasoning_effort="high", max_tokens=2000)
        self.assertEqual((body["max_tokens"], body["thinking"]["budget_tokens"]), (2000, 1999))
        body = self.dropped("reasoning_effort", reasoning_effort="low", max_tokens=1024)
        self.assertEqual((body["max_tokens"], body.get("thinking")), (1024, None))
        show("anthropic", "reasoning effort")

    def test_efforts(self) -> None:
        """Later ones think as long as they like, with an effort; their thoughts are told."""
        adaptive = {"type": "adaptive", "display": "summarized"}
        for model, effort, written in (
            (MIDDLE, "minimal", "low"),
            (MIDDLE, "medium", "medium"),
            (MIDDLE, "xhigh", "high"),
            (MIDDLE, "max", "max"),
            (NEW, "xhigh", "xhigh"),
            ("claude-opus-4-6-v1", "high", "high"),
            ("claude-mythos-preview", "high", "high"),
        ):
            told = self.thinking(model=model, reasoning_effort=effort)
            self.assertEqual(told, (adaptive, {"effort": written}), model)
        self.assertEqual(self.thinking(model=NEW, reasoning={"enabled": True}), (adaptive, None))

    def test_budget_of_an_adaptive_model(self) -> None:
        """4.6 takes a budget too; those after it do not."""
        told, _ = self.thinking(model=MIDDLE, reasoning={"max_tokens": 2000})
        self.assertEqual(told, {"type": "enabled", "budget_tokens": 2000})
        asked = {"max_tokens": 2000}
        told, _ = self.thinking("reasoning.max_tokens", model=NEW, reasoning=asked)
        self.assertEqual(told["type"], "adaptive")

    def test_none(self) -> None:
        """No thinking is what old models do anyway, new ones are told, some cannot."""
        off = {"type": "disabled"}
        for asked in ({"reasoning_effort": "none"}, {"reasoning": {"enabled": False}}):
            self.assertEqual(self.thinking(model=OLD, **asked), (None, None))
            self.assertEqual(self.thinking(model=NEW, **asked), (off, None))
            self.assertEqual(self.thinking(model="claude-haiku-5-5", **asked), (off, None))
            for model in (ALWAYS, "claude-fable-5"):
                (name,) = asked
                self.assertEqual(
                    self.thinking(name, model=model, **asked), (None, {"effort": "low"})
                )

    def test_no_thoughts(self) -> None:
        """Models that do not think are not asked to."""
        self.thinking("reasoning_effort", model="claude-3-5-haiku-20241022", reasoning_effort="low")
        self.assertEqual(
            self.thinking("reasoning", model="claude-3-opus", reasoning={"effort": "low"}),
            (None, None),
        )

    def test_excluded(self) -> None:
        """Thoughts can be left out of the answer, but for the oldest models that have any."""
        asked = {"effort": "low", "exclude": True}
        for model in (OLD, NEW):
            told, _ = self.thinking(model=model, reasoning=asked)
            self.assertEqual(told["display"], "omitted")
        told, _ = self.thinking("reasoning.exclude", model="claude-3-7-sonnet", reasoning=asked)
        self.assertNotIn("display", told)

    def test_own(self) -> None:
        """Who speaks of thinking in Anthropic's words is not corrected."""
        own = {"type": "enabled", "budget_tokens": 40_000}
        body = self.dropped(thinking=own, reasoning_effort="low")
        self.assertEqual(body["thinking"], own)
        self.assertGreater(body["max_tokens"], 40_000)


class ToolTests(WritingTestCase):
    """Tools."""

    def test_functions(self) -> None:
        """Functions have a schema of an object; what is Anthropic's own stays."""
        schema = {"properties": {"a": {"type": "string"}}}
        for function, expected in (
            (
                {"name": "f", "description": "d", "parameters": schema, "strict": True},
                {
                    "description": "d",
                    "input_schema": {"type": "object", **schema, "additionalProperties": False},
                    "strict": True,
                },
            ),
            (
                {"name": "f", "description": "", "parameters": {"type": None}, "strict": False},
                {"input_schema": {"type": "object", "properties": {}}},
            ),
        ):
            tool = {"type": "function", "function": function}
            self.assertEqual(self.dropped(tools=[tool])["tools"], [{"name": "f", **expected}])
        marked = {**TOOL, "cache_control": MARK, "defer_loading": True}
        written = self.dropped(tools=[marked])["tools"][0]
        self.assertEqual((written["cache_control"], written["defer_loading"]), (MARK, True))
        strict = {"type": "function", "function": {"name": "f", "strict": True}}
        self.dropped("tools[].function.strict", model="claude-opus-4-0", tools=[strict])
        bound = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
        for name, told, written in (
            ("parameters.minimum", bound, {"type": "integer", "description": '{"minimum":1}'}),
            ("strict", {**bound, "properties": {"a": {"type": "object"}}}, {"type": "object"}),
        ):
            strict["function"] = {"name": "f", "strict": True, "parameters": told}
            tool = self.dropped(f"tools[].function.{name}", tools=[strict])["tools"][0]
            self.assertEqual(tool["input_schema"]["properties"]["a"], written)
            self.assertEqual(tool.get("strict", False), name != "strict")
        show("anthropic", "tools")

    def test_own_tools(self) -> None:
        """Tools in Anthropic's own form pass, others are refused."""
        own: tuple[dict[str, Any], ...] = (
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            {"type": "mcp_toolset", "mcp_server_name": "s"},
            {"name": "f", "input_schema": {"type": "object"}},
        )
        for tool in own:
            self.assertEqual(self.dropped(tools=[tool])["tools"], [tool])
        others: tuple[Any, ...] = (
            {"type": "file_search"},
            {"type": "custom", "custom": {}},
            {},
            "x",
        )
        for other in others:
            self.refused("tools[1]", tools=[TOOL, other])
        self.refused("functions", functions=[{"name": "f"}])
        self.refused("functions", function_call="auto")

    def test_web_search(self) -> None:
        """OpenAI's search of the web is Anthropic's, with the user's place."""
        search = {"type": "web_search_20250305", "name": "web_search"}
        self.assertEqual(self.dropped(web_search_options={})["tools"], [search])
        place = {"type": "approximate", "approximate": {"city": "Riga", "region": None}}
        options = {"user_location": place, "search_context_size": "low"}
        body = self.dropped("web_search_options.search_context_size", web_search_options=options)
        located = {**search, "user_location": {"type": "approximate", "city": "Riga"}}
        self.assertEqual(body["tools"], [located])
        flat = {"type": "web_search", "user_location": {"type": "approximate", "city": "Riga"}}
        body = self.dropped(tools=[flat], web_search_options={})
        self.assertEqual(body["tools"], [located])

    def test_choices(self) -> None:
        """What must be called, and whether several may be."""
        named = {"type": "function", "function": {"name": "f"}}
        for choice, expected in (
            ("none", {"type": "none"}),
            ("auto", {"type": "auto"}),
            ("required", {"type": "any"}),
            (named, {"type": "tool", "name": "f"}),
            ({"type": "any"}, {"type": "any"}),
        ):
            body = self.dropped(tools=[TOOL], tool_choice=choice)
            self.assertEqual(body["tool_choice"], expected)
            body = self.dropped(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
            off = {} if choice == "none" else {"disable_parallel_tool_use": True}
            self.assertEqual(body["tool_choice"], {**expected, **off})
        body = self.dropped(tools=[TOOL], parallel_tool_calls=False)
        self.assertEqual(body["tool_choice"], {"type": "auto", "disable_parallel_tool_use": True})
        self.assertNotIn("tool_choice", self.dropped(tools=[TOOL], parallel_tool_calls=True))
        self.refused("tool_choice", tools=[TOOL], tool_choice="sometimes")
        show("anthropic", "tool choice", "parallel calls off")

    def test_allowed_tools(self) -> None:
        """Only the tools that are allowed are offered."""
        other = {"type": "function", "function": {"name": "g"}}
        allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
        choice = {"type": "allowed_tools", "allowed_tools": allowed}
        body = self.dropped(tools=[TOOL, other], tool_choice=choice)
        self.assertEqual([tool["name"] for tool in body["tools"]], ["g"])
        self.assertEqual(body["tool_choice"], {"type": "any"})
        for none in ({"tools": True, "mode": ["x"]}, {"tools": [5]}, {}):
            body = self.dropped(tools=[TOOL], tool_choice={"allowed_tools": none})
            self.assertNotIn("tools", body)

    def test_no_tools(self) -> None:
        """Without tools there is no choice."""
        for choice, dropped in (("auto", ()), ("required", ("tool_choice",))):
            body = self.dropped(*dropped, tool_choice=choice, parallel_tool_calls=False)
            self.assertNotIn("tool_choice", body)

    def test_forced_and_thinking(self) -> None:
        """A model that thinks cannot be forced; one that need not think does not."""
        forced = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
        auto = {"type": "auto", "disable_parallel_tool_use": True}
        for more in (
            {"model": OLD, "reasoning_effort": "low"},
            {"model": OLD, "thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"model": NEW, "reasoning_effort": "low"},
            {"model": ALWAYS},
        ):
            body = self.dropped("tool_choice", **forced, **more)
            self.assertEqual(body["tool_choice"], auto)
        body = self.dropped(**forced, model=NEW)
        self.assertEqual(body["tool_choice"]["type"], "any")
        self.assertEqual(body["thinking"], {"type": "disabled"})
        self.assertNotIn("thinking", self.dropped(**forced, model=MIDDLE))


class AnswerTests(SynchronousTestCase):
    """Answers."""

    def read(self, told: dict[str, Any]) -> dict[str, Any]:
        """Read an answer; return its choice."""
        (choice,) = AnthropicDialect().read_reply(dumps(told))["choices"]
        return dict(choice)

    def outcome(self, *events: tuple[str, dict[str, Any]]) -> Outcome:
        """Read a stream."""
        return Outcome([write_stream(*events)], dialect=AnthropicDialect())

    def test_identity(self) -> None:
        """An answer has what OpenAI's clients need."""
        answer = AnthropicDialect().read_reply(dumps(message(text("a"), text("b"))))
        self.assertEqual(
            (answer["id"], answer["model"], answer["object"]),
            ("m", "claude-x", "chat.completion"),
        )
        said = answer["choices"][0]["message"]
        layout = [{"type": "text", "length": 1}] * 2
        extra = {"extra_content": {"anthropic": {"layout": layout}}}
        self.assertEqual(said, {"role": "assistant", "content": "ab", **extra})
        outcome = self.outcome(START, begin(0, text("")), go_on(0, "text_delta", text="a"),
                               end(0), finish("end_turn"), STOP)  # fmt: skip
        for chunk in outcome.chunks:
            self.assertEqual((chunk["id"], chunk["model"]), ("m", "claude-x"))
        self.assertEqual(outcome.text(), "a")

    def test_reasons(self) -> None:
        """Stop reasons are OpenAI's, and Anthropic's own stay beside them."""
        for theirs, ours in (
            *(("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop")),
            *(("max_tokens", "length"), ("model_context_window_exceeded", "length")),
            *(("tool_use", "tool_calls"), ("refusal", "content_filter"), ("new", "stop")),
        ):
            choice = self.read(message(text("a"), reason=theirs))
            self.assertEqual(choice["finish_reason"], ours)
            self.assertEqual(choice["native_finish_reason"], theirs)
            outcome = self.outcome(START, begin(0, text("a")), end(0), finish(theirs), STOP)
            self.assertEqual((outcome.text(), outcome.reasons()), ("a", [ours]))
            natives = [one.get("native_finish_reason") for chunk in outcome.chunks
                       for one in chunk["choices"]]  # fmt: skip
            self.assertEqual(natives[-1], theirs)
            if ours == "content_filter":
                show_answer("anthropic", {}, ours, None, PLAIN)
                show_answer("anthropic", {}, ours, None, STREAMED)

    def test_nothing_said(self) -> None:
        """An answer may be empty, if it has ended."""
        choice = self.read(message())
        self.assertEqual(choice["message"], {"role": "assistant", "content": None})
        self.assertEqual(choice["finish_reason"], "stop")
        early: tuple[str, dict[str, Any]] = ("message_delta", {"delta": {"stop_reason": None}})
        outcome = self.outcome(START, early, finish("refusal"), STOP)
        self.assertEqual((outcome.error, outcome.reasons()), (None, ["content_filter"]))

    def test_extras(self) -> None:
        """What else is told of the end stands under ``extra_content``."""
        told = message(text("a"), reason="stop_sequence", stop_sequence="x", container={"id": "c"})
        expected = {"anthropic": {"stop_sequence": "x", "container": {"id": "c"}}}
        self.assertEqual(self.read(told)["message"]["extra_content"], expected)
        name, event = finish("stop_sequence")
        event = {**event, "delta": {**event["delta"], **expected["anthropic"]}}
        outcome = self.outcome(START, begin(0, text("a")), end(0), (name, event), STOP)
        extras = [delta["extra_content"] for delta in outcome.deltas() if "extra_content" in delta]
        self.assertEqual(extras, [expected])
        self.assertEqual(outcome.reasons(), ["stop"])

    def test_citations(self) -> None:
        """Citations stand beside the text that they belong to."""
        cited = {"type": "char_location", "cited_text": "c"}
        other = {"type": "page_location", "cited_text": "d"}
        told = message(text("a", citations=[cited]), text("b"), text("c", citations=[other]))
        said = self.read(told)["message"]
        self.assertEqual(said["content"], "abc")
        layout = [{"type": "text", "length": 1, "citations": 1}, {"type": "text", "length": 1}]
        extra = {"citations": [cited, other], "layout": [*layout, layout[0]]}
        self.assertEqual(said["extra_content"], {"anthropic": extra})
        outcome = self.outcome(
            START, begin(0, text("", citations=[])), go_on(0, "citations_delta", citation=cited),
            go_on(0, "text_delta", text="a"), end(0), finish("end_turn"), STOP,
        )  # fmt: skip
        extras = [delta["extra_content"] for delta in outcome.deltas() if "extra_content" in delta]
        told_once = {"citations": [{**cited, "index": 0}]}
        self.assertEqual(extras, [{"anthropic": told_once}, {"anthropic": {"layout": layout[:1]}}])
        show("anthropic", "citations and extras", way=PLAIN)

    def test_odd_texts(self) -> None:
        """A text or citations of another type are nothing."""
        odd: list[Any] = [5, None, ["x"]]
        for other in odd:
            told = message(text("a"), {"type": "text", "text": other, "citations": other})
            self.assertEqual(self.read(told)["message"]["content"], "a")
            block = {"type": "text", "text": other, "citations": other}
            cited = go_on(0, "citations_delta", citation=other)
            outcome = self.outcome(START, begin(0, block), go_on(0, "text_delta", text="a"),
                                   cited, end(0), finish("end_turn"), STOP)  # fmt: skip
            self.assertEqual((outcome.error, outcome.text()), (None, "a"))
            self.assertEqual([one for one in outcome.deltas() if "extra_content" in one], [])

    def test_inputs(self) -> None:
        """A call without input has an empty object, whatever way nothing was written."""
        nothings: tuple[Any, ...] = ({}, None, "")
        for nothing in nothings:
            choice = self.read(message({**use(), "input": nothing}, reason="tool_use"))
            (made,) = choice["message"]["tool_calls"]
            self.assertEqual(made["function"], {"name": "f", "arguments": "{}"})
            self.assertNotIn("index", made)
            begun = begin(0, {**use(), "input": nothing})
            for pieces in ((), ("",), ("", "")):
                deltas = [go_on(0, "input_json_delta", partial_json=piece) for piece in pieces]
                outcome = self.outcome(START, begun, *deltas, end(0), finish("tool_use"), STOP)
                self.assertEqual(outcome.calls()[0]["function"]["arguments"], "{}")

    def test_whole_inputs(self) -> None:
        """A call may have its input at once, or in pieces, but never both."""
        begun = begin(0, use(a=1))
        outcome = self.outcome(START, begun, end(0), finish("tool_use"), STOP)
        self.assertEqual(outcome.calls()[0]["function"]["arguments"], '{"a":1}')
        empty = go_on(0, "input_json_delta", partial_json="")
        outcome = self.outcome(START, begun, empty, end(0), finish("tool_use"), STOP)
        self.assertEqual(outcome.calls()[0]["function"]["arguments"], '{"a":1}')
        piece = go_on(0, "input_json_delta", partial_json='{"a":1}')
        outcome = self.outcome(START, begun, piece, end(0), finish("tool_use"), STOP)
        self.assertEqual(outcome.calls()[0]["function"]["arguments"], '{"a":1}')
        two = message(text("x"), use(a=1), use("c2", "g", b=2), reason="tool_use")
        calls = self.read(two)["message"]["tool_calls"]
        self.assertEqual(
            [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in calls],
            [("c1", "f", '{"a":1}'), ("c2", "g", '{"b":2}')],
        )

    def test_usage(self) -> None:
        """What caches read and write is a part of the prompt; the last counts are the true ones."""
        usage = {
            "input_tokens": 1,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 300,
            "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 2},
            "server_tool_use": {"web_search_requests": 1},
        }
        expected = {
            "prompt_tokens": 321,
            "completion_tokens": 4,
            "total_tokens": 325,
            "prompt_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 2},
            "server_tool_use": {"web_search_requests": 1},
        }
        answer = AnthropicDialect().read_reply(dumps(message(text("a"), usage=usage)))
        self.assertEqual(answer["usage"], expected)
        first = {**usage, "input_tokens": 9, "output_tokens": 1}
        start = ("message_start", {"message": message(usage=first, stop_reason=None)})
        last = {"input_tokens": 1, "output_tokens": 4, "cache_read_input_tokens": None}
        outcome = self.outcome(start, begin(0, text("a")), end(0), finish("end_turn", **last), STOP)
        self.assertEqual(outcome.usage, expected)
        self.assertEqual(outcome.chunks[-1]["usage"], expected)
        self.assertEqual([chunk for chunk in outcome.chunks[:-1] if "usage" in chunk], [])

    def test_pings(self) -> None:
        """A ping says nothing, wherever it comes; nor does what is new to us."""
        events = [START, begin(0, text("")), go_on(0, "text_delta", text="a"), end(0),
                  finish("end_turn"), STOP]  # fmt: skip
        expected = self.outcome(*events)
        for place in range(len(events) + 1):
            for silent in (PING, ("novelty", {"index": 0}), ("content_block_stop", {"index": 9})):
                outcome = self.outcome(*events[:place], silent, *events[place:])
                self.assertEqual(outcome, expected)

    def test_cut(self) -> None:
        """Without a stop reason the stream was cut, also in a call; the prompt's tokens count."""
        outcome = self.outcome(START, begin(0, text("a")), end(0))
        self.assertIsInstance(outcome.error, errors.StreamCut)
        assert outcome.usage is not None
        told = outcome.usage["prompt_tokens"], outcome.usage["completion_tokens"]
        self.assertEqual(told, (2, 0))
        piece = go_on(0, "input_json_delta", partial_json='{"a')
        outcome = self.outcome(START, begin(0, use()), piece)
        self.assertTrue(outcome.tool_call_open)
        self.assertIsInstance(outcome.error, errors.StreamCut)

    def test_held(self) -> None:
        """No more is held back than one event may have."""
        thoughts = [go_on(0, "thinking_delta", thinking="x" * 600) for _ in range(2)]
        stream = write_stream(START, begin(0, {"type": "thinking", "thinking": ""}), *thoughts)
        outcome = Outcome([stream], max_event_bytes=1000, dialect=AnthropicDialect())
        self.assertIsInstance(outcome.error, errors.AnswerTooLarge)
        texts = [go_on(0, "text_delta", text="x" * 600) for _ in range(9)]
        stream = write_stream(START, begin(0, text("")), *texts, end(0), finish("end_turn"))
        outcome = Outcome([stream], max_event_bytes=1000, dialect=AnthropicDialect())
        self.assertEqual((outcome.error, len(outcome.text())), (None, 5400))

    @given(st.data())
    def test_splits(self, data: st.DataObject) -> None:
        """No split of the bytes changes a chunk."""
        stream = write_stream(
            START, PING, begin(0, {"type": "thinking", "thinking": ""}),
            go_on(0, "thinking_delta", thinking="é"), go_on(0, "signature_delta", signature="S"),
            end(0), begin(1, text("")), go_on(1, "text_delta", text="日本"), end(1),
            begin(2, use()), go_on(2, "input_json_delta", partial_json='{"a":'), PING,
            go_on(2, "input_json_delta", partial_json="1}"), end(2), finish("tool_use"), STOP,
        )  # fmt: skip
        places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
        outcome = Outcome(split_at(stream, *places), dialect=AnthropicDialect())
        self.assertEqual(outcome, Outcome([stream], dialect=AnthropicDialect()))
        self.assertEqual(outcome.text(), "日本")


class ErrorTests(SynchronousTestCase):
    """Errors."""

    def judged(self, status: int, kind: str, words: str = "w", **headers: str) -> Any:
        """Read an error of Anthropic's."""
        body = dumps({"type": "error", "error": {"type": kind, "message": words}})
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return AnthropicDialect().read_error(status, headers, body)

    def test_statuses(self) -> None:
        """Each error says who has to act."""
        for status, kind, words, expected in (
            (400, "invalid_request_error", "max_tokens: wrong", errors.UpstreamRefused),
            (
                *(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000"),
                errors.ContextTooLong,
            ),
            (
                *(400, "invalid_request_error", "Your credit balance is too low to access it"),
                errors.UpstreamOutOfCredit,
            ),
            (401, "authentication_error", "invalid x-api-key", errors.UpstreamAuthFailed),
            (402, "billing_error", "pay", errors.UpstreamOutOfCredit),
            (403, "permission_error", "no", errors.UpstreamAuthFailed),
            (404, "not_found_error", "model: claude-9", errors.UpstreamModelNotFound),
            (413, "request_too_large", "too much", errors.ContextTooLong),
            (429, "rate_limit_error", "slow down", errors.UpstreamRateLimited),
            (500, "api_error", "oh", errors.UpstreamFailed),
            (529, "overloaded_error", "Overloaded", errors.UpstreamFailed),
        ):
            error = self.judged(status, kind, words)
            self.assertIs(type(error), expected, kind)
            self.assertEqual(error.upstream_status, status)

    def test_delay(self) -> None:
        """The delay is told; when a limit is counted anew is none."""
        reset = {"anthropic_ratelimit_requests_reset": "1970-01-01T00:00:00Z"}
        self.assertEqual(
            self.judged(429, "rate_limit_error", retry_after="47", **reset).retry_after, 47
        )
        self.assertIsNone(self.judged(429, "rate_limit_error", **reset).retry_after)

    def test_plain_text(self) -> None:
        """A 503 may be plain text."""
        error = AnthropicDialect().read_error(503, {}, b"upstream connect error")
        self.assertIsInstance(error, errors.UpstreamFailed)
        self.assertIn("upstream connect error", error.message)

    def test_in_a_stream(self) -> None:
        """An error ends a stream wherever it comes, with the status that it stands for."""
        for kind, status, expected in (
            ("overloaded_error", 529, errors.UpstreamFailed),
            ("rate_limit_error", 429, errors.UpstreamRateLimited),
            ("invalid_request_error", 400, errors.UpstreamRefused),
        ):
            failed = ("error", {"error": {"type": kind, "message": "w"}})
            for before in ([], [START, begin(0, text("a"))]):
                stream = write_stream(*before, failed)
                outcome = Outcome([stream], dialect=AnthropicDialect())
                self.assertIs(type(outcome.error), expected)
                assert isinstance(outcome.error, errors.UpstreamError)
                self.assertEqual(outcome.error.upstream_status, status)
                self.assertEqual(outcome.reasons(), [])

    def test_in_a_200(self) -> None:
        """A body with an error is one; one without content is no answer."""
        failed = {"type": "error", "error": {"type": "overloaded_error", "message": "w"}}
        answers: tuple[Any, ...] = (failed, {}, [])
        for told in answers:
            with self.assertRaises(errors.UpstreamFailed):
                AnthropicDialect().read_reply(dumps(told))
