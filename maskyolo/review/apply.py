"""`maskyolo review apply`: what people did in the App or in `review.csv` goes back to label files and ledger, and can be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from maskyolo.dataset import load_dataset
from maskyolo.errors import DatasetError, MaskyoloError
from maskyolo.ledger import LedgerRow, format_ledger, read_ledger
from maskyolo.review.corrections import Change, Problem
from maskyolo.review.csv_edits import edits_of_csv
from maskyolo.review.review_set import LEDGER, read_review_set
from maskyolo.review.suspicions import read_suspicions
from maskyolo.review.transaction import Transaction
from maskyolo.workfolder import locked_set

__all__ = ["Applied", "apply_review", "undo_review"]


@dataclass(frozen=True)
class Applied:
    """What `apply_review` took over.

    Attributes:
        changes: what was changed, or would be by a dry run.
        problems: what could not be taken over, or not as it was.
        folder: where the change log is, and all that is needed to undo; None if nothing was changed.
    """

    changes: list[Change]
    problems: list[Problem]
    folder: Path | None = None

    def counts(self) -> Counter[str]:
        """Count the changes by kind."""
        return Counter(change.what for change in self.changes)

    @property
    def photos(self) -> int:
        """Number of photos that changed."""
        return len({change.image for change in self.changes})


def apply_review(
    data: Path | str,
    *,
    csv: Path | str | None = None,
    name: str | None = None,
    dry_run: bool = False,
) -> Applied:
    """Take the edits that people made in the App, or in an edited `review.csv`, over into a data set's label files and ledger.

    The photos become `corrected` in the ledger, and `convert --update` keeps them. All files change together or none does; what they
    were before is kept in `review/NNNN` in the set's folder, with a change log.

    Args:
        data: the set's `data.yaml`, or its folder.
        csv: an edited `review.csv` to take instead of what was done in the App; FiftyOne is not needed then.
        name: of the data set in FiftyOne, if it is not that of the folder.
        dry_run: only tell what would change.

    Raises:
        MaskyoloError: both `csv` and `name`.
        DatasetError: no data set, it was never opened, or a line of the CSV is wrong; nothing is changed then.
        DependencyError: FiftyOne is not installed, or has no database.
        OutputError: another run is at work on the set, or a file cannot be written; the same call goes on where it stopped.
    """
    if csv is not None and name is not None:
        raise MaskyoloError(
            f"cannot take edits over from both {csv} and the set '{name}' of FiftyOne; leave out --csv or --name"
        )
    if dry_run:
        return _apply(data, csv, name, dry_run)
    root = load_dataset(data).root
    with locked_set(root):
        Transaction.finish_pending(root)
        return _apply(data, csv, name, dry_run)


def _apply(data: Path | str, csv: Path | str | None, name: str | None, dry_run: bool) -> Applied:
    review = read_review_set(data)
    if csv is not None:
        edits, told = edits_of_csv(review, read_suspicions(csv), csv)
        opened = None
    else:
        from maskyolo.review.app.fiftyone_set import OpenedSet

        opened = OpenedSet.find(review, name)
        edits = opened.edits()
        told = opened.problems
    for edit in edits:
        edit.checked &= (
            edit.source != ""
            and getattr(review.photos[edit.image].row, "status", "") != "corrected"
        )
    changed = [edit for edit in edits if edit.changes()]
    problems = [problem for edit in edits for problem in edit.problems] + told
    changes = [change for edit in changed for change in edit.changes()]
    if dry_run:
        return Applied(changes, problems)
    transaction = (
        _write(review.root, review.files(changed), changes, "app" if opened else str(csv))
        if changed
        else None
    )
    if opened:
        opened.settle(
            edits
        )  # first, so that after a crash in between the same edits are found again, and none twice
    if transaction:
        transaction.commit()
    if opened:
        opened.refresh(read_review_set(data), edits)
    return Applied(changes, problems, transaction.folder if transaction else None)


def undo_review(data: Path | str) -> list[str]:
    """Undo the latest `apply_review` that is not undone yet, byte for byte; return the files that were put back, changed or removed.

    Where the set was brought up to date since (`convert --update`), the ledger gets the rows of the changed photos back.

    Raises:
        DatasetError: there is nothing to undo, or a file was changed since.
        OutputError: another run is at work on the set, or a file cannot be written; the same call goes on where it stopped.
    """
    root = load_dataset(data).root
    with locked_set(root):
        Transaction.finish_pending(root)
        last = Transaction.last(root)
        if last is None:
            raise DatasetError(
                f"there is nothing to undo in {root}: no change made by `maskyolo review apply` is left"
            )
        keep = (
            {LEDGER: _rows_put_back(last)}
            if LEDGER in last.changed_since() and (root / LEDGER).is_file()
            else {}
        )
        files = last.files()
        last.undo(keep)
    return files


def _write(
    root: Path, files: dict[str, bytes | None], changes: Sequence[Change], by: str
) -> Transaction:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Transaction.prepare(
        root, files, [{"time": now, "by": by} | change.to_dict() for change in changes]
    )


def _rows_put_back(change: Transaction) -> bytes:
    """Return the ledger as it is now with the rows that a change corrected as they were before it.

    Raises:
        DatasetError: one of these rows was changed since, other than in its group of near-copies.
    """

    def rows(path: Path) -> dict[str, LedgerRow]:
        return {row.source: row for row in read_ledger(path)}

    before, after = rows(change.folder / "before" / LEDGER), rows(change.folder / "after" / LEDGER)
    now = rows(change.root / LEDGER)
    for source, row in after.items():
        if row == before[source]:
            continue
        if source not in now or replace(now[source], group=row.group) != row:
            raise DatasetError(
                f"cannot undo change {change.number} of {change.root}: {source} was changed after it in the ledger; "
                f"what it was before is in {change.folder / 'before'}"
            )
        now[source] = replace(before[source], group=now[source].group)
    return format_ledger(list(now.values())).encode(errors="backslashreplace")
