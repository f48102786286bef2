"""What reaches the terminal: no control characters, no lines of libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from paths import SAMPLES

from maskyolo.cli import main
from maskyolo.cli.terminal import printable_streams
from maskyolo.core.text import printable
from maskyolo.errors import ImageWarning, MaskyoloError

ODD = "a\x1b]0;title\x07\x9b2J\x7f\u202ereversed\u2066\r.jpg"


def test_control_characters_become_text() -> None:
    shown = printable(ODD + "\udcff\ud800\u2028")
    assert shown == (r"a\x1b]0;title\x07\x9b2J\x7f\u202ereversed\u2066\x0d.jpg\xff\ud800\u2028")
    assert printable("größe\tA\r\n😷") == "größe\tA\n😷"


def test_everything_that_a_command_prints_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_streams():
        sys.stdout.write(ODD)
        sys.stderr.write(ODD)
        typer.echo(ODD, err=True)
        sys.stdout.writelines([ODD])
        warnings.warn(f"{ODD}: only the first of its 2 pages is used", ImageWarning, stacklevel=1)
    sys.stdout.write("\x1b\n")
    out, err = capsys.readouterr()
    assert out.endswith("\x1b\n")  # as before
    text = out[:-2] + err
    assert text.count("title") == 5
    assert not set(text) & set("\x1b\x07\x9b\x7f\u202e\u2066\r")
    assert "maskyolo: warning: a\\x1b" in err


def test_an_error_is_one_line() -> None:
    error = MaskyoloError("cannot read a\nmaskyolo: forged", "check it")
    assert str(error) == r"cannot read a\x0amaskyolo: forged; check it"


def test_names_of_files_are_printed_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / ODD).write_bytes(b"no image")
    (folder / "b.jpg").write_bytes((SAMPLES / "street.jpg").read_bytes())
    with pytest.raises(SystemExit) as ended:
        main(["detect", "--source", str(folder), "--no-save"])
    assert ended.value.code == 0
    err = capsys.readouterr().err
    assert r"a\x1b]0;title\x07" in err
    assert not set(err) & set("\x1b\x07\x9b\x7f\u202e\u2066")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_lines_above_the_progress_bar_are_clean() -> None:
    code = (
        "import typer\n"
        "from maskyolo.cli.progress import progress_bar\n"
        "from maskyolo.cli.terminal import printable_streams\n"
        "with printable_streams(), progress_bar('images'):\n"
        "    typer.echo('bad\\x1b]0;title\\x07', err=True)\n"
    )
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", code],
            stderr=theirs,
            check=True,
            env={**os.environ, "TERM": "xterm"},
        )
        shown = os.read(ours, 1 << 20).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert r"bad\x1b]0;title\x07" in shown
    assert "\x1b]0;" not in shown
