"""Tests of :mod:`aiproxy.policy.access`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Key
from aiproxy.config.secret import Secret
from aiproxy.policy.access import Access, Principal, token_digest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class AccessTests(SynchronousTestCase):
    """Who may come in."""

    def test_identify(self) -> None:
        """A token is its owner's until it expires; others are nobody's."""
        key = Key("k", (Secret("t2").digest,), ("a/*",), expires=NOW + timedelta(1))
        access = Access([Secret("t1")], [key])

        def whose(token: str, at: datetime = NOW) -> Principal | None:
            return access.identify(token_digest(token), at.timestamp())

        self.assertEqual(whose("t1"), Principal("AUTH_TOKEN"))
        self.assertEqual(whose("t2"), Principal("k", ("a/*",), key="k"))
        self.assertIsNone(whose("t2", NOW + timedelta(1)))
        self.assertIsNone(whose("t3"))

    def test_models(self) -> None:
        """A name allows itself, a wildcard what begins like it."""
        principal = Principal("k", ("a/*", "b"))
        allowed = [name for name in ("a/x", "b", "b2", "c") if principal.may_use(name)]
        self.assertEqual(allowed, ["a/x", "b"])
