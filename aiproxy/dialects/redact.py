"""
What was said, made fit for a log: no keys, no addresses of people, no pictures.

It is a net with a fine mesh, not a wall: what only its reader can know for a
secret stays.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from aiproxy.dialects.words import begin, mask_keys

__all__ = ["make_redactor", "redact"]

#: Characters of a text that are kept.
TEXT_LIMIT: Final = 64 * 1024
#: So many more are looked at, lest a key be cut before it is known for one.
_MARGIN: Final = 1024
#: Of what has no spaces and is so long, nobody reads a word: it is a picture, or sound.
_DATA_CHARACTERS: Final = 512
_LEVELS: Final = 64
#: Shorter ones could be a word of anybody's.
_SECRET_CHARACTERS: Final = 6

_MASK: Final = "***"
_URL_SAFE: Final = str.maketrans("+/", "-_")
_DATA_URL: Final = re.compile(r"(data:[\w.+/-]{0,128}(?:;[\w=.+-]{1,64}){0,4};base64,)[\w+/=-]+")
_BASE64: Final = re.compile(rf"(?<![\w+/-])[\w+/-]{{{_DATA_CHARACTERS},}}={{0,2}}", re.ASCII)
_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|[_-])(?:password|passwd|secret|api_?key|authorization|credentials?|access_token)$"
)
#: One without an end in reach goes as far as that: its end is not looked for from each beginning.
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----"
    r"(?:.{0,16384}?(?:-----END [A-Z ]{0,32}-----|\Z)|.{16384})",
    re.DOTALL,
)
_CLOUD_KEY: Final = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_MAIL: Final = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}\b")
_DIGITS: Final = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])")


def redact(value: Any, mask: Callable[[str], str] = lambda text: text) -> Any:
    """
    Return a JSON value with masks in the place of secrets, sizes in the place of data.

    :param mask: takes further secrets out of a text; see :func:`make_redactor`.
    """
    return _redact(value, mask, _LEVELS)


def make_redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what masks these very secrets in a text, as they are and in other codings."""
    known = sorted({one for one in secrets if len(one) >= _SECRET_CHARACTERS}, key=len)
    if not known:
        return lambda text: text
    forms = dict.fromkeys(form for one in reversed(known) for form in _write_forms(one))
    pattern = re.compile("|".join(forms))
    return lambda text: pattern.sub(_MASK, text)


def _write_forms(secret: str) -> Iterator[str]:
    """Write patterns of a secret: as it is or percent-encoded, and in base64 with what follows."""
    yield "".join(map(_write_character, secret))
    raw = secret.encode("utf-8", "surrogatepass")
    whole = b64encode(raw[: len(raw) // 3 * 3]).decode()
    for plain in dict.fromkeys((whole, whole.translate(_URL_SAFE))):
        yield f"{re.escape(plain)}[\\w+/=-]*"


def _write_character(character: str) -> str:
    # Which characters are encoded, and in which case, encoders do not agree on.
    coded = quote(character.encode("utf-8", "surrogatepass"), safe="")
    plain = re.escape(character)
    return plain if coded == character else f"(?:{plain}|(?i:{coded}))"


def _redact(value: Any, mask: Callable[[str], str], levels: int) -> Any:
    if isinstance(value, str):
        return _redact_text(value, mask)
    if not levels:
        return _MASK
    if isinstance(value, list):
        return [_redact(item, mask, levels - 1) for item in value]
    if isinstance(value, dict):
        return {
            name: _MASK
            if isinstance(item, str) and _SECRET_NAME.search(name)
            else _redact(item, mask, levels - 1)
            for name, item in value.items()
        }
    return value


def _redact_text(text: str, mask: Callable[[str], str]) -> str:
    whole = len(text)
    text = _DATA_URL.sub(_tell_size_of_url, text)
    text = _BASE64.sub(_tell_size, text)
    is_long = len(text) > TEXT_LIMIT
    text = mask(begin(text, TEXT_LIMIT, _MARGIN))
    text = _CLOUD_KEY.sub(_MASK, _PRIVATE_KEY.sub(_MASK, mask_keys(text)))
    text = _DIGITS.sub(_mask_card, _MAIL.sub(_MASK, text))
    return f"{text[:TEXT_LIMIT]}… [of {whole:,} characters]" if is_long else text


def _tell_size_of_url(found: re.Match[str]) -> str:
    return f"{found[1]}[{len(found[0]) - len(found[1]):,} characters]"


def _tell_size(found: re.Match[str]) -> str:
    return f"[{len(found[0]):,} characters]"


def _mask_card(found: re.Match[str]) -> str:
    """Mask what could be a payment card's number: its check digit is right (ISO/IEC 7812-1)."""
    digits = [int(character) for character in found[0] if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return found[0] if (sum(digits[-1::-2]) + sum(doubled)) % 10 else _MASK
