"""An alert reaches its command once, and never delays or ends a run."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from live import until

from maskyolo.errors import MaskyoloError
from maskyolo.runtime.alerts import Alerts, display_command
from maskyolo.runtime.events import Event

ALERT = Event("alert", "0", 7, 1.5, 3, "without_mask", 0.9)


def python(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", code, *arguments])


def keep(path: Path) -> str:
    """Return a command that appends its input to a file."""
    return python("import sys; open(sys.argv[1], 'a').write(sys.stdin.read())", str(path))


@pytest.fixture
def failures() -> list[MaskyoloError]:
    return []


def test_the_command_gets_the_event_on_its_input(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    alerts = Alerts(keep(tmp_path / "it; $HOME 'is' no shell"), [], Path(), failures.append)
    alerts(ALERT)
    alerts(Event("changes", "0", 8, 1.6, 3, "with_mask", 0.9))
    alerts.finish()
    text = (tmp_path / "it; $HOME 'is' no shell").read_text()
    line = text.removesuffix("\n")
    assert text == f"{line}\n"
    record = json.loads(line)
    assert len(record.pop("id")) == 32
    expected = {
        "event": "alert",
        "source": "0",
        "frame": 7,
        "time": 1.5,
        "track_id": 3,
        "class": "without_mask",
        "confidence": 0.9,
    }
    assert record == expected
    assert failures == []


def test_frames_continue_while_a_command_runs(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    """The command reads a pipe that this test only writes to after the alert was forwarded."""
    os.mkfifo(tmp_path / "pipe")
    copy = python(
        "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())",
        str(tmp_path / "pipe"),
        str(tmp_path / "done"),
    )
    alerts = Alerts(copy, [], Path(), failures.append)
    alerts(ALERT)
    (tmp_path / "pipe").write_text("go on")
    alerts.finish()
    assert (tmp_path / "done").read_text() == "go on"


def test_a_failing_command_is_reported_once(failures: list[MaskyoloError]) -> None:
    alerts = Alerts(
        python("import sys; sys.exit('the alarm is broken')"), [], Path(), failures.append
    )
    for _ in range(3):
        alerts(ALERT)
        alerts.finish()
    assert len(failures) == 1
    assert "exited with 1 (the alarm is broken)" in str(failures[0])
    assert "\n" not in str(failures[0])


def test_the_number_of_alerts_in_progress_is_limited(
    tmp_path: Path, failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.MAX_ALERTS", 1)
    os.mkfifo(tmp_path / "pipe")
    alerts = Alerts(
        python("import sys; open(sys.argv[1]).read()", str(tmp_path / "pipe")),
        [],
        Path(),
        failures.append,
    )
    for _ in range(3):
        alerts(ALERT)
    (tmp_path / "pipe").write_text("go on")  # would block if nothing were running
    alerts.finish()
    assert len(failures) == 1
    assert "still in progress" in str(failures[0])


@pytest.mark.parametrize("command", ["", "no-such-program-here --x", "'unclosed"])
def test_a_command_that_cannot_run_is_an_error_before_the_run(
    command: str, failures: list[MaskyoloError]
) -> None:
    with pytest.raises(MaskyoloError, match="--alert-cmd"):
        Alerts(command, [], Path(), failures.append)


def test_only_the_program_of_a_command_is_stored_and_shown(failures: list[MaskyoloError]) -> None:
    assert (
        display_command(f"{sys.executable} -H 'Authorization: secret'") == f"{sys.executable} ***"
    )
    assert display_command(sys.executable) == sys.executable
    with pytest.raises(MaskyoloError, match="no such program 'no-such-program-here'") as error:
        Alerts("no-such-program-here secret", [], Path(), failures.append)
    assert "secret" not in str(error.value)


def test_a_command_that_writes_without_end_is_killed_and_fills_no_memory(
    failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.COMMAND_TIMEOUT", 1.0)
    flood = "import os\nwhile True: os.write(1, b'o' * 65536); os.write(2, b'e' * 65536)"
    before, grown = psutil.Process().memory_info().rss, 0
    alerts = Alerts(python(flood), [], Path(), failures.append)
    alerts(ALERT)
    while any(thread.is_alive() for thread in alerts._threads):
        grown = max(grown, psutil.Process().memory_info().rss - before)
        alerts._threads[0].join(0.01)
    alerts.finish()
    assert "ran for 1 s and was killed" in str(failures[0])
    assert grown < 50 << 20  # without a limit, it grows by everything that is written in a second


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")
def test_children_of_a_command_that_takes_too_long_are_killed_with_it(
    tmp_path: Path, failures: list[MaskyoloError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.runtime.alerts.COMMAND_TIMEOUT", 1.0)
    os.mkfifo(tmp_path / "pipe")
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(30)"
    child = shlex.split(python(code, str(tmp_path / "pipe")))
    alerts = Alerts(
        python(f"import subprocess; subprocess.run({child!r})"), [], Path(), failures.append
    )
    alerts(ALERT)
    number = int((tmp_path / "pipe").read_text())
    alerts.finish()
    assert "was killed" in str(failures[0])

    def is_over() -> bool:
        try:
            return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(is_over, seconds=15)


def test_a_child_that_keeps_standard_error_open_is_not_waited_for(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    child = python("import sys; open(sys.argv[1]).read()", str(tmp_path / "pipe"))
    alerts = Alerts(
        python(f"import subprocess, sys; subprocess.Popen({shlex.split(child)!r}); sys.exit('no')"),
        [],
        Path(),
        failures.append,
    )
    alerts(ALERT)
    alerts.finish()
    assert "exited with 1 (no)" in str(failures[0])
    (tmp_path / "pipe").write_text("go on")


def test_a_password_in_what_a_command_says_is_not_shown(failures: list[MaskyoloError]) -> None:
    said = "cannot reach https://me:secret@example.org/x?token=secret"
    alerts = Alerts(python(f"import sys; sys.exit({said!r})"), [], Path(), failures.append)
    alerts(ALERT)
    alerts.finish()
    assert "https://***@example.org/x?token=***" in str(failures[0])


def test_an_alert_about_a_source_whose_name_is_no_utf8_is_sent(
    tmp_path: Path, failures: list[MaskyoloError]
) -> None:
    alerts = Alerts(keep(tmp_path / "out"), [], Path(), failures.append)
    name = os.fsdecode(b"a\xff\n.mp4")
    alerts(replace(ALERT, source=name))
    alerts.finish()
    assert json.loads((tmp_path / "out").read_text())["source"] == name
