"""A file as it was written for the Go proxy loads unchanged and means what it meant."""

from __future__ import annotations

from datetime import UTC, datetime

from aiproxy.config.report import describe
from aiproxy.config.schema import Secret
from tests.config.loading import LoadingTestCase

GO_FILE = """
# provider_config.yaml
models:
  - name: cf/meta/llama-3.1-70b-instruct
    provider: cloudflare
    priority: 1
    requests_per_minute: 30
    requests_per_hour: 300
    requests_per_day: 1000
    url: "https://api.cloudflare.com/client/v4/accounts/0123/ai/v1/chat/completions"
    token: "cf-secret"
    max_request_length: 16000
    model_size: BIG
    http_client_config:
      timeout_seconds: 30
      idle_conn_timeout_seconds: 90

  - name: gemini-1.5-flash
    provider: google
    priority: 2
    requests_per_minute: 15
    requests_per_hour: 0
    requests_per_day: 1500
    url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-1.5-flash:generateContent"
    token: "google-secret"
    max_request_length: 128000
    model_size: "SMALL"

  - name: gigachat/GigaChat-Pro
    provider: gigachat
    priority: 3
    url: "https://ignored.example/api"
    token: "clientID:clientSecret"
    max_request_length: 32000
    model_size: BIG

  - name: groq/llama-3.3-70b-versatile
    provider: groq
    priority: 1
    requests_per_minute: 30
    url: https://api.groq.com/openai/v1/chat/completions
    token: gsk-secret
    max_request_length: 20000
    model_size: ""
    http_client_config:
      timeout_seconds: 0

  - name: openrouter/meta-llama/llama-3.1-8b-instruct:free
    provider: openrouter
    priority: 4
    requests_per_day: 200
    url: https://openrouter.ai/api/v1/chat/completions
    token: or-secret
    model_size: SMALL

  - name: cohere/command-r-plus
    provider: cohere
    url: https://api.cohere.com/v2/chat
    token: 1234567890
    max_request_length: 64000

  - name: local/llama
    provider: homemade
    url: http://192.168.0.5:8000/v1/chat/completions
    token: ""

  - name: black-forest-labs/FLUX.1-schnell
    provider: huggingface
    priority: 1
    requests_per_minute: 3
    url: https://api-inference.huggingface.co/models/black-forest-labs/FLUX.1-schnell
    token: hf-secret
    max_request_length: 0
"""


class GoFileTests(LoadingTestCase):
    """Each entry of the Go proxy's file."""

    def setUp(self) -> None:
        super().setUp()
        self.loaded_config = self.config(GO_FILE)
        self.models = {model.name: model for model in self.loaded_config.models}

    def test_all(self) -> None:
        """All models are there, in order, none is off."""
        self.assertEqual(len(self.models), 8)
        self.assertEqual({model.disabled for model in self.models.values()}, {None})
        self.assertEqual(
            list(self.loaded_config.providers),
            [
                "cloudflare",
                "google",
                "gigachat",
                "groq",
                "openrouter",
                "cohere",
                "homemade",
                "huggingface",
            ],
        )
        self.assertFalse(self.loaded_config.first_run)

    def test_cloudflare(self) -> None:
        """The @ that Go names leave out is put before the upstream's name."""
        model = self.models["cf/meta/llama-3.1-70b-instruct"]
        self.assertEqual(model.dialect, "cloudflare")
        self.assertEqual(model.upstream_model, "@cf/meta/llama-3.1-70b-instruct")
        self.assertEqual(
            model.url, "https://api.cloudflare.com/client/v4/accounts/0123/ai/v1/chat/completions"
        )
        self.assertEqual(model.tokens, (Secret("cf-secret"),))
        self.assertEqual(model.timeouts.attempt, 30.0)
        self.assertEqual(model.pool_idle_timeout, 90.0)
        self.assertEqual(model.max_request_length, 16000)
        self.assertEqual(model.model_size, "BIG")
        self.assertEqual(model.limits.requests_per_minute, 30)
        self.assertEqual(model.limits.requests_per_hour, 300)
        self.assertEqual(model.limits.requests_per_day, 1000)

    def test_google(self) -> None:
        """A limit of 0 is no limit; the URL is kept whole."""
        model = self.models["gemini-1.5-flash"]
        self.assertEqual((model.dialect, model.upstream_model), ("google", "gemini-1.5-flash"))
        self.assertIsNone(model.limits.requests_per_hour)
        self.assertTrue((model.url or "").endswith(":generateContent"))
        self.assertEqual(model.timeouts.attempt, 120.0)

    def test_gigachat(self) -> None:
        """The corporate scope; the URL was never used."""
        model = self.models["gigachat/GigaChat-Pro"]
        self.assertEqual(model.scope, "GIGACHAT_API_CORP")
        self.assertIsNone(model.url)
        self.assertEqual(model.base_url, "https://gigachat.devices.sberbank.ru/api/v1")
        self.assertEqual(model.auth_url, "https://ngw.devices.sberbank.ru:9443/api/v2/oauth")
        self.assertEqual(model.upstream_model, "GigaChat-Pro")
        self.assertEqual(model.tokens, (Secret("clientID:clientSecret"),))

    def test_groq(self) -> None:
        """An empty size is none, a timeout of 0 says nothing."""
        model = self.models["groq/llama-3.3-70b-versatile"]
        self.assertEqual((model.model_size, model.timeouts.attempt), (None, 120.0))
        self.assertEqual(
            (model.dialect, model.upstream_model), ("openai", "llama-3.3-70b-versatile")
        )

    def test_openrouter(self) -> None:
        """Only the provider's own prefix is taken off."""
        model = self.models["openrouter/meta-llama/llama-3.1-8b-instruct:free"]
        self.assertEqual(model.upstream_model, "meta-llama/llama-3.1-8b-instruct:free")

    def test_cohere(self) -> None:
        """A token of digits is text, as Go reads it."""
        self.assertEqual(self.models["cohere/command-r-plus"].tokens, (Secret("1234567890"),))

    def test_unknown_provider(self) -> None:
        """A provider of any name with a URL speaks OpenAI's form and needs no token."""
        model = self.models["local/llama"]
        self.assertEqual((model.provider, model.provider_type), ("homemade", "homemade"))
        self.assertEqual((model.dialect, model.tokens), ("openai", ()))
        self.assertEqual(model.upstream_model, "local/llama")
        self.assertIsNone(model.base_url)

    def test_image(self) -> None:
        """An explicit length of 0 marks an image model."""
        model = self.models["black-forest-labs/FLUX.1-schnell"]
        self.assertEqual((model.kind, model.max_request_length), ("image", None))
        self.assertEqual(self.models["gemini-1.5-flash"].kind, "chat")
        self.assertEqual(self.models["local/llama"].kind, "chat")

    def test_no_secret_shown(self) -> None:
        """Neither ``repr`` nor the report shows a token."""
        for shown in (repr(self.loaded_config), describe(self.loaded_config, datetime.now(UTC))):
            for secret in (
                "cf-secret",
                "google-secret",
                "clientSecret",
                "gsk-secret",
                "1234567890",
            ):
                self.assertNotIn(secret, shown)
