"""
In what OpenAI's family of providers differs from OpenAI's reference, on the request's side.

One row for each type of provider, as data; :mod:`aiproxy.dialects.openai`
applies it.  What is put right in answers is the same for all of them and
stands in :mod:`aiproxy.dialects.openai_repairs`.  A type without a row is
somebody's own server or a gateway to anything: nothing is changed for it.

Sources: the providers' API references, recorded traffic (rec), and answers
that users have published (pub).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

__all__ = ["Quirks", "quirks_of"]


@frozen
class Quirks:
    """
    What a provider takes in another way than OpenAI, or not at all.

    Patterns are matched at the beginning of the upstream's name of the model.

    :param drops: fields that it refuses: left out, and named as dropped if
        they ask for anything.
    :param excludes: pairs of fields that it refuses together: the second is
        left out, and named.
    :param renames: its names for fields of the request.
    :param renames_for: the models that the renaming is for; ``None``: all.
    :param message_drops: as ``drops``, of messages.
    :param message_renames: as ``renames``, of messages.
    :param keeps_extra: whose ``extra_content`` it takes in messages and tool
        calls; what other providers have left there for themselves is stripped
        without a word, for the caller did not ask for it.  ``None``: anybody's.
    :param one_choice: it refuses ``n`` other than 1.
    :param cuts_for: models that refuse ``stop``: their answers are cut here.
    :param parses_for: models whose thoughts would stand in the text; they are
        asked for in a field of their own (``reasoning_format``, Groq) where
        the caller asks for reasoning and does not say how.
    :param nests_effort: ``reasoning_effort`` stands in ``reasoning`` (OpenRouter).
    """

    drops: tuple[str, ...] = ()
    excludes: tuple[tuple[str, str], ...] = ()
    renames: Mapping[str, str] = field(factory=dict, hash=False)
    renames_for: re.Pattern[str] | None = None
    message_drops: tuple[str, ...] = ()
    message_renames: Mapping[str, str] = field(factory=dict, hash=False)
    keeps_extra: tuple[str, ...] | None = None
    one_choice: bool = False
    cuts_for: re.Pattern[str] | None = None
    parses_for: re.Pattern[str] | None = None
    nests_effort: bool = False


#: The fields in which answers tell thoughts, and clients send them back.
_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details")

#: A type that is known to keep to the reference, as far as anybody has seen.
_PLAIN: Final = Quirks(keeps_extra=())

_ROWS: Final[Mapping[str, Quirks]] = {
    "openai": Quirks(
        # No fields of OpenAI's; other providers refuse such as well.
        message_drops=_THOUGHTS,
        keeps_extra=(),
        # "Use 'max_completion_tokens' instead": reasoning models.
        renames={"max_tokens": "max_completion_tokens"},
        renames_for=re.compile(r"(?:ft:)?(?:o[1-9]|gpt-5(?!-chat))"),
        # "Not supported with latest reasoning models o3 and o4-mini", and GPT-5 (rec).
        cuts_for=re.compile(r"(?:ft:)?(?:o3(?!-mini)|o4-mini|gpt-5(?!-chat))"),
    ),
    "openrouter": Quirks(
        # ``reasoning_details`` go back as they came.
        message_renames={"reasoning_content": "reasoning"},
        keeps_extra=(),
        excludes=(("reasoning", "reasoning_effort"),),
        nests_effort=True,
    ),
    "groq": Quirks(
        drops=("logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty"),
        message_drops=("name", "reasoning_details"),
        # "property 'reasoning_content' is unsupported" (pub).
        message_renames={"reasoning_content": "reasoning"},
        keeps_extra=(),
        one_choice=True,
        excludes=(("reasoning_format", "include_reasoning"),),
        # GPT-OSS takes ``include_reasoning`` only, and has it on by itself.
        parses_for=re.compile(r"(?:[^/]*/)?(?:qwen|deepseek-r1)", re.IGNORECASE),
    ),
    # The compatible endpoint of the Gemini API, which refuses names that it does not know:
    # 'Unknown name "frequency_penalty": Cannot find field.' (pub).
    "google": Quirks(
        drops=("frequency_penalty",),
        message_drops=_THOUGHTS,
        keeps_extra=("google",),
    ),
    **dict.fromkeys(
        (
            *("aimlapi", "anthropic", "arliai", "azure", "cerebras", "cloudflare", "cohere"),
            *("deepinfra", "deepseek", "fireworks", "gigachat", "github", "glama", "huggingface"),
            *("hyperbolic", "lmstudio", "mistral", "moonshot", "nvidia", "ollama", "perplexity"),
            *("sambanova", "together", "vllm", "xai", "zai"),
        ),
        _PLAIN,
    ),
}


def quirks_of(provider_type: str) -> Quirks:
    """
    Give the row of a type of provider.

    :param provider_type: canonical, as :class:`aiproxy.config.schema.Model` has it.
    """
    return _ROWS.get(provider_type, Quirks())
