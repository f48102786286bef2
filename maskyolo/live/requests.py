"""Images that are sent to the server: read with limits, detected in one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from maskyolo.core.detector import Detector
from maskyolo.core.images import decode_image
from maskyolo.errors import ImageError
from maskyolo.runtime.filters import Step
from maskyolo.runtime.frames import Frame
from maskyolo.runtime.json_lines import json_record
from maskyolo.runtime.pipeline import detect_frame
from maskyolo.runtime.results import Result

__all__ = ["MAX_BODY", "Uploads", "read_body"]

#: Maximum size of a body in bytes, and how long it may take to arrive, in seconds.
MAX_BODY, BODY_TIME = 20_000_000, 30.0
#: Maximum number of images that are received, wait, or are detected in at once.
_QUEUE = 4


class Uploads:
    """Detects in images that are sent to the server.

    Args:
        detector: finds faces.
        steps: what is done with the detections, see `maskyolo.runtime.filters`.
    """

    def __init__(self, detector: Detector, steps: list[Step]) -> None:
        self._detector, self._steps = detector, steps
        self._places = asyncio.Semaphore(_QUEUE)
        self._turn = asyncio.Semaphore(1)

    async def detect(self, request: Request) -> dict[str, Any]:
        """Return the record of an image, as `maskyolo detect --save-json` writes it.

        Raises:
            HTTPException: too many images at once, too large, too slow, or not an image.
        """
        async with self._place():
            data = await read_body(request, MAX_BODY)
            async with self._turn:
                try:
                    return await run_in_threadpool(self._detect, data)
                except ImageError as error:
                    raise HTTPException(
                        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error.problem)
                    ) from error

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._places.locked():
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many images at once; try again",
                headers={"Retry-After": "1"},
            )
        async with self._places:
            yield

    def _detect(self, data: bytes) -> dict[str, Any]:
        frame = Frame(decode_image(data, "the image"), "upload")
        detections = detect_frame(self._detector, frame)
        for step in self._steps:
            frame, detections = step(frame, detections)
        return json_record(Result(frame, detections))


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: it is larger than `limit` bytes, or takes longer than `BODY_TIME`.
    """
    too_large = HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit:,} bytes"
    )
    try:
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        data, end = bytearray(), time.monotonic() + BODY_TIME
        async with asyncio.timeout(end - time.monotonic()):
            async for block in request.stream():
                data += block
                if len(data) > limit:
                    raise too_large
    except TimeoutError as error:
        raise HTTPException(
            HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {BODY_TIME:g} s"
        ) from error
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "a wrong Content-Length") from error
    return bytes(data)
