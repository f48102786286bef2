"""HTTP requests within limits of time and size, which nothing can redirect to another protocol."""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

__all__ = ["MAX_DOWNLOAD", "NoRedirects", "http_request", "open_url"]

#: Maximum size in bytes of an image or playlist that is downloaded.
MAX_DOWNLOAD = 256 << 20


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects.

    urllib would follow them to any host, with a GET without the posted data, and report success.
    """

    def redirect_request(self, *_: Any) -> None:
        """Refuse the redirect."""


class _FewRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects; only to HTTP(S), as the opener has no other handlers."""

    max_redirections = 5


def http_request(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> urllib.request.Request:
    """Build a request for an HTTP(S) URL; with `data`, it is a POST.

    A user name and password in the URL are sent as basic authentication, but not to redirect
    targets.

    Raises:
        ValueError: the URL is not valid. The message may contain part of a password.
    """
    # urllib rather than requests: it trusts the system's certificates, which cameras with an
    # organization's own CA need, ignores .netrc, and leaves the URL and its secrets out of
    # errors.
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    place = parts._replace(netloc=host).geturl()
    request = urllib.request.Request(place, data, {"User-Agent": "maskyolo", **(headers or {})})  # noqa: S310
    if login:
        request.add_unredirected_header(
            "Authorization", "Basic " + b64encode(urllib.parse.unquote_to_bytes(login)).decode()
        )
    return request


def open_url(
    request: urllib.request.Request,
    timeout: float,
    total: float,
    redirects: urllib.request.HTTPRedirectHandler | None = None,
) -> Any:
    """Send a request and return the answer, like `urllib.request.urlopen`, within limits.

    Args:
        request: an HTTP or HTTPS request; see `http_request`.
        timeout: seconds to wait for a connection, and then for all headers.
        total: seconds until the body must have been read. A server that sends a byte now and then
            would reset a timeout of the socket again and again.
        redirects: what to do with redirects. By default, a few are followed, to HTTP(S) only.

    Raises:
        OSError: no connection, a timeout, an error status (`urllib.error.HTTPError`), or a redirect
            to another protocol. Reading the answer raises it too.
        http.client.HTTPException: the answer is not HTTP.
        ValueError: the URL is not valid. The message may contain part of a password.
    """
    clock = _Clock(timeout, total)

    class Http(http.client.HTTPConnection):
        def connect(self) -> None:
            clock.start()
            super().connect()
            self.sock = _TimedSocket(self.sock, clock)

    class Https(http.client.HTTPSConnection):
        def connect(self) -> None:
            clock.start()
            super().connect()
            self.sock = _TimedSocket(self.sock, clock)

    class HttpHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Http, req)

    class HttpsHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Https, req)

    opener = urllib.request.OpenerDirector()  # build_opener would add FTP, files and data URLs
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        redirects or _FewRedirects(),
        HttpHandler(),
        HttpsHandler(),
    ):
        opener.add_handler(handler)
    answer = opener.open(request, timeout=timeout)
    clock.headers_are_read()
    return answer


class _Clock:
    """Counts down the time for headers, and then for the body.

    The time for headers starts again at each redirect, of which there are only a few.
    """

    def __init__(self, timeout: float, total: float) -> None:
        self._timeout, self._total = timeout, total
        self.start()

    def start(self) -> None:
        """Start the time for connecting and for the headers."""
        self._end = time.monotonic() + self._timeout

    def headers_are_read(self) -> None:
        """Start the time for the body."""
        self._end = time.monotonic() + self._total

    def left(self) -> float:
        """Return the seconds that one read may take.

        Raises:
            TimeoutError: the time is over.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self._timeout)


class _TimedSocket:
    """A socket whose reads obey a clock."""

    def __init__(self, sock: socket.socket, clock: _Clock) -> None:
        self._sock, self._clock = sock, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return a buffered file for reading; see `socket.socket.makefile`."""
        return io.BufferedReader(_TimedReader(self._sock, self._clock))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, clock: _Clock) -> None:
        self._sock, self._clock = sock, clock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._clock.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
