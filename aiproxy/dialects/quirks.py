"""
In what OpenAI's family of providers differs from OpenAI's reference, on the request's side.

One row for each type of provider, as data; :mod:`aiproxy.dialects.openai_request`
applies it.  What is put right in answers is the same for all of them and
stands in :mod:`aiproxy.dialects.openai_repairs`.  A type without a row is
somebody's own server or a gateway to anything: nothing is changed for it.

Sources: the providers' API references and client libraries, recorded traffic
(rec), and answers that users have published (pub).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

__all__ = ["Quirks", "Schemas", "quirks_of"]

#: How a JSON schema is asked for: as OpenAI does, in words beside JSON mode
#: (DeepSeek), or bare in ``value`` (Text Generation Inference).
Schemas: TypeAlias = Literal["named", "words", "value"]


@frozen
class Quirks:
    """
    What a provider takes in another way than OpenAI, or not at all.

    Patterns are matched at the beginning of the upstream's name of the model.

    :param drops: fields that it refuses, or passes over: left out, and named
        as dropped if they ask for anything.
    :param drops_for: as ``drops``, of some models.
    :param excludes: pairs of fields that it refuses together: the second is
        left out, and named.
    :param renames: its names for fields of the request.
    :param renames_for: the models that the renaming is for; ``None``: all.
    :param old_limit: it knows ``max_tokens`` only; the caller's newer limit
        goes before the older one.
    :param usage_unasked: it tells usage in streams of itself, and refuses ``stream_options``.
    :param system_only: it knows no role ``developer``, and gets ``system``.
    :param efforts_for: its words for values of ``reasoning_effort``, of some models; the
        first pattern that matches counts.
    :param tiers: its words for values of ``service_tier``; for others it has none.
        ``None``: it has OpenAI's.
    :param nests_effort: ``reasoning_effort`` stands in ``reasoning`` (OpenRouter).
    :param schemas: how it takes a JSON schema.
    :param requires: its word for ``tool_choice: required``.
    :param names_no_tool_for: models whose ``tool_choice`` is a word only: where a
        certain tool is asked for, they get no other.
    :param ignores_choice: it passes over ``tool_choice``: for ``none`` it gets no
        tools, anything but ``auto`` else is named as dropped.
    :param short_ids: ids of tool calls are nine letters and digits; others are
        replaced, the same ones by the same.
    :param message_drops: as ``drops``, of messages.
    :param message_renames: as ``renames``, of messages.
    :param call_drops: what only answers have in a tool call or its function, and it
        refuses: left out without a word.
    :param links_documents: a part with a file is its ``document_url``.
    :param thoughts_for: models that want ``reasoning_content``, if only an empty
        one, in each message with tool calls.
    :param keeps_extra: whose ``extra_content`` it takes in messages and tool
        calls; what other providers have left there for themselves is stripped
        without a word, for the caller did not ask for it.  ``None``: anybody's.
    :param one_choice: it refuses ``n`` other than 1, or passes it over.
    :param cuts_for: models that refuse ``stop``: their answers are cut here.
    :param parses_for: models whose thoughts would stand in the text; they are
        asked for in a field of their own (``reasoning_format``, Groq) where
        the caller asks for reasoning and does not say how.
    :param fetches_images: it fetches images that are only named by a URL.
    :ivar request_fields: every field of a request, but messages and renames, that
        any of this is about.
    """

    drops: tuple[str, ...] = ()
    drops_for: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = ()
    excludes: tuple[tuple[str, str], ...] = ()
    renames: Mapping[str, str] = field(factory=dict, hash=False)
    renames_for: re.Pattern[str] | None = None
    old_limit: bool = False
    usage_unasked: bool = False
    system_only: bool = False
    efforts_for: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = field(
        default=(), hash=False
    )
    tiers: Mapping[str, str] | None = field(default=None, hash=False)
    nests_effort: bool = False
    schemas: Schemas = "named"
    requires: str = "required"
    names_no_tool_for: re.Pattern[str] | None = None
    ignores_choice: bool = False
    short_ids: bool = False
    message_drops: tuple[str, ...] = ()
    message_renames: Mapping[str, str] = field(factory=dict, hash=False)
    call_drops: tuple[str, ...] = ()
    links_documents: bool = False
    thoughts_for: re.Pattern[str] | None = None
    keeps_extra: tuple[str, ...] | None = None
    one_choice: bool = False
    cuts_for: re.Pattern[str] | None = None
    parses_for: re.Pattern[str] | None = None
    fetches_images: bool = True
    request_fields: frozenset[str] = field(init=False, eq=False, repr=False)

    def renames_any(self, request: Mapping[str, object], model: str) -> bool:
        """Whether a request has a field of another name here."""
        if self.renames.keys().isdisjoint(request):
            return False
        return self.renames_for is None or self.renames_for.match(model) is not None

    @request_fields.default
    def _gather_request_fields(self) -> frozenset[str]:
        names = {"reasoning_effort", "service_tier", "tool_choice", "response_format"}
        names.update(self.drops)
        names.update(name for _, dropped in self.drops_for for name in dropped)
        names.update(name for pair in self.excludes for name in pair)
        if self.old_limit:
            names.add("max_completion_tokens")
        if self.one_choice:
            names.add("n")
        return frozenset(names)


#: The fields in which answers tell thoughts, and clients send them back.
_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details")

#: What else answers hold, and clients send back, if only as null: OpenAI's, as its client
#: reads them; Groq's, OpenRouter's and ours.
_ANSWERED: Final = (
    *("refusal", "annotations", "audio", "parsed"),
    *("executed_tools", "images", "content_parts"),
)

#: So of their tool calls: the place in a stream, and what the client has parsed.
_CALLED: Final = ("index", "parsed_arguments")

#: A type that is known to keep to the reference, as far as anybody has seen.
_PLAIN: Final = Quirks(keeps_extra=())

_OPENAI: Final = Quirks(
    # No fields of OpenAI's; other providers refuse such as well.
    message_drops=_THOUGHTS,
    keeps_extra=(),
    # "Use 'max_completion_tokens' instead": reasoning models; GitHub's and Azure's too (pub).
    renames={"max_tokens": "max_completion_tokens"},
    renames_for=re.compile(r"(?:openai/)?(?:ft:)?(?:o[1-9]|gpt-5(?!-chat))"),
    # "Not supported with latest reasoning models o3 and o4-mini", and GPT-5 (rec).
    cuts_for=re.compile(r"(?:openai/)?(?:ft:)?(?:o3(?!-mini)|o4-mini|gpt-5(?!-chat))"),
)

_ROWS: Final[Mapping[str, Quirks]] = {
    "openai": _OPENAI,
    # OpenAI's and other vendors' models, in OpenAI's form.
    "github": Quirks(
        keeps_extra=(),
        renames=_OPENAI.renames,
        renames_for=_OPENAI.renames_for,
        cuts_for=_OPENAI.cuts_for,
    ),
    # The model is a deployment: that its name tells the model is a custom only.
    "azure": Quirks(
        keeps_extra=(),
        renames=_OPENAI.renames,
        renames_for=_OPENAI.renames_for,
        cuts_for=_OPENAI.cuts_for,
        # tool_choice: "Input should be a valid string" (rec).
        names_no_tool_for=re.compile(
            r"mai-|deepseek|grok|kimi|(?:meta-)?llama|(?:mi|mini|code)stral|mixtral|phi-|cohere|jamba",
            re.IGNORECASE,
        ),
    ),
    "openrouter": Quirks(
        # ``reasoning_details`` go back as they came.
        message_renames={"reasoning_content": "reasoning"},
        keeps_extra=(),
        excludes=(("reasoning", "reasoning_effort"),),
        nests_effort=True,
    ),
    "groq": Quirks(
        # The first are in its reference, but refused; the others are fields of OpenAI's that its
        # client does not know: "property 'prompt_cache_key' is unsupported" (pub).
        drops=(
            *("logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty"),
            *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "verbosity"),
            *("safety_identifier", "modalities", "audio", "prediction", "web_search_options"),
            "moderation",
        ),
        # "property 'annotations' is unsupported", and the like (pub), if they are null even.
        message_drops=("name", "reasoning_details", *_ANSWERED),
        message_renames={"reasoning_content": "reasoning"},
        call_drops=_CALLED,
        keeps_extra=(),
        one_choice=True,
        excludes=(("reasoning_format", "include_reasoning"),),
        # "`reasoning_effort` must be one of `none` or `default`" (pub): Qwen; GPT-OSS takes
        # low, medium and high.
        efforts_for=(
            (
                re.compile(r"(?:[^/]*/)?qwen", re.IGNORECASE),
                dict.fromkeys(("minimal", "low", "medium", "high", "xhigh", "max"), "default"),
            ),
            (
                re.compile(r"(?:[^/]*/)?gpt-oss", re.IGNORECASE),
                {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"},
            ),
        ),
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
    # "Extra inputs are not permitted" (pub), if they are null even: of the fields that
    # OpenAI knows, those that are not in the ChatCompletionRequest of Mistral's client.
    "mistral": Quirks(
        drops=(
            *("logit_bias", "user", "safety_identifier", "store", "verbosity", "modalities"),
            *("audio", "web_search_options", "functions", "function_call", "moderation"),
            *("prompt_cache_retention", "prompt_cache_options"),
        ),
        renames={"seed": "random_seed"},
        old_limit=True,
        usage_unasked=True,
        system_only=True,
        requires="any",
        # "must be a-z, A-Z, 0-9, with a length of 9" (pub).
        short_ids=True,
        # "none" and "high", say its guides, but for Large 4, which knows more.
        efforts_for=(
            (
                re.compile(r"(?!mistral-large-4)"),
                {
                    "minimal": "none",
                    **dict.fromkeys(("low", "medium", "xhigh", "max"), "high"),
                },
            ),
        ),
        tiers={"auto": "auto", "default": "standard_only", "standard_only": "standard_only"},
        # OpenAI's part with the data of a file is unknown; a URL may hold it (rec).
        links_documents=True,
        message_drops=("name", *_THOUGHTS, *_ANSWERED, "function_call"),
        # It takes an index (rec).
        call_drops=("parsed_arguments",),
        keeps_extra=(),
    ),
    "xai": Quirks(
        drops_for=(
            # "Argument not supported on this model: presencePenalty" (pub): from Grok 3 on.
            (
                re.compile(r"grok-(?:[3-9]|code|build)"),
                ("presence_penalty", "frequency_penalty"),
            ),
            # "does not support parameter reasoningEffort" (pub): many do not, reasoning or not.
            (
                re.compile(r"grok-(?:2|3(?!-mini)|4(?:-|$)|4\.20-\d|code)"),
                ("reasoning_effort",),
            ),
        ),
        # Low and high are all that it knows.
        efforts_for=(
            (
                re.compile(r"grok-3-mini"),
                {"none": "low", "minimal": "low", "medium": "high", "xhigh": "high"},
            ),
        ),
        # Reasoning models refuse ``stop``.
        cuts_for=re.compile(r"grok-(?:3-mini|code|build|[4-9](?!.*non-reasoning))"),
        keeps_extra=(),
    ),
    "deepseek": Quirks(
        # The newer limit is passed over, and "unknown variant `developer`" (pub).
        old_limit=True,
        system_only=True,
        # "This response_format type is unavailable now" (pub).
        schemas="words",
        # The first four have no effect on it, the others are refused.
        drops_for=(
            (
                re.compile("deepseek-reasoner"),
                (
                    *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
                    *("logprobs", "top_logprobs"),
                ),
            ),
        ),
        message_drops=("reasoning_details",),
        message_renames={"reasoning": "reasoning_content"},
        # "Must be passed back", or 400; an empty one is taken (rec).
        thoughts_for=re.compile("deepseek-(?!chat)"),
        keeps_extra=(),
    ),
    "cerebras": Quirks(
        # 400, by its page on OpenAI's client; "property … is unsupported" (pub).
        drops=("frequency_penalty", "presence_penalty", "logit_bias"),
        system_only=True,
        message_drops=("reasoning_details", *_ANSWERED, "function_call"),
        message_renames={"reasoning_content": "reasoning"},
        call_drops=_CALLED,
        keeps_extra=(),
    ),
    # "Extra inputs are not permitted, field: 'messages[2].reasoning'", "… 'verbosity'" (pub):
    # of the fields that OpenAI knows, those that its client does not.
    "fireworks": Quirks(
        drops=(
            *("audio", "modalities", "moderation", "prompt_cache_options", "store", "verbosity"),
            *("prompt_cache_retention", "safety_identifier", "web_search_options"),
        ),
        message_drops=("reasoning_details", *_ANSWERED, "function_call"),
        message_renames={"reasoning": "reasoning_content"},
        call_drops=_CALLED,
        keeps_extra=(),
    ),
    "perplexity": Quirks(
        # A factor, not a summand: 1 is none, and 0 is refused (pub).
        drops=("frequency_penalty",),
        old_limit=True,
        system_only=True,
        keeps_extra=(),
    ),
    # It passes over what it does not know, and takes images in the request only (its source).
    "ollama": Quirks(
        drops=("logit_bias", "user", "parallel_tool_calls"),
        old_limit=True,
        ignores_choice=True,
        one_choice=True,
        message_renames={"reasoning_content": "reasoning"},
        keeps_extra=(),
        fetches_images=False,
    ),
    # "'url' field must be a base64 encoded image" (pub).
    "lmstudio": Quirks(keeps_extra=(), fetches_images=False),
    **dict.fromkeys(
        (
            *("aimlapi", "anthropic", "arliai", "cloudflare", "cohere", "deepinfra"),
            *("gigachat", "glama", "huggingface", "hyperbolic", "moonshot", "nvidia"),
            *("sambanova", "together", "vllm", "zai"),
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
