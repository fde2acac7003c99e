"""
GigaChat's credentials: exchanged for access tokens.

Source: GigaChat API reference, "POST /oauth" and "POST /token"; the answer's
second shape is recorded.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.errors import UpstreamAuthFailed, UpstreamError, UpstreamFailed, UpstreamRefused
from aiproxy.interfaces import ICredentials
from aiproxy.policy.routing import Candidate
from aiproxy.providers.http import tls_settings
from aiproxy.providers.oauth import AccessToken, TokenKeeper
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.collect import collect_some
from aiproxy.transport.tls import TLSSettings
from aiproxy.wire.json import JSONError, loads

__all__ = ["GigaChatCredentials"]

#: Seconds that a token lasts whose end is not told.
_TOKEN_SECONDS: Final = 1_800.0
#: More than so many seconds since the epoch are milliseconds.
_MOST_SECONDS: Final = 1e11


def _ignore() -> None:
    """Take no note of a phase: several calls may wait for the one request."""


@implementer(ICredentials)
@define
class GigaChatCredentials:
    """
    Exchanges credentials for access tokens, each of which serves half an hour.

    The credentials are ``clientID:clientSecret`` or the base64 form of it; with
    an ``auth_url`` that ends in ``/token``, user and password of an own server.

    :param wall: tells the time, in seconds since the epoch.
    :param make_id: makes the id of a token request, a UUID.
    """

    client: UpstreamClient
    wall: Callable[[], float] = time.time
    make_id: Callable[[], str] = lambda: str(uuid4())
    _keepers: dict[tuple[str, str, bytes, TLSSettings], TokenKeeper] = field(
        init=False, factory=dict
    )

    def show(self, candidate: Candidate) -> Deferred[Mapping[str, str]]:
        """Return the header with an access token; none where nothing can be exchanged."""
        keeper = self._keeper(candidate)
        return succeed({}) if keeper is None else keeper.find().addCallback(_write_header)

    def renew(
        self, candidate: Candidate, shown: Mapping[str, str]
    ) -> Deferred[Mapping[str, str] | None]:
        """Return the header with another token than the one that was shown."""
        keeper = self._keeper(candidate)
        if keeper is None:
            return succeed(None)
        refused = shown.get("authorization", "").removeprefix("Bearer ")
        return keeper.replace(refused).addCallback(_write_header)

    def _keeper(self, candidate: Candidate) -> TokenKeeper | None:
        """Find who keeps the tokens of a credential: no two of them share one."""
        model, secret = candidate.model, candidate.token
        if not secret or model.auth_url is None or "authorization" in model.headers:
            return None
        auth_url, scope, tls = model.auth_url, model.scope or "", tls_settings(model)
        key = auth_url, scope, secret.digest, tls
        keeper = self._keepers.get(key)
        if keeper is None:
            credentials = secret.reveal()

            def ask() -> Deferred[AccessToken]:
                return Deferred.fromCoroutine(self._ask(auth_url, scope, credentials, tls))

            keeper = self._keepers[key] = TokenKeeper(ask, self.wall)
        return keeper

    async def _ask(
        self, auth_url: str, scope: str, credentials: str, tls: TLSSettings
    ) -> AccessToken:
        if ":" in credentials:
            credentials = base64.b64encode(credentials.encode()).decode()
        own_server = urlsplit(auth_url).path.endswith("/token")
        response = await self.client.request(
            "POST",
            auth_url,
            headers={
                "authorization": f"Basic {credentials}",
                "rquid": self.make_id(),
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
            },
            body=b"" if own_server else urlencode({"scope": scope}).encode(),
            tls=tls,
            connected=_ignore,
            sent=_ignore,
        )
        body = await collect_some(response)
        if response.status != 200:
            raise _read_token_error(response.status, response.headers, body)
        return _read_token(body, self.wall())


def _write_header(token: AccessToken) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token.text}"}


def _read_token(body: bytes, now: float) -> AccessToken:
    """Read a token in one of its two shapes, which tell its end in different units."""
    try:
        told = loads(body)
    except JSONError:
        told = None
    told = told if isinstance(told, dict) else {}
    text = told.get("access_token") or told.get("tok")
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise UpstreamFailed("the answer for an access token holds none")
    end = told.get("expires_at") or told.get("exp")
    if not isinstance(end, int | float) or isinstance(end, bool):
        return AccessToken(text, now + _TOKEN_SECONDS)
    return AccessToken(text, end / 1000 if end > _MOST_SECONDS else end)


def _read_token_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """Read why there is no token, in our words: the provider's may repeat the credentials."""
    facts = evolve(read_facts(body), message="", raw="")
    error = judge(status, facts, headers)
    if isinstance(error, UpstreamRefused | UpstreamAuthFailed):
        error = UpstreamAuthFailed("")
        error.upstream_status = status
    code = f", code {facts.code}" if isinstance(facts.code, int) else ""
    error.message = f"the provider gave no access token for our credentials (status {status}{code})"
    error.args = (error.message,)
    return error
