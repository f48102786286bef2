"""Show frames in a window."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import cv2

from maskyolo.core.children import python_command
from maskyolo.errors import OutputError
from maskyolo.runtime.results import Quit, Result

__all__ = ["Window"]


class Window:
    """Shows annotated frames; `q` or Esc quits, any other key continues after a still image.

    Frames of a camera or stream are labeled with the time since their capture. Each further camera
    has its own window.

    Raises:
        OutputError: no window can be opened. A child process tries it first, because OpenCV aborts
            the process if it fails.
    """

    TITLE = "maskyolo (q quits)"

    def __init__(self) -> None:
        if reason := _no_window():
            raise OutputError(
                f"cannot show a window: {reason}", "run without --show and open the saved images"
            )
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._titles: dict[str, str] = {}

    def write(self, result: Result) -> None:
        """Show a frame.

        Raises:
            Quit: the user closed the window.
        """
        image, title = result.drawn, self._title(result)
        if title not in self._shapes:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        if image.shape != self._shapes.get(title):
            self._shapes[title] = image.shape
            scale = min(1280 / image.shape[1], 720 / image.shape[0], 1)
            cv2.resizeWindow(
                title,
                max(round(image.shape[1] * scale), 1),
                max(round(image.shape[0] * scale), 1),
            )
        if result.frame.kind == "live":
            latency = f"{1000 * (time.monotonic() - result.frame.taken):.0f} ms"
            font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
            image = image.copy()
            cv2.putText(image, latency, (8, 24), font, 0.7, white, 2, cv2.LINE_AA)
        cv2.imshow(title, image)
        if result.frame.kind == "image":
            while not self._pressed(50):
                pass
        else:
            self._pressed(1)

    def idle(self) -> None:
        """Respond to the user while there is no frame.

        Raises:
            Quit: the user closed the window.
        """
        if self._shapes:
            self._pressed(1)

    def close(self) -> None:
        """Close the window."""
        if self._shapes:
            cv2.destroyAllWindows()

    def _title(self, result: Result) -> str:
        """Return the title of a source's window: one for all files, and one per camera."""
        frame = result.frame
        if frame.kind != "live":
            return self.TITLE
        if not self._titles:
            self._titles[frame.source] = self.TITLE
        return self._titles.setdefault(frame.source, f"maskyolo {frame.source} (q quits)")

    def _pressed(self, wait: int) -> bool:
        """Wait up to `wait` milliseconds for a key; return whether one was pressed."""
        key = cv2.waitKey(wait)
        closed = (cv2.getWindowProperty(one, cv2.WND_PROP_VISIBLE) < 1 for one in self._shapes)
        if key in (ord("q"), 27) or any(closed):
            raise Quit
        return bool(key != -1)


def _no_window() -> str:
    """Return why no window can be opened here, or an empty string."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no display ($DISPLAY is not set)"
    attempt = "import cv2; cv2.namedWindow('maskyolo', cv2.WINDOW_NORMAL); cv2.destroyAllWindows()"
    try:
        done = subprocess.run(python_command(attempt), capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "the display does not respond"
    return (
        ""
        if done.returncode == 0
        else "OpenCV has no window system here, or cannot reach the display"
    )
