"""The worker process of `batch run`: it processes the shards that its driver names.

A worker can be killed by a damaged image at any time, and only the driver survives. They exchange
lines of JSON on the worker's standard input and output; see `Worker` in `local.py`.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import Any, TextIO

from maskyolo.batch.plans import Item, read_plan
from maskyolo.batch.processing import ItemDone, Processor, Record
from maskyolo.errors import MaskyoloError

__all__ = ["main"]

#: Minimum seconds between two reports of progress.
_PERIOD = 0.2


def main() -> None:
    """Serve the driver until it closes the pipe, or dies."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        _serve(requests, answers)
    except MaskyoloError as error:
        _send(answers, failed=[type(error).__name__, error.problem, error.remedy])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        _send(answers, failed=["OutputError", f"cannot write the results: {reason}", ""])


def _read(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)  # the driver has closed the pipe or was killed; nobody waits for the shard


def _serve(requests: queue.SimpleQueue[dict[str, Any]], answers: TextIO) -> None:
    start = requests.get()
    plan = read_plan(start["out"])
    processor = Processor(plan, start["threads"], start["trust"])
    _send(answers, made=processor.made)

    progress = _Progress(answers)
    items: dict[int, Item] = {}
    while True:
        request = requests.get()
        if "shard" in request:
            processor.write_part(request["shard"], progress.add)
            progress.flush()
            _send(answers, finished=request["shard"])
            continue
        number, shard = request["item"], request["of"]
        if number not in items:
            items = {item.number: item for item in plan.items(shard)}
        for event in processor.process([items[number]]):
            if isinstance(event, Record):
                _send(answers, record=event.content)
        _send(answers, finished=number)


class _Progress:
    """Reports progress several times per second; to wake the driver for each item costs time."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._done, self._errors = 0, list[tuple[str, str]]()
        self._waiting: list[tuple[str, str]] = []
        self._last = float("-inf")

    def add(self, event: Record | ItemDone) -> None:
        """Note an error, or that an item is done with its errors."""
        if isinstance(event, Record):
            self._waiting.append((event.item.name, event.content["error"]))
            return
        self._done += 1
        self._errors += self._waiting
        self._waiting.clear()
        if time.monotonic() - self._last >= _PERIOD:
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported."""
        if self._done:
            _send(self._answers, done=self._done, errors=self._errors)
        self._done, self._errors = 0, []
        self._last = time.monotonic()


def _send(answers: TextIO, **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
