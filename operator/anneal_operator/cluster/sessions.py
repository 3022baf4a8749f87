"""The operator's sessions with the API server: aiohttp, with the credentials on every request."""

from __future__ import annotations

import aiohttp

from anneal_operator.cluster.credentials import Credentials

_AGENT = "anneal-operator"


def session(credentials: Credentials) -> aiohttp.ClientSession:
    """Returns a session that speaks with credentials. Whoever asked for it closes it."""

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if token := credentials.token.current():
            request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    # Watches hold a connection each for ever, so the number of connections is not limited here.
    connector = aiohttp.TCPConnector(limit=0, ssl=credentials.tls if credentials.tls is not None else False)
    return aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": _AGENT, "Accept": "application/json"},
        middlewares=(authorize,),
    )
