"""Tests of :mod:`aiproxy.web.edge`."""

from __future__ import annotations

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from aiproxy.gateway.usage import CallRecord
from aiproxy.proxy import Proxy
from tests.sites import make_site
from tests.transport.http.clients import Client
from tests.web.serving import CONFIG, NOW, TOKEN, ServingTestCase

PROXY = IPv4Address("TCP", "10.0.0.1", 1)
CLIENT = "X-Forwarded-For: 198.51.100.1, 203.0.113.7"


class EdgeTests(ServingTestCase):
    """Whom a request comes from, as the access log has it."""

    text = f"{CONFIG}\n    server: {{trusted_proxies: [10.0.0.0/8]}}\n"

    def setUp(self) -> None:
        super().setUp()
        self.records: list[CallRecord] = []
        self.proxy = Proxy(
            self.load(self.text, {"AUTH_TOKEN": TOKEN}).config,
            self.clock,
            providers={"scripted": self.provider},
            wall=lambda: NOW,
            report=self.records.append,
        )
        self.site = make_site(self.proxy.resource(), self.clock, max_request_bytes=1000)

    def find(self, peer: IAddress, *headers: str) -> list[str | None]:
        """Ask in each way that a request takes; return who that was."""
        self.records.clear()
        self.client = Client(self.site, self.clock)
        self.client.transport.peerAddr = peer
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/none"), ("PUT", "/")):
            self.ask(method, path, *headers)
        self.chat(*headers)
        self.assertEqual(len(self.records), 4)
        return [record.client for record in self.records]

    def test_forwarded(self) -> None:
        """A trusted proxy is believed, one line of the header or several; nobody else."""
        self.assertEqual(self.find(PROXY, CLIENT), ["203.0.113.7"] * 4)
        lines = ("X-Forwarded-For: 198.51.100.1", "x-forwarded-for: 203.0.113.7")
        self.assertEqual(self.find(PROXY, *lines), ["203.0.113.7"] * 4)
        self.assertEqual(self.find(UNIXAddress(b"/run/x"), CLIENT), ["203.0.113.7"] * 4)
        other = IPv6Address("TCP", "2001:db8::1", 1)
        self.assertEqual(self.find(other, CLIENT), ["2001:db8::1"] * 4)

    def test_not_forwarded(self) -> None:
        """Without the header it is the peer, or nobody in the network."""
        self.assertEqual(self.find(PROXY), ["10.0.0.1"] * 4)
        self.assertEqual(self.find(UNIXAddress(b"/run/x")), ["local"] * 4)

    def test_changed(self) -> None:
        """Another configuration's proxies are believed with the next request."""
        dispatcher = self.proxy._dispatcher
        self.assertEqual(self.find(PROXY, CLIENT), ["203.0.113.7"] * 4)
        for networks, found in (
            (("10.0.0.1/32", "203.0.113.7/32"), "198.51.100.1"),
            (("10.0.0.1/32",), "203.0.113.7"),
            ((), "10.0.0.1"),
        ):
            config = dispatcher.plan.config
            server = attrs.evolve(config.server, trusted_proxies=networks)
            plan = attrs.evolve(dispatcher.plan, config=attrs.evolve(config, server=server))
            dispatcher.change(plan)
            self.assertEqual(self.find(PROXY, CLIENT), [found] * 4)

    def test_each_for_itself(self) -> None:
        """Behind one proxy a client that fails blocks itself alone."""
        self.client = Client(self.site, self.clock)
        self.client.transport.peerAddr = PROXY
        for _ in range(21):
            wrong = ("Authorization: Bearer wrong", "X-Forwarded-For: 203.0.113.66")
            last = self.ask_bare("GET", "/v1/models", *wrong)
        self.assertEqual(last.status, 429)
        self.assertEqual(self.ask("GET", "/v1/models", CLIENT).status, 200)
