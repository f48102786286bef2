"""Undoes the latest change that `maskyolo review apply` made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maskyolo.dataset.ledger import LedgerRow, format_ledger, read_ledger
from maskyolo.dataset.workfolder import locked_set
from maskyolo.errors import DatasetError
from maskyolo.review.review_set import LEDGER, load_own_set
from maskyolo.review.transaction import Transaction

__all__ = ["undo_review"]


def undo_review(data: Path | str) -> list[str]:
    """Undo the latest `apply_review` that is not undone yet, byte for byte.

    If the set was updated since (`convert --update`), the ledger keeps the update, and only the
    rows of the changed photos are restored.

    Args:
        data: the set's `data.yaml`, or its folder.

    Returns:
        The files that were restored, changed or removed, relative to the set's folder.

    Raises:
        DatasetError: there is nothing to undo, or a file was changed since.
        OutputError: another command is working on the set, or a file cannot be written; another
            call continues where this one stopped.
    """
    root = load_own_set(data).root
    with locked_set(root):
        Transaction.finish_pending(root)
        last = Transaction.last(root)
        if last is None:
            raise DatasetError(
                f"there is nothing to undo in {root}",
                "only changes made by `maskyolo review apply` can be undone",
            )
        keep = {}
        if LEDGER in last.changed_since() and (root / LEDGER).is_file():
            keep[LEDGER] = _restore_rows(last)
        files = last.files()
        last.undo(keep)
    return files


def _restore_rows(change: Transaction) -> bytes:
    """Return the current ledger, with the rows that a change corrected as they were before it.

    Raises:
        DatasetError: one of these rows was changed since, except for its group of near-copies.
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
                f"cannot undo change {change.number} of {change.root}: the ledger's row of "
                f"{source} was changed after it",
                f"the earlier versions are in {change.folder / 'before'}",
            )
        now[source] = replace(before[source], group=now[source].group)
    return format_ledger(list(now.values())).encode(errors="backslashreplace")
