"""`maskyolo review open`: show a data set in FiftyOne with ledger, predictions and views."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskyolo.core.choices import Pipeline
from maskyolo.core.files import sha256_of
from maskyolo.core.images import read_image
from maskyolo.core.options import takes_options
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.workfolder import locked_set
from maskyolo.errors import ImageError, MaskyoloError
from maskyolo.review.app.database import check_port, longer_app_start
from maskyolo.review.app.fields import PREDICTIONS
from maskyolo.review.app.fiftyone_set import OpenedSet
from maskyolo.review.app.syncing import SyncResult
from maskyolo.review.app.views import add_evaluation, arrange_app, save_views
from maskyolo.review.corrections import Problem
from maskyolo.review.options import OpenOptions
from maskyolo.review.review_set import ReviewPhoto, read_review_set
from maskyolo.review.suspicions import REVIEW_CSV, read_suspicions
from maskyolo.review.transaction import Transaction

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.core.detector import Detector

__all__ = ["OpenedReview", "open_review"]

#: Number of photos whose predictions are stored at once; an interruption loses no more.
_BATCH = 200

OnProgress = Callable[[int, int], None]
OnError = Callable[[str, MaskyoloError], None]


@dataclass
class OpenedReview:
    """A data set that is open in FiftyOne.

    Attributes:
        name: name of FiftyOne's data set.
        photos: number of photos in it.
        scenes: number of composed scenes, which are not shown.
        synced: what was added, changed or removed since the last time.
        predicted: number of photos that were predicted in this call.
        suspicious: number of photos that `review.csv` ranks; None if there is no such file.
        problems: messages for the user.
        url: URL of the App; empty if it is not served.
        session: FiftyOne's session; keep a reference to it while the App is served.
    """

    name: str
    photos: int
    scenes: int
    synced: SyncResult
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


@dataclass(frozen=True)
class _Predictor:
    """A detector whose predictions are shown.

    Attributes:
        where: the field that its predictions are stored in.
        settings: what its predictions depend on; if they change, stored predictions are outdated.
        load: loads the detector.
    """

    where: str
    settings: dict[str, Any]
    load: Callable[[], Detector]


@takes_options(OpenOptions)
def open_review(
    data: Path | str,
    *,
    options: OpenOptions | None = None,
    on_progress: OnProgress | None = None,
    on_error: OnError | None = None,
    **settings: Any,
) -> OpenedReview:
    """Open a data set in FiftyOne, or update it there, and serve the App.

    Labels, ledger and splits are read again each time; edits that are not applied yet are kept. The
    detector only runs on photos that have no predictions from it. Photos are not copied. The App
    can only be reached from this machine.

    Args:
        data: the set's `data.yaml`, or its folder.
        options: see `OpenOptions`.
        on_progress: called with the number of photos predicted so far and their total.
        on_error: called with the name and the error of each image that cannot be read.
        **settings: fields of `OpenOptions`, which override those of `options`.

    Raises:
        DatasetError: there is no data set, or FiftyOne has one of that name from elsewhere.
        DependencyError: FiftyOne is not installed, or has no database.
        WeightsError: the model is missing or wrong.
        OutputError: `apply_review` is working on the set.
        MaskyoloError: an option is wrong, the database does not start, or the port is in use.
    """
    chosen = OpenOptions.merge(options, settings)
    if chosen.app:
        check_port(chosen.port)
    root = load_dataset(data).root
    with locked_set(root):
        Transaction.finish_pending(root)
    review = read_review_set(data)
    predictors = _predictors(chosen) if chosen.predict else []
    shown = OpenedSet.make(review, chosen.name)
    synced = shown.sync()
    opened = OpenedReview(
        shown.samples.name,
        len(review.photos),
        review.scenes,
        synced,
        problems=list(synced.problems),
    )
    csv = review.root / REVIEW_CSV
    if csv.is_file():
        opened.suspicious = _show_suspicions(shown, csv, synced.new)
    for predictor in predictors:
        opened.predicted += _predict(shown, predictor, on_progress, on_error)
    add_evaluation(shown, [where for where in PREDICTIONS if shown.recall(where)])
    save_views(shown)
    arrange_app(shown)
    if chosen.app:
        opened.session = _serve(shown, chosen.port, chosen.remote)
        opened.url = f"http://localhost:{chosen.port}"
    return opened


def _show_suspicions(shown: OpenedSet, path: Path, new: Sequence[str]) -> int:
    """Show a `review.csv`, and return the number of photos that are suspicious.

    Args:
        shown: the data set.
        path: the list. If it is already shown, only new photos are updated.
        new: the images that have just been added.
    """
    checksum = sha256_of(path)
    if shown.recall("suspicions") != checksum:
        shown.show_suspicions(read_suspicions(path))
        shown.remember(suspicions=checksum)
    elif new:
        shown.show_suspicions(read_suspicions(path), new)
    return int(shown.samples.count("rank"))


def _predictors(options: OpenOptions) -> list[_Predictor]:
    """Return the detectors whose predictions are shown.

    Raises:
        WeightsError: the model is missing.
    """
    from maskyolo.detectors.loading import DEFAULT_MODELS, load_detector
    from maskyolo.models.own import find_model

    model, conf, imgsz = options.model or DEFAULT_MODELS["yolo"], options.conf, options.imgsz
    device = options.device
    settings: dict[str, Any] = {"conf": conf, "imgsz": imgsz}
    if options.class_map:
        settings["class_map"] = dict(options.class_map)
    if options.incorrect:
        settings["incorrect"] = True
    yolo = _Predictor(
        "predictions",
        {"model": _checksum(find_model(model)), **settings},
        lambda: load_detector(model, device=device, trust=options.trust, **settings),
    )
    two_stage = _Predictor(
        "two_stage",
        {"pipeline": "two-stage", "conf": conf},
        lambda: load_detector(pipeline="two-stage", conf=conf, device=device),
    )
    return [yolo, two_stage] if options.pipeline is Pipeline.TWO_STAGE else [yolo]


def _checksum(weights: Path) -> str:
    """Return a checksum of a weights file, or of all files in a weights folder."""
    files = sorted(weights.rglob("*")) if weights.is_dir() else [weights]
    return hashlib.sha256(
        b"".join(bytes.fromhex(sha256_of(path)) for path in files if path.is_file())
    ).hexdigest()


def _predict(
    shown: OpenedSet,
    predictor: _Predictor,
    on_progress: OnProgress | None,
    on_error: OnError | None,
) -> int:
    """Run a detector on photos that have no predictions from it, and return their number."""
    where = predictor.where
    if shown.recall(where) != predictor.settings:
        shown.samples.clear_sample_field(where)
        shown.remember(**{where: predictor.settings})
    ids = shown.unpredicted(where)
    if not ids:
        return 0
    detector = predictor.load()
    photos = [shown.review.photos[name] for name in sorted(ids) if name in shown.review.photos]
    done = 0
    for start in range(0, len(photos), _BATCH):
        found = {}
        for photo, detections in _detect(detector, photos[start : start + _BATCH], on_error):
            found[ids[photo.image]] = (photo, detections)
            done += 1
            if on_progress:
                on_progress(done, len(ids))
        shown.store_predictions(where, found)
    return done


def _detect(
    detector: Detector, photos: Sequence[ReviewPhoto], on_error: OnError | None
) -> Iterator[tuple[ReviewPhoto, sv.Detections]]:
    """Yield the detections of each photo that can be read."""

    def detect(photo: ReviewPhoto) -> sv.Detections | ImageError:
        try:
            return detector(read_image(photo.path))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(getattr(detector, "workers", 1)) as pool:
        for photo, found in zip(photos, pool.map(detect, photos), strict=True):
            if not isinstance(found, ImageError):
                yield photo, found
            elif on_error:
                on_error(photo.image, found)


def _serve(shown: OpenedSet, port: int, remote: bool) -> Any:
    """Start the App and return FiftyOne's session.

    Raises:
        MaskyoloError: the App does not start.
    """
    try:
        # While a busy machine starts the server, FiftyOne's client prints failed attempts to
        # connect.
        with contextlib.redirect_stdout(io.StringIO()), longer_app_start():
            return shown.fo.launch_app(shown.samples, port=port, address="127.0.0.1", remote=remote)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MaskyoloError(
            f"FiftyOne's App did not start on port {port}: {reason}",
            "choose another --port, or skip the App with --no-app",
        ) from error
