"""Tests of :mod:`aiproxy.policy.retry`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.policy.retry import final_error, may_try


def model(name: str, room: int | None = None) -> Model:
    """Make a model with so much room."""
    return Model(name, "p", "openai", "openai", name, context_window=room)


class MayTryTests(SynchronousTestCase):
    """Who may be asked after a failure."""

    def test_table(self) -> None:
        """What is not the caller's doing may be better elsewhere."""
        for error, elsewhere in (
            (errors.UpstreamRateLimited("x"), True),
            (errors.UpstreamOutOfCredit("x"), True),
            (errors.UpstreamAuthFailed("x"), True),
            (errors.UpstreamModelNotFound("x"), True),
            (errors.UpstreamFailed("x"), True),
            (errors.UpstreamTimeout("x"), True),
            (errors.ConnectFailed("x"), True),
            (errors.StreamCut("x"), True),
            (errors.UpstreamRefused("x"), False),
            (errors.ContentRefused("x"), False),
            (errors.AnswerTooLarge("x"), False),
            (errors.InvalidRequest("x"), False),
            (errors.InternalError("x"), False),
            (errors.ShuttingDown("x"), False),
        ):
            self.assertIs(may_try(model("b"), error, model("a")), elsewhere, error)

    def test_room(self) -> None:
        """A conversation that is too long needs more room; what is not known counts as more."""
        error = errors.ContextTooLong("x")
        for room, before, may in (
            (10, 5, True),
            (5, 5, False),
            (4, 5, False),
            (None, 5, True),
            (5, None, True),
        ):
            self.assertIs(may_try(model("b", room), error, model("a", before)), may)
        self.assertFalse(may_try(model("a", 5), error, model("a", 5)))


class FinalErrorTests(SynchronousTestCase):
    """What the caller is told in the end."""

    def test_last(self) -> None:
        """The last failure, where they differ."""
        last = errors.UpstreamRateLimited("b", retry_after=9)
        self.assertIs(final_error([errors.UpstreamFailed("a"), last]), last)
        self.assertEqual(last.retry_after, 9)

    def test_all_hold_back(self) -> None:
        """The time of the one that is free first, where one tells it."""
        first = errors.UpstreamRateLimited("a", retry_after=2)
        last = errors.UpstreamRateLimited("b")
        self.assertEqual(final_error([first, last]).retry_after, 2)
        self.assertIsNone(final_error([errors.UpstreamRateLimited("c")]).retry_after)
