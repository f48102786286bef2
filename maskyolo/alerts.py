"""Call a command or post to an address when an alert comes, without ever holding up the frames."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable
from http.client import InvalidURL
from typing import Any

from maskyolo.counting import Event
from maskyolo.errors import MaskyoloError
from maskyolo.sinks import NullSink, Result
from maskyolo.sources import http_request

__all__ = ["Alerts", "display_command", "display_host"]

#: Seconds after which a command is ended, and an address that does not answer given up.
COMMAND_TIMEOUT, URL_TIMEOUT = 60.0, 10.0

#: Seconds that the end of a source waits for alerts that are under way, and the end of a run that is cut short.
PATIENCE, SHORT_PATIENCE = 15.0, 0.3

#: Most alerts under way at once; those above are dropped.
MOST = 16


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves redirects alone: urllib would go to whatever host with a GET that has no event in it, and call that a success."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


_OPENER = urllib.request.build_opener(_NoRedirects)


class Alerts(NullSink):
    """A listener that hands alerts on, each in a thread of its own, as JSON.

    Args:
        command: a program with its arguments, as in a shell but run without one; it has the event on its standard input.
        url: an http(s) address that the event is posted to.
        on_warning: told in one line of the first alert that does not arrive, when it is next called.

    Raises:
        MaskyoloError: no such program, or no http(s) address.
    """

    def __init__(
        self, command: str | None, url: str | None, on_warning: Callable[[str], None]
    ) -> None:
        self._command = _parse_command(command) if command is not None else []
        self._url = url
        if url is not None and not (
            url.lower().startswith(("http://", "https://")) and display_host(url)
        ):
            raise MaskyoloError(
                "cannot post alerts: --alert-url is no address; give http://… or https://…"
            )
        self._on_warning = on_warning
        self._threads: list[threading.Thread] = []
        self._failures: deque[str] = deque(maxlen=1)
        self._told = False

    def __call__(self, event: Event) -> None:
        """Hand on an event if it is an alert."""
        if event.event != "alert":
            return
        data = json.dumps(event.record(), ensure_ascii=False).encode()
        for wanted, send in ((self._command, self._run), (self._url, self._post)):
            if not wanted:
                continue
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) >= MOST:
                self._failures.append(
                    f"{MOST} alerts are still under way, further ones are dropped"
                )
                continue
            self._threads.append(
                threading.Thread(target=send, args=(data,), name="maskyolo-alert", daemon=True)
            )
            self._threads[-1].start()

    def write(self, result: Result) -> None:
        """Tell of an alert that did not arrive; see `Sink`."""
        del result
        self._tell()

    def finish(self) -> None:
        """Wait some seconds for the alerts that are under way."""
        self._wait(PATIENCE)

    def close(self) -> None:
        """Leave alerts that are under way after a moment; commands go on by themselves."""
        self._wait(SHORT_PATIENCE)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        self._tell()

    def _tell(self) -> None:
        if self._failures and not self._told:
            self._told = True
            self._on_warning(
                f"an alert did not arrive: {self._failures[0]}; further failures are not told"
            )

    def _run(self, data: bytes) -> None:
        try:
            done = subprocess.run(
                self._command,
                input=data + b"\n",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=COMMAND_TIMEOUT,
                check=False,
                start_new_session=True,  # Ctrl-C is for us
            )
        except subprocess.TimeoutExpired:
            self._failures.append(
                f"--alert-cmd {self._command[0]} took more than {COMMAND_TIMEOUT:g} s and was ended"
            )
        except OSError as error:
            self._failures.append(
                f"--alert-cmd {self._command[0]}: {(error.strerror or str(error)).lower()}"
            )
        else:
            if done.returncode:
                said = " ".join(done.stderr.decode(errors="replace").split())[:120]
                self._failures.append(
                    f"--alert-cmd {self._command[0]} ended with {done.returncode}"
                    + (f" ({said})" if said else "")
                )

    def _post(self, data: bytes) -> None:
        try:
            request = http_request(self._url or "", data, {"Content-Type": "application/json"})
            with _OPENER.open(request, timeout=URL_TIMEOUT):
                pass
        except (ValueError, InvalidURL):  # whose text has a part of the address
            self._failures.append(f"--alert-url {display_host(self._url or '')}: no valid address")
        except urllib.error.HTTPError as error:
            error.close()
            told = (
                f"it redirects ({error.code}), give the address it leads to"
                if 300 <= error.code < 400
                else str(error).lower()
            )
            self._failures.append(f"--alert-url {display_host(self._url or '')}: {told}")
        except Exception as error:  # noqa: BLE001  whatever goes wrong there must not end the run
            reason = " ".join(str(getattr(error, "reason", None) or error).split()).lower()
            self._failures.append(f"--alert-url {display_host(self._url or '')}: {reason}")


def display_host(url: str) -> str:
    """Return the host of an address: the rest of a webhook's address is often its password."""
    try:
        return urllib.parse.urlsplit(url).hostname or ""
    except ValueError:
        return ""


def display_command(text: str) -> str:
    """Return a command as it may be stored: its program alone, as there may be passwords among its arguments."""
    program, *arguments = _parse_command(text)
    return f"{program} ***" if arguments else program


def _parse_command(text: str) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise MaskyoloError(
            f"cannot read --alert-cmd: {str(error).lower()}; write it as in a shell"
        ) from error
    if not command or shutil.which(command[0]) is None:
        program = command[0] if command else ""
        raise MaskyoloError(
            f"cannot run --alert-cmd: no such program '{program}'; give a program that is on PATH or its path"
        )
    return command
