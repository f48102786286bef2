"""Runs a command or posts to a URL on each alert, without delaying the frames."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
from collections import deque
from collections.abc import Callable
from http.client import InvalidURL
from typing import IO, cast

from maskyolo.core.children import programs_environment
from maskyolo.core.text import printable
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.addresses import hide_addresses
from maskyolo.runtime.downloads import NoRedirects, http_request, open_url
from maskyolo.runtime.events import Event
from maskyolo.runtime.results import NullSink, Result

__all__ = ["Alerts", "display_command", "display_host"]

#: Timeouts in seconds: for a command to finish, and for a URL to answer.
COMMAND_TIMEOUT, URL_TIMEOUT = 60.0, 10.0

#: Maximum bytes kept of what a command writes to standard error; the rest is read and discarded.
MAX_OUTPUT = 4096

#: Seconds to wait for alerts in progress: at the end of a source, and when a run is stopped early.
PATIENCE, SHORT_PATIENCE = 15.0, 0.3

#: Maximum number of alerts in progress at once; further ones are dropped.
MAX_ALERTS = 16


class Alerts(NullSink):
    """A listener that forwards alerts as JSON, each in its own thread.

    Args:
        command: a program with its arguments, quoted as in a shell but run without one; it gets
            the event on its standard input.
        url: an HTTP(S) URL that the event is posted to.
        on_failure: called with an error for the first alert that cannot be delivered, in the thread
            that calls the sink's methods.

    Raises:
        MaskyoloError: no such program, or not an HTTP(S) URL.
    """

    def __init__(
        self, command: str | None, url: str | None, on_failure: Callable[[MaskyoloError], None]
    ) -> None:
        self._command = _parse_command(command) if command is not None else []
        self._url = url
        if url is not None and not (
            url.lower().startswith(("http://", "https://")) and display_host(url)
        ):
            raise MaskyoloError(
                "cannot post alerts: --alert-url is not an HTTP(S) URL",
                "use http://… or https://…",
            )
        self._on_failure = on_failure
        self._threads: list[threading.Thread] = []
        self._failures: deque[str] = deque(maxlen=1)
        self._reported = False

    def __call__(self, event: Event) -> None:
        """Forward an event if it is an alert."""
        if event.event != "alert":
            return
        text = json.dumps(event.record(), ensure_ascii=False)
        data = text.encode(errors="backslashreplace")  # a file name may be invalid Unicode
        for wanted, send in ((self._command, self._run), (self._url, self._post)):
            if not wanted:
                continue
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) >= MAX_ALERTS:
                self._failures.append(
                    f"{MAX_ALERTS} alerts are still in progress; further ones are dropped"
                )
                continue
            self._threads.append(
                threading.Thread(target=send, args=(data,), name="maskyolo-alert", daemon=True)
            )
            self._threads[-1].start()

    def write(self, result: Result) -> None:
        """Report an alert that could not be delivered; see `Sink`."""
        del result
        self._report()

    def finish(self, source: str = "") -> None:
        """Wait up to `PATIENCE` seconds for the alerts in progress; see `Sink`."""
        del source
        self._wait(PATIENCE)

    def close(self) -> None:
        """Abandon the alerts in progress after `SHORT_PATIENCE` seconds; commands keep running."""
        self._wait(SHORT_PATIENCE)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        self._report()

    def _report(self) -> None:
        if self._failures and not self._reported:
            self._reported = True
            self._on_failure(
                MaskyoloError(
                    f"an alert was not delivered: {self._failures[0]}",
                    "further failures are not reported",
                )
            )

    def _run(self, data: bytes) -> None:
        program = self._command[0]
        try:
            code, output = _run_command(self._command, data + b"\n")
        except subprocess.TimeoutExpired:
            self._failures.append(
                f"--alert-cmd {program} ran for {COMMAND_TIMEOUT:g} s and was killed"
            )
        except OSError as error:
            self._failures.append(
                f"--alert-cmd {program}: {(error.strerror or str(error)).lower()}"
            )
        else:
            if code:
                text = " ".join(output.decode(errors="replace").split())
                detail = printable(hide_addresses(text))[:120]
                self._failures.append(
                    f"--alert-cmd {program} exited with {code}" + (f" ({detail})" if detail else "")
                )

    def _post(self, data: bytes) -> None:
        try:
            request = http_request(self._url or "", data, {"Content-Type": "application/json"})
            with open_url(request, URL_TIMEOUT, URL_TIMEOUT, NoRedirects()):
                pass  # the answer is not read
        except (ValueError, InvalidURL):  # its text contains part of the URL
            self._undelivered("not a valid URL")
        except urllib.error.HTTPError as error:
            error.close()
            redirects = 300 <= error.code < 400
            self._undelivered(
                f"it redirects ({error.code}); use the URL it redirects to"
                if redirects
                else str(error).lower()
            )
        except Exception as error:  # noqa: BLE001  no failure of an alert may end the run
            self._undelivered(
                " ".join(str(getattr(error, "reason", None) or error).split()).lower()
            )

    def _undelivered(self, reason: str) -> None:
        detail = printable(reason)[:200]
        self._failures.append(f"--alert-url {display_host(self._url or '')}: {detail}")


def _run_command(command: list[str], data: bytes) -> tuple[int, bytes]:
    """Run a command and return its exit code and the beginning of its standard error.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took too long, and was killed with its children.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=programs_environment(),
        start_new_session=True,  # so that Ctrl-C does not reach it
    )
    stdin, stderr = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stderr)
    output = bytearray()

    def drain() -> None:
        with stderr:
            while block := os.read(stderr.fileno(), 1 << 16):
                output.extend(block[: MAX_OUTPUT - len(output)])

    # a child of the command may keep its standard error open; this thread is not waited for
    reader = threading.Thread(target=drain, name="maskyolo-alert-output", daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # it does not read its input
            stdin.write(data)  # shorter than a pipe's buffer, so this cannot block
            stdin.close()
        code = process.wait(COMMAND_TIMEOUT)
    except BaseException:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        raise
    reader.join(timeout=1)
    return code, bytes(output)


def display_host(url: str) -> str:
    """Return only the host of a URL; the rest of a webhook's URL is often secret."""
    try:
        return urllib.parse.urlsplit(url).hostname or ""
    except ValueError:
        return ""


def display_command(text: str) -> str:
    """Return a command without its arguments, which may contain passwords."""
    program, *arguments = _parse_command(text)
    return f"{program} ***" if arguments else program


def _parse_command(text: str) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise MaskyoloError(
            f"cannot read --alert-cmd: {str(error).lower()}", "quote it as in a shell"
        ) from error
    if not command or shutil.which(command[0]) is None:
        program = command[0] if command else ""
        raise MaskyoloError(
            f"cannot run --alert-cmd: no such program '{program}'",
            "use a program on PATH, or its path",
        )
    return command
