"""The file that the counts of the live page are kept in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from maskyolo.core.files import write_atomic
from maskyolo.core.parsing import load_json
from maskyolo.errors import MaskyoloError
from maskyolo.live.tally import Tally

__all__ = ["CountsFile"]


class _Counted(Protocol):
    name: str
    tally: Tally


class CountsFile:
    """Counts by camera and hour: `{"door": {"2026-11-27T08:00:00": {"with_mask": 3}}}`.

    Cameras that are not watched now keep theirs.

    Args:
        path: the file, which need not exist.

    Raises:
        MaskyoloError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: dict[str, dict[str, dict[str, int]]] = {}
        if path.exists():
            content = load_json(path, MaskyoloError)
            if not isinstance(content, dict):
                raise self._wrong("not an object with a key per camera")
            self._content = content

    def restore(self, cameras: Iterable[_Counted]) -> None:
        """Give the cameras their counts.

        Raises:
            MaskyoloError: the file has another form.
        """
        for camera in cameras:
            try:
                camera.tally.restore(self._content.get(camera.name, {}))
            except (ValueError, TypeError, AttributeError) as error:
                raise self._wrong(f"'{camera.name}' has no counts by hour") from error

    def save(self, cameras: Iterable[_Counted]) -> None:
        """Write the counts of the cameras.

        Raises:
            OutputError: the file cannot be written.
        """
        self._content |= {camera.name: camera.tally.record() for camera in cameras}
        write_atomic(self._path, json.dumps(self._content, indent=1, ensure_ascii=False) + "\n")

    def _wrong(self, what: str) -> MaskyoloError:
        return MaskyoloError(
            f"cannot read {self._path}: {what}", "correct or remove the file; counting starts again"
        )
