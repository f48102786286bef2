"""The data set that `--update` starts from: earlier results and corrections to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskyolo.core.files import inside
from maskyolo.core.labels import IGNORE_CLASS, format_yolo, read_yolo
from maskyolo.core.parsing import load_yaml
from maskyolo.dataset.ledger import LedgerRow, labels_of, read_ledger
from maskyolo.dataset.workfolder import SETTINGS, foreign_file
from maskyolo.errors import DatasetError, OutputError


@dataclass(frozen=True)
class PreviousSet:
    """The set that an update replaces.

    Attributes:
        folder: the data set.
        rows: its rows by source, including corrections made since.
        same_settings: whether it was converted with the same settings.
    """

    folder: Path = Path()
    rows: dict[str, LedgerRow] = field(default_factory=dict)
    same_settings: bool = False

    @classmethod
    def read(
        cls, folder: Path, settings: Mapping[str, object], names: Sequence[str]
    ) -> PreviousSet:
        """Read the ledger and all label files of a set.

        A label file that differs from the ledger is a correction.

        Raises:
            OutputError: the folder contains files that are not in the ledger, and would be lost.
            DatasetError: a corrected photo has a face of a class that is not in `names`, or the
                ledger or a label file cannot be read.
        """
        rows = {row.source: row for row in read_ledger(folder / "ledger.csv")}
        foreign = foreign_file(folder, [row.image for row in rows.values() if row.in_set])
        if foreign:
            raise OutputError(
                f"cannot update {folder}: {foreign} is not in its ledger and would be lost",
                "move it elsewhere first",
            )
        own_names = _names_of(folder) or tuple(names)
        rows = {source: _with_edits(row, folder, own_names) for source, row in rows.items()}
        for row in rows.values():
            lost = set(row.classes) - {*names, IGNORE_CLASS}
            if lost and row.status == "corrected" and row.in_set:
                raise DatasetError(
                    f"{row.source} in {folder} was corrected and has faces of class "
                    f"'{min(lost)}', which is no longer kept"
                )
        try:
            used = load_yaml(folder / SETTINGS)["settings"]
        except (DatasetError, KeyError, TypeError):
            used = None
        return cls(folder, rows, used == settings)

    def has_image(self, row: LedgerRow) -> bool:
        """Return whether the image that a row names exists; it may have been deleted.

        Raises:
            DatasetError: the row names a file outside the set.
        """
        return not row.in_set or inside(self.folder, row.image).is_file()

    def splits(self) -> dict[str, str]:
        """Return the splits of the corrected photos by source."""
        return {
            row.source: row.split
            for row in self.rows.values()
            if row.status == "corrected" and row.in_set
        }


def _with_edits(row: LedgerRow, folder: Path, names: Sequence[str]) -> LedgerRow:
    """Return a row of the set in `folder`, corrected if its label file was edited by hand."""
    if not row.in_set:
        return row
    inside(folder, row.image)
    label = inside(folder, Path(row.image.replace("images/", "labels/", 1)).with_suffix(".txt"))
    if not label.is_file():
        return row
    written = format_yolo(labels_of(row, names), row.width, row.height)
    if label.read_text(encoding="utf-8") == written:
        return row
    found = read_yolo(label, row.width, row.height, len(names))
    blanked = [
        box for box, name in zip(row.boxes, row.classes, strict=True) if name == IGNORE_CLASS
    ]
    classes = [names[class_id] for class_id in found.class_ids] + [IGNORE_CLASS] * len(blanked)
    corrected = row.status == "corrected"
    reason = row.reason if corrected else "its label file was changed by hand"
    return row.corrected([*found.boxes.tolist(), *blanked], classes, reason)


def _names_of(folder: Path) -> tuple[str, ...]:
    """Return the class names of a set by id, from its `data.yaml`; empty if it cannot be read."""
    try:
        names = load_yaml(folder / "data.yaml", booleans=False)["names"]
        return tuple(str(names[number]) for number in range(len(names)))
    except (DatasetError, KeyError, TypeError):
        return ()
