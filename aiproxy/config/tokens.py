"""Keys for providers: those that are written, and those of the environment."""

from __future__ import annotations

from aiproxy.config.entries import ModelEntry, ProviderEntry, Token
from aiproxy.config.environment import Environment
from aiproxy.config.known_providers import KnownProvider
from aiproxy.config.reading import Reading, missing_variables
from aiproxy.config.secret import Secret

__all__ = ["environment_tokens", "written_tokens"]


def written_tokens(
    entry: ProviderEntry | ModelEntry, reading: Reading
) -> tuple[tuple[Secret, ...], tuple[str, ...]]:
    """
    Return the tokens that are written, each once, and the variables that others lack.

    A missing variable is a warning here: it turns off what needs the token.
    """
    if entry.token is not None and entry.tokens:
        place = reading.find(entry.place, "tokens")
        reading.problem(place, "stands beside `token`; write one of them")
    written: tuple[Token | None, ...] = (entry.token, *entry.tokens)
    tokens: dict[Secret, None] = {}
    missing: dict[str, None] = {}
    for token in written:
        if isinstance(token, Secret):
            tokens[token] = None
        elif token is not None:
            missing.update(dict.fromkeys(token.variables))
    if missing:
        place = reading.find(entry.place, "tokens" if entry.tokens else "token")
        rest = "the others are used" if tokens else "what needs it is off"
        reading.warn(place, f"{missing_variables(missing)}; {rest}")
    return tuple(tokens), tuple(missing)


def environment_tokens(
    known: KnownProvider | None, environment: Environment, reading: Reading
) -> tuple[Secret, ...]:
    """Return the token in the first of the type's variables that is set."""
    for name in known.token_variables if known else ():
        value = environment.variables.get(name, "").strip()
        if not value:
            continue
        try:
            return (environment.secrets.read(value),)
        except ValueError as error:
            reading.include(environment.problem(name, str(error)))
            return ()
    return ()
