"""What a request shows to be let in: a key in a header; tokens that wear out live elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from aiproxy.config.known_providers import find_known_provider
from aiproxy.interfaces import ICredentials
from aiproxy.policy.routing import Candidate

__all__ = ["KeyHeader"]


@implementer(ICredentials)
@frozen
class KeyHeader:
    """Shows the candidate's key itself, in the header of its provider's type."""

    def show(self, candidate: Candidate) -> Mapping[str, str]:
        """Return the header with the candidate's key; none where it has none."""
        shown: Mapping[str, str] | None = candidate.made.get(KeyHeader)
        if shown is None:
            shown = candidate.made[KeyHeader] = _header(candidate)
        return shown

    def renew(
        self, candidate: Candidate, shown: Mapping[str, str]
    ) -> Deferred[Mapping[str, str] | None]:
        """Return nothing: there is no other key."""
        return succeed(None)


def _header(candidate: Candidate) -> dict[str, str]:
    token, model = candidate.token, candidate.model
    if token is None:
        return {}
    known = find_known_provider(model.provider_type)
    name = known.key_header if known else "authorization"
    if name == "authorization" or (model.dialect != "openai" and model.speaks_openai):
        return {"authorization": f"Bearer {token.reveal()}"}
    return {name: token.reveal()}
