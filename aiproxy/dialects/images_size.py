"""
How large an image shall be, in the words of providers that know no pixels.

OpenAI's ``size`` is ``1024x1536`` or ``auto``; others take an aspect ratio, and
how fine the image shall be.  A caller who writes a ratio as the size means it.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

__all__ = ["GEMINI_RATIOS", "nearest_ratio", "read_pixels", "resolution"]

#: Source: Gemini API reference, "ImageConfig"; OpenRouter passes the same on.
GEMINI_RATIOS: Final = (*("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"),)

_PIXELS: Final = re.compile(r"([1-9][0-9]{0,4})[xX*]([1-9][0-9]{0,4})")
_RATIO: Final = re.compile(r"[0-9]{1,2}(?:\.[0-9])?:[0-9]{1,2}(?:\.[0-9])?")
#: How far from a ratio a size may be: a twentieth, on a scale of octaves.
_TOLERANCE: Final = math.log(1.05)
_QUALITIES: Final = {"low": "1K", "medium": "1K", "standard": "1K", "high": "2K", "hd": "2K"}
#: The shortest longer edge that is meant by a resolution.
_EDGES: Final = ((3_000, "4K"), (1_900, "2K"))


def read_pixels(size: Any) -> tuple[int, int] | None:
    """Read a size in pixels: width and height; ``None``: it is something else."""
    found = _PIXELS.fullmatch(size) if isinstance(size, str) else None
    return (int(found[1]), int(found[2])) if found else None


def nearest_ratio(size: Any, ratios: tuple[str, ...]) -> str | None:
    """
    Return the aspect ratio that a size means.

    :param ratios: those that the provider has.
    :return: ``None`` where none is near.
    """
    if isinstance(size, str) and _RATIO.fullmatch(size):
        return size
    pixels = read_pixels(size)
    if pixels is None:
        return None
    wanted = math.log(pixels[0] / pixels[1])
    distance, ratio = min((abs(wanted - _slope(ratio)), ratio) for ratio in ratios)
    return ratio if distance <= _TOLERANCE else None


def resolution(size: Any, quality: Any) -> str | None:
    """Return ``1K``, ``2K`` or ``4K`` for OpenAI's quality, or else for a size."""
    if isinstance(quality, str):
        if re.fullmatch(r"[124]K", quality.upper()):
            return quality.upper()
        if quality in _QUALITIES:
            return _QUALITIES[quality]
    pixels = read_pixels(size)
    if pixels is None:
        return None
    return next((name for edge, name in _EDGES if max(pixels) >= edge), None)


def _slope(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return math.log(float(width) / float(height))
