"""Any error of one item becomes a line about it, unless it concerns the whole batch."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import pytest

from maskyolo.core.item_errors import ItemErrors
from maskyolo.errors import (
    DatasetError,
    ImageError,
    MaskyoloError,
    NameRefusedError,
    OutputError,
    WeightsError,
    output_errors,
)


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("deep"),
        cv2.error("(-215) odd"),
        UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"),
        KeyError(3),
        ValueError(),
    ],
)
def test_a_fault_of_ours_is_a_line_that_names_the_log_with_its_traceback(
    tmp_path: Path, error: Exception
) -> None:
    errors = ItemErrors(lambda: tmp_path / "errors.log")
    for item, shown in (("a\n\udcff.jpg", r"a\x0a\xff.jpg"), ("b.jpg", "b.jpg")):
        with pytest.raises(type(error)):
            fail(error)
        line = str(errors.explain(item, error))
        assert line.startswith(f"cannot process {shown}: unexpected {type(error).__name__}")
        assert line.endswith(str(tmp_path / "errors.log"))
        assert line.isprintable()
    log = (tmp_path / "errors.log").read_text()
    assert log.count("Traceback (most recent call last)") == 2
    assert "raise error" in log
    assert "b.jpg" in log


def test_what_is_the_items_own_fault_is_a_line_without_a_log(tmp_path: Path) -> None:
    errors = ItemErrors(lambda: tmp_path / "errors.log")
    for own in (ImageError("cannot decode a.jpg: empty"), NameRefusedError("cannot write a: long")):
        assert errors.explain("a.jpg", own) is own
    gone = errors.explain("a.jpg", FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert str(gone) == "cannot process a.jpg: no such file or directory; check the file"
    assert "not enough memory" in str(errors.explain("a.jpg", MemoryError()))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OutputError("cannot write a: no space"),
        WeightsError("no weights"),
        DatasetError("wrong set"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_what_every_item_would_meet_ends_the_batch(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        ItemErrors().explain("a.jpg", error)
    assert caught.value is error


def test_a_log_that_cannot_be_written_does_not_end_the_batch(tmp_path: Path) -> None:
    errors = ItemErrors(lambda: tmp_path / "none" / "errors.log")
    assert "unexpected ValueError" in str(errors.explain("a.jpg", ValueError("odd")))


def test_the_log_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskyolo.core.item_errors._MAX_LOG", 300)
    errors = ItemErrors(lambda: tmp_path / "errors.log", shown=tmp_path / "set" / "errors.log")
    for number in range(50):
        line = errors.explain(f"{number}.jpg", ValueError("odd"))
        assert str(line).endswith(str(tmp_path / "set" / "errors.log"))
    assert (tmp_path / "errors.log").stat().st_size < 600


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.EFBIG, OutputError, "no larger file"),
        (errno.ENOENT, OutputError, "folder was removed"),
        (errno.EIO, OutputError, "check the disk"),
        (errno.ENAMETOOLONG, NameRefusedError, "shorter name"),
        (errno.EINVAL, NameRefusedError, "another name"),
        (errno.ENOSPC, OutputError, "free some space"),
    ],
)
def test_every_error_of_the_system_while_writing_is_a_line(
    number: int, kind: type[MaskyoloError], remedy: str
) -> None:
    with (
        pytest.raises(kind, match=rf"cannot write out/x: .*{remedy}") as caught,
        output_errors("out/x"),
    ):
        raise OSError(number, "What the System Says", "out/x.part")
    assert type(caught.value) is kind
    assert "what the system says;" in str(caught.value)
    with pytest.raises(kind, match=r"says \(in/y\)"), output_errors("out/x"):
        raise OSError(number, "What the System Says", "in/y")
