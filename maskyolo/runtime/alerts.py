"""Runs a command on each alert and delivers it to other machines, without delaying the frames."""

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
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, cast

from maskyolo.core.children import programs_environment
from maskyolo.core.text import printable
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.addresses import hide_addresses
from maskyolo.runtime.delivery.courier import Courier
from maskyolo.runtime.delivery.targets import Target
from maskyolo.runtime.events import Event
from maskyolo.runtime.results import NullSink, Result

__all__ = ["Alerts", "display_command"]

#: Seconds for a command to finish.
COMMAND_TIMEOUT = 60.0

#: Maximum bytes kept of what a command writes to standard error; the rest is read and discarded.
MAX_OUTPUT = 4096

#: Seconds to wait for alerts in progress: at the end of a source, and when a run is stopped early.
PATIENCE, SHORT_PATIENCE = 15.0, 0.3

#: Maximum number of commands in progress at once; for further alerts, none is started.
MAX_ALERTS = 16


class Alerts(NullSink):
    """A listener that forwards alerts as JSON, without delaying the frames.

    Each alert has an `id`. A target may get an alert more than once, always with the same one.

    Args:
        command: a program with its arguments, quoted as in a shell but run without one; it gets
            the event on its standard input.
        targets: other machines that alerts are delivered to; see `Courier`.
        outbox: the folder that alerts wait in until they are delivered. It is created for the
            first one.
        on_failure: called with an error for the first command that fails, for each outage of a
            target, and for alerts that are left at the end, in the thread that calls the sink's
            methods.

    Raises:
        MaskyoloError: no such program.
    """

    def __init__(
        self,
        command: str | None,
        targets: Sequence[Target],
        outbox: Path,
        on_failure: Callable[[MaskyoloError], None],
    ) -> None:
        self._command = _parse_command(command) if command is not None else []
        self._targets, self._outbox = targets, outbox
        self._couriers: list[Courier] = []
        self._on_failure = on_failure
        self._threads: list[threading.Thread] = []
        self._failures: deque[str] = deque(maxlen=1)
        self._reported = self._is_live = False

    def __call__(self, event: Event) -> None:
        """Forward an event if it is an alert."""
        if event.event != "alert":
            return
        text = json.dumps({"id": uuid.uuid4().hex} | event.record(), ensure_ascii=False)
        data = text.encode(errors="backslashreplace")  # a file name may be invalid Unicode
        self._start()
        for courier in self._couriers:
            courier.put(data)
        if self._command:
            self._run_beside(data)

    def write(self, result: Result) -> None:
        """Report what could not be delivered; at first, continue to deliver; see `Sink`."""
        self._is_live = result.frame.kind == "live"
        self._start()
        self._report()

    def finish(self, source: str = "") -> None:
        """At the end of a file, wait up to `PATIENCE` seconds for its alerts; see `Sink`."""
        del source
        if not self._is_live:  # other cameras go on
            self._wait(PATIENCE)

    def close(self) -> None:
        """Give the alerts in progress `SHORT_PATIENCE` seconds; see `Sink`.

        Commands keep running, and the next run delivers the alerts that are left.
        """
        self._wait(SHORT_PATIENCE)
        for courier in self._couriers:
            courier.close(SHORT_PATIENCE)
        self._report()

    def _start(self) -> None:
        if not self._couriers and self._targets:
            self._couriers = [Courier(target, self._outbox) for target in self._targets]
            for courier in self._couriers:
                courier.start()

    def _run_beside(self, data: bytes) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MAX_ALERTS:
            self._failures.append(
                f"{MAX_ALERTS} alerts are still in progress; further ones are dropped"
            )
            return
        self._threads.append(
            threading.Thread(target=self._run, args=(data,), name="maskyolo-alert", daemon=True)
        )
        self._threads[-1].start()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        for courier in self._couriers:
            courier.wait(max(end - time.monotonic(), 0))
        self._report()

    def _report(self) -> None:
        for courier in self._couriers:
            for problem in courier.problems():
                self._on_failure(problem)
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
