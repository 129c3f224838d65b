"""What every request passes before it reaches a page: host, origin, size, session; and what every answer carries."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TypeAlias, final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leonids.web.session import SESSION_S, Door

Refusal: TypeAlias = tuple[int, str]

CARRIED: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}
"""On every answer, refusals among them. No header opens anything to another origin."""

MOST_URL_BYTES = 4096

NO_SESSION = "This page needs the link that `leonids serve` printed; it works once. Start it again for a new one.\n"


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """An ASGI application around another one. ``hosts`` are the exact values of Host that are served."""

    app: ASGIApp
    door: Door
    hosts: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = self._answer(scope, Headers(scope=scope))
        await (self.app if answer is None else answer)(scope, receive, _carrying(send))

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """Return what answers in the page's place, or None where the page may."""
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, text = refusal
            return PlainTextResponse(text, status, headers={"Connection": "close"})
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = next((value for name, value in query if name == "token"), None)
        known = self._known(headers)
        if token is not None and (known or self.door.open(token)):
            return self._admit(scope, [pair for pair in query if pair[0] != "token"])
        return None if known else PlainTextResponse(NO_SESSION, 401)

    def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        host, origin = headers.getlist("host"), headers.get("origin")
        if len(host) != 1 or host[0].lower() not in self.hosts:
            return 400, "This server answers to its own address alone.\n"
        if origin is not None and origin.lower() != f"http://{host[0].lower()}":
            return 403, "Another site may not read this page.\n"
        # Other ports of this machine are the same site for a browser, and get the cookie; they are not this page.
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
        if site not in ("same-origin", "none") and mode != "navigate":
            return 403, "Another site may not read this page.\n"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "This page is only read.\n"
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return 413, "A request for a page has no body.\n"
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_URL_BYTES:
            return 414, "No address here is that long.\n"
        return None

    def _known(self, headers: Headers) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        held = cookies.get(self.door.cookie_name)
        return held is not None and self.door.knows(held.value, now_s=time.time())

    def _admit(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        """Send the browser to the same page without the token, with the cookie in its place."""
        # The path is the server's own once the leading slashes are one: `//host` would lead elsewhere.
        path = "/" + scope["raw_path"].decode("latin-1").lstrip("/\\")
        answer = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
        answer.set_cookie(
            self.door.cookie_name,
            self.door.cookie(now_s=time.time()),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
        )
        return answer


def _carrying(send: Send) -> Send:
    async def carry(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in CARRIED.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return carry
