"""Entries of ``model_list``: where they lead, and with which key."""

from __future__ import annotations

from tests.convert.converting import ConvertingTestCase


class PrefixTests(ConvertingTestCase):
    """The prefix of a model tells the provider."""

    def test_prefixes(self) -> None:
        """Each prefix has its type here, and the name upstream lacks it."""
        for model, type_name, upstream in (
            ("openai/gpt-4o", "openai", "gpt-4o"),
            ("text-completion-openai/gpt-3.5-turbo-instruct", "openai", "gpt-3.5-turbo-instruct"),
            ("anthropic/claude-sonnet-4-0", "anthropic", "claude-sonnet-4-0"),
            ("gemini/gemini-2.0-flash", "google", "gemini-2.0-flash"),
            ("groq/llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile"),
            ("openrouter/meta-llama/llama-3-8b", "openrouter", "meta-llama/llama-3-8b"),
            ("cohere/command-r", "cohere", "command-r"),
            ("cohere_chat/command-r", "cohere", "command-r"),
            ("mistral/mistral-small-latest", "mistral", "mistral-small-latest"),
            ("deepseek/deepseek-chat", "deepseek", "deepseek-chat"),
            ("xai/grok-4", "xai", "grok-4"),
            ("ollama/llama3", "ollama", "llama3"),
            ("ollama_chat/llama3", "ollama", "llama3"),
            ("hosted_vllm/facebook/opt-125m", "vllm", "facebook/opt-125m"),
            ("lm_studio/qwen", "lmstudio", "qwen"),
            ("huggingface/Qwen/Qwen3-8B", "huggingface", "Qwen/Qwen3-8B"),
            ("huggingface/together/Qwen/Qwen3-8B", "huggingface", "Qwen/Qwen3-8B:together"),
            ("together_ai/Qwen/Qwen3-8B", "together", "Qwen/Qwen3-8B"),
            ("fireworks_ai/qwen3", "fireworks", "accounts/fireworks/models/qwen3"),
            ("fireworks_ai/accounts/me/models/x", "fireworks", "accounts/me/models/x"),
            ("perplexity/sonar", "perplexity", "sonar"),
            ("cerebras/llama3.1-8b", "cerebras", "llama3.1-8b"),
            ("cloudflare/@cf/meta/llama-3-8b", "cloudflare", "@cf/meta/llama-3-8b"),
            ("nvidia_nim/meta/llama3-8b", "nvidia", "meta/llama3-8b"),
            ("aiml/gpt-4o", "aimlapi", "gpt-4o"),
            ("gigachat/GigaChat-2", "gigachat", "GigaChat-2"),
        ):
            outcome = self.of_model(f"model: '{model}'")
            found = outcome.models["m"]
            self.assertEqual((found.provider_type, found.upstream_model), (type_name, upstream))
            self.assertEqual(outcome.notes, [])

    def test_bare_names(self) -> None:
        """A name without a prefix is known by its family."""
        for model, type_name in (
            ("gpt-4o", "openai"),
            ("o3-mini", "openai"),
            ("ft:gpt-4o:me::1", "openai"),
            ("text-embedding-3-small", "openai"),
            ("claude-3-5-haiku-latest", "anthropic"),
            ("command-r-plus", "cohere"),
        ):
            found = self.of_model(f"model: '{model}'").models["m"]
            self.assertEqual((found.provider_type, found.upstream_model), (type_name, model))

    def test_custom_provider(self) -> None:
        """``custom_llm_provider`` goes before the prefix, which it may repeat."""
        for model, upstream in (("groq/x", "x"), ("meta/x", "meta/x"), ("x", "x")):
            found = self.of_model(f"model: {model}, custom_llm_provider: groq").models["m"]
            self.assertEqual((found.provider, found.upstream_model), ("groq", upstream))

    def test_api_in_the_name(self) -> None:
        """What LiteLLM is told of the API is no part of the name."""
        outcome = self.of_model("model: openai/responses/gpt-5")
        self.assertEqual(outcome.models["m"].upstream_model, "gpt-5")
        self.assertIn("`responses/` is left out", outcome.notes[0])

    def test_no_provider(self) -> None:
        """A provider without an adapter, or none at all, is left out with a note."""
        for params, said in (
            ("model: bedrock/claude", "for the provider `bedrock` is left out"),
            ("model: sagemaker/x, api_base: 'https://e.example'", "`sagemaker` is left out"),
            ("model: gemini-1.5-pro", "with a GEMINI_API_KEY the provider `google`"),
            ("model: my-model", "whose provider is not told is left out; if it has OpenAI's API"),
            ("model: novita/x", "for the provider `novita` is left out; if it has OpenAI's API"),
            ("model: xinference/x", "needs an `api_base`"),
            ("model: openai/", "does not name a model"),
        ):
            outcome = self.of_model(params)
            self.assertEqual(outcome.config.models, ())
            self.assertIn(said, outcome.notes[0])
            self.assertTrue(outcome.notes[0].startswith("3 not taken over model_list[]."))

    def test_unknown_provider_with_a_server(self) -> None:
        """Where there is an ``api_base``, OpenAI's API is taken for granted, and said so."""
        outcome = self.of_model("model: novita/x, api_base: 'https://api.novita.example/v3'")
        self.assertEqual(outcome.models["m"].base_url, "https://api.novita.example/v3")
        self.assertIn("taken to have OpenAI's API", outcome.notes[0])


class ServerTests(ConvertingTestCase):
    """``api_base`` and ``api_version``."""

    def test_base_urls(self) -> None:
        """What LiteLLM appends itself stands in our base URL, what we append does not."""
        for model, api_base, base_url in (
            ("ollama/x", "http://o.example:11434", "http://o.example:11434/v1"),
            ("ollama/x", "http://o.example:11434/v1/", "http://o.example:11434/v1"),
            ("anthropic/x", "https://a.example", "https://a.example/v1"),
            ("anthropic/x", "https://a.example/v1/messages", "https://a.example/v1"),
            ("mistral/x", "https://m.example", "https://m.example/v1"),
            ("huggingface/x", "https://h.example", "https://h.example/v1"),
            ("cohere/x", "https://c.example/v1/chat", "https://c.example/v2"),
            ("hosted_vllm/x", "https://v.example/v1", "https://v.example/v1"),
            ("openai/x", "https://g.example/v1/chat/completions", "https://g.example/v1"),
            ("openai/x", "https://g.example/v1?key=1", "https://g.example/v1?key=1"),
            ("openai/x", "https://g.example/$/v1", "https://g.example/$/v1"),
            ("azure/x", "https://r.openai.azure.com/", "https://r.openai.azure.com"),
        ):
            found = self.of_model(f"model: {model}, api_base: '{api_base}'").models["m"]
            self.assertEqual(found.base_url, base_url)
            self.assertIsNone(found.disabled)

    def test_type_of_the_place(self) -> None:
        """Behind ``openai/`` may be anybody: known places have their type, others none."""
        for api_base, type_name in (
            ("https://api.groq.com/openai/v1", "groq"),
            ("https://r.services.ai.azure.com/models", "azure"),
            ("https://api.openai.com/v1", "openai"),
            ("http://gpu.example:8000/v1", "gpu"),
            ("http://10.0.0.1:8000/v1", "10.0.0.1"),
            ("http://ollama/v1", "ollama-2"),
        ):
            found = self.of_model(f"model: openai/x, api_base: '{api_base}', api_key: k")
            self.assertEqual(found.models["m"].provider_type, type_name)

    def test_azure_ai(self) -> None:
        """Azure AI is Azure where its URL says so, else a server of OpenAI's API."""
        for host, type_name in (("r.services.ai.azure.com", "azure"), ("x.ai.example", "x")):
            found = self.of_model(f"model: azure_ai/x, api_base: 'https://{host}/'").models["m"]
            self.assertEqual(found.provider_type, type_name)
            self.assertEqual(found.tokens[0].reveal(), "7")

    def test_variables(self) -> None:
        """A base URL from the environment stays there; what is appended is told."""
        env = {"BASE": "http://b.example"}
        outcome = self.of_model("model: ollama/x, api_base: os.environ/BASE", env=env)
        self.assertEqual(outcome.models["m"].base_url, "http://b.example/v1")
        self.assertIn("must not end in `/v1`", outcome.notes[0])
        outcome = self.of_model("model: openai/x, api_base: os.environ/BASE", env=env)
        self.assertEqual(outcome.models["m"].base_url, "http://b.example")
        self.assertEqual((outcome.models["m"].provider, outcome.notes), ("base", []))

    def test_variables_that_litellm_reads(self) -> None:
        """Where nothing is written, LiteLLM's own variables count."""
        env = {
            "AZURE_API_BASE": "https://r.openai.azure.com",
            "OLLAMA_API_BASE": "http://o.example",
            "CLOUDFLARE_API_KEY": "cf",
        }
        for model, base_url in (
            ("azure/x", "https://r.openai.azure.com"),
            ("ollama/x", "http://o.example/v1"),
            ("lm_studio/x", "http://localhost:1234/v1"),
        ):
            found = self.of_model(f"model: {model}", env=env).models["m"]
            self.assertEqual(found.base_url, base_url)
        found = self.of_model("model: cloudflare/x", env=env).models["m"]
        self.assertEqual([token.reveal() for token in found.tokens], ["cf"])

    def test_version(self) -> None:
        """``api_version`` is Azure's; elsewhere it is noted."""
        outcome = self.of_model(
            "model: azure/x, api_base: 'https://r.openai.azure.com', api_version: '2024-10-21'"
        )
        self.assertEqual((outcome.models["m"].api_version, outcome.notes), ("2024-10-21", []))
        outcome = self.of_model("model: openai/x, api_version: '1'")
        self.assertIsNone(outcome.models["m"].api_version)
        self.assertIn("litellm_params.api_version: only Azure", outcome.notes[0])

    def test_secret_in_the_url(self) -> None:
        """A base URL may hold a secret too."""
        for api_base in ("https://me:pw@g.example/v1", "https://g.example/v1?api-key=pw"):
            [note] = self.of_model(f"model: openai/x, api_base: '{api_base}'").notes
            self.assertIn("3 secret model_list[].litellm_params.api_base: ", note)
            self.assertNotIn("pw", note)

    def test_no_url(self) -> None:
        """A base URL that is none, such as a placeholder, takes the entry with it."""
        for api_base in ("your-api-base", "http:///v1", "http://chat/completions", "[1]"):
            outcome = self.of_model(f"model: openai/x, api_base: {api_base}")
            self.assertEqual(outcome.config.models, ())
            self.assertIn("api_base: ", outcome.notes[0])


class KeyTests(ConvertingTestCase):
    """``api_key`` and credentials."""

    def test_variable(self) -> None:
        """A key of the environment is a reference, and nothing is said of it."""
        outcome = self.of_model("model: openai/x, api_key: os.environ/MY_KEY", env={"MY_KEY": "k1"})
        self.assertEqual(outcome.models["m"].tokens[0].reveal(), "k1")
        self.assertIn("token: ${MY_KEY}\n", outcome.text)
        self.assertEqual(outcome.notes, [])

    def test_own_variable(self) -> None:
        """The variable that our type reads anyway is not written."""
        outcome = self.of_model("model: groq/x, api_key: os.environ/GROQ_API_KEY")
        self.assertEqual(outcome.models["m"].tokens[0].reveal(), "gsk-1")
        self.assertNotIn("token", outcome.text)

    def test_literal(self) -> None:
        """A key in the open stays as it is, dollars and all, with a warning that hides it."""
        outcome = self.of_model("model: openai/x, api_key: 'sk-$${a}$1'")
        self.assertEqual(outcome.models["m"].tokens[0].reveal(), "sk-$${a}$1")
        [note] = outcome.notes
        self.assertIn("3 secret model_list[].litellm_params.api_key: stands here in the open", note)
        self.assertNotIn("sk-", note)

    def test_no_key(self) -> None:
        """What cannot be a key is left out."""
        outcome = self.of_model("model: ollama/x, api_key: 'two words'")
        self.assertEqual(outcome.models["m"].tokens, ())
        self.assertIn("must be one word", outcome.notes[0])

    def test_two_keys(self) -> None:
        """Models of one place with different keys have their own."""
        outcome = self.outcome(
            """
            model_list:
            - model_name: a
              litellm_params: {model: groq/x, api_key: os.environ/ONE}
            - model_name: b
              litellm_params: {model: groq/x, api_key: os.environ/TWO}
            """,
            env={"ONE": "1", "TWO": "2"},
        )
        tokens = {name: model.tokens[0].reveal() for name, model in outcome.models.items()}
        self.assertEqual(tokens, {"a": "1", "b": "2"})
        self.assertEqual(list(outcome.config.providers), ["groq"])

    def test_credentials(self) -> None:
        """``litellm_credential_name`` stands for values of ``credential_list``."""
        rest = """
credential_list:
- credential_name: eu
  credential_values: {api_key: os.environ/K, api_base: 'https://r.openai.azure.com'}
  credential_info: {description: EU}
"""
        outcome = self.of_model("model: azure/x, litellm_credential_name: eu", rest)
        model = outcome.models["m"]
        self.assertEqual((model.base_url, len(model.tokens)), ("https://r.openai.azure.com", 1))
        self.assertEqual(outcome.notes, [])
        outcome = self.of_model("model: openai/x, litellm_credential_name: us", rest)
        self.assertIn("`credential_list` has no such credential", outcome.notes[0])


class NameTests(ConvertingTestCase):
    """``model_name`` and the shape of entries."""

    def test_impossible_names(self) -> None:
        """Names that no model can have here are noted."""
        for name in ("BIG", "SMALL", "'a*b'", "'fo::*:static::*'", '"a\\tb"'):
            outcome = self.outcome(
                f"model_list:\n- model_name: {name}\n  litellm_params: {{model: 'openai/*'}}"
            )
            self.assertEqual(outcome.config.models, ())
            self.assertIn("2 not taken over model_list[].model_name: ", outcome.notes[0])

    def test_half_a_wildcard(self) -> None:
        """A wildcard needs one on both sides."""
        for name, model in (("x", "openai/*"), ("x/*", "openai/x")):
            outcome = self.outcome(
                f"model_list:\n- model_name: '{name}'\n  litellm_params: {{model: '{model}'}}"
            )
            self.assertEqual(outcome.config.models, ())
            self.assertIn("need a `*` both, or neither", outcome.notes[0])

    def test_shapes(self) -> None:
        """What LiteLLM would not take either is a mistake, with its line."""
        for entry, said in (
            ("- 1", "2: model_list[]: must be a mapping with `model_name` and `litellm_params`"),
            ("- litellm_params: {model: x}", "2: model_list[]: needs a `model_name`"),
            ("- model_name: x", "2: model_list[]: needs `litellm_params` with a `model`"),
            ("- {model_name: x, litellm_params: []}", "needs `litellm_params` with a `model`"),
            ("- {model_name: x, litellm_params: {a: 1}}", "needs `litellm_params` with a `model`"),
        ):
            [mistake] = self.mistakes(f"model_list:\n{entry}")
            self.assertTrue(mistake.startswith("l.yaml:2: model_list[]: "))
            self.assertIn(said, mistake)

    def test_beside(self) -> None:
        """Limits may stand beside ``litellm_params``; anything else there is noted."""
        outcome = self.of_model("model: openai/x", "  rpm: 5\n  tpm: 6\n  owner: me")
        limits = outcome.models["m"].limits
        self.assertEqual((limits.requests_per_minute, limits.tokens_per_minute), (5, 6))
        self.assertEqual(outcome.notes, ["6 not taken over model_list[].owner: has no counterpart"])
