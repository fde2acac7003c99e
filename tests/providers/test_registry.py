"""Tests of :mod:`aiproxy.providers.registry`."""

from __future__ import annotations

from attrs import evolve

from aiproxy.config import known_providers
from aiproxy.config.schema import Model
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import ConfigurationError
from aiproxy.interfaces import IProvider
from aiproxy.providers.demo import DemoProvider
from aiproxy.providers.http import HTTPProvider
from aiproxy.providers.registry import ProviderParts, ProviderRegistry, register_provider
from aiproxy.testing import ScriptedProvider
from aiproxy.transport.client import UpstreamClient
from tests.config.loading import LoadingTestCase
from tests.transport.upstreams import MemoryUpstream

MODEL = Model("m", "p", "openai", "openai", "up", base_url="http://127.0.0.1/v1")


class RegistryTestCase(LoadingTestCase):
    """Adapters without a network."""

    def setUp(self) -> None:
        super().setUp()
        reactor = MemoryUpstream().reactor
        self.parts = ProviderParts(UpstreamClient(reactor), reactor)

    def registry(self, **more: IProvider) -> ProviderRegistry:
        """Make a registry."""
        return ProviderRegistry(self.parts, more)


class FindTests(RegistryTestCase):
    """Which adapter serves a model."""

    def test_own(self) -> None:
        """An embedder's own goes by the provider's name, before ours."""
        own = HTTPProvider(self.parts.client, OpenAIDialect())
        registry = self.registry(mine=own)
        self.assertIs(registry.find(evolve(MODEL, provider="mine")), own)
        self.assertIsNot(registry.find(MODEL), own)

    def test_by_dialect(self) -> None:
        """Others go by what their type speaks; each type has one adapter."""
        registry = self.registry()
        compatible = registry.find(MODEL)
        self.assertIsInstance(compatible, HTTPProvider)
        self.assertIs(registry.find(evolve(MODEL, name="n")), compatible)
        self.assertIsInstance(registry.find(evolve(MODEL, dialect="demo")), DemoProvider)
        self.assertIsNone(registry.find(evolve(MODEL, dialect="of the future")))

    def test_two_ways(self) -> None:
        """Cloudflare and Google speak OpenAI's API too, by their URL."""
        registry = self.registry()
        for dialect, own, compatible in (
            ("cloudflare", "https://h/ai/run/@cf/m", "https://h/ai/v1/chat/completions"),
            ("google", "https://h/v1beta/models", "https://h/v1beta/openai/chat/completions"),
        ):
            model = evolve(MODEL, dialect=dialect, provider_type=dialect)
            one = registry.find(evolve(model, url=own))
            other = registry.find(evolve(model, url=compatible))
            assert isinstance(one, HTTPProvider) and isinstance(other, HTTPProvider)
            self.assertNotIsInstance(one.dialect, OpenAIDialect)
            self.assertIsInstance(other.dialect, OpenAIDialect)


class RegisterTests(RegistryTestCase):
    """Types of one's own."""

    def register(self, name: str) -> list[ProviderParts]:
        """Register a type until the end of the test; return what its factory is given."""
        given: list[ProviderParts] = []

        def make(parts: ProviderParts) -> IProvider:
            given.append(parts)
            return ScriptedProvider()

        register_provider(name, make)
        self.addCleanup(known_providers._added.pop, name)
        return given

    def test_registered(self) -> None:
        """A configuration may name the type without a URL; its factory is asked once."""
        given = self.register("mine")
        config = self.config(
            "models: [{name: mine/a, provider: mine}, {name: mine/b, provider: mine}]"
        )
        registry = self.registry()
        found = [registry.find(model) for model in config.models]
        self.assertIsInstance(found[0], ScriptedProvider)
        self.assertIs(found[0], found[1])
        self.assertEqual(given, [self.parts])

    def test_built_in(self) -> None:
        """A built-in type keeps its name, aliases included."""
        for name in ("openai", "gemini"):
            self.assertRaises(ValueError, register_provider, name, lambda _: ScriptedProvider())

    def test_not_there(self) -> None:
        """A type whose adapter has gone is an error that names it."""
        model = evolve(MODEL, dialect=known_providers.PLUGIN_DIALECT, provider_type="gone")
        error = self.assertRaises(ConfigurationError, self.registry().find, model)
        self.assertIn("providers of type gone cannot be loaded", str(error))
