"""A journal is true as far as it goes: damage loses its tail only, and says so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from maskyolo.dataset.journal import Entry, Journal, checksum, read_journal

SETTINGS = {"detector": "ssd", "conf": 0.5}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("0 0.5 0.5 0.1 0.1\n" * number)
    made = Journal(tmp_path / "journal.jsonl", SETTINGS, [Entry({"source": "kept"})])
    for number in range(5):
        made.add(Entry.of({"source": f"ж{number}"}, tmp_path, [f"{number}.txt"]))
    made.close()
    return tmp_path / "journal.jsonl"


def sources(path: Path) -> list[str]:
    return [entry.content["source"] for entry in read_journal(path, SETTINGS)]


WHOLE = ["kept", *(f"ж{number}" for number in range(5))]


def test_what_was_added_is_read_again_if_the_settings_are_the_same(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert sources(journal) == WHOLE
    assert read_journal(journal, SETTINGS | {"conf": 0.4}) == []
    assert read_journal(journal.with_name("none"), SETTINGS) == []
    with journal.open("ab") as file:
        file.write(b'["0123')  # killed in the middle of a line
    assert sources(journal) == WHOLE
    assert not caplog.records


@pytest.mark.parametrize("place", ["zeroed tail", "garbage", "one bit", "a lost line end", "zeros"])
def test_damage_loses_what_comes_after_it_and_is_told(
    journal: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    third = lines[3]
    damaged = {
        "zeroed tail": b"\0" * len(b"".join(lines[3:])),
        "garbage": b"\xff\n\x00{[[[" + b"".join(lines[4:]),
        "one bit": third.replace(b"1-", b"3-").replace(b"18-", b"19-") + b"".join(lines[4:]),
        "a lost line end": third[:-1] + b"".join(lines[4:]),
        "zeros": third[:9] + b"\0" * 9 + third[18:] + b"".join(lines[4:]),
    }[place]
    assert damaged != b"".join(lines[3:])
    journal.write_bytes(b"".join(lines[:3]) + damaged)
    with caplog.at_level(logging.WARNING, "maskyolo"):
        assert sources(journal) == WHOLE[:2]
    assert [record.getMessage() for record in caplog.records] == [
        f"{journal} is damaged after 2 entries; what it recorded later is done again"
    ]


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 5000, b"[" * 100_000, b"\xff\xfe\n" * 10, b"{}\n[]\n1\n"]
)
def test_a_journal_of_anything_has_no_entries(journal: Path, data: bytes) -> None:
    journal.write_bytes(data)
    assert read_journal(journal, SETTINGS) == []


def test_files_are_intact_only_with_the_content_they_had(journal: Path) -> None:
    entry = read_journal(journal, SETTINGS)[4]
    file = journal.with_name("3.txt")
    assert entry.files == {"3.txt": checksum(file.read_bytes())}
    assert entry.is_intact(journal.parent)
    for other in (b"", b"\0" * 54, file.read_bytes()[:-1] + b" "):
        file.write_bytes(other)
        assert not entry.is_intact(journal.parent)
    file.unlink()
    assert not entry.is_intact(journal.parent)
    elsewhere = Entry({}, {"../other.txt": checksum(b"")})
    (journal.parent.parent / "other.txt").write_bytes(b"")
    assert not elsewhere.is_intact(journal.parent)


def test_a_line_is_written_only_after_its_files_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr("maskyolo.dataset.journal._PAUSE", 0.0)
    made = Journal(tmp_path / "journal.jsonl", SETTINGS)

    def fsync(file: int) -> None:
        order.append(Path(f"/proc/self/fd/{file}").readlink().name)
        if order[-1] == "a.txt":
            assert len((tmp_path / "journal.jsonl").read_bytes().splitlines()) == 1

    monkeypatch.setattr("os.fsync", fsync)
    (tmp_path / "a.txt").write_text("a")
    made.add(Entry.of({}, tmp_path, ["a.txt"]))
    assert order == ["a.txt", tmp_path.name, "journal.jsonl"]
    made.close()
