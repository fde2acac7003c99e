"""Tests of :mod:`aiproxy.errors`."""

from __future__ import annotations

import inspect
import pickle

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.AIProxyError)
]
FAMILIES = (errors.CallerError, errors.PolicyError, errors.UpstreamError, errors.OurError)

#: The types that the HTTP interface names, each with its statuses.
STATUSES = {
    "validation_error": {400, 404, 405, 408, 413, 415, 431},
    "authentication_error": {401},
    "model_selection_error": {404, 503},
    "rate_limit_error": {429},
    "provider_error": {400, 502},
    "network_error": {502, 504},
    "configuration_error": {500},
}


def make(kind: type[errors.AIProxyError]) -> errors.AIProxyError:
    """Make an error of any of the classes."""
    if kind is errors.MethodNotAllowed:
        return errors.MethodNotAllowed("m", allowed=["POST", "GET"])
    if kind is errors.ConfigurationError:
        return errors.ConfigurationError([errors.Problem("m")])
    return kind("m")


class TreeTests(SynchronousTestCase):
    """One tree, sorted by who must act."""

    def test_families(self) -> None:
        """Each error has one who must act."""
        for kind in CLASSES:
            if kind is not errors.AIProxyError:
                families = [family for family in FAMILIES if issubclass(kind, family)]
                self.assertEqual(len(families), 1, kind)

    def test_types_and_statuses(self) -> None:
        """Types and statuses are those of the HTTP interface; what is raised has a code."""
        for kind in CLASSES:
            if kind in (errors.PolicyError, errors.AIProxyError):
                continue
            self.assertIn(kind.status, STATUSES[kind.type], kind)
            if kind not in FAMILIES:
                self.assertIsInstance(kind.code, str, kind)

    def test_public_names(self) -> None:
        """Every class is public and documented."""
        names = {kind.__name__ for kind in CLASSES} | {"Problem"}
        self.assertEqual(set(errors.__all__), names)
        self.assertEqual(errors.__all__, sorted(errors.__all__))
        for kind in CLASSES:
            self.assertTrue(inspect.getdoc(kind))

    def test_no_upstream_error_is_an_authentication_error(self) -> None:
        """A client is never told that its key is wrong when ours is."""
        for kind in CLASSES:
            if issubclass(kind, errors.UpstreamError):
                self.assertNotIn(kind.status, (401, 403))


class EnvelopeTests(SynchronousTestCase):
    """OpenAI's error object."""

    def test_least(self) -> None:
        """All four fields are always there, provider and model where they are known."""
        for kind in CLASSES:
            error = make(kind)
            self.assertEqual(
                error.envelope(),
                {"error": {"message": "m", "type": kind.type, "param": None, "code": kind.code}},
            )
            self.assertEqual(str(error), "m")
            self.assertIsNone(error.retry_after)
            self.assertFalse(error.exhausted)

    def test_all(self) -> None:
        """What is given to one error is its own, not its class's."""
        error = errors.UpstreamRefused(
            "m",
            code="c",
            status=422,
            param="p",
            retry_after=1.5,
            provider="openai",
            model="openai/m",
        )
        self.assertEqual(
            error.envelope(),
            {
                "error": {
                    "message": "m",
                    "type": "provider_error",
                    "param": "p",
                    "code": "c",
                    "provider": "openai",
                    "model": "openai/m",
                }
            },
        )
        self.assertEqual((error.status, error.retry_after), (422, 1.5))
        self.assertEqual(errors.UpstreamRefused.status, 400)
        self.assertIsNone(error.upstream_status)
        self.assertEqual(errors.UpstreamRefused("m", code=0).code, 0)


class OtherTests(SynchronousTestCase):
    """What only some have."""

    def test_allowed(self) -> None:
        """The methods of the ``Allow`` header, in order."""
        error = errors.MethodNotAllowed("m", allowed=iter(["POST", "GET"]))
        self.assertEqual(error.allowed, ("GET", "POST"))

    def test_problems(self) -> None:
        """One line for each problem, with as much of the place as is known."""
        problems = [
            errors.Problem("a"),
            errors.Problem("b", file="f.yaml"),
            errors.Problem("c", file="f.yaml", line=7),
        ]
        error = errors.ConfigurationError(iter(problems))
        self.assertEqual(error.problems, tuple(problems))
        self.assertEqual(str(error), "a\nf.yaml: b\nf.yaml:7: c")

    def test_pickle(self) -> None:
        """An error can go to another process and is the same there."""
        error = errors.UpstreamRateLimited("m", code="c", retry_after=2.0)
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(copy), vars(copy)), (type(error), vars(error)))
