"""Dockerfile, compose.yaml and the systemd unit agree with the package and its documentation."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from paths import ROOT

from maskyolo.cli import app

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PAGE = (ROOT / "docs" / "live.md").read_text()
SERVICE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["maskyolo"]
#: What OpenCV needs on a machine without a display.
LIBRARIES = {"libgl1", "libglib2.0-0"}


def parse(words: list[str]) -> None:
    """Parse a command line, without running it."""
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])


def test_the_commands_exist() -> None:
    words = shlex.split(SERVICE["command"])
    assert words[:3] == ["serve", "--config", "/config/cameras.yaml"]
    parse(words)
    (start,) = re.findall(r"^ExecStart=/opt/maskyolo/bin/maskyolo (.*)$", PAGE, re.MULTILINE)
    parse(start.split())


def test_the_libraries_of_opencv_are_the_same_everywhere() -> None:
    for text in (DOCKERFILE, PAGE, (ROOT / "docs" / "install.md").read_text()):
        assert any(set(line.split()) >= LIBRARIES for line in text.splitlines())


def test_everything_that_is_copied_exists_and_is_let_into_the_build() -> None:
    copied = [
        word
        for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    ]
    let_in = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)
    # the wheel needs what pyproject.toml includes
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included
    assert {*included, "maskyolo", "pyproject.toml", "README.md"} <= set(copied)


def test_the_page_is_only_published_on_loopback() -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])
    assert SERVICE["read_only"] is True
    assert "--token-file" in SERVICE["command"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    (unit,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "maskyolo.service"
    file.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit))
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "maskyolo.service" not in run.stderr, run.stderr
    assert run.returncode == 0, run.stderr
