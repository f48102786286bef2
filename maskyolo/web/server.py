"""Serves the page's files on the loopback address."""

from __future__ import annotations

import errno
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from maskyolo.errors import MaskyoloError
from maskyolo.web.site import HEADERS, File

__all__ = ["PageServer"]

ADDRESS = "127.0.0.1"
#: Names by which a browser on this machine may call the server. Any other name is that of a page
#: elsewhere that had its own name resolved to this machine (DNS rebinding).
HOSTS = {"localhost", ADDRESS, "[::1]"}
#: Seconds after which an idle connection is closed.
IDLE = 30


class PageServer(ThreadingHTTPServer):
    """A server of some files, for browsers on this machine only.

    Args:
        files: the files by path.
        port: the port; 0 for any free one.

    Raises:
        MaskyoloError: the port is in use, or not allowed.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, File], port: int) -> None:
        self.files = files
        self.tags = {name: f'"{file.sha256}"' for name, file in files.items()}
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            reason = "in use" if error.errno == errno.EADDRINUSE else "not allowed for this user"
            raise MaskyoloError(
                f"port {port} is {reason}", "choose another with --port, or --port 0 for any"
            ) from error

    @property
    def url(self) -> str:
        """The page's address, by a name that browsers treat as secure."""
        return f"http://localhost:{self.server_port}/"

    def handle_error(self, *_: Any) -> None:
        """Ignore connections that break off; the browser repeats the request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "maskyolo"
    sys_version = ""
    timeout = IDLE
    server: PageServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "open this page as localhost")
            return
        name = self.path.split("?")[0].lstrip("/") or "index.html"
        file = self.server.files.get(name)
        if file is None:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file")
            return
        tag = self.server.tags[name]
        is_known = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", "no-cache")
        if not is_known:
            self.send_header("Content-Type", file.kind)
            self.send_header("Content-Length", str(len(file.data)))
        self.end_headers()
        if with_body and not is_known:
            with suppress(ConnectionError):
                self.wfile.write(file.data)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        body = f"{reason}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Add the headers of every response."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""
