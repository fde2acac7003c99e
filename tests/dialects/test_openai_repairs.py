"""Tests of :mod:`aiproxy.dialects.openai_repairs`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.openai_repairs import (
    FINISH_REASONS,
    find_payload,
    find_usage,
    made_call_id,
    repair_arguments,
    repair_choice,
    repair_finish,
    repair_said,
    repair_usage,
)


class FinishTests(SynchronousTestCase):
    """One of OpenAI's five words."""

    def test_table(self) -> None:
        """What each word becomes; what the provider wrote stays beside it."""
        table: list[tuple[object, str, str]] = [
            *((reason, "", reason) for reason in FINISH_REASONS),
            (None, "", "stop"),
            ("", "", "stop"),
            (None, "tool_calls", "tool_calls"),
            ("stop", "function_call", "function_call"),
            ("length", "tool_calls", "length"),
            ("content_filter", "tool_calls", "content_filter"),
            ("eos", "tool_calls", "tool_calls"),
            ("tool_use", "", "tool_calls"),
            ("SAFETY", "", "content_filter"),
            ("model_length", "", "length"),
            ("end_turn", "", "stop"),
            (7, "", "stop"),
            ({"a": 1}, "", "stop"),
        ]
        for told, called, expected in table:
            choice = {"finish_reason": told}
            repair_finish(choice, called=called)
            native = {"native_finish_reason": told} if told and told != expected else {}
            self.assertEqual(choice, {"finish_reason": expected, **native})

    def test_native_reason(self) -> None:
        """A native reason that is there already is the better one."""
        for native, expected in (("END", "END"), (None, "eos")):
            choice = {"finish_reason": "eos", "native_finish_reason": native}
            repair_finish(choice)
            self.assertEqual(choice["native_finish_reason"], expected)


class ChoiceTests(SynchronousTestCase):
    """A choice of a whole answer."""

    def repaired(self, choice: dict[str, Any], place: int = 0) -> dict[str, Any]:
        """Repair a copy of a choice; doing so twice changes no more."""
        copy = deepcopy(choice)
        repair_choice(copy, place, {"id": "c-1"})
        again = deepcopy(copy)
        repair_choice(again, place, {"id": "c-1"})
        self.assertEqual(again, copy)
        return copy

    def test_nothing_to_do(self) -> None:
        """A proper choice stays as it is, with all that is unknown."""
        choice = {
            "index": 3,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "a",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}", "x": 1},
                        "extra_content": {},
                    },
                    {"id": "b", "type": "custom", "custom": {"name": "g", "input": ""}},
                    {"id": "c", "type": "other"},
                ],
                "annotations": [],
                "audio": None,
            },
            "finish_reason": "tool_calls",
            "logprobs": None,
            "delta": {"content": ""},
        }
        self.assertEqual(self.repaired(choice), choice)

    def test_missing(self) -> None:
        """What is required is filled in."""
        for index in ({}, {"index": None}, {"index": "0"}, {"index": True}):
            self.assertEqual(
                self.repaired({**index, "message": {}}, 2),
                {
                    "index": 2,
                    "message": {"role": "assistant", "content": None},
                    "finish_reason": "stop",
                },
            )

    def test_no_calls(self) -> None:
        """Where there are no tool calls, none are told."""
        values: list[object] = [None, [], [7], "x", {}]
        for calls in values:
            choice = self.repaired({"message": {"content": "a", "tool_calls": calls}})
            self.assertEqual(choice["message"], {"role": "assistant", "content": "a"})
            self.assertEqual(choice["finish_reason"], "stop")

    def test_calls(self) -> None:
        """Types, ids and arguments of tool calls."""
        choice = self.repaired(
            {
                "message": {
                    "tool_calls": [
                        {"id": 0, "function": {"name": "f", "arguments": {"x": 1}}},
                        {"id": 0, "type": "", "function": {"name": "f", "arguments": None}},
                        {"id": "", "type": None, "function": {"name": "f", "arguments": ""}},
                        {"id": ["a"], "function": {"name": "f"}},
                        {"custom": {"name": "g", "input": ""}},
                    ]
                },
                "finish_reason": "stop",
            }
        )
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["native_finish_reason"], "stop")
        calls = choice["message"]["tool_calls"]
        self.assertEqual([call["type"] for call in calls], ["function"] * 4 + ["custom"])
        self.assertEqual(calls[0]["id"], "0")
        self.assertEqual(len({call["id"] for call in calls}), 5)
        self.assertTrue(all(isinstance(call["id"], str) for call in calls))
        arguments = [call["function"]["arguments"] for call in calls[:4]]
        self.assertEqual(arguments, ['{"x":1}', "{}", "{}", "{}"])

    def test_function_call(self) -> None:
        """The legacy form has a finish reason of its own."""
        message = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
        for reason in ("stop", "function_call"):
            choice = self.repaired({"message": message, "finish_reason": reason})
            self.assertEqual(choice["finish_reason"], "function_call")
            self.assertEqual(choice["message"], {"role": "assistant", **message})


class SaidTests(SynchronousTestCase):
    """Content and thoughts, of messages and deltas alike."""

    def repaired(self, message: dict[str, Any]) -> dict[str, Any]:
        """Repair a copy of a message; doing so twice changes no more."""
        copy = deepcopy(message)
        repair_said(copy)
        again = deepcopy(copy)
        repair_said(again)
        self.assertEqual(again, copy)
        return copy

    def test_nothing_to_do(self) -> None:
        """Text, null and no content stay as they are, and thoughts in their field."""
        messages: list[dict[str, Any]] = [
            {},
            {"content": None, "reasoning": None},
            {"content": "", "reasoning": ""},
            {"content": "a", "reasoning_content": "b"},
            {"reasoning_content": "b", "reasoning": "c"},
            {"reasoning_content": "", "reasoning": "c"},
            {"reasoning": {"summary": "c"}, "reasoning_details": [{"text": "c"}]},
        ]
        for message in messages:
            self.assertEqual(self.repaired(message), message)

    def test_reasoning(self) -> None:
        """Clients look for thoughts in one field: they are in it, too."""
        for message in ({"reasoning": "a"}, {"reasoning": "a", "reasoning_content": None}):
            self.assertEqual(self.repaired(message), {"reasoning": "a", "reasoning_content": "a"})

    def test_values(self) -> None:
        """What is no text becomes its JSON (Cloudflare, where a schema was asked for)."""
        for content, expected in (
            ({"rock": "Gneis ✓"}, '{"rock":"Gneis ✓"}'),
            ({}, "{}"),
            (7, "7"),
            (False, "false"),
        ):
            self.assertEqual(self.repaired({"content": content}), {"content": expected})

    def test_parts(self) -> None:
        """A list's texts are joined, its thoughts stand in their field, the rest beside."""
        text, other = {"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}
        for content, expected in (
            ([], {"content": ""}),
            ([text, text, "b"], {"content": "aab"}),
            ([None, text], {"content": "a"}),
            ([{"type": "text"}, 7], {"content": "", "content_parts": [{"type": "text"}, 7]}),
            ([other, text], {"content": "a", "content_parts": [other]}),
            (
                [{"type": "thinking", "thinking": [text, other]}, text],
                {"content": "a", "reasoning_content": "a", "content_parts": [other]},
            ),
            (
                [{"type": "thinking", "thinking": "b"}, {"type": "thinking"}],
                {"content": "", "reasoning_content": "b"},
            ),
        ):
            self.assertEqual(self.repaired({"content": content}), expected, content)


class PartTests(SynchronousTestCase):
    """The parts that streams use as well."""

    def test_arguments(self) -> None:
        """A string by contract."""
        for told, expected in (
            ('{"x": 1}', '{"x": 1}'),
            ("", ""),
            (None, ""),
            ({"x": "é"}, '{"x":"é"}'),
            ({}, "{}"),
            ([1], "[1]"),
            ({"x": "\ud83d"}, '{"x":"\\ud83d"}'),
        ):
            self.assertEqual(repair_arguments(told), expected)

    def test_payload(self) -> None:
        """Where a call's name and text stand."""
        payload = {"name": "f"}
        self.assertEqual(find_payload({"function": payload}), (payload, "arguments"))
        self.assertEqual(find_payload({"custom": payload}), (payload, "input"))
        self.assertEqual(find_payload({"function": None}), (None, ""))

    def test_made_ids(self) -> None:
        """The same for the same call of the same answer, another for any other."""
        answers: list[dict[str, Any]] = [
            {"id": "c-1"},
            {"id": "c-2"},
            {"created": 7},
            {"id": "\ud83d"},
            {},
        ]
        places = [(0, 0), (0, 1), (1, 0)]
        ids = [made_call_id(answer, *place) for answer in answers for place in places]
        self.assertEqual(len(set(ids)), len(ids))
        for identity in ids:
            self.assertRegex(identity, r"\Acall_[0-9a-f]{24}\Z")
        self.assertEqual(
            ids, [made_call_id(dict(answer), *p) for answer in answers for p in places]
        )

    def test_usage(self) -> None:
        """The answer's own goes before Groq's, that before a choice's."""
        first, second, third = {"total_tokens": 1}, {"total_tokens": 2}, {"total_tokens": 3}
        groq = {"x_groq": {"usage": second}}
        choice = {"choices": [None, {}, {"usage": third}]}
        for document, expected in (
            ({"usage": first, **groq, **choice}, first),
            ({"usage": None, **groq, **choice}, second),
            ({"usage": {}, "x_groq": {"usage": {}}, **choice}, third),
            ({"x_groq": None, **choice}, third),
            ({"usage": [1], "x_groq": {"id": 1}, "choices": None}, None),
            ({}, None),
        ):
            self.assertEqual(find_usage(document), expected)

    def test_sums(self) -> None:
        """What only the total counts is thoughts, or sound where that is as much."""
        for told, expected in (
            ((186, 16, 452), (186, 266, 452)),
            ((35, 12, 47), (35, 12, 47)),
            ((35, 12, 40), (35, 12, 40)),
            ((35, 12, None), (35, 12, None)),
            ((None, 12, 40), (None, 12, 40)),
            ((35, None, 40), (35, None, 40)),
            ((35, True, 40), (35, True, 40)),
            ((35, 12, "99"), (35, 12, "99")),
        ):
            names = ("prompt_tokens", "completion_tokens", "total_tokens")
            usage = dict(zip(names, told, strict=True))
            before = dict(usage)
            self.assertEqual(repair_usage(usage), dict(zip(names, expected, strict=True)), told)
            self.assertEqual(usage, before)
        counts = {"prompt_tokens": 9, "completion_tokens": 201, "total_tokens": 585}
        for audio, sums in ((375, (384, 201)), (374, (9, 576)), (None, (9, 576))):
            details = {"prompt_tokens_details": {"audio_tokens": audio, "x": 1}}
            repaired = repair_usage({**counts, **details, "y": 2})
            self.assertEqual(
                (repaired.pop("prompt_tokens"), repaired.pop("completion_tokens")), sums
            )
            self.assertEqual(repaired, {"total_tokens": 585, **details, "y": 2})

    def test_parts(self) -> None:
        """No part is more than the whole; what is right or odd stays as it is."""
        counts = {"prompt_tokens": 371, "completion_tokens": 10, "total_tokens": 381}
        told = {"cached_tokens": 493, "x": 1}, {"reasoning_tokens": 11, "x": 1}
        right = {"cached_tokens": 371, "x": 1}, {"reasoning_tokens": 10, "x": 1}
        names = ("prompt_tokens_details", "completion_tokens_details")
        self.assertEqual(
            repair_usage({**counts, **dict(zip(names, told, strict=True))}),
            {**counts, **dict(zip(names, right, strict=True))},
        )
        odd: list[object] = [None, [], {}, {"cached_tokens": None, "reasoning_tokens": "x"}]
        for details in odd:
            usage = {**counts, **dict.fromkeys(names, details)}
            self.assertIs(repair_usage(usage), usage)
