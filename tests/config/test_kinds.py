"""Tests of :mod:`aiproxy.config.kinds` and :mod:`aiproxy.config.scalars`, through the file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: a, provider: demo}]\n"


class ScalarTests(LoadingTestCase):
    """Single values, right and wrong."""

    def server_problem(self, text: str) -> str:
        """Return what is said of one line of ``server``."""
        [problem] = self.problems(f"{DEMO}server:\n  {text}\n")
        return problem

    def model_problem(self, text: str) -> str:
        """Return what is said of one line of a model."""
        [problem] = self.problems(f"models:\n- name: a\n  provider: demo\n  {text}\n")
        return problem

    def test_wrong_types(self) -> None:
        """Every kind says what it takes and what it got, with file and line."""
        for text, message in [
            ("explain: 1", "explain: must be true or false, not a number"),
            ("explain: 'true'", "explain: must be true or false, not text"),
            ("explain: []", "explain: must be true or false, not a list"),
            ("drain_timeout: 30", "drain_timeout: must be a duration with its unit, such as"),
            ("drain_timeout: soon", "drain_timeout: must be a duration such as"),
            ("drain_timeout: -1s", "drain_timeout: must be a duration such as"),
            ("drain_timeout: {}", "drain_timeout: must be a duration, not a mapping"),
            ("max_event_bytes: 1XB", "max_event_bytes: must be a size such as"),
            ("max_event_bytes: 0", "max_event_bytes: must be larger than 0"),
            ("max_event_bytes: -1", "max_event_bytes: must not be negative"),
            ("max_event_bytes: 1.5", "max_event_bytes: must be a size such as"),
            ("http: nginx", "http: must be llhttp or stock$"),
            ("http: lhttp", "http: must be llhttp or stock; did you mean `llhttp`?"),
            ("http: true", "http: must be text, not true or false; quote it"),
            ("access_log: [a]", "access_log: must be text, not a list"),
            ('access_log: "a\\nb"', "access_log: must not hold line breaks"),
            ("cors: https://a.example", "cors: must be a list, not text"),
            ("cors: [1]", r"cors\[0\]: must begin with http"),
            ("cors: [~]", r"cors\[0\]: must be an origin, not nothing"),
            ("cors: ['*', 'https://a.example/x']", r"cors\[1\]: must be an origin such as"),
            ("trusted_proxies: [10.0.0.0/8, x]", r"trusted_proxies\[1\]: must be an address or"),
            ("trusted_proxies: [10.0.0.0/99]", r"trusted_proxies\[0\]: must be an address or"),
        ]:
            self.assertRegex(self.server_problem(text), rf"^c\.yaml:3: server\.{message}")

    def test_wrong_model_values(self) -> None:
        """Counts, weights and choices out of range."""
        for text, message in [
            ("priority: x", "priority: must be a whole number, not text"),
            ("priority: 1.5", "priority: must be a whole number, not a number"),
            ("priority: -1", "priority: must not be negative"),
            ("priority: true", "priority: must be a whole number, not true or false"),
            ("requests_per_minute: 9999999999999999", "requests_per_minute: is too large"),
            ("context_window: -1", "context_window: must not be negative"),
            ("weight: 0", "weight: must be greater than 0"),
            ("weight: -0.5", "weight: must be greater than 0"),
            ("weight: .nan", "weight: is too large"),
            ("weight: .inf", "weight: is too large"),
            ("priority: 1_000_000_000_000_000_0", "priority: is too large"),
            ("weight: x", "weight: must be a number, not text"),
            ("model_size: medium", "model_size: must be SMALL or BIG$"),
            ("model_size: smal", "model_size: must be SMALL or BIG; did you mean `SMALL`?"),
            ("kind: audio", "kind: must be chat or image"),
            ("kind: 2030-01-31", "kind: must be chat or image"),
            ("url: 2030-01-31", "url: must begin with http"),
            ("url: example.com", "url: must begin with http"),
            ("reasoning: 2030-01-31", "reasoning: must be true or false, not a date"),
            ("timeouts: {idle: 0s}", "timeouts.idle: must be longer than 0s"),
            ("timeouts: {idel: 1s}", "timeouts.idel: unknown key; did you mean `idle`?"),
            ("timeouts: 1s", "timeouts: must be a mapping, not text"),
            ("fallbacks: b", "fallbacks: must be a list, not text"),
            (
                "http_client_config: {timeout_seconds: -1}",
                "http_client_config.timeout_seconds: must",
            ),
        ]:
            self.assertRegex(self.model_problem(text), rf"^c\.yaml:4: models\[0\]\.{message}")

    def test_positive_count(self) -> None:
        """A breaker that opens after no failure makes no sense."""
        self.assertEqual(self.config(f"{DEMO}breaker: {{failures: 1}}").breaker.failures, 1)
        self.assertEqual(
            self.problems(f"{DEMO}breaker:\n  failures: 0"),
            ["c.yaml:3: breaker.failures: must be greater than 0"],
        )

    def test_fractions(self) -> None:
        """A share lies between 0 and 1, both included."""
        for value in ("1.01", "-0.1", "x"):
            [problem] = self.problems(f"{DEMO}retry:\n  jitter: {value}")
            self.assertRegex(problem, r"^c\.yaml:3: retry\.jitter: must be ")
        for share in (0, 0.5, 1):
            self.assertEqual(self.config(f"{DEMO}retry: {{jitter: {share}}}").retry.jitter, share)

    def test_values(self) -> None:
        """Values that are right come out in the units of the schema."""
        server = self.config(
            f"""{DEMO}server:
              max_request_bytes: 1MiB
              drain_timeout: 1m
              keep_alive: 0
              http: stock
              cors: ["*", "https://A.example"]
              trusted_proxies: [10.1.2.3/8, "::1"]
            """
        ).server
        self.assertEqual(server.max_request_bytes, 2**20)
        self.assertEqual((server.drain_timeout, server.keep_alive), (60.0, 0.0))
        self.assertEqual(server.cors, ("*", "https://a.example"))
        self.assertEqual(server.trusted_proxies, ("10.0.0.0/8", "::1/128"))

    def test_nothing(self) -> None:
        """A key without a value is a key that is not set, a required one is missing."""
        server = self.config(f"{DEMO}server:\n  http:\n  cors: ~\nretry:\n").server
        self.assertEqual((server.http, server.cors), ("llhttp", ()))
        self.assertEqual(
            self.problems("models:\n- name: ''\n  provider:\n"),
            ["c.yaml:2: models[0].name: is required", "c.yaml:3: models[0].provider: is required"],
        )

    def test_size_in_any_case(self) -> None:
        """``model_size`` is taken in any case."""
        self.assertEqual(
            self.model(DEMO.replace("demo", "demo, model_size: big")).model_size, "BIG"
        )

    def test_expanded_text(self) -> None:
        """What a variable holds is text where a text belongs, whatever it looks like."""
        for value in ("no", "1234", "2030-01-31", "1e3"):
            model = self.model(
                "models: [{name: a, provider: groq, token: '${T}', upstream_model: '${T}'}]",
                {"T": value},
            )
            self.assertEqual(model.upstream_model, value)
            self.assertEqual([token.reveal() for token in model.tokens], [value])
        self.assertEqual(
            self.model("models:\n- name: ${T}\n  provider: demo", {"T": "no"}).name, "no"
        )

    def test_expanded_number(self) -> None:
        """A number may come from a variable; a quoted reference is text."""
        text = "models:\n- name: a\n  provider: demo\n  priority: "
        self.assertEqual(self.model(f"{text}${{P}}", {"P": "7"}).priority, 7)
        self.assertEqual(
            self.problems(f"{text}'${{P}}'", {"P": "7"}),
            ["c.yaml:4: models[0].priority: must be a whole number, not text"],
        )

    def test_missing_variable(self) -> None:
        """A variable that is not set, or empty, is named, several of them too."""
        self.assertEqual(
            self.model_problem("priority: ${P}"),
            "c.yaml:4: models[0].priority: the environment variable P is not set",
        )
        self.assertEqual(
            self.model_problem("upstream_model: ${P}${Q}"),
            "c.yaml:4: models[0].upstream_model: the environment variables P, Q are not set",
        )
        text = "models:\n- name: a\n  provider: demo\n  upstream_model: ${P}"
        self.assertEqual(
            self.problems(text, {"P": ""}),
            ["c.yaml:4: models[0].upstream_model: the environment variable P is not set"],
        )

    def test_tokens(self) -> None:
        """A token is one word; what it is instead is never shown."""
        for value, message in [
            ("Bearer sk-secret", "must be the token alone, without `Bearer`"),
            ("sk-secret sk-secret", "must be one word of ASCII"),
            ("sk-secret\u00e9", "must be one word of ASCII"),
            ('"sk-secret\\nx: y"', "must be one word of ASCII"),
            ("{sk-secret: 1}", "must be a token, not a mapping"),
            ("[sk-secret]", "must be a token, not a list"),
            ("true", "must be text, not true or false"),
        ]:
            problem = self.model_problem(f"token: {value}")
            self.assertRegex(problem, rf"^c\.yaml:4: models\[0\]\.token: {message}")
            self.assertNotIn("sk-secret", problem)

    def test_headers(self) -> None:
        """Names of headers are checked, values kept to one line and never shown."""
        for value, message in [
            ("{a b: sk-secret}", "a b: is not the name of a header"),
            ("{Host: sk-secret}", "Host: is set by aiproxy itself"),
            ("{content-length: 1}", "content-length: is set by aiproxy itself"),
            ("{a: sk-secret, A: sk-secret}", "A: stands here twice"),
            ('{a: "sk-secret\\r\\nb: c"}', "a: must be one line of ASCII text"),
            ("{a: [sk-secret]}", "a: must be text, not a list"),
        ]:
            problem = self.model_problem(f"headers: {value}")
            self.assertRegex(problem, rf"^c\.yaml:4: models\[0\]\.headers\.{message}")
            self.assertNotIn("sk-secret", problem)
        self.assertRegex(
            self.model_problem("headers: []"), "headers: must be a mapping, not a list"
        )

    def test_body(self) -> None:
        """A body takes what JSON can say, references included."""
        text = "models: [{name: a, provider: demo, body: %s}]"
        body = "{a: [1, {b: 'x${V}'}], c: ~, d: 2030-01-31, e: 1.5, f: true}"
        self.assertEqual(
            self.model(text % body, {"V": "y"}).body,
            {"a": [1, {"b": "xy"}], "c": None, "d": "2030-01-31", "e": 1.5, "f": True},
        )
        self.assertRegex(self.model_problem("body: {a: .inf}"), r"body\.a: is a number that JSON")
        self.assertRegex(
            self.model_problem("body: {a: ['${V}']}"), r"body\.a\[0\]: the environment"
        )
        self.assertRegex(self.model_problem("body: 1"), "body: must be a mapping, not a number")

    def test_moments(self) -> None:
        """A date begins at midnight UTC; a time has its own zone or UTC."""
        key = f"{DEMO}keys: [{{name: k, token: t, expires: %s}}]"
        for value, moment in [
            ("2030-01-31", datetime(2030, 1, 31, tzinfo=UTC)),
            ("'2030-01-31'", datetime(2030, 1, 31, tzinfo=UTC)),
            ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
            ("'2030-01-31T12:00'", datetime(2030, 1, 31, 12, tzinfo=UTC)),
            (
                "'2030-01-31T12:00:00+02:00'",
                datetime(2030, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
            ),
        ]:
            self.assertEqual(self.config(key % value).keys[0].expires, moment, value)
        for value in ("soon", "5", "true", "1893456000"):
            [problem] = self.problems(key % value)
            self.assertRegex(problem, r"keys\[0\]\.expires: must be a date or a time such as")


class SectionTests(LoadingTestCase):
    """Mappings, their keys and what is missing."""

    def test_unknown_keys(self) -> None:
        """An unknown key is refused with the nearest one, or with all there are."""
        self.assertEqual(
            self.problems(f"{DEMO}serer: {{}}\n"),
            ["c.yaml:2: serer: unknown key; did you mean `server`?"],
        )
        self.assertEqual(
            self.problems(f"{DEMO}breaker: {{zzz: 1}}\n"),
            ["c.yaml:2: breaker.zzz: unknown key; the keys here are failures, window, probe"],
        )
        self.assertEqual(
            self.problems("models:\n- name: a\n  provider: demo\n  request_per_minute: 3\n"),
            [
                "c.yaml:4: models[0].request_per_minute: unknown key; "
                "did you mean `requests_per_minute`?"
            ],
        )

    def test_not_mappings(self) -> None:
        """Where a mapping belongs, anything else is refused."""
        for text, message in [
            ("[1]", "c.yaml:1: must be a mapping, not a list"),
            ("just text", "c.yaml:1: must be a mapping, not text"),
            (
                "models: {}",
                "c.yaml:1: models: must be a list, not a mapping; begin each entry with `- `",
            ),
            ("models: [x]", "c.yaml:1: models[0]: must be a mapping, not text"),
            (
                "models: [name:x]",
                "c.yaml:1: models[0]: must be a mapping, not text;"
                " a colon after a key needs a space behind it",
            ),
            ("models: [[]]", "c.yaml:1: models[0]: must be a mapping, not a list"),
            (f"{DEMO}providers: [groq]", "c.yaml:2: providers: must be a mapping, not a list"),
            (f"{DEMO}providers: {{a: x}}", "c.yaml:2: providers.a: must be a mapping, not text"),
            (f"{DEMO}groups: x", "c.yaml:2: groups: must be a mapping, not text"),
            (f"{DEMO}server: [x]", "c.yaml:2: server: must be a mapping, not a list"),
        ]:
            self.assertEqual(self.problems(text), [message])

    def test_empty_entries(self) -> None:
        """A provider without keys is all defaults."""
        config = self.config(f"{DEMO}providers:\n  ollama:\n")
        self.assertEqual(config.providers["ollama"].base_url, "http://localhost:11434/v1")

    def test_all_at_once(self) -> None:
        """Every mistake of a file is told, in the order of the lines, none because of another."""
        self.assertEqual(
            self.problems(
                """
                server:
                  htp: stock
                  keep_alive: 5
                providers:
                  mine: {base_url: nowhere}
                models:
                  - name: a
                    provider: mine
                    fallbacks: [d]
                  - name: b
                    name: c
                  - provider: groq
                    weight: -1
                groups:
                  g: {models: [d], strategy: best}
                retry: {max_retries: -1}
                """
            ),
            [
                "c.yaml:2: server.htp: unknown key; did you mean `http`?",
                "c.yaml:3: server.keep_alive: must be a duration with its unit, such as 500ms, "
                "30s or 2m30s",
                "c.yaml:5: providers.mine.base_url: must begin with http:// or https://",
                "c.yaml:10: models[1].provider: is required",
                "c.yaml:11: duplicate key `name`, first on line 10",
                "c.yaml:12: models[2].name: is required",
                "c.yaml:13: models[2].weight: must be greater than 0",
                "c.yaml:15: groups.g.strategy: must be priority, weighted, round_robin, least_busy "
                "or fastest",
                "c.yaml:16: retry.max_retries: must not be negative",
            ],
        )


class WalkKeysTests(SynchronousTestCase):
    """The schema as documentation sees it."""

    def test_paths(self) -> None:
        """Every key is there once, with its documentation."""
        paths = [documented.path for documented in walk_keys(File)]
        self.assertEqual(len(paths), len(set(paths)))
        for path in (
            "server.http",
            "keys[].expires",
            "providers.NAME.http_client_config.timeout_seconds",
            "models[].timeouts",
            "groups.NAME.hedge.after",
            "retry.jitter",
            "breaker.probe",
            "timeouts.total",
        ):
            self.assertIn(path, paths)

    def test_documented(self) -> None:
        """Every key says what it is for, in a sentence, and what it takes."""
        for documented in walk_keys(File):
            self.assertRegex(documented.key.doc, r"\.$", documented.path)
            self.assertTrue(documented.key.kind.name, documented.path)
