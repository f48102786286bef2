"""A data set on disk: `data.yaml`, `ledger.csv`, `images/{train,val,test}`, `labels/...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from maskyolo.core.classes import CLASS_NAMES, SPLITS
from maskyolo.core.labels import Labels, check_rows
from maskyolo.dataset.label_files import canonical_label
from maskyolo.dataset.yolo_set import YoloSet, describe_yaml, find_yaml
from maskyolo.errors import DatasetError

__all__ = ["Dataset", "check_class_order", "format_data_yaml", "load_dataset"]


@dataclass(frozen=True)
class Dataset:
    """A data set on disk, found through its `data.yaml`.

    Attributes:
        yaml: path of the `data.yaml`.
        root: the folder that contains `images` and `labels`.
        names: class names by id.
        splits: by split, its folders of images or its list files.
        files: its files as the `data.yaml` describes them.
    """

    yaml: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    files: YoloSet

    def images(self, split: str) -> list[Path]:
        """Return the images of a split, sorted if from a folder, in order if from a list file.

        Raises:
            DatasetError: the set has no such split, or its list cannot be read.
        """
        self.files.check_split(split)
        return self.files.images(split)

    def label_of(self, image: Path) -> Path:
        """Return the label file of an image; if there is none, where it would be written."""
        return self.files.finder.find(image) or canonical_label(image)

    def read_labels(self, image: Path, width: int = 1, height: int = 1) -> Labels:
        """Read the labels of an image of `width` x `height`; without a label file, it has none.

        Raises:
            DatasetError: the label file cannot be read; see `parse_rows` and `check_rows`.
        """
        rows = self.files.read_rows(image)
        return check_rows(rows, width, height, str(self.label_of(image)), self.names)


def check_class_order(dataset: Dataset) -> None:
    """Check that the first two classes of a set are ours, as training needs them.

    Raises:
        DatasetError: they are not. Renaming them in the `data.yaml` would change the meaning of all
            labels, so the remedy is to convert the set.
    """
    if dataset.names[: len(CLASS_NAMES)] != CLASS_NAMES:
        raise DatasetError(
            f"{dataset.yaml} has the classes {', '.join(dataset.names)}, but the first two must be "
            f"{', '.join(CLASS_NAMES)}",
            "convert the set, which also changes the class ids in its labels: "
            f"maskyolo convert {dataset.yaml} --splits keep --out DIR",
        )


def format_data_yaml(root: Path, splits: Sequence[str], names: Sequence[str] = CLASS_NAMES) -> str:
    """Return the text of the `data.yaml` of a set in the folder `root`.

    `path` is absolute, because Ultralytics does not resolve it against the file's folder.
    """
    content = (
        {"path": str(root.absolute())}
        | {split: f"images/{split}" for split in splits}
        | {"names": dict(enumerate(names))}
    )
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def load_dataset(data: Path | str) -> Dataset:
    """Load a `data.yaml`, given as a file or its folder, and check that the folders in it exist.

    Raises:
        DatasetError: no such file, not YAML, no `names` or `train`, classes not numbered from 0, or
            a folder is missing.
    """
    path = Path(data)
    if path.is_dir():
        found = find_yaml(path)
        if found is None and not (path / "data.yaml").is_file() and any(path.iterdir()):
            raise DatasetError(
                f"no data set at {data}: it has no data.yaml",
                f"convert it with `maskyolo convert {data} --out DIR`",
            )
        path = found or path / "data.yaml"
    if not path.exists():
        raise DatasetError(
            f"no data set at {data}: {path} does not exist",
            "create one with `maskyolo convert FOLDER --out DIR`",
        )
    files = describe_yaml(path)
    splits = {split: files.splits[split] for split in SPLITS if split in files.splits}
    if "train" in files.missing:
        raise files.missing["train"]
    if "train" not in splits:
        raise DatasetError(f"{path} names no `train` images", "add the line `train: images/train`")
    numbered = files.classes.names_for(path)
    if sorted(numbered) != list(range(len(numbered))):
        raise DatasetError(
            f"{path}: `names` must be a list or number its classes from 0, found {numbered}",
            "correct it",
        )
    names = tuple(numbered[number] for number in range(len(numbered)))
    return Dataset(path.absolute(), files.home, names, splits, files)
