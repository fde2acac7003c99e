"""What a caller says that its call belongs to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.tracing import read_trace_context

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"
PARENT = b"00-%b-%b-01" % (TRACE, SPAN)


class ReadTraceContextTests(SynchronousTestCase):
    """The rules of https://www.w3.org/TR/trace-context/."""

    def parent(self, *values: bytes) -> str | None:
        """Return the parent that is read."""
        context = read_trace_context(values, ())
        return None if context is None else context["traceparent"]

    def state(self, *values: bytes) -> str | None:
        """Return the state that is read beside a parent."""
        context = read_trace_context([PARENT], values)
        assert context is not None
        return context.get("tracestate")

    def test_parents(self) -> None:
        """A valid parent stays as it is, a later version's too."""
        later = b"cc-%b-%b-01" % (TRACE, SPAN)
        for value in (PARENT, PARENT[:-2] + b"00", later, later + b"-and-more"):
            self.assertEqual(self.parent(value), value.decode())
        self.assertEqual(self.parent(b" \t" + PARENT + b" "), PARENT.decode())

    def test_no_parents(self) -> None:
        """What is not valid is none."""
        for value in (
            b"",
            b"nonsense",
            PARENT.upper(),
            PARENT + b"-more",
            PARENT + b"\n",
            b"ff" + PARENT[2:],
            PARENT[:-1],
            PARENT.replace(TRACE, b"0" * 32),
            PARENT.replace(SPAN, b"0" * 16),
            b"cc" + PARENT[2:] + b"more",
            b"cc" + PARENT[2:] + b"-" + b"x" * 500,
        ):
            self.assertIsNone(self.parent(value), value)
        self.assertIsNone(self.parent(PARENT, PARENT))
        self.assertIsNone(self.parent())

    def test_states(self) -> None:
        """Several states are one."""
        self.assertEqual(self.state(b"a=1"), "a=1")
        self.assertEqual(self.state(b"a=1, ,b=x y", b"\tt@v=2 "), "a=1,b=x y,t@v=2")

    def test_no_states(self) -> None:
        """One that is not valid goes, and its parent stays."""
        many = b",".join(b"k%d=1" % number for number in range(33))
        for value in (
            b"",
            b" , ",
            b"a",
            b"A=1",
            b"a=",
            b"a=\xff",
            b"a=1=2",
            many,
            b"a=" + b"x" * 257,
        ):
            self.assertIsNone(self.state(value), value)
        self.assertEqual(self.state(many.rpartition(b",")[0]), many.rpartition(b",")[0].decode())
        long = b",".join(b"%d=" % number + b"x" * 200 for number in range(3))
        self.assertIsNone(self.state(long))

    @given(st.lists(st.binary(max_size=80)), st.lists(st.binary(max_size=80)))
    def test_anything(self, parents: list[bytes], states: list[bytes]) -> None:
        """Whatever comes, what goes on can stand in a header."""
        for context in (read_trace_context(parents, states), read_trace_context([PARENT], states)):
            for value in (context or {}).values():
                self.assertRegex(value, r"\A[\x20-\x7e]+\Z")
