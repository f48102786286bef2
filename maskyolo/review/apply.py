"""`maskyolo review apply`: write corrections to label files and the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maskyolo.core.options import takes_options
from maskyolo.dataset.workfolder import locked_set
from maskyolo.errors import MaskyoloError
from maskyolo.review.corrections import Change, ChangeKind, PhotoEdit, Problem
from maskyolo.review.csv_edits import edits_from_csv
from maskyolo.review.options import ApplyOptions
from maskyolo.review.review_set import ReviewSet, load_own_set, read_review_set
from maskyolo.review.suspicions import read_suspicions
from maskyolo.review.transaction import Transaction

__all__ = ["ApplyResult", "apply_review"]


@dataclass(frozen=True)
class ApplyResult:
    """The result of `apply_review`.

    Attributes:
        changes: what was changed, or would be changed without `dry_run`.
        problems: what could not be applied, or not exactly as asked.
        folder: the folder of the change log and of everything needed to undo; None if nothing was
            changed.
    """

    changes: list[Change]
    problems: list[Problem]
    folder: Path | None = None

    def counts(self) -> Counter[ChangeKind]:
        """Return the number of changes of each kind."""
        return Counter(change.kind for change in self.changes)

    @property
    def photos(self) -> int:
        """Number of photos that changed."""
        return len({change.image for change in self.changes})


@takes_options(ApplyOptions)
def apply_review(
    data: Path | str, *, options: ApplyOptions | None = None, **settings: Any
) -> ApplyResult:
    """Apply edits from FiftyOne's App, or from an edited `review.csv`, to labels and ledger.

    The photos become `corrected` in the ledger, and `convert --update` keeps them. Either all files
    change or none does. The previous versions and a change log are kept in `review/NNNN` in the
    set's folder. With `csv`, FiftyOne is not needed.

    Args:
        data: the set's `data.yaml`, or its folder.
        options: see `ApplyOptions`.
        **settings: fields of `ApplyOptions`, which override those of `options`.

    Raises:
        MaskyoloError: both `csv` and `name` are given.
        DatasetError: there is no data set, it was never opened, or a line of the CSV is wrong. In
            that case, nothing is changed.
        DependencyError: FiftyOne is not installed, or has no database.
        OutputError: another command is working on the set, or a file cannot be written; another
            call continues where this one stopped.
    """
    chosen = ApplyOptions.merge(options, settings)
    if chosen.csv is not None and chosen.name is not None:
        raise MaskyoloError(
            f"cannot apply edits from both {chosen.csv} and FiftyOne's data set '{chosen.name}'",
            "leave out --csv or --name",
        )
    if chosen.dry_run:
        return _apply(data, chosen)
    root = load_own_set(data).root
    with locked_set(root):
        Transaction.finish_pending(root)
        return _apply(data, chosen)


def _apply(data: Path | str, options: ApplyOptions) -> ApplyResult:
    review = read_review_set(data)
    if options.csv is not None:
        edits, problems = edits_from_csv(review, read_suspicions(options.csv), options.csv)
        opened = None
    else:
        from maskyolo.review.app.fiftyone_set import OpenedSet  # not needed for a CSV

        opened = OpenedSet.find(review, options.name)
        edits, problems = opened.edits()
    for edit in edits:  # only photos in a ledger can be marked as checked, and only once
        edit.checked &= edit.source != "" and not review.photos[edit.image].is_corrected
    changed = [edit for edit in edits if edit.changes()]
    problems = [problem for edit in edits for problem in edit.problems] + problems
    changes = [change for edit in changed for change in edit.changes()]
    if options.dry_run:
        return ApplyResult(changes, problems)
    transaction = None
    if changed:
        transaction = _prepare(review, changed, "app" if opened else str(options.csv))
    if opened:
        # Settled before the files are written: after a crash in between, the same edits are found
        # again, and no tag is applied twice.
        opened.settle(edits)
    if transaction:
        transaction.commit()
    if opened:
        opened.refresh(read_review_set(data), edits)
    return ApplyResult(changes, problems, transaction.folder if transaction else None)


def _prepare(review: ReviewSet, edits: Sequence[PhotoEdit], by: str) -> Transaction:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    log = [
        {"time": now, "by": by} | change.to_dict() for edit in edits for change in edit.changes()
    ]
    return Transaction.prepare(review.root, review.files_after(edits), log)
