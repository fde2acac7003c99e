"""Tests of :mod:`aiproxy.dialects.openai_stream_calls`, as a stream's reader uses it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from tests.dialects.streams import (
    Outcome,
    call,
    chunk,
    new_reader,
    piece,
    write_events,
)

DONE = "[DONE]"


class ToolCallTests(SynchronousTestCase):
    """However calls are told, a client can put them together."""

    def calls(self, *documents: object) -> list[tuple[str, str, str]]:
        """Give id, name and arguments of each call of a stream that is whole."""
        outcome = Outcome([write_events(*documents, chunk({}, "tool_calls"), DONE)])
        self.assertIsNone(outcome.error)
        self.assertEqual(outcome.reasons(), ["tool_calls"])
        for told in outcome.calls():
            self.assertEqual(told["type"], "function")
        return [
            (told["id"], told["function"]["name"], told["function"]["arguments"])
            for told in outcome.calls()
        ]

    def test_as_openai(self) -> None:
        """Id, type and name first, then the arguments, by index."""
        self.assertEqual(
            self.calls(
                call(piece(0, "a", "f", "")),
                call(piece(0, None, None, '{"x"')),
                call(piece(0, None, None, ":1}")),
                call(piece(1, "b", "g", "")),
                call(piece(1, None, None, "{}")),
            ),
            [("a", "f", '{"x":1}'), ("b", "g", "{}")],
        )

    def test_variants(self) -> None:
        """Two calls, told in the ways of many."""
        expected = [("a", "f", '{"x":1}'), ("b", "g", "{}")]
        for documents in (
            # Whole, in one delta or in two; the index always 0, missing or no number.
            [call(piece(0, "a", "f", '{"x":1}'), piece(1, "b", "g", "{}"))],
            [call(piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", "{}"))],
            [call(piece(None, "a", "f", '{"x":1}')), call(piece(None, "b", "g", "{}"))],
            [call(piece("0", "a", "f", '{"x":1}')), call(piece("0", "b", "g", "{}"))],
            # From 1 on, or with gaps.
            [call(piece(1, "a", "f", '{"x":1}')), call(piece(5, "b", "g", "{}"))],
            # Pieces with the index always 0.
            [
                call(piece(0, "a", "f", "")),
                call(piece(0, None, None, '{"x":1}')),
                call(piece(0, "b", "g", "")),
                call(piece(0, None, None, "{}")),
            ],
            # The id in each piece, interleaved; the name too.
            [
                call(piece(0, "a", "f", "")),
                call(piece(0, "b", "g", "")),
                call(piece(0, "a", "f", '{"x"')),
                call(piece(0, "b", "g", "{}")),
                call(piece(0, "a", "f", ":1}")),
            ],
            # No index after the first piece.
            [
                call(piece(0, "a", "f", '{"x"')),
                call(piece(None, None, None, ":1}")),
                call(piece(1, "b", "g", "{}")),
            ],
            # An index only after the first piece.
            [
                call(piece(None, "a", "f", '{"x"')),
                call(piece(0, "", None, ":1}")),
                call(piece(None, "b", "g", "{}")),
            ],
            # The name later, or empty after the first piece; null in place of what is missing.
            [
                call(piece(0, "a", "", "")),
                call(piece(0, None, "f", '{"x":1}')),
                call(piece(1, "b", None, "{")),
                call(piece(1, None, "g", "}")),
            ],
            [
                call(piece(0, "a", "", "")),
                call(piece(0, "b", "", "")),
                call(piece(0, "a", "f", '{"x":1}')),
                call(piece(0, "b", "g", "{}")),
            ],
            [
                call(piece(0, "a", "f", None)),
                call(piece(0, "", "", '{"x":1}')),
                call({"index": 0, "id": None, "type": "odd", "function": None}),
                call({"index": 1, "id": "b", "type": "function", "function": {"name": "g"}}),
                call({"index": 1, "id": None, "function": {"name": None, "arguments": None}}),
            ],
            # The id later.
            [
                call(piece(0, "a", "f", '{"x":1}')),
                call(piece(1, "", "", "{")),
                call(piece(1, "b", "g", "}")),
            ],
            # A new id for each piece (vLLM).
            [
                call(piece(0, "a", "f", "")),
                call(piece(0, "a-2", None, '{"x"')),
                call(piece(0, "a-3", None, ":1}")),
                call(piece(1, "b", "g", "")),
                call(piece(1, "b-2", None, "{}")),
            ],
            # Arguments as objects; one call in place of a list of them.
            [call(piece(0, "a", "f", {"x": 1}), piece(1, "b", "g", {}))],
            [
                chunk({"tool_calls": piece(0, "a", "f", '{"x":1}')}),
                chunk({"tool_calls": piece(1, "b", "g", "{}")}),
            ],
            # Junk among them.
            [
                call(piece(0, "a", "f", '{"x":1}')),
                chunk({"tool_calls": [None, "x"]}),
                chunk({"tool_calls": "x"}),
                call(piece(1, "b", "g", "{}")),
            ],
            # Called with nothing: an object with nothing in it.
            [call(piece(0, "a", "f", '{"x":1}')), call(piece(1, "b", "g", ""))],
            [
                call(
                    piece(0, "a", "f", '{"x":1}'),
                    {"index": 1, "id": "b", "function": {"name": "g"}},
                )
            ],
        ):
            self.assertEqual(self.calls(*documents), expected, documents)

    def test_made_ids(self) -> None:
        """Without an id, or with one for several: made, and no two alike."""
        for documents in (
            [call(piece(0, None, "f", "{}"), piece(1, None, "g", "{}"))],
            [call(piece(0, "", "f", "{}")), call(piece(1, "", "g", "{}"))],
            [call(piece(None, None, "f", "{}")), call(piece(None, None, "f", "{}"))],
            [call(piece(0, "", "f", "{}")), call(piece(0, "", "g", "{}"))],
            [call(piece(0, 0, "f", "{}")), call(piece(1, 0, "f", "{}"))],
            # The id after the name: the caller has another one already.
            [
                call(piece(0, None, "f", "{")),
                call(piece(0, "a", None, "}")),
                call(piece(1, None, "f", "{}")),
            ],
        ):
            calls = self.calls(*documents)
            self.assertEqual([told[2] for told in calls], ["{}", "{}"])
            ids = {told[0] for told in calls}
            self.assertEqual(len(ids), 2, documents)
            self.assertTrue(all(isinstance(told, str) and told for told in ids))
        # Another answer of the same conversation has others.
        first, second = (
            Outcome([write_events({"id": name, **call(piece(0, None, "f", "{}"))} | {"id": name})])
            for name in ("c-1", "c-2")
        )
        self.assertNotEqual(first.deltas()[0], second.deltas()[0])

    def test_numbers_as_ids(self) -> None:
        """A number becomes a string."""
        self.assertEqual(self.calls(call(piece(0, 7, "f", "{}"))), [("7", "f", "{}")])

    def test_no_name(self) -> None:
        """Arguments without a name are never told, and never lost in silence."""
        outcome = Outcome([write_events(call(piece(0, "a", "", "{}")), chunk({}, "tool_calls"))])
        self.assertIsInstance(outcome.error, errors.UpstreamFailed)
        self.assertEqual(outcome.calls(), [])
        # An opening that nothing follows is no call.
        outcome = Outcome([write_events(chunk({"content": "a"}), call(piece(0, "a", "")), DONE)])
        self.assertIsInstance(outcome.error, errors.UpstreamFailed)

    def test_other_types(self) -> None:
        """A custom tool's input is text and may be empty; what is unknown comes through."""
        custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": ""}}
        more = {"index": 0, "custom": {"input": "x y"}}
        other = {"id": "b", "type": "search", "search": {"q": 1}}
        outcome = Outcome([write_events(call(custom), call(more), call(other), DONE)])
        self.assertEqual(
            outcome.calls(),
            [
                {**custom, "custom": {"name": "f", "input": "x y"}},
                {**other, "index": 1},
            ],
        )
        untyped = {"index": 0, "id": "a", "custom": {"name": "f", "input": ""}}
        self.assertEqual(
            Outcome([write_events(call(untyped), DONE)]).calls(), [{**untyped, "type": "custom"}]
        )
        again = {"type": "search", "search": {"q": 2}, "id": "b"}
        outcome = Outcome([write_events(call(other), call(again), DONE)])
        self.assertEqual(
            [len(delta.get("tool_calls", [])) for delta in outcome.deltas()], [1, 1, 0]
        )

    def test_unknown_fields_of_calls(self) -> None:
        """A call's extensions come through."""
        told = {**piece(0, "a", "f", "{}"), "extra_content": {"google": {"thought_signature": "s"}}}
        self.assertEqual(
            Outcome([write_events(call(told), DONE)]).calls(), [{**told, "type": "function"}]
        )

    def test_open(self) -> None:
        """Open from its first piece to the choice's finish reason; a function call too."""
        for begin in (
            call(piece(0, "a", "", "")),
            call(piece(0, "a", "f", "")),
            chunk({"function_call": {"name": "f", "arguments": ""}}),
        ):
            reader = new_reader()
            self.assertFalse(reader.tool_call_open)
            reader.feed(write_events(begin))
            self.assertTrue(reader.tool_call_open)
            reader.feed(write_events(chunk({}, "stop")))
            self.assertFalse(reader.tool_call_open)

    def test_function_call(self) -> None:
        """The legacy form comes through as it is."""
        deltas = [
            {"function_call": {"name": "f", "arguments": ""}},
            {"function_call": {"arguments": "{}"}},
        ]
        outcome = Outcome([write_events(*map(chunk, deltas), chunk({}, "stop"), DONE)])
        self.assertEqual(outcome.deltas(), [{"role": "assistant", **deltas[0]}, deltas[1], {}])
        self.assertEqual(outcome.reasons(), ["function_call"])
