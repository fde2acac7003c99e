"""The client of a server's HTTP face."""

from __future__ import annotations

import ssl
from argparse import ArgumentParser
from contextlib import chdir
from socket import create_server

from aiproxy.config.secret import Secret
from aiproxy.terminal.api import (
    Api,
    ApiError,
    Delta,
    ModelRow,
    Usage,
    add_server_arguments,
    connect,
)
from tests.terminal.chat_servers import (
    DONE,
    MODELS,
    TOKEN,
    CannedTestCase,
    ServedTestCase,
    answer,
    delta,
    stream,
    variables,
)
from tests.transport.upstreams import Authority, pem

HELLO = [{"role": "user", "content": "hello there"}]


class ServedTests(ServedTestCase):
    """With a server of ours."""

    async def test_models(self) -> None:
        """The names come with what is known of them."""
        api = Api(self.url, Secret(TOKEN))
        rows = await self.call(api.models)
        self.assertEqual(rows[0], ModelRow("demo/echo", "demo", 8000))
        self.assertEqual([row.kind for row in rows], ["model", "model", "group"])

    async def test_stream(self) -> None:
        """An answer comes in pieces, then its tokens, and it is known who gave it."""

        def ask() -> tuple[list[Delta | Usage], object]:
            with Api(self.url, Secret(TOKEN)).stream("both", HELLO) as answer:
                pieces = list(answer)
            return pieces, (answer.model, answer.provider, answer.attempts, answer.finish_reason)

        pieces, served = await self.call(ask)
        self.assertEqual(pieces, [Delta("hello "), Delta("there"), Usage(2, 2)])
        self.assertEqual(served, ("demo/echo", "demo", 1, "stop"))

    async def test_refused(self) -> None:
        """The envelope's message and code are the error's."""
        api = Api(f"{self.url}/v1/", Secret(TOKEN))
        failure = await self.call(self.assertRaises, ApiError, api.stream, "nope", HELLO)
        self.assertEqual((failure.status, failure.code), (404, "model_not_found"))
        self.assertIn("there is no model 'nope'", str(failure))
        self.assertIn("(model_not_found)", str(failure))

    async def test_keys(self) -> None:
        """Who has a wrong key, or none, is told where it comes from."""
        wrong = Api(self.url, Secret("sk-wrong"), "AUTH_TOKEN in .env")
        failure = await self.call(self.assertRaises, ApiError, wrong.models)
        self.assertEqual(failure.status, 401)
        self.assertIn("another key than the one of AUTH_TOKEN in .env", str(failure))
        failure = await self.call(self.assertRaises, ApiError, Api(self.url).models)
        self.assertIn("wants a key: none is given", str(failure))
        self.assertIn("--key or $AIPROXY_KEY", str(failure))


class ApiTests(CannedTestCase):
    """With servers of every kind."""

    def test_request(self) -> None:
        """A request has the key, the messages, and what else the caller gives."""
        server = self.serve(stream() + DONE)
        with Api(server.url, Secret("sk-a")).stream("one", HELLO, max_tokens=5) as pieces:
            self.assertEqual(list(pieces), [])
        [(head, body)] = server.requests
        self.assertIn("POST /v1/chat/completions HTTP/1.1\r\n", head)
        self.assertIn("authorization: Bearer sk-a\r\n", head)
        self.assertIn(b'"messages":[{"role":"user","content":"hello there"}]', body)
        self.assertIn(b'"stream_options":{"include_usage":true},"max_tokens":5}', body)

    def test_urls(self) -> None:
        """The base URL may have a path, /v1, and a slash at its end, and may lack a scheme."""
        paths = {"": "/v1", "/": "/v1", "/v1": "/v1", "/v1/": "/v1", "/ai": "/ai/v1"}
        for path, expected in paths.items():
            server = self.serve(answer(200, MODELS))
            api = Api(server.url.removeprefix("http://") + path)
            self.assertEqual([row.name for row in api.models()], ["one", "two"])
            self.assertEqual(server.requests[0][0].split()[1], f"{expected}/models")
            self.assertNotIn("authorization", server.requests[0][0])

    def test_bad_url(self) -> None:
        """What is no URL is an error that says so."""
        for url in ("ftp://x", "http://", "a b"):
            failure = self.assertRaises(ApiError, Api, url)
            self.assertEqual(failure.code, "invalid_url")

    def test_no_server(self) -> None:
        """Where nobody listens, it is told how to start a server."""
        with create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        failure = self.assertRaises(ApiError, Api(f"http://127.0.0.1:{port}").models)
        told = f"no server at http://127.0.0.1:{port}: start one with `aiproxy run`"
        self.assertEqual(str(failure), told)

    def test_no_host(self) -> None:
        """Where there is no such host, the reason is told."""
        failure = self.assertRaises(ApiError, Api("http://nothing.invalid").models)
        self.assertIn("cannot connect to http://nothing.invalid: ", str(failure))

    def test_other_answers(self) -> None:
        """What is no answer of ours is an error, not a traceback."""
        cases = [
            (answer(502, b"<html>"), "answered with HTTP status 502"),
            (answer(500, b'{"error": "all is\\u001b[2J lost"}'), "all is[2J lost"),
            (answer(500, b'{"error": {}}'), "an error without a message (HTTP status 500)"),
            (answer(200, b"[]"), "something other than a JSON object (bad_answer)"),
            (answer(200, b"{", "Content-Length: 9"), "the answer was cut off"),
            (b"", "the answer was cut off: RemoteDisconnected (stream_cut)"),
        ]
        for sent, told in cases:
            failure = self.assertRaises(ApiError, Api(self.serve(sent).url).models)
            self.assertIn(told, str(failure))

    def test_tls(self) -> None:
        """A server within TLS is believed if its certificate is one that the system trusts."""
        authority = Authority()
        certificate, key = authority.issue("127.0.0.1")
        own, roots = self.folder / "own.pem", self.folder / "roots.pem"
        own.write_bytes(pem(certificate, key))
        roots.write_bytes(pem(authority.certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        server = self.serve(answer(200, MODELS), context=context)
        url = f"https://127.0.0.1:{server.port}"
        with variables(SSL_CERT_FILE=str(roots)):
            self.assertEqual(len(Api(url).models()), 2)
        failure = self.assertRaises(ApiError, Api(url).models)
        self.assertIn("cannot connect", str(failure))

    def test_hang_up(self) -> None:
        """Who closes an answer hangs up at once, however much is still to come."""
        server = self.serve(stream(delta(content="one")), stay=True)
        pieces = Api(server.url).stream("one", HELLO)
        self.assertEqual(next(pieces), Delta("one"))
        self.assertFalse(server.gone.is_set())
        pieces.close()
        self.assertTrue(server.gone.wait(10))


class ConnectTests(CannedTestCase):
    """From options and variables to a server."""

    def connect(self, *arguments: str) -> tuple[str, str, str]:
        """Return the server's origin, the authorization it is sent, and what a refusal says."""
        server = self.serve(answer(401, b""))
        parser = ArgumentParser()
        add_server_arguments(parser)
        with chdir(self.folder):
            told = connect(parser.parse_args(arguments))
            api = connect(parser.parse_args([*arguments, "--url", server.url]))
        failure = self.assertRaises(ApiError, api.models)
        _, _, key = server.requests[0][0].partition("authorization: Bearer ")
        return told.origin, key.partition("\r\n")[0], str(failure)

    def test_defaults(self) -> None:
        """Without anything it is this machine's port 8080, and no key."""
        origin, key, told = self.connect()
        self.assertEqual((origin, key), ("http://127.0.0.1:8080", ""))
        self.assertIn("none is given", told)

    def test_variables(self) -> None:
        """The port and the first of the keys are those of the server's own variables."""
        with variables(PORT="9000", AUTH_TOKEN="sk-a,sk-b"):
            origin, key, told = self.connect()
        self.assertEqual((origin, key), ("http://127.0.0.1:9000", "sk-a"))
        self.assertIn("the one of AUTH_TOKEN;", told)

    def test_env_file(self) -> None:
        """They may stand in ./.env, which is then named."""
        (self.folder / ".env").write_text("PORT=9001\nAUTH_TOKEN=sk-c\n")
        origin, key, told = self.connect()
        self.assertEqual((origin, key), ("http://127.0.0.1:9001", "sk-c"))
        self.assertIn("the one of AUTH_TOKEN in .env;", told)

    def test_order(self) -> None:
        """--key wins over $AIPROXY_KEY, which wins over $AUTH_TOKEN."""
        with variables(AIPROXY_KEY="sk-mine", AUTH_TOKEN="sk-a"):
            self.assertEqual(self.connect()[1], "sk-mine")
            self.assertEqual(self.connect("--key", "sk-told")[1], "sk-told")

    def test_elsewhere(self) -> None:
        """What opens our own server is shown to no other machine; a key that is meant is."""
        sent = []
        for url in ("http://localhost:1", "127.9.9.9:1", "http://[::1]:1", "https://ai.example/v1"):
            parser = ArgumentParser()
            add_server_arguments(parser)
            for more in ({}, {"AIPROXY_KEY": "sk-mine"}):
                with variables(AUTH_TOKEN="sk-a", **more):
                    token = connect(parser.parse_args(["--url", url])).token
                sent.append(token and token.reveal())
        self.assertEqual(sent, ["sk-a", "sk-mine"] * 3 + [None, "sk-mine"])

    def test_bad_key(self) -> None:
        """A key that no header can carry is refused, and not shown."""
        parser = ArgumentParser()
        add_server_arguments(parser)
        parsed = parser.parse_args(["--key", "sk one"])
        failure = self.assertRaises(ApiError, connect, parsed)
        self.assertIn("--key must be one word", str(failure))
        self.assertNotIn("sk one", str(failure))
