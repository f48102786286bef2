"""Streams of frames and events to viewers, each as fast as it reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Message, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from maskyolo.live.cameras import Camera, Seen
from maskyolo.live.hub import Hub

__all__ = ["BOUNDARY", "PatientStream", "Viewers", "event_stream", "follow", "mjpeg"]

BOUNDARY = "frame"
#: Maximum number of viewers of frames and events at once.
MAX_VIEWERS = 32
#: Seconds after which a viewer that does not ask for the next frame is disconnected.
PATIENCE = 60.0
#: Seconds between comments in a stream of events, by which a broken connection is noticed.
_HEARTBEAT = 15.0


class Viewers:
    """Counts the viewers.

    Attributes:
        count: number of viewers now.
    """

    def __init__(self) -> None:
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another viewer."""
        return self.count >= MAX_VIEWERS

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a viewer while the block runs.

        Raises:
            HTTPException: there are too many.
        """
        if self.is_full:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


async def follow(socket: WebSocket, camera: Camera, stats_only: bool) -> None:
    """Send the newest frames through a WebSocket: a record as text, then the JPEG.

    The next frame is sent when the viewer asks for it with any message, so that only one is on its
    way, and a slow viewer gets fewer frames and not older ones.
    """
    await socket.accept()
    number = 0
    with suppress(WebSocketDisconnect, TimeoutError, RuntimeError):
        while True:
            seen = await _while_connected(socket, camera, number)
            number = seen.number
            async with asyncio.timeout(PATIENCE):
                await socket.send_text(json.dumps(seen.record))
                if not stats_only:
                    await socket.send_bytes(await run_in_threadpool(seen.jpeg))
                await socket.receive_text()
    with suppress(WebSocketDisconnect, RuntimeError):  # it may be closed already
        await socket.close()


async def _while_connected(socket: WebSocket, camera: Camera, number: int) -> Seen:
    """Return the next frame.

    Raises:
        WebSocketDisconnect: the viewer has left meanwhile.
    """
    frame = asyncio.ensure_future(camera.after(number))
    message = asyncio.ensure_future(socket.receive())
    try:
        await asyncio.wait((frame, message), return_when=asyncio.FIRST_COMPLETED)
        if message.done() and message.result()["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        return await frame
    finally:
        frame.cancel()
        message.cancel()


class PatientStream(StreamingResponse):
    """A response without an end; a viewer that stops reading is disconnected after `PATIENCE`."""

    async def stream_response(self, send: Send) -> None:
        """Send the parts; see Starlette."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(PATIENCE):
                await send(message)

        with suppress(TimeoutError):
            await super().stream_response(send_in_time)


async def mjpeg(camera: Camera, viewers: Viewers) -> AsyncIterator[bytes]:
    """Yield the newest frames as parts of `multipart/x-mixed-replace`."""
    number = 0
    with viewers.watching():
        while True:
            seen = await camera.after(number)
            number = seen.number
            jpeg = await run_in_threadpool(seen.jpeg)
            kind = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
            yield f"--{BOUNDARY}\r\n{kind}\r\n\r\n".encode() + jpeg + b"\r\n"


async def event_stream(hub: Hub, viewers: Viewers) -> AsyncIterator[str]:
    """Yield all events from now on as server-sent events, with the event's JSON as data."""
    with viewers.watching():
        async with hub.reader() as queue:
            yield ": events of maskyolo\n\n"
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT):
                        record = await queue.get()
                except TimeoutError:
                    yield ":\n\n"
                    continue
                yield f"event: {record['event']}\ndata: {json.dumps(record)}\n\n"
