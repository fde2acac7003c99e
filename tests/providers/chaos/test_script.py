"""Tests of :mod:`aiproxy.providers.chaos.script`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.providers.chaos.errors import ERRORS
from aiproxy.providers.chaos.script import (
    FAULTS,
    Playback,
    ScriptError,
    Step,
    read_script,
)


class ReadScriptTests(SynchronousTestCase):
    """From plain data."""

    def test_forms(self) -> None:
        """A step is a name, a status or a mapping; a list alone is a script."""
        script = read_script(["cut", "503", "quota", {"fault": 429, "times": 0}, {}])
        self.assertEqual(
            script.faults,
            (
                Step(fault="cut"),
                Step(fault="error", error="503"),
                Step(fault="error", error="quota"),
                Step(fault="error", error="429", times=0),
                Step(),
            ),
        )
        self.assertEqual(read_script({"faults": ["cut"], "pace": 0.5}).pace, 0.5)

    def test_every_name(self) -> None:
        """Every fault and every error can be named."""
        names = [*FAULTS, *ERRORS]
        self.assertEqual(len(read_script(names).faults), len(names))

    def test_mistakes(self) -> None:
        """Each mistake is told with its place."""
        for data, words in (
            ("cut", "faults: must be a list, not text"),
            ({"steps": []}, "steps: unknown key; the keys here are faults, repeat, "),
            ({"repeat": "maybe"}, "repeat: must be true or false, not text"),
            ({"answer": None}, "answer: must be text, not nothing"),
            (["none", "explode"], "faults[1]: 'explode' is none of "),
            ([{"fault": "cut", "afterevents": 1}], "faults[0]: afterevents: unknown key; did"),
            ([{"after_events": -1}], "faults[0]: after_events: must not be negative"),
            ([{"after_events": "3"}], "faults[0]: after_events: must be a whole number, not text"),
            ([{"after_events": 0.5}], "faults[0]: after_events: must be a whole number, not a "),
            ([{"times": True}], "faults[0]: times: must be a whole number, not true or false"),
            ([{"delay": [1]}], "faults[0]: delay: must be a number, not a list"),
            ([{"tool": 1}], "faults[0]: tool: must be true or false, not a number"),
            ([{"message": {}}], "faults[0]: message: must be text, not a mapping"),
            (
                [{"fault": "cut", "end": None}],
                "faults[0]: end: must be close, reset, clean or open",
            ),
            ([{"fault": "error_inside", "error": "nothing"}], "faults[0]: 'nothing' is no error"),
            ([{"continuation": "sing"}], "faults[0]: continuation: must be go_on, start_over, "),
            ([{"headers": 3}], "faults[0]: headers: must be a mapping, not a number"),
            ([True], "faults[0]: 'True' is no error"),
            ([["cut"]], "faults[0]: must be a fault's name"),
            ([{"fault": ["cut"]}], "faults[0]: ['cut'] is none of"),
            ({"repeat": True}, "repeat: there is nothing that ends"),
        ):
            error = self.assertRaises(ScriptError, read_script, data)
            self.assertEqual((error.mistakes[0][: len(words)], error.mistakes[1:]), (words, ()))

    def test_all_mistakes(self) -> None:
        """All steps with a mistake are told, and what is wrong besides."""
        data = {"faults": ["cut", "cutt", 99, {"after": 5}], "repeat": "maybe"}
        error = self.assertRaises(ScriptError, read_script, data)
        self.assertEqual(
            [mistake.split(" ")[:2] for mistake in error.mistakes],
            [
                ["faults[1]:", "'cutt'"],
                ["faults[2]:", "'99'"],
                ["faults[3]:", "after:"],
                ["repeat:", "must"],
            ],
        )


class PlaybackTests(SynchronousTestCase):
    """Which step is next."""

    def names(self, data: object, *moments: float) -> list[str]:
        """Take a step at each moment."""
        playback = Playback(read_script(data))
        return [playback.take(moment).fault for moment in moments]

    def test_times(self) -> None:
        """A step is met so many times, and after the last all is well."""
        data = ["cut", {"fault": "reset", "times": 2}]
        self.assertEqual(self.names(data, *[0] * 5), ["cut", "reset", "reset", "none", "none"])
        self.assertEqual(self.names([{"fault": "cut", "times": 0}], *[0] * 50), ["cut"] * 50)

    def test_lasts(self) -> None:
        """A step lasts from its first request on, whatever the number."""
        data = ["cut", {"fault": "reset", "lasts": 60}, "stall"]
        self.assertEqual(
            self.names(data, 5, 100, 101, 159.9, 160, 161),
            ["cut", "reset", "reset", "reset", "stall", "none"],
        )

    def test_repeat(self) -> None:
        """A script begins anew."""
        data = {"faults": ["cut", {"fault": "none", "times": 2}], "repeat": True}
        self.assertEqual(self.names(data, *[0] * 5), ["cut", "none", "none", "cut", "none"])

    @given(st.lists(st.sampled_from(["cut", "reset", "none"]), max_size=8), st.integers(0, 30))
    def test_peek(self, names: list[str], takes: int) -> None:
        """What is next is what is taken, and to look changes nothing."""
        playback = Playback(read_script({"faults": names, "repeat": bool(names)}))
        for index in range(takes):
            self.assertEqual(playback.peek(0), playback.peek(0))
            expected = names[index % len(names)] if names else "none"
            self.assertEqual((playback.peek(0).fault, playback.take(0).fault), (expected, expected))
