"""What the tests of the blocks share: each says of all blocks of a language what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.documentation.blocks import Block

__all__ = ["Wrong", "complaints", "tell"]


class Wrong(Exception):
    """A block does not do what it is for; the text says why."""


def complaints(blocks: Iterable[Block], check: Callable[[Block], object]) -> list[str]:
    """Return what is wrong with some blocks; ``check`` raises what is."""
    found = []
    for block in blocks:
        try:
            check(block)
        except Exception as error:
            found.append(tell(block, error))
    return found


def tell(block: Block, error: Exception) -> str:
    """Return where a block is, and what is wrong with it."""
    reason = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
    return f"{block.where}: {reason}"
