"""Which evaluated images a model may have learned: near-copies of training photos."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from maskyolo.dataset.formats.reading import read_split
from maskyolo.dataset.ledger import read_ledger
from maskyolo.dataset.photo_hashes import count_seen, hash_photos, load_hashes
from maskyolo.errors import DatasetError
from maskyolo.evaluation.options import LabeledDataOptions

__all__ = ["report_overlap"]

#: The split that models are trained on.
_TRAIN = "train"


def report_overlap(
    images: Mapping[Path, tuple[str, str]],
    models: Mapping[str, Path | None],
    chosen: LabeledDataOptions,
    on_warning: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Warn if evaluated images are near-copies of training photos.

    Args:
        images: the perceptual hash of each image and of its mirror image, by path.
        models: the file of each model by name; None if it is unknown.
        chosen: where the images come from.
        on_warning: called with one line per model, and one about the data set's train split.
            Default: log a warning.

    Returns:
        How many images are near-copies of the training photos of each model that recorded them,
        by its name, and of the train split (`train split`), if there is one and it is not the one
        evaluated.

    Raises:
        WeightsError: the file of a model's training photos cannot be read.
    """
    warn = on_warning or logging.getLogger("maskyolo").warning
    learned = {name: load_hashes(file) for name, file in models.items() if file is not None}
    sources = {
        name: (hashes, f"photos that {name} was trained on")
        for name, hashes in learned.items()
        if hashes
    }
    if chosen.data is not None and chosen.split != _TRAIN:
        hashes = _train_hashes(Path(chosen.data), images)
        if hashes:
            sources["train split"] = hashes, f"images in the train split of {chosen.data}"
    found = {}
    for name, (hashes, what) in sources.items():
        found[name] = count = count_seen(list(images.values()), hashes)
        if count:
            warn(
                f"{count} of {len(images)} images are near-copies of {what}; "
                "expect lower figures on new photos"
            )
    return found


def _train_hashes(data: Path, evaluated: Collection[Path]) -> list[str]:
    """Return the perceptual hashes of a data set's train split, without the evaluated images.

    Those of photos are in the ledger, if there is one.
    """
    try:
        photos = [photo.path for photo in read_split(data, _TRAIN).photos if photo.annotated]
    except DatasetError:  # it has no such split
        return []
    photos = [path for path in photos if path not in evaluated]
    root = data if data.is_dir() else data.parent
    known = {}
    if (root / "ledger.csv").is_file():
        known = {root / row.image: row.phash for row in read_ledger(root / "ledger.csv")}
    listed = [known.get(path, "") for path in photos]
    rest = [path for path, value in zip(photos, listed, strict=True) if not value]
    return [value for value in listed if value] + hash_photos(rest)
