"""
What events that differ only in their text have in common: around it, as read and as written.

Learned from one event and the bytes that the ordinary way made of it.  What
comes between the two is not looked at again: the strings alone are parsed, and
of the usage that some tell with each event the last one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias

from attrs import frozen

from aiproxy.dialects.shapes import ChatChunk
from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["Passed", "Template", "UsageReader", "learn"]

#: Where a delta may have its text; thoughts may stand under two names.
_TEXTS: Final = frozenset({"content", "reasoning_content", "reasoning"})

#: What hides the length of a text and goes to the client as it came:
#: ``obfuscation`` of OpenAI, ``p`` of Mistral (recorded).  Anthropic has spaces
#: before the last brace, of which the JSON's value knows nothing (recorded).
_PADDING: Final = re.compile(rb'("(?:obfuscation|p)":")([^"\\]*)"')
#: One event, in the usual way: an object in one line.
_EVENT: Final = re.compile(rb"(?:event: [^\r\n]*\n)?data: ?\{[^\r\n]*\}\n\n")
_END: Final = b"}\n\n"
#: Of a longer usage no pattern is made, for that takes its time; all that are known are shorter.
_MOST_USAGE: Final = 2_048
#: A number, and where one is a value; a longer one is left to JSON's own reader.
_DIGITS: Final = rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?"
_NUMBER: Final = re.compile(rb"(?<=[:,\[ ])" + _DIGITS + rb"(?=[,}\] ])")


#: What a template made of some bytes: the text of all events together, what is
#: written, how many bytes were read, and the last event's usage, as it came.
Passed: TypeAlias = tuple[str, bytes, int, bytes]


@frozen
class Template:
    """
    An event's frame, which the next may share.

    An event is ``head text foot``, or ``head text middle padding foot``, or has
    its usage in the place of the padding.

    :param written: what stands around the text in what is written; the text
        may stand there more than once.
    :param end: what follows the padding in it.
    :param keeps_padding: it is a string that goes to the client, no spaces.
    :param usage: what usage looks like, where each event tells it.
    :param index: of the choice that speaks.
    :param names: of the fields of its delta that hold the text.
    """

    head: bytes
    middle: bytes
    foot: bytes
    written: tuple[bytes, ...]
    end: bytes
    keeps_padding: bool
    usage: re.Pattern[bytes] | None
    index: int
    names: tuple[str, ...]

    def read(self, data: bytes) -> Passed | None:
        """Pass the events at the beginning of *data* that have this frame, if there are any."""
        passed = self._read_one(data)
        if passed is not None:
            return passed
        texts, used = self._cut(data)
        padding: list[bytes] = []
        if self.middle:
            texts, padding, used = self._split(texts)
        if not texts:
            return None
        strings = texts + padding if self.keeps_padding else texts
        told = _parse(strings)
        if told is None:
            return None
        if dumps(told) != b'["' + b'","'.join(strings) + b'"]':
            strings = [dumps(string)[1:-1] for string in told]
        usage = b"" if self.usage is None else padding[-1]
        return "".join(told[: len(texts)]), self._write(strings, len(texts)), used, usage

    def say(self, text: str) -> ChatChunk:
        """Make the chunk that would have said a text."""
        return {"choices": [{"index": self.index, "delta": dict.fromkeys(self.names, text)}]}

    def _read_one(self, data: bytes) -> Passed | None:
        """Pass one event that is all of *data*, if JSON writes its text as it is: most do so."""
        begin, end = len(self.head), len(data) - len(self.foot)
        if end <= begin or not data.startswith(self.head) or data.find(self.foot, begin) != end:
            return None
        string, padding = data[begin:end], b""
        if self.middle:
            string, _, padding = string.partition(self.middle)
            if not self._may_stand(padding):
                return None
        try:
            text = string.decode()
            pad = padding.decode() if self.keeps_padding else ""
        except UnicodeDecodeError:
            return None
        if not (text and text.isprintable() and pad.isprintable()):
            return None
        if b'"' in string or b"\\" in string or '"' in pad or "\\" in pad:
            return None
        around = self.written
        if self.keeps_padding:
            return text, string.join(around) + padding + self.end, len(data), b""
        usage = b"" if self.usage is None else padding
        if len(around) == 2:
            return text, around[0] + string + around[1], len(data), usage
        return text, string.join(around), len(data), usage

    def _cut(self, data: bytes) -> tuple[list[bytes], int]:
        """Give what stands between heads and feet, up to an event that has others."""
        head, foot, begin = self.head, self.foot, len(self.head)
        if not data.startswith(head):
            return [], 0
        *events, _ = data.split(foot)
        texts = list(map(itemgetter(slice(begin, None)), events))
        whole = b"".join(texts)
        # A line's end is none of a text's: another event begins there.
        alike = data.startswith(head + (foot + head).join(texts) + foot)
        if not alike or b"" in texts or b"\n" in whole:
            texts = []
            for event in events:
                text = event[begin:]
                if not (text and event.startswith(head)) or b"\n" in text:
                    break
                texts.append(text)
            whole = b"".join(texts)
        return texts, len(whole) + len(texts) * (begin + len(foot))

    def _split(self, cut: list[bytes]) -> tuple[list[bytes], list[bytes], int]:
        """
        Part texts from what stands in the place of padding, up to one that cannot be.

        :return: both, and how many bytes their events are.
        """
        texts: list[bytes] = []
        paddings: list[bytes] = []
        middle, may_stand = self.middle, self._may_stand
        for whole in cut:
            text, _, padding = whole.partition(middle)
            if not (text and may_stand(padding)):
                break
            texts.append(text)
            paddings.append(padding)
        around = len(self.head) + len(self.foot)
        return texts, paddings, sum(map(len, cut[: len(texts)])) + len(texts) * around

    def _may_stand(self, padding: bytes) -> bool:
        """Whether something may stand in the place of padding; strings are parsed later."""
        if self.usage is not None:
            return self.usage.fullmatch(padding) is not None
        return self.keeps_padding or not padding.strip(b" ")

    def _write(self, strings: list[bytes], count: int) -> bytes:
        around, end = self.written, self.end
        if self.keeps_padding:
            pairs = zip(strings[:count], strings[count:], strict=True)
            return b"".join([text.join(around) + padding + end for text, padding in pairs])
        if len(around) == 2:
            before, after = around
            return before + (after + before).join(strings) + after
        return b"".join([text.join(around) for text in strings])


class UsageReader(Protocol):
    """Who has read an event's usage; see :class:`OpenAIStreamReader`."""

    usage_name: str

    def tells(self, usage: Mapping[str, Any]) -> bool:
        """Whether this is what it has read."""


def learn(
    event: bytes, written: bytes, chunk: ChatChunk, reader: UsageReader | None = None
) -> Template | None:
    """
    Make a template of an event, if it says nothing but a text, and its usage.

    :param event: all its bytes, the blank line included.
    :param written: what became of it.
    :param chunk: what was read of it.
    :param reader: who has read it; ``None``: its usage, if it tells any, is like all else.
    """
    if len(chunk["choices"]) != 1 or not _EVENT.fullmatch(event):
        return None
    (choice,) = chunk["choices"]
    delta = {name: value for name, value in choice["delta"].items() if value}
    texts = list(delta.values())
    if not texts or not delta.keys() <= _TEXTS or texts.count(texts[0]) != len(texts):
        return None
    string = dumps(texts[0])
    # A text that stands elsewhere too could be mistaken for what stands there.
    if _count(event, string) != 1 or _count(written, string) != len(texts):
        return None
    head, foot = event.split(string)
    foot = b'"' + foot
    first, *others = written.split(string)
    around = [first + b'"', *(b'"' + other + b'"' for other in others)]
    around[-1] = around[-1][:-1]
    middle = end = b""
    usage: re.Pattern[bytes] | None = None
    found = list(_PADDING.finditer(foot))
    bare = foot.removesuffix(_END).rstrip(b" ")
    if found:
        last = around[-1].split(found[0][0])
        if len(found) > 1 or len(last) != 2:
            return None
        middle, foot = foot[: found[0].end(1)], foot[found[0].end(2) :]
        around[-1], end = last[0] + found[0][1], b'"' + last[1]
    elif bare + _END != foot:
        middle, foot = bare, _END
    elif reader is not None and (place := _find_usage(foot, reader)) is not None:
        name = b'"%b"' % reader.usage_name.encode()
        if event.count(name) > 1 or name + b":{" in written:
            return None  # It may be another one, or go out with the event.
        usage = _like(_NUMBER.sub(b"0", foot[place]))
        middle, foot = foot[: place.start], foot[place.stop :]
    return Template(
        head=head + b'"',
        middle=middle,
        foot=foot,
        written=tuple(around),
        end=end,
        keeps_padding=bool(found),
        usage=usage,
        index=choice["index"],
        names=tuple(delta),
    )


def _find_usage(foot: bytes, reader: UsageReader) -> slice | None:
    """Find an event's usage behind its text: its object, if there is one with numbers."""
    text = foot.decode("latin-1")  # So that places in it are those of the bytes.
    key = re.search(f'"{reader.usage_name}": ?(?={{)', text)
    if key is None:
        return None
    try:
        usage, stop = json.JSONDecoder().raw_decode(text, key.end())
    except (ValueError, RecursionError):
        return None
    place = slice(key.end(), stop)
    if stop - key.end() > _MOST_USAGE:
        return None
    return place if _NUMBER.search(foot[place]) and reader.tells(usage) else None


@lru_cache(maxsize=256)
def _like(usage: bytes) -> re.Pattern[bytes]:
    """Make the pattern of usages with other numbers; they differ by provider, not by stream."""
    return re.compile(_DIGITS.join(re.escape(part) for part in _NUMBER.split(usage)))


def _parse(strings: list[bytes]) -> list[str] | None:
    """
    Parse what should be the insides of JSON strings.

    No string can hold the line ends between them: whatever breaks out of its
    quotes makes another number of values, or no JSON at all.
    """
    try:
        told: list[str] = loads(b'["' + b'"\n,"'.join(strings) + b'"]')
    except JSONError:
        return None
    return told if len(told) == len(strings) else None


def _count(data: bytes, string: bytes) -> int:
    """Count a string's places, those that overlap included."""
    count, place = 0, data.find(string)
    while place >= 0:
        count, place = count + 1, data.find(string, place + 1)
    return count
