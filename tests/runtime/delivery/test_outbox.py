"""Alerts wait on disk, in order and within limits, and those of ended processes are taken over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maskyolo.core.files import write_atomic
from maskyolo.errors import OutputError
from maskyolo.runtime.delivery import outbox as module
from maskyolo.runtime.delivery.outbox import Outbox


def waiting(box: Outbox) -> list[bytes | None]:
    """Read all alerts in order, and remove them."""
    found = []
    while one := box.first():
        found.append(box.read(one))
        box.remove(one)
    return found


def test_alerts_are_kept_in_order_until_they_are_removed(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "out" / "box", "url-1")
    assert not (tmp_path / "out").exists()  # nothing is written before the first alert
    for number in range(12):
        assert box.put(b"%d" % number) is None
    assert box.folder == tmp_path / "out" / "box" / "url-1"
    files = sorted(path for path in box.folder.iterdir() if path.suffix == ".json")
    assert [path.read_bytes() for path in files] == [b"%d" % number for number in range(12)]
    first = box.first()
    assert first
    assert box.first() == first
    assert waiting(box) == [b"%d" % number for number in range(12)]
    assert len(box) == 0
    box.close()
    assert not (tmp_path / "out" / "box" / "url-1").exists()


def test_the_order_holds_if_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(tmp_path, "url")
    box.put(b"before")
    box.close()
    monkeypatch.setattr("maskyolo.runtime.delivery.outbox.time.time_ns", lambda: 1)
    box = Outbox(tmp_path, "url")
    for number in range(3):
        box.put(b"%d" % number)
    box.close()
    box = Outbox(tmp_path, "url")
    assert waiting(box) == [b"before", b"0", b"1", b"2"]
    box.close()


def test_the_next_one_takes_over_what_a_killed_process_has_left(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from maskyolo.runtime.delivery.outbox import Outbox\n"
        "box = Outbox(Path(sys.argv[1]), 'url'); box.put(b'a'); box.put(b'b')\n"
        "print(box.folder.name); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    other = Outbox(tmp_path, "url")
    other.put(b"own")
    for _ in range(2):  # while another run uses the first folder
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == "url-2\n", done.stderr
    (tmp_path / "url-2" / "x.json.part").write_bytes(b"half an ale")
    third = Outbox(tmp_path, "url")
    assert waiting(third) == [b"a", b"b", b"a", b"b"]
    third.put(b"later")
    third.close()
    other.close()
    last = Outbox(tmp_path, "url")
    assert waiting(last) == [b"own", b"later"]
    assert [path.name for path in tmp_path.iterdir()] == ["url"]
    last.close()
    assert list(tmp_path.iterdir()) == []


def test_alerts_for_another_target_and_other_files_are_left_alone(tmp_path: Path) -> None:
    other = Outbox(tmp_path, "url-12")
    other.put(b"secret")
    other.close()
    name = "0" * 20 + "-" + "0" * 32 + ".json"
    folder = tmp_path / "url-1"
    folder.mkdir()
    (folder / "notes.json").write_text("mine")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / name).symlink_to(tmp_path / "secret.txt")
    (folder / name.replace("-0", "-1")).write_bytes(bytes(module.MAX_ALERT + 1))
    box = Outbox(tmp_path, "url-1")
    assert waiting(box) == []
    box.close()
    assert (folder / "notes.json").read_text() == "mine"
    assert (tmp_path / "url-12").is_dir()


def test_number_and_bytes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ALERTS", 3)
    box = Outbox(tmp_path, "url")
    for number in range(5):
        box.put(b"%d" % number)
    assert (len(box), box.dropped) == (3, 2)
    assert box.folder
    assert len(list(box.folder.glob("*.json"))) == 3
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    box.put(b"123456789")
    assert box.dropped == 4
    assert waiting(box) == [b"4", b"123456789"]
    box.close()


def test_without_a_disk_alerts_are_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    box = Outbox(tmp_path / "file" / "box", "url")
    assert isinstance(box.put(b"a"), OutputError)
    assert waiting(box) == [b"a"]
    box.close()

    box = Outbox(tmp_path, "url")
    box.put(b"b")

    def full(path: Path, data: bytes) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(module, "write_atomic", full)
    assert isinstance(box.put(b"c"), OutputError)
    monkeypatch.setattr(module, "write_atomic", write_atomic)
    assert box.put(b"d") is None
    assert waiting(box) == [b"b", b"c", b"d"]
    box.close()


def test_an_alert_whose_file_was_removed_is_skipped(tmp_path: Path) -> None:
    box = Outbox(tmp_path, "url")
    box.put(b"a")
    box.put(b"b")
    first = box.first()
    assert first
    assert box.folder
    (box.folder / first.name).unlink()
    assert waiting(box) == [None, b"b"]
    box.close()
