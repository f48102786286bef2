"""Runs without an end: a line per minute in the log, and signs of life for systemd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Mjpeg, until

from maskyolo.cli import heartbeat
from maskyolo.cli.heartbeat import Heartbeat, Reports, describe
from maskyolo.cli.systemd import notify
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.runtime.activity import Activity
from maskyolo.runtime.run import Summary


class Systemd:
    """The socket that systemd gives to a service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(120)
        self.lines: list[str] = []

    def wait_for(self, line: str) -> None:
        """Receive messages until this line comes."""
        while True:
            found = self._socket.recv(4096).decode().split("\n")
            self.lines += found
            if line in found:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    found = Systemd(tmp_path / "notify")
    yield found
    found.close()


@pytest.fixture
def camera(samples: Path) -> Iterator[Mjpeg]:
    mjpeg = Mjpeg(samples / "office.jpg")
    yield mjpeg
    mjpeg.die()


@pytest.mark.parametrize("command", [["detect"], ["serve", "--port", "0"]])
def test_systemd_learns_that_the_command_is_ready_alive_and_ends(
    command: list[str], camera: Mjpeg, systemd: Systemd, tmp_path: Path
) -> None:
    words = [*command, "--source", camera.url, "--reconnect", "inf", "--imgsz", "64"]
    words += ["--save-json", str(tmp_path / "seen.jsonl")]
    part = tmp_path / "seen.jsonl.part"
    process = subprocess.Popen(
        [sys.executable, "-m", "maskyolo", *words, "--project", str(tmp_path)],
        env={**os.environ, "NOTIFY_SOCKET": str(systemd.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        systemd.wait_for("READY=1")
        until(lambda: part.exists() and part.read_text(), 120)
        camera.die()
        systemd.wait_for("WATCHDOG=1")
        systemd.wait_for("WATCHDOG=1")  # alive, although no frame arrives
        process.send_signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        assert systemd.lines.count("READY=1") == 1
        process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
        camera.start()


def test_a_run_that_does_nothing_gives_no_sign_of_life(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    beat = Heartbeat()
    beat.look(Activity(0.0, {}))  # not started yet
    beat.look(Activity(5.0, {"": 1}))
    beat.look(Activity(5.0, {"": 1}))  # it hangs
    notify("X=1")
    systemd.wait_for("X=1")
    assert systemd.lines == ["READY=1", "WATCHDOG=1", "X=1"]


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("", "relative", "/none/there", "@none-there"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")


def test_a_line_per_minute_says_what_happened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 30.0, 60.0, 61.0, 120.0])
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: next(times))
    beat = Heartbeat()
    beat.look(Activity(1.0, {"": 300}, people=1))
    beat.look(Activity(2.0, {"": 600}, people=2, skipped=30))
    beat.look(Activity(3.0, {"": 620}, people=2, skipped=30))
    beat.look(Activity(4.0, {"": 900}, people=2, skipped=30, interruptions=2))
    assert capsys.readouterr().err.splitlines() == [
        "maskyolo: last minute: 600 frames, 10.0 per second, 2 people, 30 frames skipped",
        "maskyolo: last minute: 300 frames, 5.0 per second, 0 people, connection lost 2 times",
    ]


def test_several_cameras_have_their_rates_in_the_line() -> None:
    before = Activity(0.0, {"door": 60})
    now = Activity(0.0, {"door": 120, "gate": 600, "hall": 0}, interruptions=1)
    assert describe(before, now, 60) == (
        "last minute: 660 frames, 11.0 per second (door 1.0, gate 10.0, hall 0.0), "
        "connection lost once"
    )


def test_a_camera_that_keeps_failing_has_one_line_per_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now)
    summary = Summary()
    reports = Reports(summary)
    for second in (0, 10, 59, 60, 61):
        now = 1000.0 + second
        reports("door", SourceError(f"lost at {second}"))
    reports("gate", SourceError("gate lost"))
    reports("alert", MaskyoloError("not delivered"))
    final = SourceError("door is gone")
    summary.errors.append(("door", final))
    reports("door", final)
    shown = [line.removeprefix("maskyolo: ") for line in capsys.readouterr().err.splitlines()]
    assert shown == ["lost at 0", "lost at 60", "gate lost", "not delivered", "door is gone"]
