"""Lists of images, checksums and names of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from maskyolo.core.files import (
    inside,
    part_of,
    read_image_list,
    sha256_of,
    sync_tree,
    write_atomic,
    written_name,
)
from maskyolo.errors import DatasetError, SourceError


def test_a_list_is_read_without_empty_lines_spaces_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa b.jpg\r\n\n  images/ж.png \n".encode())
    assert read_image_list(path) == ["a b.jpg", "images/ж.png"]
    path.write_text("")
    assert read_image_list(str(path)) == []


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_list_that_cannot_be_read_is_an_error_of_the_callers_kind(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    for kind in (DatasetError, SourceError):
        with pytest.raises(kind) as caught:
            read_image_list(path, kind)
        assert caught.value.problem.startswith(f"cannot read list {path}: ")
        assert caught.value.remedy == "it must be UTF-8 text with one path per line"
    with pytest.raises(DatasetError):
        read_image_list(path)


def test_a_checksum_is_that_of_the_content_also_of_a_large_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8193  # more than two of the blocks that are read at a time
    (tmp_path / "file").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_of(tmp_path / "file") == sha256_of(content) == expected
    with pytest.raises(OSError, match="gone"):
        sha256_of(tmp_path / "gone")


def test_a_written_name_is_one_line_of_valid_text() -> None:
    assert written_name(Path("a") / "b\n\udcff.jpg") == r"a/b\x0a\xff.jpg"


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../other", "a/../../other", "/etc/passwd", "link/a", "loop", "a\0b"]
)
def test_a_name_that_leads_out_of_a_data_set_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(DatasetError, match="is outside the data set") as caught:
        inside(root, name)
    assert str(caught.value).isprintable()


def test_a_name_inside_a_data_set_is_its_path(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "copies").symlink_to(root / "images")
    (tmp_path / "alias").symlink_to(root)
    for name in ("images", "images/new.jpg", "new/a.txt", "copies/a.jpg", "images/../a"):
        assert inside(root, name) == root / name
        assert inside(tmp_path / "alias", name) == tmp_path / "alias" / name


def test_a_temporary_name_is_valid_wherever_the_name_is(tmp_path: Path) -> None:
    for name in ("a.jpg", "b" * 255, "ж" * 127, "c" * 251 + ".jpg"):
        write_atomic(tmp_path / name, name)
        assert (tmp_path / name).read_text() == name
    parts = {part_of(tmp_path / (letter * 255)).name for letter in "abc"}
    assert len(parts) == 3
    assert all(name.endswith(".part") for name in parts)
    assert part_of(tmp_path / "a.jpg").name == "a.jpg.part"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_link_with_the_temporary_name_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for target in (precious, tmp_path / "not there"):
        part_of(tmp_path / "a.txt").symlink_to(target)
        write_atomic(tmp_path / "a.txt", "new")
        assert (tmp_path / "a.txt").read_text() == "new"
    assert precious.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "precious"]


def test_a_file_that_is_replaced_is_synced_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        "os.fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
    )
    write_atomic(tmp_path / "a", "new")
    assert not synced
    write_atomic(tmp_path / "a", "newer")
    assert synced == ["a.part"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").touch()
    (tmp_path / "b" / "link").symlink_to("/etc/passwd")
    synced.clear()
    sync_tree(tmp_path)
    assert sorted(synced) == sorted(["a", "c", "b", tmp_path.name])
    assert set(synced[2:]) == {"b", tmp_path.name}, "folders after their files"
