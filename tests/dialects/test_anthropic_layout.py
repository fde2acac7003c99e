"""Tests of :mod:`aiproxy.dialects.anthropic_layout`: answers that come back in their order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.anthropic_layout import lay_out
from aiproxy.wire.json import dumps
from tests.dialects.anthropic_inverse import sent_back
from tests.dialects.streams import Outcome, client_message, find_difference, split_at
from tests.dialects.test_anthropic import (
    HI,
    HIDDEN,
    START,
    STOP,
    THOUGHT,
    begin,
    end,
    finish,
    go_on,
    message,
    result,
    text,
    use,
    write_stream,
)

RAN = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]}
CITED = {"type": "char_location", "cited_text": "c", "document_index": 0}
#: Thinks, searches, thinks again, speaks, and calls between its thoughts.
INTERLEAVED: list[dict[str, Any]] = [
    THOUGHT,
    RAN,
    FOUND,
    {**THOUGHT, "signature": "T"},
    text("Found. "),
    text("It says", citations=[CITED, {**CITED, "document_index": 1}]),
    use("c1", a=1),
    HIDDEN,
    text("And", citations=[CITED]),
    use("c2"),
]

WORDS = st.text(max_size=6)
CITATIONS = st.lists(st.builds(lambda said: {**CITED, "cited_text": said}, WORDS), max_size=3)
BLOCKS = st.one_of(
    st.builds(lambda said, sign: {**THOUGHT, "thinking": said, "signature": sign}, WORDS, WORDS),
    st.sampled_from([HIDDEN, RAN, FOUND]),
    st.builds(text, WORDS),
    st.builds(lambda said, citations: text(said, citations=citations), WORDS, CITATIONS),
    st.builds(lambda given: {**use(), "input": given}, st.dictionaries(WORDS, WORDS, max_size=2)),
)


def number(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every call an id of its own."""
    return [
        {**block, "id": f"c{place}"} if block["type"] == "tool_use" else block
        for place, block in enumerate(blocks)
    ]


CONTENTS = st.lists(BLOCKS, min_size=1, max_size=9).map(number)


def events(index: int, block: dict[str, Any], size: int) -> list[tuple[str, dict[str, Any]]]:
    """Write the events of a block, in deltas of some characters."""

    def deltas(kind: str, name: str, said: str) -> list[tuple[str, dict[str, Any]]]:
        pieces = [said[at : at + size] for at in range(0, len(said), size)]
        return [go_on(index, kind, **{name: piece}) for piece in pieces]

    begun, told = dict(block), []
    if block["type"] == "text":
        begun["text"] = ""
        if begun.pop("citations", None):
            begun["citations"] = []
        told = deltas("text_delta", "text", block["text"])
        cited = block.get("citations", ())
        told += [go_on(index, "citations_delta", citation=citation) for citation in cited]
    elif block["type"] == "thinking":
        begun.update(thinking="", signature="")
        told = deltas("thinking_delta", "thinking", block["thinking"])
        told += deltas("signature_delta", "signature", block["signature"])
    elif "input" in block:
        begun["input"] = {}
        told = deltas("input_json_delta", "partial_json", json.dumps(block["input"]))
    return [begin(index, begun), *told, end(index)]


def plain(content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message of a whole answer."""
    body = dumps(message(*content, reason="tool_use"))
    said: dict[str, Any] = AnthropicDialect().read_reply(body)["choices"][0]["message"]
    return said


def stream(content: list[dict[str, Any]], size: int = 3) -> bytes:
    """Write a streamed answer."""
    told = [one for place, block in enumerate(content) for one in events(place, block, size)]
    return write_stream(START, *told, finish("tool_use"), STOP)


def streamed(
    content: list[dict[str, Any]], *places: int, size: int = 3, dialect: AnthropicDialect
) -> dict[str, Any]:
    """Return the message that OpenAI's client makes of a streamed answer."""
    outcome = Outcome(split_at(stream(content, size), *places), dialect=dialect)
    assert outcome.error is None
    return client_message(outcome)


def returned(said: dict[str, Any], dialect: AnthropicDialect | None = None) -> list[dict[str, Any]]:
    """Send a message back with results of its calls; return the blocks that Anthropic gets."""
    results = [result(call["id"]) for call in said.get("tool_calls") or ()]
    request = {"messages": [HI, said, *results, HI]}
    wire = (dialect or AnthropicDialect()).write_request(request, model="claude-x", stream=False)
    blocks: list[dict[str, Any]] = json.loads(wire.body)["messages"][1]["content"]
    return blocks


class RoundTripTests(SynchronousTestCase):
    """Answers that come back as they were."""

    @given(CONTENTS)
    @example(INTERLEAVED)
    def test_plain(self, content: list[dict[str, Any]]) -> None:
        """A whole answer's blocks come back in their order, unchanged."""
        expected = sent_back(content)
        assume(expected)
        self.assertEqual(returned(plain(content)), expected)

    @given(CONTENTS, st.integers(1, 9), st.data())
    def test_streamed(self, content: list[dict[str, Any]], size: int, data: st.DataObject) -> None:
        """So do a stream's, put together by OpenAI's client, however its bytes are split."""
        expected = sent_back(content)
        assume(expected)
        places = data.draw(st.lists(st.integers(0, len(stream(content, size))), max_size=8))
        said = streamed(content, *places, size=size, dialect=AnthropicDialect())
        self.assertEqual(returned(said), expected)

    def test_every_split(self) -> None:
        """An interleaved stream is the same, wherever its bytes are split."""

        def read(pieces: list[bytes]) -> Outcome:
            return Outcome(pieces, dialect=AnthropicDialect())

        body = stream(INTERLEAVED)
        self.assertIsNone(find_difference(body, read))
        self.assertEqual(returned(client_message(read([body]))), INTERLEAVED)

    def test_remembered(self) -> None:
        """A client that leaves out what it does not know loses neither thoughts nor order."""
        content = [THOUGHT, text("a"), HIDDEN, text("b"), use("c1"), THOUGHT, use("c2")]
        dialect = AnthropicDialect()
        said = streamed(content, dialect=dialect)
        del said["extra_content"]
        self.assertEqual(returned(said, dialect), content)

    def test_usual(self) -> None:
        """An answer in the usual order tells no layout."""
        contents: list[list[dict[str, Any]]] = [
            [THOUGHT, HIDDEN, RAN, FOUND, text("a"), use("c1"), use("c2")],
            *([text("a"), use()], [use()], [THOUGHT, text("a")], [RAN, text("a")]),
        ]
        for content in contents:
            for said in (plain(content), streamed(content, dialect=AnthropicDialect())):
                extra = said.get("extra_content", {}).get("anthropic", {})
                self.assertNotIn("layout", extra)
                self.assertEqual(returned(said), content)

    def test_behind_the_end(self) -> None:
        """What was told stays so, even if more blocks come behind the stop reason."""
        events = [finish("tool_use"), begin(0, text("c")), end(0)]
        for index, block in enumerate([HIDDEN, text("a"), text("b"), use("c1")], 1):
            events[-3:-3] = [begin(index, block), end(index)]
        dialect = AnthropicDialect()
        outcome = Outcome([write_stream(START, *events)], dialect=dialect)
        (told,) = [delta for delta in outcome.deltas() if "layout" in kept(delta)]
        self.assertEqual(len(kept(told)["layout"]), 4)
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        said = {"role": "assistant", "content": "ab", "tool_calls": [call]}
        remembered = [HIDDEN, text("a"), text("b"), {**use("c1"), "name": "f", "input": {}}]
        self.assertEqual(returned(said, dialect), remembered)


def kept(delta: dict[str, Any]) -> dict[str, Any]:
    """Return what a delta tells of Anthropic alone."""
    said: dict[str, Any] = delta.get("extra_content", {}).get("anthropic", {})
    return said


class ChangedTests(SynchronousTestCase):
    """Answers that are not what they were come in the usual order."""

    def test_changed(self) -> None:
        """A message whose text, calls, thoughts or extras were changed keeps all it has."""
        other = {"type": "thinking", "thinking": "hm", "signature": "T"}
        content = [text("ab", citations=[CITED]), THOUGHT, RAN, other, text("c"), use("c1")]
        said = plain(content)
        extra = said["extra_content"]["anthropic"]
        thoughts, call = [THOUGHT, other], said["tool_calls"][0]
        parts = [{"type": "text", "text": "abc"}]
        changes: list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = [
            ({"content": "abcd"}, {}, [*thoughts, RAN, text("abcd"), use("c1")]),
            ({"content": None}, {}, [*thoughts, RAN, use("c1")]),
            ({"content": parts}, {}, [*thoughts, RAN, text("abc"), use("c1")]),
            ({"refusal": "no"}, {}, [*thoughts, RAN, text("abc"), text("no"), use("c1")]),
            ({"tool_calls": []}, {}, [*thoughts, RAN, text("abc")]),
            (
                {"tool_calls": [call, {**call, "id": "c2"}]},
                {},
                [*thoughts, RAN, text("abc"), use("c1"), use("c2")],
            ),
            ({}, {"thinking_blocks": [other]}, [other, RAN, text("abc"), use("c1")]),
            ({}, {"blocks": [FOUND]}, [*thoughts, FOUND, text("abc"), use("c1")]),
            ({}, {"blocks": None}, [*thoughts, text("abc"), use("c1")]),
            ({}, {"citations": [CITED, CITED]}, [*thoughts, RAN, text("abc"), use("c1")]),
            ({}, {"layout": None}, [*thoughts, RAN, text("abc"), use("c1")]),
        ]
        self.assertEqual(returned(said), content)
        for change, kept, expected in changes:
            changed = {**said, "extra_content": {"anthropic": {**extra, **kept}}, **change}
            self.assertEqual(returned(changed), expected, (change, kept))

    def test_thoughts_alone(self) -> None:
        """Thoughts without a layout go first, also where LiteLLM's clients have them."""
        turn = {"role": "assistant", "content": "a", "tool_calls": plain([use()])["tool_calls"]}
        kept = {"thinking_blocks": [THOUGHT, HIDDEN]}
        for more in (kept, {"extra_content": {"anthropic": kept}}):
            self.assertEqual(returned({**turn, **more}), [THOUGHT, HIDDEN, text("a"), use()])

    @given(
        st.lists(
            st.one_of(
                st.fixed_dictionaries(
                    {"type": st.sampled_from(["thinking", "text", "tool_use", "server_tool_use"])},
                    optional={
                        "length": st.one_of(st.integers(-2, 4), st.none(), st.text(max_size=1)),
                        "citations": st.one_of(st.integers(-2, 3), st.lists(st.none())),
                    },
                ),
                st.sampled_from([None, 1, "text", {}, {"type": []}, {"type": None}]),
            ),
            max_size=6,
        )
        | st.none()
        | st.just({"type": "text"})
    )
    @example([{"type": "tool_use"}, {"type": "text", "length": 3}, {"type": "thinking"}])
    def test_any_layout(self, layout: Any) -> None:
        """Whatever a caller takes for a layout, all or nothing is laid out."""
        blocks = lay_out(
            layout, thoughts=[THOUGHT], ran=[], text="abc", citations=[], calls=[use()]
        )
        if blocks is not None:
            said = "".join(block.get("text", "") for block in blocks)
            others = sorted(block["type"] for block in blocks if block["type"] != "text")
            self.assertEqual((said, others), ("abc", ["thinking", "tool_use"]))
