"""Lists of images, checksums and names of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from maskyolo.core.files import read_image_list, sha256_of, written_name
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
