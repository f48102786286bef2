"""The HTTP API and the page, as a FastAPI application."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response, WebSocket
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from maskyolo.errors import MaskyoloError
from maskyolo.live.areas_file import AreasFile
from maskyolo.live.cameras import Camera
from maskyolo.live.hub import Hub
from maskyolo.live.metrics import metrics_text
from maskyolo.live.requests import Uploads, read_body
from maskyolo.live.security import COOKIE, cookie_of, same
from maskyolo.live.streams import (
    BOUNDARY,
    PatientStream,
    Viewers,
    event_stream,
    follow,
    mjpeg,
)
from maskyolo.web.site import source_folder

__all__ = ["PUBLIC", "make_app"]

_PAGE = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: The page's files by path; they are the same for everyone.
_FILES = {
    "/": _PAGE / "index.html",
    "/live.css": _PAGE / "live.css",
    "/style.css": source_folder() / "style.css",
    "/icon.svg": source_folder() / "icons" / "icon.svg",
    **{f"/{path.name}": path for path in sorted(_PAGE.glob("*.js"))},
}
#: Paths that need no token.
PUBLIC = frozenset({*_FILES, "/healthz", "/login"})
#: Seconds for which a browser stays logged in.
_MONTH = 30 * 24 * 3600

_Fraction = Annotated[float, Field(ge=0, le=1)]
_Point = tuple[_Fraction, _Fraction]
_Number = Annotated[int, PathParameter(description="Number of the camera, from 1.", ge=1)]
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class CameraAreas(BaseModel):
    """Zone and line of a camera, as fractions of the image's width and height."""

    model_config = ConfigDict(extra="forbid")
    zone: Annotated[list[_Point], Field(min_length=3, max_length=64)] | None = None
    line: Annotated[list[_Point], Field(min_length=2, max_length=2)] | None = None


def make_app(hub: Hub, uploads: Uploads, areas: AreasFile, token: str | None) -> FastAPI:
    """Return the application, without `security.Guard`.

    Args:
        hub: the state.
        uploads: detects in images that are sent.
        areas: where zones and lines are saved.
        token: the token that `POST /login` accepts, if one is needed.
    """
    app = FastAPI(
        title="maskyolo", version="1", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    viewers = Viewers()
    _add_files(app)
    _add_state(app, hub, viewers, token)
    _add_frames(app, hub, viewers)

    @app.post("/detect", openapi_extra=_IMAGE_BODY, tags=["detection"])
    async def detect_faces(request: Request) -> dict[str, Any]:
        """Detect faces in an image, at most 20 MB; the response is a line of `--save-json`."""
        return await uploads.detect(request)

    @app.put("/cameras/{number}/areas", status_code=204, tags=["cameras"])
    async def set_areas(number: _Number, wanted: CameraAreas) -> None:
        """Replace the zone and the line of a camera, from the next frame on."""
        camera = _camera(hub, number)
        zone, line = (_text(points) for points in (wanted.zone, wanted.line))
        try:
            camera.set_areas(zone, line)
            await run_in_threadpool(areas.save, camera.name, zone, line)
        except MaskyoloError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error

    return app


def _add_files(app: FastAPI) -> None:
    for name, path in _FILES.items():
        data = path.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()}"'

        def answer(
            request: Request, data: bytes = data, tag: str = tag, kind: str = _TYPES[path.suffix]
        ) -> Response:
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
            return Response(data, media_type=kind, headers=headers)

        app.add_route(name, answer, methods=["GET", "HEAD"], include_in_schema=False)


def _add_state(app: FastAPI, hub: Hub, viewers: Viewers, token: str | None) -> None:
    @app.get("/healthz", tags=["server"])
    async def health() -> JSONResponse:
        """Tell whether frames arrive: 200, or 503 if no camera delivers any."""
        live = sum(camera.status == "live" for camera in hub.cameras.values())
        code = HTTPStatus.OK if live else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"cameras": len(hub.cameras), "live": live}, code)

    @app.get("/cameras", tags=["cameras"])
    async def state() -> dict[str, Any]:
        """Return all cameras with their counts now, today and per hour, and the last alerts."""
        return hub.state()

    @app.get("/metrics", tags=["server"], response_class=Response)
    async def metrics() -> Response:
        """Return metrics in Prometheus' text format."""
        return Response(metrics_text(hub, viewers), media_type="text/plain; version=0.0.4")

    @app.get("/events", tags=["cameras"], response_class=Response)
    async def events() -> Response:
        """Stream all events from now on, as server-sent events."""
        _check_room(viewers)
        return PatientStream(event_stream(hub, viewers), media_type="text/event-stream")

    @app.get("/alerts/{number}.jpg", tags=["cameras"], response_class=Response)
    async def alert_image(number: int) -> Response:
        """Return the frame of one of the last alerts."""
        found = [alert.jpeg for alert in hub.alerts() if alert.number == number and alert.jpeg]
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such image")
        return Response(found[0], media_type="image/jpeg")

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        given = (await read_body(request, 1024)).decode(errors="replace").strip()
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        if token is None:
            return response
        if not same(given, token):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "the token is wrong")
        is_https = request.headers.get("origin", "").startswith("https:")
        response.set_cookie(
            COOKIE, cookie_of(token), _MONTH, httponly=True, samesite="strict", secure=is_https
        )
        return response


def _add_frames(app: FastAPI, hub: Hub, viewers: Viewers) -> None:
    @app.get("/cameras/{number}/frame.jpg", tags=["cameras"], response_class=Response)
    async def frame(number: _Number) -> Response:
        """Return the newest annotated frame."""
        _check_images(hub)
        seen = _camera(hub, number).newest()
        if seen is None:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "there is no frame yet")
        return Response(await run_in_threadpool(seen.jpeg), media_type="image/jpeg")

    @app.get("/cameras/{number}/detections", tags=["cameras"])
    async def detections(number: _Number) -> dict[str, Any]:
        """Return the detections in the newest frame; the response is a line of `--save-json`."""
        seen = _camera(hub, number).newest()
        if seen is None:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "there is no frame yet")
        return seen.record

    @app.get("/cameras/{number}/mjpeg", tags=["cameras"], response_class=Response)
    async def motion_jpeg(number: _Number) -> Response:
        """Stream annotated frames as MJPEG, for `<img>`, VLC and Home Assistant."""
        _check_images(hub)
        camera = _camera(hub, number)
        _check_room(viewers)
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return PatientStream(mjpeg(camera, viewers), media_type=kind)

    @app.websocket("/cameras/{number}/frames")
    async def frames(socket: WebSocket, number: int) -> None:
        camera = hub.cameras.get(number)
        if camera is None or viewers.is_full:
            code = HTTPStatus.NOT_FOUND if camera is None else HTTPStatus.SERVICE_UNAVAILABLE
            await socket.send_denial_response(Response(status_code=code))
            return
        with viewers.watching():
            await follow(socket, camera, hub.stats_only)


def _camera(hub: Hub, number: int) -> Camera:
    camera = hub.cameras.get(number)
    if camera is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no camera {number}")
    return camera


def _check_images(hub: Hub) -> None:
    if hub.stats_only:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no images are served (--stats-only)")


def _check_room(viewers: Viewers) -> None:
    if viewers.is_full:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers")


def _text(points: list[_Point] | None) -> str | None:
    if points is None:
        return None
    return ",".join(f"{value:.4f}" for point in points for value in point)
