"""
What events that differ only in their text have in common: around it, as read and as written.

Learned from one event and the bytes that the ordinary way made of it.  What
comes between the two is not looked at again: the strings alone are parsed.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from attrs import frozen

from aiproxy.dialects.shapes import ChatChunk
from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["Passed", "Template", "learn"]

#: Where a delta may have its text; thoughts may stand under two names.
_TEXTS: Final = frozenset({"content", "reasoning_content", "reasoning"})

#: What hides the length of a text and goes to the client as it came:
#: ``obfuscation`` of OpenAI, ``p`` of Mistral (recorded).  Anthropic has spaces
#: before the last brace, of which the JSON's value knows nothing (recorded).
_PADDING: Final = re.compile(rb'("(?:obfuscation|p)":")([^"\\]*)"')
#: One event, in the usual way: an object in one line.
_EVENT: Final = re.compile(rb"(?:event: [^\r\n]*\n)?data: ?\{[^\r\n]*\}\n\n")
_END: Final = b"}\n\n"


#: What a template made of some bytes: the text of all events together, what is
#: written, and how many bytes were read.
Passed: TypeAlias = tuple[str, bytes, int]


@frozen
class Template:
    """
    An event's frame, which the next may share.

    An event is ``head text foot``, or ``head text middle padding foot``.

    :param written: what stands around the text in what is written; the text
        may stand there more than once.
    :param end: what follows the padding in it.
    :param keeps_padding: it is a string that goes to the client, no spaces.
    :param index: of the choice that speaks.
    :param names: of the fields of its delta that hold the text.
    """

    head: bytes
    middle: bytes
    foot: bytes
    written: tuple[bytes, ...]
    end: bytes
    keeps_padding: bool
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
            parts = [text.rpartition(self.middle) for text in texts]
            texts = [text for text, _, _ in parts]
            padding = [pad for _, _, pad in parts]
        if b"" in texts or not texts:
            return None
        strings = texts
        if self.keeps_padding:
            strings = texts + padding
        elif padding and b"".join(padding).strip(b" "):
            return None
        told = _parse(strings)
        if told is None:
            return None
        if dumps(told) != b'["' + b'","'.join(strings) + b'"]':
            strings = [dumps(string)[1:-1] for string in told]
        return "".join(told[: len(texts)]), self._write(strings, len(texts)), used

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
            string, _, padding = string.rpartition(self.middle)
        try:
            text, pad = string.decode(), padding.decode()
        except UnicodeDecodeError:
            return None
        if not (text and text.isprintable() and pad.isprintable()):
            return None
        if b'"' in string or b"\\" in string or b'"' in padding or b"\\" in padding:
            return None
        around = self.written
        if self.keeps_padding:
            return text, string.join(around) + padding + self.end, len(data)
        if padding.strip(b" "):
            return None
        if len(around) == 2:
            return text, around[0] + string + around[1], len(data)
        return text, string.join(around), len(data)

    def _cut(self, data: bytes) -> tuple[list[bytes], int]:
        """Give what stands between heads and feet, up to an event that has others."""
        head, foot = self.head, self.foot
        begin, between = len(head), len(foot) + len(head)
        texts: list[bytes] = []
        used = 0
        while data.startswith(head, used):
            end = data.find(foot, begin)
            if end <= begin or b"\n" in (text := data[begin:end]):
                break
            texts.append(text)
            begin = end + between
            used = end + len(foot)
        return texts, used

    def _write(self, strings: list[bytes], count: int) -> bytes:
        around, end = self.written, self.end
        if self.keeps_padding:
            pairs = zip(strings[:count], strings[count:], strict=True)
            return b"".join([text.join(around) + padding + end for text, padding in pairs])
        if len(around) == 2:
            before, after = around
            return before + (after + before).join(strings) + after
        return b"".join([text.join(around) for text in strings])


def learn(event: bytes, written: bytes, chunk: ChatChunk) -> Template | None:
    """
    Make a template of an event, if it says nothing but a text.

    :param event: all its bytes, the blank line included.
    :param written: what became of it.
    :param chunk: what was read of it.
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
    return Template(
        head=head + b'"',
        middle=middle,
        foot=foot,
        written=tuple(around),
        end=end,
        keeps_padding=bool(found),
        index=choice["index"],
        names=tuple(delta),
    )


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
