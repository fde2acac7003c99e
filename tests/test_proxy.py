"""The object graph, as embedders make it."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from aiproxy.config.secret import Secret
from aiproxy.errors import ConfigurationError
from aiproxy.gateway.usage import CallRecord
from aiproxy.proxy import Proxy
from tests.config.loading import LoadingTestCase
from tests.transport.http.clients import Client

DEMO = "models: [{name: demo/echo, provider: demo}]\n"
MESSAGE = '{"role": "user", "content": "hello there"}'


class ProxyTests(LoadingTestCase):
    """Making one."""

    def make(self, text: str, env: dict[str, str] | None = None) -> Proxy:
        """Make one on a reactor in memory."""
        self.reactor = MemoryReactorClock()
        return Proxy(self.load(text, env).config, self.reactor)

    def test_opens_nothing(self) -> None:
        """Making one, and its resource, opens nothing and starts no timer."""
        proxy = self.make(DEMO)
        proxy.resource()
        self.assertEqual(self.reactor.tcpServers + self.reactor.tcpClients, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_resource(self) -> None:
        """The resource is one and the same."""
        proxy = self.make(DEMO)
        self.assertIs(proxy.resource(), proxy.resource())
        verifyObject(IResource, proxy.resource())

    def test_access_token(self) -> None:
        """A token is made up where there is none, another one each time, and never shown."""
        token, other = self.make(DEMO).access_token, self.make(DEMO).access_token
        assert token and other
        self.assertNotEqual(token.reveal(), other.reveal())
        self.assertGreater(len(token.reveal()), 40)
        self.assertNotIn(token.reveal(), repr(token))

    def test_own_token(self) -> None:
        """No token is made up where there is one."""
        self.assertIsNone(self.make(DEMO, {"AUTH_TOKEN": "sk-client"}).access_token)

    def test_readiness(self) -> None:
        """It is ready while there is something to serve and no stop has begun."""
        proxy = self.make(DEMO)
        self.assertIsNone(proxy._why_unready())
        proxy.service.draining = True
        self.assertIn("shutting down", proxy._why_unready() or "")
        proxy = self.make(
            """
            providers: {openai: {token: "${NOBODY_SET_IT}"}}
            models: [{name: openai/one, provider: openai}]
            """
        )
        self.assertIn("no model", proxy._why_unready() or "")

    def test_bad_certificate(self) -> None:
        """A certificate's file that cannot be used is a mistake of the configuration."""
        with self.assertRaises(ConfigurationError):
            self.make(
                """
                providers: {up: {base_url: "https://up.example/v1", token: x, ca_bundle: none.pem}}
                models: [{name: up/one, provider: up}]
                """
            )

    def test_places(self) -> None:
        """What models cannot use is told at once, with its place, that of many with the first."""
        self.write("no certificate", "ca.pem")
        with self.assertRaises(ConfigurationError) as caught:
            self.make(
                """
                providers:
                  drill: {type: chaos, body: {chaos: [99, {times: maybe}]}}
                  up: {base_url: "https://up.example/v1", token: x, ca_bundle: ca.pem}
                models:
                - {name: a, provider: drill}
                - {name: up/one, provider: up}
                - {name: up/two, provider: up}
                - {name: b, provider: drill, body: {chaos: {repeat: maybe}}}
                """
            )
        bundle, messages = (self.folder / "ca.pem").absolute(), str(caught.exception).splitlines()
        self.assertIn("c.yaml:5: model a: body.chaos: faults[0]: '99' is no error", messages[0])
        self.assertEqual(
            [messages[1], messages[3]],
            [
                "c.yaml:5: model a: body.chaos: faults[1]: times: must be a whole number, not text",
                "c.yaml:8: model b: body.chaos: repeat: must be true or false, not text",
            ],
        )
        self.assertIn(f"c.yaml:6: ca_bundle {bundle}: ", messages[2])
        self.assertEqual(len(messages), 4)

    def test_change(self) -> None:
        """Another configuration takes the place of the one before; what has no token keeps its."""
        proxy = self.make(DEMO)
        token = proxy.access_token
        proxy.change(self.load(DEMO.replace("echo", "two")).config)
        self.assertEqual([model.name for model in proxy.config.models], ["demo/two"])
        self.assertIs(proxy.access_token, token)
        proxy.change(self.load(DEMO, {"AUTH_TOKEN": "sk-client"}).config)
        self.assertIsNone(proxy.access_token)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_given_token(self) -> None:
        """The token is the one that was given, where several processes have one."""
        token = Secret("sk-ours")
        config = self.load(DEMO).config
        self.assertIs(Proxy(config, MemoryReactorClock(), access_token=token).access_token, token)

    def test_refused(self) -> None:
        """What never becomes a request is accounted for, by its id where it has one."""
        for http in ("llhttp", "stock"):
            records: list[CallRecord] = []
            reactor = MemoryReactorClock()
            config = self.load(f"{DEMO}server: {{http: {http}, max_request_bytes: 10B}}\n").config
            site = Proxy(config, reactor, report=records.append).site()
            for data in (
                b"nonsense\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nx-request-id: big\r\nContent-Length: 99\r\n\r\n",
            ):
                Client(site, reactor).send(data)
            self.assertEqual([record.status for record in records], [400, 413], http)
            self.assertEqual(records[1].id, "big")
            self.assertTrue(records[0].error and records[0].client)

    def test_report_fails(self) -> None:
        """A report that fails is logged, and costs nobody an answer."""

        def report(record: CallRecord) -> None:
            raise ValueError("ours")

        reactor = MemoryReactorClock()
        config = self.load(DEMO, {"AUTH_TOKEN": "sk-client"}).config
        client = Client(Proxy(config, reactor, report=report).site(), reactor)
        for stream in ("false", "true"):
            body = f'{{"model": "demo/echo", "stream": {stream}, "messages": [{MESSAGE}]}}'
            path, token = "/v1/chat/completions", "Authorization: Bearer sk-client"
            client.ask("POST", path, token, body=body.encode())
            reactor.pump([0.1] * 20)
            self.assertEqual(client.answer().status, 200)
            [error] = self.flushLoggedErrors(ValueError)
            self.assertEqual(str(error.value), "ours")
