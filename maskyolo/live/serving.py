"""Serve cameras as a live page and an HTTP API; used by `maskyolo serve`."""

from __future__ import annotations

import errno
import importlib.util
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from maskyolo.core.detector import Detector
from maskyolo.core.installation import install_command
from maskyolo.core.options import takes_options
from maskyolo.core.runs import new_run, save_args
from maskyolo.detectors.loading import DEFAULT_MODELS, FACE_CONF
from maskyolo.errors import DependencyError, MaskyoloError, SourceError, output_errors
from maskyolo.live.areas_file import AreasFile
from maskyolo.live.cameras import Camera
from maskyolo.live.hub import Hub
from maskyolo.live.options import ServeOptions
from maskyolo.live.shared import SharedDetector
from maskyolo.runtime.activity import Activity
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.alerts import display_command
from maskyolo.runtime.areas import Areas
from maskyolo.runtime.delivery.choosing import recorded_targets, targets_of
from maskyolo.runtime.detection import prepare_detector
from maskyolo.runtime.events import EventFile
from maskyolo.runtime.file_sources import ImageSource
from maskyolo.runtime.filters import drop_below, drop_weak_faces, keep_most_confident
from maskyolo.runtime.json_lines import JsonLines
from maskyolo.runtime.live_sources import CameraSource, StreamSource
from maskyolo.runtime.named_cameras import GivenSource, NamedCamera, record_of
from maskyolo.runtime.sources import open_sources

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Address", "open_server", "serve"]

#: Packages of the extra `serve`.
_PACKAGES = ("fastapi", "prometheus_client", "uvicorn", "websockets")
#: Seconds that viewers get at the end, and all cameras together to end their visits; they need
#: less than one, unless the machine is busy or a driver blocks.
_GRACE, _PATIENCE = 1, 10.0


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        url: the page's address.
        token: the token, if one is needed and not known yet; else empty.
    """

    url: str
    token: str = ""


@takes_options(ServeOptions)
def serve(
    source: GivenSource | Sequence[GivenSource],
    model: str | Path | Detector | None = None,
    *,
    options: ServeOptions | None = None,
    on_start: Callable[[Address], None] = lambda _: None,
    on_tick: Callable[[Activity], None] = lambda _: None,
    **settings: Any,
) -> None:
    """Serve cameras as a live page and an HTTP API, until interrupted.

    Args:
        source: a camera, stream, video or `NamedCamera`, or several.
        model: name or file of a model, or a loaded detector. Default: the package's own model.
        options: all other settings; see `ServeOptions`.
        on_start: called with the address as soon as the page can be opened.
        on_tick: called once per second with what was done so far.
        settings: fields of `ServeOptions`, which override `options`.

    Raises:
        DependencyError: the extra `serve` is not installed.
        SourceError: a source does not exist, or is an image.
        WeightsError: the model cannot be loaded.
        MaskyoloError: options are out of range, the port is in use, or a file cannot be read.

    Example:
        >>> serve(["rtsp://10.0.0.5/live", "0"], blur=True)
    """
    if model is not None and isinstance(model, (str, Path)):
        settings["model"] = model
    chosen = ServeOptions.merge(options, settings)
    detector = model if model is not None and not isinstance(model, (str, Path)) else None
    with open_server(source, chosen, detector, on_tick) as (server, listening, address):
        on_start(address)
        ending = _Ending(server)
        server.run(sockets=[listening])
    if signal.SIGINT in ending.received:
        raise KeyboardInterrupt


class _Ending:
    """Lets signals end a server, and not the process, so that everything is closed after it.

    Attributes:
        received: the signals.
    """

    def __init__(self, server: uvicorn.Server) -> None:
        self.received: list[int] = []
        self._server = server
        server.handle_exit = self._end  # type: ignore[method-assign]

    def _end(self, sig: int, frame: FrameType | None) -> None:
        del frame
        self._server.force_exit = bool(self.received)  # the second Ctrl-C
        self._server.should_exit = True
        self.received.append(sig)


@contextmanager
def open_server(
    source: GivenSource | Sequence[GivenSource],
    options: ServeOptions,
    detector: Detector | None = None,
    on_tick: Callable[[Activity], None] = lambda _: None,
) -> Iterator[tuple[uvicorn.Server, socket.socket, Address]]:
    """Start the cameras, and give a server that is ready to run; stop the cameras at the end.

    Args:
        source: see `serve`.
        options: the settings.
        detector: a loaded detector instead of the options' model.
        on_tick: see `serve`.

    Raises:
        MaskyoloError: see `serve`.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"cannot serve: {missing[0]} is not installed", f"run: {install_command('serve')}"
        )
    import uvicorn

    from maskyolo.live.app import PUBLIC, make_app
    from maskyolo.live.keeping import Keeping
    from maskyolo.live.requests import Uploads
    from maskyolo.live.security import Guard, is_loopback, names_of, read_token

    several = [source] if isinstance(source, GivenSource) else list(source)
    sources = _checked(several)
    Areas(options.zone, options.line)
    targets_of(options)
    token, is_new = None, False
    if options.token_file is not None or not is_loopback(options.host):
        token, is_new = read_token(options.token_file)
    with (
        _listen(options.host, options.port) as listening,
        _watching(sources, options, detector) as (hub, shared, areas),
        Keeping(hub, options, on_tick) as keeping,
    ):
        face_conf = FACE_CONF if options.face_conf is None else options.face_conf
        steps = [drop_weak_faces(face_conf), drop_below(options.conf)]
        uploads = Uploads(shared, [*steps, keep_most_confident(options.max_det)])
        app = make_app(hub, uploads, areas, token)
        hosts = names_of(options.host, options.allow_host or ())
        config = uvicorn.Config(
            Guard(app, token, hosts, PUBLIC),
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws_max_size=1 << 16,
            limit_concurrency=256,
            timeout_graceful_shutdown=_GRACE,
            callback_notify=keeping.tick,
            timeout_notify=1,
        )
        url = _url(options.host, listening.getsockname()[1])
        yield uvicorn.Server(config), listening, Address(url, token or "" if is_new else "")


@contextmanager
def _watching(
    sources: Sequence[GivenSource], options: ServeOptions, detector: Detector | None
) -> Iterator[tuple[Hub, SharedDetector, AreasFile]]:
    """Start the cameras; at the end, stop them and complete what they write."""
    areas = AreasFile(None if options.areas is None else Path(options.areas))
    shared = SharedDetector(_loaded(options, detector))
    folder = _alerts_folder(options, sources) if options.saves_images else None
    live = _are_live(sources)
    event_file = None if options.events is None else EventFile(Path(options.events), live)
    lines = None if options.save_json is None else JsonLines(Path(options.save_json), dated=live)
    hub = Hub(options.stats_only, event_file, lines)
    try:
        for number, source in enumerate(sources, 1):
            alerts = folder / f"camera{number}" if folder else None
            wanted = options.for_camera(source)
            camera = Camera(
                number,
                source,
                shared,
                wanted,
                hub.on_event,
                alerts,
                hub.on_frame,
                options.alert_clip,
            )
            if saved := areas.of(camera.name):
                camera.set_areas(*saved)
            hub.cameras[number] = camera
        for camera in hub.cameras.values():
            camera.start()
        yield hub, shared, areas
    finally:
        for camera in hub.cameras.values():
            camera.stop()
        end = time.monotonic() + _PATIENCE
        for camera in hub.cameras.values():
            camera.join(max(end - time.monotonic(), 0))
        hub.close()


def _are_live(sources: Sequence[GivenSource]) -> bool:
    """Return whether any source is a camera or stream."""
    found = [open_sources(source)[0] for source in sources]
    return any(isinstance(one, (CameraSource, StreamSource)) for one in found)


def _alerts_folder(options: ServeOptions, sources: Sequence[GivenSource]) -> Path:
    """Create the run's folder, with `args.yaml`, and return its folder of alerts."""
    folder = new_run(options.project, options.name, options.exist_ok)
    recorded = {**record_of(sources), **options.recorded()}
    if options.alert_cmd is not None:
        recorded["alert_cmd"] = display_command(options.alert_cmd)
    recorded |= recorded_targets(options)
    save_args(folder, recorded)
    with output_errors(folder):
        (folder / "alerts").mkdir(exist_ok=True)
    return folder / "alerts"


def _url(host: str, port: int) -> str:
    """Return the address of the page for a browser."""
    from maskyolo.live.security import is_loopback

    if host in ("0.0.0.0", "::"):  # noqa: S104  the user's choice, with a token
        return f"http://{socket.gethostname()}:{port}/"
    name = f"[{host}]" if ":" in host else host
    return f"http://{'localhost' if is_loopback(host) else name}:{port}/"


def _checked(sources: list[GivenSource]) -> list[GivenSource]:
    """Return the sources, if they can be watched.

    Raises:
        SourceError: a source does not exist, is an image, or several files.
    """
    if not sources:
        raise SourceError("no source given", "use a camera number, a URL or a video")
    for source in sources:
        found = open_sources(source)
        name = source.name if isinstance(source, NamedCamera) else display_name(source)
        if len(found) > 1:
            raise SourceError(
                f"{name} stands for {len(found)} files", "pass each camera with its own --source"
            )
        if isinstance(found[0], ImageSource):
            raise SourceError(f"cannot watch the image {name}", "use a camera, a stream or a video")
    return sources


def _loaded(options: ServeOptions, detector: Detector | None) -> Detector:
    if detector is not None:
        return detector
    model = options.model or DEFAULT_MODELS[options.pipeline]
    alike = replace(options.for_detection(None, None), model=model)
    return prepare_detector(model, alike, [CameraSource(0)])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        MaskyoloError: the port is in use or not allowed, or the address is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            reason = "in use" if error.errno == errno.EADDRINUSE else "not allowed for this user"
            raise MaskyoloError(
                f"port {port} is {reason}", "choose another with --port, or --port 0 for any"
            ) from error
        raise MaskyoloError(
            f"cannot serve on {host}: {(error.strerror or str(error)).lower()}",
            "use an address of this machine, such as 127.0.0.1 or 0.0.0.0",
        ) from error
