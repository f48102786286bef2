"""`maskyolo review open`: a data set in FiftyOne with its labels, its ledger, what detectors see, and views of all that is suspicious."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.files import sha256_of
from maskyolo.dataset import load_dataset
from maskyolo.errors import ImageError, MaskyoloError
from maskyolo.images import read_image
from maskyolo.review.app.database import check_port
from maskyolo.review.app.fiftyone_set import OpenedSet, Synced
from maskyolo.review.app.views import arrange_app, evaluate, save_views
from maskyolo.review.corrections import Problem
from maskyolo.review.review_set import ReviewPhoto, read_review_set
from maskyolo.review.suspicions import REVIEW_CSV, read_suspicions
from maskyolo.review.transaction import Transaction
from maskyolo.workfolder import locked_set

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["PORT", "Opened", "open_review"]

#: FiftyOne's own port of the App.
PORT = 5151

#: Photos whose predictions are written to the database at once: an interruption loses no more.
_BATCH = 200


@dataclass
class Opened:
    """A data set that is open in FiftyOne.

    Attributes:
        name: of FiftyOne's data set.
        photos: number of photos in it.
        scenes: number of composed scenes that are left out.
        synced: what was new, changed or gone since the last time.
        predicted: number of photos that a detector looked at now.
        suspicious: number of photos that `review.csv` ranks; None if there is no such file.
        problems: what a person should know.
        url: where the App is served; empty without it.
        session: FiftyOne's session, to be kept as long as the App is served.
    """

    name: str
    photos: int
    scenes: int
    synced: Synced
    predicted: int = 0
    suspicious: int | None = None
    problems: list[Problem] = field(default_factory=list)
    url: str = ""
    session: Any = None

    def wait(self) -> None:
        """Serve the App until Ctrl-C, then close it and raise KeyboardInterrupt."""
        if self.session is None:
            return
        try:
            self.session.wait(-1)
        finally:
            self.close()

    def close(self) -> None:
        """Close the App; the data set stays in the database."""
        if self.session is not None:
            import fiftyone as fo

            fo.close_app()
            self.session = None


def open_review(
    data: Path | str,
    *,
    model: Path | str | None = None,
    pipeline: str = "yolo",
    predict: bool = True,
    conf: float = 0.25,
    imgsz: int | None = None,
    device: str = "auto",
    trust: bool = False,
    name: str | None = None,
    app: bool = True,
    remote: bool = False,
    port: int = PORT,
    on_progress: Callable[[int, int], None] | None = None,
    on_error: Callable[[str, MaskyoloError], None] | None = None,
) -> Opened:
    """Open a data set in FiftyOne, or bring it up to date there, and serve the App on this machine's own address only.

    Labels, ledger and splits are read anew each time; edits that are not applied yet stay. Only photos without predictions of this
    model are looked at. The photos stay where they are.

    Args:
        data: the set's `data.yaml`, or its folder.
        model: name or file of the detector whose predictions are shown; the package's own if not given.
        pipeline: `yolo`, or `two-stage` to have the predictions of the two-stage path besides.
        predict: whether detectors look at the photos at all.
        conf: least confidence of a prediction.
        imgsz: longer side in pixels that pictures are scaled to, by default the one that the weights say.
        device: where to compute.
        trust: open a `.pt` file of unknown origin.
        name: of the data set in FiftyOne; that of the folder if not given.
        app: whether to serve the App.
        remote: serve it without opening a browser on this machine.
        port: of the App.
        on_progress: called with the number of photos looked at and of all to look at.
        on_error: told the pictures that cannot be read.

    Raises:
        DatasetError: no data set, or FiftyOne has one of that name from elsewhere.
        DependencyError: FiftyOne is not installed, or has no database.
        WeightsError: the model is missing or wrong.
        OutputError: `apply_review` is at work on the set.
        MaskyoloError: the database does not start, or the port is taken.
    """
    if pipeline not in ("yolo", "two-stage"):
        raise MaskyoloError(f"unknown pipeline '{pipeline}'; choose from yolo, two-stage")
    if app:
        check_port(port)
    root = load_dataset(data).root
    with locked_set(root):
        Transaction.finish_pending(root)
    review = read_review_set(data)
    detectors = _detectors(model, pipeline, conf, imgsz, device, trust) if predict else {}
    shown = OpenedSet.make(review, name)
    synced = shown.sync()
    opened = Opened(
        shown.samples.name,
        len(review.photos),
        review.scenes,
        synced,
        problems=list(synced.problems),
    )
    listed = review.root / REVIEW_CSV
    if listed.is_file():
        opened.suspicious = _suspect(shown, listed, synced.new)
    for where, (settings, load) in detectors.items():
        opened.predicted += _predict(shown, where, settings, load, on_progress, on_error)
    evaluate(shown, [where for where in ("predictions", "two_stage") if shown.recall(where)])
    save_views(shown)
    arrange_app(shown)
    if app:
        opened.session = _serve(shown, port, remote)
        opened.url = f"http://localhost:{port}"
    return opened


def _suspect(shown: OpenedSet, path: Path, new: Sequence[str]) -> int:
    """Show a `review.csv`, of all photos if it is another one than before; return the number of photos that are suspicious now."""
    checksum = sha256_of(path)
    if shown.recall("suspicions") != checksum:
        shown.suspect(read_suspicions(path))
        shown.remember(suspicions=checksum)
    elif new:
        shown.suspect(read_suspicions(path), new)
    return int(shown.samples.count("rank"))


_Detector = Callable[[Any], "sv.Detections"]


def _detectors(
    model: Path | str | None,
    pipeline: str,
    conf: float,
    imgsz: int | None,
    device: str,
    trust: bool,
) -> dict[str, tuple[dict[str, Any], Callable[[], _Detector]]]:
    """Return for each field of predictions what makes them what they are, and what loads the detector."""
    from maskyolo.yolo import DEFAULT_MODELS, find_model, load_detector

    chosen = model or DEFAULT_MODELS["yolo"]
    weights = find_model(chosen)
    settings = {"model": _checksum(weights), "conf": conf, "imgsz": imgsz}

    def yolo() -> _Detector:
        return load_detector(chosen, conf=conf, imgsz=imgsz, device=device, trust=trust)

    found: dict[str, tuple[dict[str, Any], Callable[[], _Detector]]] = {
        "predictions": (settings, yolo)
    }
    if pipeline == "two-stage":
        found["two_stage"] = (
            {"pipeline": "two-stage", "conf": conf},
            lambda: load_detector(pipeline="two-stage", conf=conf, device=device),
        )
    return found


def _checksum(weights: Path) -> str:
    files = sorted(weights.rglob("*")) if weights.is_dir() else [weights]
    return hashlib.sha256(
        b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files if path.is_file())
    ).hexdigest()


def _predict(
    shown: OpenedSet,
    where: str,
    settings: dict[str, Any],
    load: Callable[[], _Detector],
    on_progress: Callable[[int, int], None] | None,
    on_error: Callable[[str, MaskyoloError], None] | None,
) -> int:
    """Have a detector look at the photos that have no predictions of it; return their number."""
    if shown.recall(where) != settings:
        shown.samples.clear_sample_field(where)
        shown.remember(**{where: settings})
    todo = shown.unpredicted(where)
    if not todo:
        return 0
    detector = load()
    done = 0
    for batch in _batches(sorted(todo)):
        found = {}
        for image, detections in _look(
            detector,
            [shown.review.photos[image] for image in batch if image in shown.review.photos],
            on_error,
        ):
            found[todo[image.image]] = (image, detections)
            done += 1
            if on_progress:
                on_progress(done, len(todo))
        shown.put_predictions(where, found)
    return done


def _look(
    detector: _Detector,
    photos: Sequence[ReviewPhoto],
    on_error: Callable[[str, MaskyoloError], None] | None,
) -> Iterator[tuple[ReviewPhoto, Any]]:
    def look(photo: ReviewPhoto) -> Any:
        try:
            return detector(read_image(photo.path))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(getattr(detector, "workers", 1)) as pool:
        for photo, found in zip(photos, pool.map(look, photos), strict=True):
            if isinstance(found, ImageError):
                if on_error:
                    on_error(photo.image, found)
            else:
                yield photo, found


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]


def _serve(shown: OpenedSet, port: int, remote: bool) -> Any:
    try:
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # on a busy machine its client says that it tries again
            return shown.fo.launch_app(shown.samples, port=port, address="127.0.0.1", remote=remote)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MaskyoloError(
            f"the App does not start on port {port}: {reason}; choose another --port, or leave it out with --no-app"
        ) from error
