"""
LiteLLM's providers by their prefixes, and what they are called here.

Sources: LiteLLM's ``get_llm_provider_logic.py`` and the pages of its providers
(docs.litellm.ai/docs/providers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from attrs import frozen

from aiproxy.config.known_providers import KNOWN_PROVIDERS, find_known_provider
from aiproxy.wire.urls import origin, read_url

__all__ = [
    "OWN_SERVER",
    "UPSTREAMS",
    "WITHOUT_ADAPTER",
    "Upstream",
    "default_base_url",
    "find_upstream",
    "fit_base_url",
    "labels_of",
    "prefix_of",
    "type_at",
]

#: Stands for the type of an OpenAI-compatible server that has none here.
OWN_SERVER = ""
_AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")


@frozen
class Upstream:
    """
    What a prefix of LiteLLM's means.

    :param type: our type, or :data:`OWN_SERVER`.
    :param base_url: where it is if the file does not say so; ``None`` where our type knows.
    :param token_variable: what LiteLLM reads the key from, where our type reads another.
    :param routes: what may stand at the end of an ``api_base`` and is appended by us.
    :param tail: what our base URL must end with; LiteLLM appends it itself.
    """

    type: str
    base_url: str | None = None
    token_variable: str | None = None
    routes: tuple[str, ...] = ("/chat/completions",)
    tail: str = ""


_SAME = (
    *("openrouter", "groq", "deepseek", "xai", "cerebras", "perplexity", "zai", "sambanova"),
    *("deepinfra", "hyperbolic", "moonshot", "gigachat"),
)
_OPENAI = Upstream("openai")
_OLLAMA = Upstream("ollama", "${OLLAMA_API_BASE:-http://localhost:11434}/v1", tail="/v1")
_ANTHROPIC = Upstream("anthropic", routes=("/messages",), tail="/v1")
_COHERE = Upstream("cohere", routes=("/chat", "/v1"), tail="/v2")
_AZURE = Upstream("azure", "${AZURE_API_BASE}")

UPSTREAMS = {
    **{name: Upstream(name) for name in _SAME},
    "openai": _OPENAI,
    "text-completion-openai": _OPENAI,
    "custom_openai": _OPENAI,
    "azure": _AZURE,
    "azure_text": _AZURE,
    "azure_ai": Upstream("azure", "${AZURE_AI_API_BASE}", "AZURE_AI_API_KEY"),
    "gemini": Upstream("google", routes=()),
    "anthropic": _ANTHROPIC,
    "anthropic_text": _ANTHROPIC,
    "cohere": _COHERE,
    "cohere_chat": _COHERE,
    "mistral": Upstream("mistral", tail="/v1"),
    "huggingface": Upstream("huggingface", tail="/v1"),
    "together_ai": Upstream("together"),
    "fireworks_ai": Upstream("fireworks"),
    "nvidia_nim": Upstream("nvidia", token_variable="NVIDIA_NIM_API_KEY"),
    "aiml": Upstream("aimlapi"),
    "github": Upstream("github", token_variable="GITHUB_API_KEY"),
    "cloudflare": Upstream("cloudflare", token_variable="CLOUDFLARE_API_KEY"),
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
    "hosted_vllm": Upstream("vllm", "${HOSTED_VLLM_API_BASE:-http://localhost:8000/v1}"),
    "lm_studio": Upstream("lmstudio", "${LM_STUDIO_API_BASE:-http://localhost:1234/v1}"),
    # --- OpenAI-compatible, without a type here --------------------------------------
    "openai_like": Upstream(OWN_SERVER),
    "xinference": Upstream(OWN_SERVER),
    "llamafile": Upstream(OWN_SERVER, "http://127.0.0.1:8080/v1"),
    "litellm_proxy": Upstream(OWN_SERVER, "${LITELLM_PROXY_API_BASE}", "LITELLM_PROXY_API_KEY"),
    "meta_llama": Upstream(OWN_SERVER, "https://api.llama.com/compat/v1", "LLAMA_API_KEY"),
    "volcengine": Upstream(
        OWN_SERVER, "https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY"
    ),
    "friendliai": Upstream(
        OWN_SERVER, "https://api.friendli.ai/serverless/v1", "FRIENDLIAI_API_KEY"
    ),
}

#: With an API of their own that there is no adapter for, whatever their URL.
WITHOUT_ADAPTER = frozenset(
    (
        *("bedrock", "bedrock_converse", "sagemaker", "sagemaker_chat", "sagemaker_nova"),
        *("vertex_ai", "vertex_ai_beta", "palm", "watsonx", "watsonx_text", "oci", "sap"),
        *("replicate", "nlp_cloud", "aleph_alpha", "petals", "triton", "predibase", "maritalk"),
        *(
            "databricks",
            "snowflake",
            "clarifai",
            "baseten",
            "ai21",
            "voyage",
            "jina_ai",
            "infinity",
        ),
        *("deepgram", "elevenlabs", "assemblyai", "fal_ai", "recraft", "stability", "runwayml"),
    )
)

_BARE = (
    # A name without a prefix, as LiteLLM's list of models has it.
    (
        "openai",
        r"gpt-.*|chatgpt-.*|o[1-9](-.*)?|ft:.*|text-embedding-.*|dall-e-.*|whisper-.*|tts-.*"
        r"|(omni|text)-moderation-.*|(davinci|babbage)-002|codex-.*|computer-use-.*|\*",
    ),
    ("anthropic", r"claude-.*"),
    ("cohere", r"command.*|embed-.*|rerank-.*"),
    ("vertex_ai", r"gemini-.*"),
)


def find_upstream(model: str, provider: str | None) -> tuple[str, str]:
    """
    Split a ``litellm_params.model`` into LiteLLM's provider and the provider's name for it.

    :param provider: ``custom_llm_provider``, which goes before the prefix.
    :return: both; the provider is empty where the name does not tell it.
    """
    prefix, slash, rest = model.partition("/")
    if provider:
        return provider, rest if slash and prefix == provider else model
    if slash and (prefix in UPSTREAMS or re.fullmatch("[a-z][a-z0-9_]{1,30}", prefix)):
        return prefix, rest
    for name, pattern in _BARE:
        if re.fullmatch(pattern, model):
            return name, model
    return "", model


def type_at(base_url: str) -> str:
    """Return the type that is known to live at a URL, or :data:`OWN_SERVER`."""
    host = urlsplit(base_url).hostname or ""
    if host.endswith(_AZURE_HOSTS):
        return "azure"
    for known in KNOWN_PROVIDERS.values():
        if known.needs_token and known.base_url and origin(known.base_url) == origin(base_url):
            return known.name
    return OWN_SERVER


def fit_base_url(api_base: str, upstream: Upstream) -> str:
    """
    Return LiteLLM's ``api_base`` as our base URL: without the route, with the version.

    :raises ValueError: it is no URL; the text is not in the message.
    """
    url = read_url(api_base)
    if urlsplit(url).query:
        return url
    url = url.rstrip("/")
    for route in upstream.routes:
        url = url.removesuffix(route).rstrip("/")
    return read_url(url if url.endswith(upstream.tail) else f"{url}{upstream.tail}")


def prefix_of(type_name: str) -> str:
    """Return the prefix that LiteLLM's clients know one of our types by."""
    return next((name for name, row in UPSTREAMS.items() if row.type == type_name), type_name)


def default_base_url(type_name: str) -> str | None:
    """Return the URL that our type has by itself."""
    known = find_known_provider(type_name)
    return known.base_url if known else None


def labels_of(base_url: str) -> Iterator[str]:
    """Yield names for a server by its URL: the host's first part, then the host with its port."""
    reference = re.match(r"\$\{([A-Za-z0-9_]+)", base_url)
    if reference:
        yield reference[1].lower().removesuffix("_api_base")
        return
    parts = urlsplit(base_url)
    host = re.sub("[^a-z0-9.-]", "-", parts.hostname or "").strip("-") or "server"
    if not re.fullmatch("[0-9.-]+", host):
        yield host.partition(".")[0]
    yield host
    if parts.port:
        yield f"{host}-{parts.port}"
