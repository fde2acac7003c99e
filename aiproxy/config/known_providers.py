"""
The provider types that are known by name: where they are and which key they take.

A row is all that a provider with OpenAI's chat completions needs.  Base URLs
and variables are those of the providers' own pages and client libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from attrs import frozen

__all__ = [
    "CHAOS",
    "ENTRY_POINTS",
    "GENERIC_DIALECT",
    "KNOWN_PROVIDERS",
    "PLUGIN_DIALECT",
    "KnownProvider",
    "add_provider_type",
    "find_known_provider",
]

#: The type for drills: an upstream in this process that misbehaves.
CHAOS = "chaos"
#: What a type that is not in the table speaks.
GENERIC_DIALECT = "openai"
#: Of types whose adapter comes from elsewhere; what it speaks is its own matter.
PLUGIN_DIALECT = "plugin"
#: The group of packaging entry points that bring types; each is named like its type.
ENTRY_POINTS = "aiproxy.providers"


@frozen
class KnownProvider:
    """
    One provider type.

    :param name: the type, as in ``providers.NAME.type``.
    :param base_url: where it is; ``None`` where that depends on the account and
        ``base_url`` must be configured.  ``{account_id}`` stands for the account.
    :param token_variables: environment variables that hold its key, the first
        that is set counts.
    :param aliases: other spellings of the type.
    :param dialect: the conversion that it needs.
    :param chat_route: what is appended to ``base_url`` for chat.
    :param needs_token: False for a server of one's own that takes any key.
    :param key_header: the header for the key; ``authorization`` means
        ``Bearer`` before it.
    """

    name: str
    base_url: str | None
    token_variables: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    dialect: str = GENERIC_DIALECT
    chat_route: str = "/chat/completions"
    needs_token: bool = True
    key_header: str = "authorization"


_ROWS = (
    # --- with a dialect of their own --------------------------------------------
    KnownProvider("demo", None, dialect="demo", needs_token=False),
    KnownProvider(
        "google",
        "https://generativelanguage.googleapis.com/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        aliases=("gemini",),
        dialect="google",
        chat_route="/models/{model}:generateContent",
        key_header="x-goog-api-key",
    ),
    KnownProvider(
        "anthropic",
        "https://api.anthropic.com/v1",
        ("ANTHROPIC_API_KEY",),
        dialect="anthropic",
        chat_route="/messages",
        key_header="x-api-key",
    ),
    KnownProvider(
        "cohere",
        "https://api.cohere.com/v2",
        ("COHERE_API_KEY", "CO_API_KEY"),
        dialect="cohere",
        chat_route="/chat",
    ),
    KnownProvider(
        "gigachat",
        "https://gigachat.devices.sberbank.ru/api/v1",
        ("GIGACHAT_CREDENTIALS",),
        dialect="gigachat",
    ),
    KnownProvider(
        "cloudflare",
        "https://api.cloudflare.com/client/v4/accounts/{account_id}/ai/v1",
        ("CLOUDFLARE_API_TOKEN",),
        dialect="cloudflare",
    ),
    # --- OpenAI's own form --------------------------------------------------------
    KnownProvider("openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    KnownProvider("openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    KnownProvider("groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    KnownProvider("mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    KnownProvider("deepseek", "https://api.deepseek.com", ("DEEPSEEK_API_KEY",)),
    KnownProvider("xai", "https://api.x.ai/v1", ("XAI_API_KEY",)),
    KnownProvider("cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    KnownProvider(
        "huggingface",
        "https://router.huggingface.co/v1",
        ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        aliases=("hf",),
    ),
    KnownProvider("github", "https://models.github.ai/inference", ("GITHUB_TOKEN",)),
    KnownProvider("together", "https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
    KnownProvider("fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
    KnownProvider(
        "perplexity", "https://api.perplexity.ai", ("PERPLEXITY_API_KEY", "PPLX_API_KEY")
    ),
    KnownProvider("zai", "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY", "Z_AI_API_KEY")),
    KnownProvider("arliai", "https://api.arliai.com/v1", ("ARLIAI_API_KEY",)),
    KnownProvider("aimlapi", "https://api.aimlapi.com/v1", ("AIMLAPI_KEY", "AIML_API_KEY")),
    KnownProvider("glama", "https://glama.ai/api/gateway/openai/v1", ("GLAMA_API_KEY",)),
    KnownProvider("sambanova", "https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",)),
    KnownProvider("nvidia", "https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",)),
    KnownProvider(
        "deepinfra", "https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN")
    ),
    KnownProvider("hyperbolic", "https://api.hyperbolic.xyz/v1", ("HYPERBOLIC_API_KEY",)),
    KnownProvider("moonshot", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",)),
    KnownProvider("azure", None, ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"), key_header="api-key"),
    # --- servers of one's own -----------------------------------------------------
    KnownProvider("ollama", "http://localhost:11434/v1", needs_token=False),
    KnownProvider("vllm", "http://localhost:8000/v1", needs_token=False),
    KnownProvider("lmstudio", "http://localhost:1234/v1", needs_token=False),
)

#: Every row by its name, in the order of the table.
KNOWN_PROVIDERS: Mapping[str, KnownProvider] = MappingProxyType({row.name: row for row in _ROWS})

#: In no table of providers, for nobody is there.
_CHAOS = KnownProvider(CHAOS, None, dialect=PLUGIN_DIALECT, needs_token=False)

_BY_SPELLING = {spelling: row for row in (*_ROWS, _CHAOS) for spelling in (row.name, *row.aliases)}


#: Types that were added in this process.
_added: dict[str, KnownProvider] = {}


def add_provider_type(name: str) -> None:
    """
    Let configurations name a type whose adapter comes from elsewhere.

    :raises ValueError: a built-in type has this name.
    """
    if name in _BY_SPELLING:
        raise ValueError(f"{name!r} is a built-in type of provider")
    _added[name] = _plugin(name)


def find_known_provider(type_name: str) -> KnownProvider | None:
    """Return the row for a type or one of its aliases; ``None`` for any other name."""
    row = _BY_SPELLING.get(type_name) or _added.get(type_name)
    if row is None and type_name in _packaged_types():
        row = _plugin(type_name)
    return row


def _plugin(name: str) -> KnownProvider:
    return KnownProvider(name, None, dialect=PLUGIN_DIALECT, needs_token=False)


@cache
def _packaged_types() -> frozenset[str]:
    """Give the types that installed packages bring."""
    return frozenset(entry.name for entry in entry_points(group=ENTRY_POINTS))
