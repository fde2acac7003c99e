"""
A provider's words, made fit for a caller: no page of HTML, no key, no end without sight.

What a provider says of an error helps whoever has to act on it, but some echo
parts of our key, some the whole prompt, and what stands before a provider
answers with pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["WORDS_LIMIT", "begin", "fit_words", "mask_keys", "read_words"]

#: Characters of a provider's message that are passed on.
WORDS_LIMIT: Final = 2_000

#: So much more is looked at, lest a key be cut before it is known for one.
_MARGIN: Final = 256

#: How deep a message is looked for in what stands in a message's place.
_LEVELS: Final = 6

#: Where a message stands in an object, likeliest first.
_MESSAGE_FIELDS: Final = ("message", "detail", "error", "msg", "errors", "title")

#: Of a text that was cut; there may be nothing else.
_LAST_WORD: Final = re.compile(r"(?<=\s)\S{1,256}\Z")
_PAGE: Final = re.compile(
    r"<\s{0,8}(?:!doctype|\?xml|/?(?:html|head|body|title|center|h1|div|p|pre|script|style)\b)",
    re.IGNORECASE,
)

_KEYS: Final = (
    # What is called a key (recorded: "Incorrect API key provided: …", "Your api key: … is invalid",
    # "API key ID: …").
    re.compile(
        r"(api[ _-]?key(?: id)?(?: provided)?[\"'`]?\s{0,4}[:=]\s{0,4}[\"'`]?)[^\s\"'`,;]+",
        re.IGNORECASE,
    ),
    re.compile(r"(\bbearer\s{1,4})[^\s\"'`,;]{6,}", re.IGNORECASE),
    # In a URL: credentials, or a parameter.
    re.compile(r"(://)[^/\s@]{1,256}(?=@)"),
    re.compile(r"([?&][\w-]{0,32}(?:key|token)=)[^&\s\"'`]+", re.IGNORECASE),
    # What looks like one: the providers' prefixes, Google's keys, a JSON Web Token, and what
    # a provider has masked itself but for its ends.
    re.compile(r"()\b(?:sk|pk|rk|gsk|csk|xai|pplx|hf|tgp|fw|nvapi|gh[opsu])[-_][\w-]{16,}"),
    re.compile(r"()\b(?:AIza[\w-]{20,}|eyJ[\w-]{10,}(?:\.[\w-]*)*)"),
    re.compile(r"()[\w-]{0,64}+\*{3,}[\w*-]{0,64}"),
)


def fit_words(text: str) -> str:
    """
    Return a provider's text as it may be shown: keys masked, cut at :data:`WORDS_LIMIT`.

    Of a page of HTML nothing is shown but that it was one.
    """
    if _PAGE.search(text[: WORDS_LIMIT + _MARGIN]):
        return "the upstream answered with an HTML page"
    text = mask_keys(begin(text.strip(), WORDS_LIMIT, _MARGIN))
    if len(text) <= WORDS_LIMIT:
        return text
    # Half a word could be half of a key, which who knows the key would not find any more.
    return _LAST_WORD.sub("", text[: WORDS_LIMIT - 1]) + "…"


def begin(text: str, limit: int, margin: int) -> str:
    """
    Return the beginning of a text, to be masked: so many characters and a margin at most.

    It does not end within a word, for half of a key would not be known for one.
    """
    end = limit + margin
    if len(text) <= end:
        return text
    while end > limit and not text[end - 1].isspace():
        end -= 1
    # No key is as long as the margin.
    return text[: limit + margin if end == limit else end]


def mask_keys(text: str) -> str:
    """Return a text with three stars in the place of all that looks like a key."""
    for key in _KEYS:
        text = key.sub(r"\1***", text)
    return text


def read_words(value: object) -> str:
    """
    Make a message of whatever stands in a message's place, ``""`` where it holds none.

    A text, the first of a list of mistakes, an object with a message in it.
    """
    for _ in range(_LEVELS):
        if isinstance(value, str):
            return fit_words(value)
        if isinstance(value, Mapping):
            value = next((value[name] for name in _MESSAGE_FIELDS if value.get(name)), None)
        elif isinstance(value, list) and value:
            value = value[0]
        else:
            break
    return ""
