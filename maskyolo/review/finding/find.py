"""`maskyolo review find`: a ranked list of a data set's likely errors, by detectors that have not learnt from what they judge."""

from __future__ import annotations

import importlib.util
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maskyolo.boxes import as_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError, DependencyError, ImageError, MaskyoloError, OutputError
from maskyolo.images import read_image
from maskyolo.labels import IGNORE_CLASS
from maskyolo.review.finding.predictions import (
    Photo,
    Predicted,
    read_predictions,
    write_predictions,
)
from maskyolo.review.review_set import ReviewPhoto, ReviewSet, read_review_set
from maskyolo.review.suspicions import REVIEW_CSV, Suspicion, read_suspicions, write_suspicions
from maskyolo.runs import new_run, save_args

if TYPE_CHECKING:
    from maskyolo.detector_training import Progress
    from maskyolo.review.finding.features import Look

__all__ = ["Found", "find_errors", "given_predictions", "judge_photos"]

#: Photos on the contact sheet.
SHEET = 100

OnProgress = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Found:
    """What a search for errors found.

    Attributes:
        folder: the run's folder: `predictions.jsonl`, `sheet.png`, `args.yaml`, and the folds' trainings.
        csv: the list, `review.csv` in the data set's folder.
        suspicions: its lines.
        photos: number of photos that were judged.
        labels: number of their labels.
    """

    folder: Path
    csv: Path
    suspicions: list[Suspicion]
    photos: int
    labels: int

    def counts(self) -> dict[str, int]:
        """Return the number of suspicions of each reason, the most frequent first."""
        return dict(Counter(suspicion.reason for suspicion in self.suspicions).most_common())


def find_errors(
    data: Path | str,
    *,
    folds: int = 3,
    model: Path | str = "maskyolo-n",
    epochs: int = 3,
    imgsz: int = 416,
    predictions: Path | str | None = None,
    resume: Path | str | None = None,
    device: str = "auto",
    seed: int = 0,
    trust: bool = False,
    project: Path | str = "runs/review",
    name: str = "find",
    exist_ok: bool = False,
    on_progress: OnProgress | None = None,
    on_error: Callable[[MaskyoloError], None] | None = None,
    on_start: Callable[[Path], None] | None = None,
) -> Found:
    """Find a data set's likely errors and write them to its `review.csv`, the most suspicious photo first.

    The photos are dealt out to folds, near-copies to the same one; a detector is trained on all folds but one and judges that one.
    What the detectors say is compared with the labels, together with a second face detector and a classifier. Photos that
    a person has corrected or checked (`corrected` in the ledger) are learnt from and not listed; composed scenes are neither.

    Args:
        data: the set's `data.yaml` or its folder.
        folds: number of detectors to train, each on the other folds' photos.
        model: what their training starts from: a name or a `.pt` file, as for `train_detector`. It should not have learnt from this
            data set, or it has learnt its errors as well.
        epochs: passes over the photos in each training.
        imgsz: longer side in pixels that pictures are scaled to.
        predictions: a `predictions.jsonl` of an earlier search, or a file of `detect --save-json` by a detector that has not learnt from
            this set; then nothing is trained.
        resume: the run's folder of a search that was interrupted; with the same settings, the folds that it has judged are taken over and a
            training that was stopped is continued.
        device: as for `train_detector`.
        seed: of the folds and trainings.
        trust: open a `.pt` file of unknown origin.
        project: folder the run's folder is made in.
        name: of the run's folder; numbered if it exists.
        exist_ok: use an existing folder of that name.
        on_progress: called with what is being done, how much of it is done, and the whole.
        on_error: called with the error of each photo that cannot be read; it is left out.
        on_start: called with the run's folder.

    Raises:
        DatasetError: no data set, labels that do not parse, other classes, too few photos, or predictions of other photos.
        DependencyError: scikit-learn, or what training needs, is not installed.
        OutputError: `review.csv` has what people wrote into it, or an output cannot be written.
        MaskyoloError: a wrong setting, see `train_detector`; or other ones than those of the search to resume.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DependencyError(
            'maskyolo review find needs scikit-learn, which is not installed; run: pip install "maskyolo[review]"'
        )
    if folds < 2:
        raise MaskyoloError(
            f"cannot judge photos with {folds} fold: each is judged by what the others teach; give --folds 2 or more"
        )
    from maskyolo.review.finding.contact_sheet import draw_suspicions
    from maskyolo.review.finding.ranking import rank
    from maskyolo.review.finding.scores import score_photos

    review = read_review_set(data)
    _check_classes(review)
    csv = review.root / REVIEW_CSV
    _check_unwritten(csv)
    given = None if predictions is None else given_predictions(Path(predictions), review)
    settings = {
        "model": str(model),
        "epochs": epochs,
        "imgsz": imgsz,
        "device": device,
        "seed": seed,
    }
    args = {"data": data, "folds": folds, "predictions": predictions} | settings
    if resume is None:
        folder = new_run(project, name, exist_ok).absolute()
        save_args(folder, args)
    else:
        folder = _begun(Path(resume), args)
    if on_start:
        on_start(folder)
    photos = judge_photos(
        review,
        folder,
        folds,
        given,
        on_progress=on_progress,
        on_error=on_error,
        trust=trust,
        **settings,
    )
    done = {
        photo.image
        for photo in review.photos.values()
        if photo.row and photo.row.status == "corrected"
    }
    suspicions = rank(photos, score_photos(photos), leave_out=done)
    write_suspicions(csv, suspicions)
    sheet = io.BytesIO()
    draw_suspicions(suspicions, {photo.image: photo for photo in photos}, review.root, SHEET).save(
        sheet, "PNG"
    )
    write_atomic(folder / "sheet.png", sheet.getvalue())
    return Found(folder, csv, suspicions, len(photos), sum(len(photo.labels) for photo in photos))


def judge_photos(
    review: ReviewSet,
    folder: Path,
    folds: int,
    given: Mapping[str, Predicted] | None = None,
    *,
    on_progress: OnProgress | None = None,
    on_error: Callable[[MaskyoloError], None] | None = None,
    **settings: Any,
) -> list[Photo]:
    """Look at the photos of a data set and have detectors predict their faces that have not learnt from them.

    Args:
        review: the data set.
        folder: where the folds are trained, and `predictions.jsonl` is written.
        folds: number of folds.
        given: predictions of all photos by their names, where there are some; then nothing is trained.
        on_progress: see `find_errors`.
        on_error: see `find_errors`.
        **settings: model, epochs, imgsz, device, seed and trust, as for `find_errors`.
    """
    tell = on_progress or (lambda *_: None)
    seen = _look(review, tell, on_error)
    dealt = _deal(seen, folds, settings["seed"])
    if given is None:
        given = _out_of_fold(seen, dealt, folder / "folds", tell, **settings)
        write_predictions(folder / "predictions.jsonl", given)
    return [
        _photo(photo, look, given.get(photo.image, Predicted.none()), fold)
        for (photo, look), fold in zip(seen, dealt, strict=True)
    ]


def given_predictions(path: Path, review: ReviewSet) -> dict[str, Predicted]:
    """Read predictions by the pictures' names in the set: the ends of their paths, or else file names that only one has.

    Raises:
        DatasetError: the file has no predictions, or none of some of the photos that can be read.
    """
    names = Counter(Path(image).name for image in review.photos)
    by_name = {Path(image).name: image for image in review.photos if names[Path(image).name] == 1}
    found: dict[str, Predicted] = {}
    for source, predicted in read_predictions(path).items():
        parts = Path(source).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        image = next(
            (end for end in ends if end in review.photos), by_name.get(parts[-1] if parts else "")
        )
        if image:
            found[image] = predicted
    missing = [image for image in review.photos if image not in found]
    if any(_is_readable(review.photos[image].path) for image in missing):
        raise DatasetError(
            f"{path} has no predictions for {len(missing)} of the {len(review.photos)} photos of {review.root}, for instance {missing[0]}; "
            "make them with `maskyolo detect --conf 0.01 --save-json`, or leave out --predictions"
        )
    return found


def _begun(folder: Path, args: Mapping[str, Any]) -> Path:
    """Return the folder of a search that was interrupted, if it was begun with these settings."""
    try:
        known = dict(yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8")))
        other = [
            key
            for key in args
            if key not in ("data", "device") and str(known[key]) != str(args[key])
        ]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        raise MaskyoloError(
            f"cannot resume {folder}: no search was begun there; give the folder of a run of review find"
        ) from None
    if other:
        begun = ", ".join(f"--{key} {known[key]}" for key in other)
        raise MaskyoloError(
            f"cannot resume {folder}: it was begun with {begun}; give the same settings, or leave out --resume"
        )
    return folder.absolute()


def _is_readable(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def _check_classes(review: ReviewSet) -> None:
    if review.names[: len(CLASS_NAMES)] != CLASS_NAMES:
        raise DatasetError(
            f"{review.dataset.yaml} has the classes {', '.join(review.names)}; the first two must be {', '.join(CLASS_NAMES)}; "
            "rename or reorder them"
        )


def _check_unwritten(csv: Path) -> None:
    """Refuse to write over what people wrote into an earlier list."""
    if csv.is_file():
        written = sum(
            bool(line.tags or line.new_class or line.new_box) for line in read_suspicions(csv)
        )
        if written:
            raise OutputError(
                f"{csv} has what people wrote into {written} of its lines; take it over with `maskyolo review apply --csv {csv}`, "
                "then move the file away"
            )


def _look(
    review: ReviewSet, tell: OnProgress, on_error: Callable[[MaskyoloError], None] | None
) -> list[tuple[ReviewPhoto, Look]]:
    from maskyolo.review.finding.features import Looker

    look, seen = Looker(), []
    for done, photo in enumerate(review.photos.values(), 1):
        try:
            seen.append((photo, look(photo.path, review.root / photo.label, len(review.names))))
        except ImageError as error:
            if on_error:
                on_error(error)
        tell("photos looked at", done, len(review.photos))
    if not any(len(found.labels) for _, found in seen):
        raise DatasetError(
            f"{review.root} has no labels to judge; label the faces, or make the set with `maskyolo convert`"
        )
    return seen


def _deal(seen: Sequence[tuple[ReviewPhoto, Look]], folds: int, seed: int) -> list[int]:
    """Return the fold of each photo: near-copies, and what the ledger groups, into the same one."""
    from maskyolo.review.finding.folds import assign_folds
    from maskyolo.splits import group_near_copies

    first: dict[int, int] = {}
    links = [
        (first.setdefault(photo.row.group, place), place)
        for place, (photo, _) in enumerate(seen)
        if photo.row and photo.row.group >= 0
    ]
    groups = group_near_copies(
        [look.hashes[0] for _, look in seen], [look.hashes[1] for _, look in seen], links=links
    )
    rarest = [int(look.labels.class_ids.max()) if len(look.labels) else -1 for _, look in seen]
    return assign_folds(groups.tolist(), rarest, folds, seed, [photo.image for photo, _ in seen])


def _out_of_fold(
    seen: Sequence[tuple[ReviewPhoto, Look]],
    dealt: Sequence[int],
    folder: Path,
    tell: OnProgress,
    **settings: Any,
) -> dict[str, Predicted]:
    """Train a detector for each fold on the others, and return what it sees in the photos of its own.

    `folder/foldN.jsonl` keeps that; a fold that has it, for the very same photos, is not trained again.
    """
    from maskyolo.review.finding.folds import FoldDetector, train_fold

    found: dict[str, Predicted] = {}
    folds = sorted(set(dealt))
    for number, fold in enumerate(folds, 1):
        own = [photo for (photo, _), place in zip(seen, dealt, strict=True) if place == fold]
        judged = folder / f"fold{number}.jsonl"
        if not judged.is_file() or {*read_predictions(judged)} != {photo.image for photo in own}:
            learnt = [
                photo.path for (photo, _), place in zip(seen, dealt, strict=True) if place != fold
            ]
            progress = _batches(tell, f"batches of fold {number} of {len(folds)}")
            weights = train_fold(learnt, folder / f"fold{number}", on_progress=progress, **settings)
            detector = FoldDetector(weights, settings["imgsz"], settings["device"])
            predicted = {}
            for photo in own:
                predicted[photo.image] = detector(read_image(photo.path))
                tell("photos judged", len(found) + len(predicted), len(seen))
            folder.mkdir(exist_ok=True)
            write_predictions(judged, predicted)
        found |= read_predictions(judged)
    return {photo.image: found[photo.image] for photo, _ in seen}


def _batches(tell: OnProgress, what: str) -> Callable[[Progress], None]:
    return lambda now: tell(
        what, (now.epoch - 1) * now.batches + now.batch, now.epochs * now.batches
    )


def _photo(photo: ReviewPhoto, look: Look, predicted: Predicted, fold: int) -> Photo:
    row = photo.row
    painted = (
        [box for box, name in zip(row.boxes, row.classes, strict=True) if name == IGNORE_CLASS]
        if row
        else []
    )
    by_folder = bool(row) and "folder" in (row.deciders if row else ())
    return Photo(
        photo.image, photo.split, look, predicted, fold, photo.source, by_folder, as_boxes(painted)
    )
