"""The caller's trace context on its way to the upstream, where nobody here makes traces."""

from __future__ import annotations

from tests.web.serving import ServingTestCase

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class TraceContextTests(ServingTestCase):
    """Who takes no part passes it on."""

    def told(self, *headers: str) -> dict[str, str]:
        """Chat with these headers; return those for the upstream."""
        self.assertEqual(self.chat(*headers).status, 200)
        return dict(self.provider.calls[-1].headers)

    def test_passed_on(self) -> None:
        """A valid one goes on as it came, of several states all."""
        self.assertEqual(self.told(f"traceparent: {PARENT}"), {"traceparent": PARENT})
        told = self.told(f"TraceParent: {PARENT}", "tracestate: a=1", "tracestate: b=2")
        self.assertEqual(told, {"traceparent": PARENT, "tracestate": "a=1,b=2"})

    def test_not_passed_on(self) -> None:
        """What is not valid stops here, and a state without a parent."""
        self.assertEqual(self.told(), {})
        self.assertEqual(self.told("tracestate: a=1"), {})
        self.assertEqual(self.told("traceparent: 00-nonsense"), {})
        self.assertEqual(self.told(f"traceparent: {PARENT}", f"traceparent: {PARENT}"), {})
