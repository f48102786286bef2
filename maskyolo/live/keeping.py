"""What the server does once per second, and keeps on disk: counts, and files of earlier days."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from maskyolo.errors import MaskyoloError, OutputError
from maskyolo.live.counts_file import CountsFile
from maskyolo.live.hub import Hub
from maskyolo.live.options import ServeOptions
from maskyolo.runtime.activity import Activity
from maskyolo.runtime.retention import Kept, Retention

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Keeping"]

#: Seconds between two writes of the counts.
SAVE_EVERY = 60.0


class Keeping:
    """Keeps the counts of the cameras, and deletes old files; a context manager.

    Args:
        hub: the state.
        options: what is kept.
        on_tick: called once per second with what was done so far.

    Raises:
        MaskyoloError: the file of counts cannot be read.
    """

    def __init__(
        self, hub: Hub, options: ServeOptions, on_tick: Callable[[Activity], None]
    ) -> None:
        self._hub, self._on_tick = hub, on_tick
        path = options.save_counts
        self._counts = None if path is None else CountsFile(Path(path))
        self._saved, self._failed = time.monotonic(), False
        limits = Kept(options.keep_days, options.keep_gb)
        files = [Path(path) for path in (options.events, options.save_json) if path is not None]
        runs = Path(options.project) / options.name
        self._retention = Retention(limits, files, runs, _log) if limits.is_limited else None

    def __enter__(self) -> Self:
        if self._counts:
            self._counts.restore(self._hub.cameras.values())
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    async def tick(self) -> None:
        """Do what is due; called once per second in the server's loop."""
        self._on_tick(self._hub.activity())
        if self._retention:
            self._retention.look()
        if time.monotonic() - self._saved >= SAVE_EVERY:
            self._saved = time.monotonic()
            await run_in_threadpool(self._save)

    def _save(self) -> None:
        if not self._counts:
            return
        try:
            self._counts.save(self._hub.cameras.values())
        except OutputError as error:  # a full disk must not end the page
            if not self._failed:
                _log(error)
            self._failed = True


def _log(error: MaskyoloError) -> None:
    logging.getLogger("maskyolo").warning("%s", error)
