"""The file that zones and lines drawn on the page are saved in."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.core.parsing import load_json
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.areas import Areas

__all__ = ["AreasFile"]


class AreasFile:
    """Zones and lines by the name of the camera: `{"rtsp://…": {"zone": "0,0,1,0,1,1"}}`.

    Args:
        path: the file, which need not exist; None if nothing is saved.

    Raises:
        MaskyoloError: the file cannot be read, or has another form.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._areas: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            self._areas = _checked(path, load_json(path, MaskyoloError))

    def of(self, camera: str) -> tuple[str | None, str | None] | None:
        """Return the zone and line of a camera; None if none were saved."""
        saved = self._areas.get(camera)
        return None if saved is None else (saved.get("zone"), saved.get("line"))

    def save(self, camera: str, zone: str | None, line: str | None) -> None:
        """Save the zone and line of a camera.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._lock:
            self._areas[camera] = {"zone": zone, "line": line}
            if self._path is not None:
                text = json.dumps(self._areas, indent=2, ensure_ascii=False) + "\n"
                write_atomic(self._path, text)


def _checked(path: Path, content: Any) -> dict[str, dict[str, Any]]:
    """Return the content if it has the right form.

    Raises:
        MaskyoloError: it does not.
    """
    remedy = "correct or remove the file; zones and lines can be drawn again"
    if not isinstance(content, dict):
        raise MaskyoloError(f"cannot read {path}: not an object with a key per camera", remedy)
    for camera, saved in content.items():
        values = [saved.get("zone"), saved.get("line")] if isinstance(saved, dict) else [0]
        if not all(value is None or isinstance(value, str) for value in values):
            raise MaskyoloError(f"cannot read {path}: '{camera}' is not a zone and line", remedy)
        try:
            Areas(*values)
        except MaskyoloError as error:
            raise MaskyoloError(
                f"cannot read {path}: '{camera}': {error.problem}", remedy
            ) from error
    return content
