"""Who may see the page: checks before any request reaches it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskyolo.errors import MaskyoloError, output_errors

__all__ = ["COOKIE", "Guard", "cookie_of", "is_loopback", "names_of", "read_token", "same"]

COOKIE = "maskyolo"
#: Shortest token in characters: 128 bits, as `secrets.token_urlsafe(16)` writes them.
MIN_TOKEN = 22
#: What the page may do: load its own files, and show images from this server.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests of other sites, and without the token if there is one.

    The Host header must be a name of this server or an IP address: a page elsewhere that has its
    own name resolved to this machine (DNS rebinding) sends that name. A browser tells the page that
    a request comes from by Origin and Sec-Fetch-Site.

    Args:
        app: the application.
        token: the token, or None if none is needed.
        names: host names of this server.
        public: paths that need no token.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, names: Iterable[str], public: Iterable[str]
    ) -> None:
        self._app, self._token = app, token
        self._names = {name.lower().rstrip(".") for name in names}
        self._public = set(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, reason = refused
        extra = {}
        if status == HTTPStatus.UNAUTHORIZED:
            # a browser would ask the user by itself; other programs, such as VLC, need the request
            basic = "sec-fetch-mode" not in headers
            extra["WWW-Authenticate"] = 'Basic realm="maskyolo"' if basic else "Bearer"
        response = PlainTextResponse(f"{reason}\n", status, extra)
        await response(scope, receive, send_with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> tuple[HTTPStatus, str] | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return (
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server has another name; use its address, or start it with --allow-host",
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (
            f"http://{host.lower()}",
            f"https://{host.lower()}",
        ):
            return HTTPStatus.FORBIDDEN, "requests from other sites are not allowed"
        navigates = headers.get("sec-fetch-mode") == "navigate" and scope.get("path") == "/"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigates:
            return HTTPStatus.FORBIDDEN, "requests from other sites are not allowed"
        if scope["path"] in self._public or self._is_known(headers):
            return None
        return HTTPStatus.UNAUTHORIZED, "the token is missing or wrong"

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):
            name = name.rpartition(":")[0] if ":" in name else name
        name = name.rstrip(".")
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name in self._names
        return True

    def _is_known(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return same(value.strip(), self._token)
        if scheme.lower() == "basic":
            try:
                login = base64.b64decode(value, validate=True).decode()
            except ValueError:
                return False
            return same(login.partition(":")[2], self._token)
        cookies = cookie_parser(headers.get("cookie", ""))
        return same(cookies.get(COOKIE, ""), cookie_of(self._token))


def same(given: str, wanted: str) -> bool:
    """Return whether two secrets are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


def cookie_of(token: str) -> str:
    """Return the value of the cookie that stands for the token; it does not reveal the token."""
    return hmac.new(token.encode(), b"maskyolo cookie", hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Return whether an address to serve on can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_of(host: str, allowed: Iterable[str]) -> set[str]:
    """Return the names by which this server may be called."""
    machine = socket.gethostname().lower()
    return {"localhost", host, machine, f"{machine}.local", socket.getfqdn(), *allowed}


def read_token(path: Path | None) -> tuple[str, bool]:
    """Return the token, and whether it is new.

    Args:
        path: the file that contains it, created with a new one if it does not exist; None for a new
            token without a file.

    Raises:
        MaskyoloError: the file cannot be read, or its token is too short.
        OutputError: the file cannot be written.
    """
    if path is None:
        return secrets.token_urlsafe(24), True
    try:
        with path.open(encoding="utf-8") as file:
            token = file.read(1024).strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(24)
        with output_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, f"{token}\n".encode())
            os.close(descriptor)
        return token, True
    except (OSError, UnicodeDecodeError) as error:
        raise MaskyoloError(
            f"cannot read the token in {path}: {str(error).lower()}", "check the file"
        ) from error
    if len(token) < MIN_TOKEN or any(letter.isspace() for letter in token):
        raise MaskyoloError(
            f"the token in {path} must have at least {MIN_TOKEN} characters, without spaces",
            "remove the file, and a new token is written to it",
        )
    return token, False
