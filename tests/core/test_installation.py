"""The install command is the one that works for how the package is installed."""

import importlib.metadata
import json
import shlex
from typing import Any

import pytest

from maskyolo.core import installation
from maskyolo.core.installation import install_command


class _Installed:
    def __init__(self, record: dict[str, Any] | None) -> None:
        self._record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._record is None else json.dumps(self._record)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"url": "file:///home/ann/my%20clone", "dir_info": {"editable": True}},
            ["pip", "install", "-e", "/home/ann/my clone[train]"],
        ),
        ({"url": "file:///srv/clone", "dir_info": {}}, ["pip", "install", "/srv/clone[train]"]),
        (
            {"url": "file:///tmp/maskyolo-0.1.0-py3-none-any.whl", "archive_info": {}},
            ["pip", "install", "/tmp/maskyolo-0.1.0-py3-none-any.whl[train]"],
        ),
        (
            {
                "url": "https://github.com/maskyolo/maskyolo",
                "vcs_info": {"vcs": "git", "commit_id": "0"},
            },
            ["pip", "install", "maskyolo[train] @ git+https://github.com/maskyolo/maskyolo"],
        ),
        (
            {"url": "https://example.org/maskyolo-0.1.0.tar.gz", "archive_info": {}},
            ["pip", "install", "maskyolo[train] @ https://example.org/maskyolo-0.1.0.tar.gz"],
        ),
        (None, ["pip", "install", "maskyolo[train]"]),
    ],
)
def test_the_command_names_what_was_installed(
    record: dict[str, Any] | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: _Installed(record))
    assert shlex.split(install_command("train")) == expected


def test_a_package_that_is_run_from_a_folder_is_installed_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    command = shlex.split(install_command("", "--no-deps"))
    assert command[:4] == ["pip", "install", "--no-deps", "-e"]
    assert installation.__file__.startswith(command[4])
