"""Tests of :mod:`aiproxy.web.guard`."""

from __future__ import annotations

from tests.web.serving import TOKEN, ServingTestCase

WRONG = (
    (),
    ("Authorization: Bearer sk-wrong",),
    ("Authorization: Bearer ",),
    ("Authorization: Bearer",),
    (f"Authorization: {TOKEN}",),
    (f"Authorization: Basic {TOKEN}",),
    (f"Authorization: Bearer {TOKEN} more",),
    (f"Authorization: Bearer {TOKEN[:-1]}",),
    ("Authorization: Bearer \xff\xfe",),
    ("x-api-key: sk-wrong",),
    ("x-api-key: ",),
    ("Authorization: Bearer sk-old",),
    ("Authorization: Bearer sk-wrong", f"x-api-key: {TOKEN}"),
)


class GuardTests(ServingTestCase):
    """Who comes in."""

    def test_bearer(self) -> None:
        """A token comes as a bearer's, in any case of that word."""
        for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
            answer = self.ask_bare("GET", "/v1/models", f"Authorization: {scheme} {TOKEN}")
            self.assertEqual(answer.status, 200)

    def test_api_key(self) -> None:
        """Or as ``x-api-key``, also beside an ``Authorization`` that is for somebody else."""
        key = f"x-api-key: {TOKEN}"
        for headers in ((key,), (key, "Authorization: Basic dTpw"), (key, "Authorization: Bearer")):
            self.assertEqual(self.ask_bare("GET", "/v1/models", *headers).status, 200)

    def test_wrong(self) -> None:
        """Whatever is wrong about it, the answer is the same, and says nothing."""
        bodies = set()
        for headers in WRONG:
            answer = self.ask_bare("GET", "/v1/models", *headers)
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["www-authenticate"], 'Bearer realm="aiproxy"')
            self.assertEqual(answer.error["type"], "authentication_error")
            self.assertEqual(answer.error["code"], "invalid_api_key")
            bodies.add(answer.body)
        self.assertEqual(len(bodies), 1)

    def test_everywhere(self) -> None:
        """Each route of a client wants it, before it looks at anything else."""
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("POST", "/chat/completions"),
            ("POST", "/"),
            ("GET", "/v1/models"),
            ("HEAD", "/v1/models"),
            ("GET", "/models"),
            ("GET", "/v1/models/none"),
            ("GET", "/models/demo/echo"),
        ):
            self.assertEqual(self.ask_bare(method, path).status, 401)

    def test_expires(self) -> None:
        """A key is valid until its day."""
        old = self.ask_bare("GET", "/v1/models", "Authorization: Bearer sk-old")
        young = self.ask_bare("GET", "/v1/models", "Authorization: Bearer sk-young")
        self.assertEqual((old.status, young.status), (401, 200))

    def test_narrow(self) -> None:
        """For a restricted key the other models do not exist."""
        narrow = "Authorization: Bearer sk-narrow"
        listed = self.ask_bare("GET", "/v1/models", narrow).json["data"]
        self.assertEqual([model["id"] for model in listed], ["scripted/one", "any/*"])
        hidden = self.ask_bare("GET", "/v1/models/demo/echo", narrow)
        self.assertEqual((hidden.status, hidden.error["code"]), (404, "model_not_found"))
        self.assertNotIn("did you mean demo", hidden.error["message"])
        self.assertEqual(self.ask_bare("GET", "/v1/models/any/thing", narrow).status, 200)
        refused = self.chat(token="sk-narrow", model="demo/echo")
        self.assertEqual((refused.status, refused.error["code"]), (404, "model_not_found"))
        self.assertEqual(self.chat(token="sk-narrow").status, 200)
