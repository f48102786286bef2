"""`maskyolo convert`: class folders and annotated sets to a YOLO data set, or to another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskyolo.cli.options import Strict, examples, with_options
from maskyolo.cli.progress import progress_bar, resumable_progress
from maskyolo.conversion.options import ConvertOptions
from maskyolo.core.options import Panel
from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError

if TYPE_CHECKING:
    from maskyolo.conversion.convert import Conversion
    from maskyolo.dataset.formats.export import Export

EXAMPLES = examples(
    "maskyolo convert data/samples/folders --out data/mask",
    "maskyolo convert photos --out data/mask --splits 0.9,0.1,0 --map covered=with_mask",
    "maskyolo convert photos --out data/mask --exclude benchmark/images --update",
    "maskyolo convert data/samples --format voc --out data/street",
    "maskyolo convert photos data/voc --out data/both --map mask_weared_incorrect=ignore",
    "maskyolo convert data/mask/data.yaml --to coco --out data/mask-coco",
)

#: Options that also apply with --to; --list has its own error message.
_OF_EXPORTS = {"source", "out", "format", "to", "class_map", "strict", "image_list"}
#: Maximum number of lines to print per kind of report.
_MAX_LINES = 20


@with_options(ConvertOptions)
def convert(
    context: typer.Context,
    source: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that contain with_mask and without_mask, or Pascal VOC, COCO or YOLO "
            "sets. All of them are combined into one data set."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder. Must not exist yet, unless --update is given.",
            rich_help_panel=Panel.OUTPUT,
        ),
    ],
    options: ConvertOptions,
    to: Annotated[
        str | None,
        typer.Option(
            help="Only convert an annotated set to another format (voc, coco or yolo), with all "
            "boxes and splits unchanged.",
            rich_help_panel=Panel.OUTPUT,
        ),
    ] = None,
    strict: Strict = False,
) -> None:
    """Convert folders of photos to a YOLO data set.

    The result has face boxes, a ledger with a row per photo, and splits that keep near-copies of a
    photo together.
    """
    if to is not None:
        _refuse_unused(context)
        _export(source, out, to, options, strict)
        return
    from maskyolo.conversion.convert import convert_dataset

    with resumable_progress("photos", out) as on_progress:
        made = convert_dataset(source, out, options, on_progress=on_progress)
    _print_counts(made)
    _print_splits(made)
    _print_gone(made, source)
    unreadable = _warn(made)
    _print_set(made)
    sheets = f", contact sheets: {made.folder / 'sheets'}" if options.sheets else ""
    print(f"ledger: {made.folder / 'ledger.csv'}{sheets}")
    print(f"next: maskyolo train --data {made.data}")
    print(made.folder)
    if strict and unreadable:
        raise typer.Exit(1)


def _print_counts(made: Conversion) -> None:
    """Print the number of photos of each class by status."""
    from maskyolo.dataset.formats.base import NO_ANNOTATION
    from maskyolo.dataset.ledger import STATUSES

    counts = made.counts()
    unannotated = Counter(row.status for row in made.rows if row.source in made.unannotated)
    if unannotated:
        counts[""] -= unannotated
        counts = {name: found for name, found in counts.items() if name or found}
        counts[NO_ANNOTATION] = unannotated
    shown = [
        status
        for status in STATUSES
        if status == "kept" or any(found[status] for found in counts.values())
    ]
    width = max(13, *(len(name) + 1 for name in counts))
    print(f"{'':{width}}" + "".join(f"{status:>12}" for status in shown) + f"{'all':>12}")
    for name, found in counts.items():
        numbers = "".join(f"{found[status]:12}" for status in shown)
        print(f"{name or 'no faces':{width}}{numbers}{found.total():12}")


def _print_set(made: Conversion) -> None:
    """Print what is in the set: photos by split, and boxes."""
    from maskyolo.core.classes import SPLITS
    from maskyolo.core.labels import IGNORE_CLASS

    in_set = [row for row in made.rows if row.in_set]
    splits = Counter(row.split for row in in_set)
    boxes = sum(name != IGNORE_CLASS for row in in_set for name in row.classes)
    scenes = f", and {counted(made.scenes, 'scene')} in train" if made.scenes else ""
    parts = ", ".join(f"{splits[split]} {split}" for split in SPLITS if splits[split])
    print(
        f"{counted(len(in_set), 'photo')} ({parts}) with {counted(boxes, 'box', 'boxes')}{scenes}"
    )


def _print_splits(made: Conversion) -> None:
    print(
        f"near-copies in different splits: {made.leaks} of {counted(made.pairs, 'pair')}; "
        f"a plain random split would have had {made.random_leaks:.0f}"
    )


def _print_gone(made: Conversion, sources: Sequence[Path]) -> None:
    """Print which photos of the previous set are no longer in the sources and were removed."""
    for row in made.gone[:_MAX_LINES]:
        corrected = " (corrected)" if row.status == "corrected" else ""
        print(
            f"removed from the set, because no longer in {', '.join(map(str, sources))}: "
            f"{row.source}{corrected}"
        )
    if len(made.gone) > _MAX_LINES:
        print(f"… and {len(made.gone) - _MAX_LINES} more")


def _warn(made: Conversion) -> int:
    """Report problems with the photos; return how many could not be read."""
    _print_notes(made.notes)
    if uneven := made.uneven_loss():
        typer.echo(f"maskyolo: warning: {uneven}", err=True)
    unreadable = [row for row in made.rows if row.status == "unreadable"]
    for row in unreadable[:_MAX_LINES]:
        typer.echo(f"maskyolo: unreadable: {row.source}: {row.reason}", err=True)
    if len(unreadable) > _MAX_LINES:
        more = len(unreadable) - _MAX_LINES
        typer.echo(f"maskyolo: … and {more} more; see the ledger", err=True)
    return len(unreadable)


def _export(
    source: Sequence[Path], out: Path, to: str, options: ConvertOptions, strict: bool
) -> None:
    """Write one annotated set in another format."""
    from maskyolo.dataset.formats.export import export_dataset

    if len(source) > 1 or options.image_list is not None:
        raise typer.BadParameter(
            "converts a single set: give one source and no --list", param_hint="--to"
        )
    with progress_bar("images") as on_progress:
        made = export_dataset(
            source[0],
            out,
            to=to,
            format=options.format,
            class_map=options.class_map,
            on_progress=on_progress,
        )
    _print_export(made)
    if strict and made.skipped:
        raise typer.Exit(1)


def _print_export(made: Export) -> None:
    _print_notes(made.notes)
    problems = made.skipped + made.changed
    for name, reason in problems[:_MAX_LINES]:
        typer.echo(f"maskyolo: {name}: {reason}", err=True)
    if len(problems) > _MAX_LINES:
        typer.echo(f"maskyolo: … and {len(problems) - _MAX_LINES} more", err=True)
    print(f"images: {_listed(dict(sorted(made.photos.items())), 'in no split')}")
    print(f"boxes: {_listed(made.boxes)}")
    print(f"left out: {counted(len(made.skipped), 'image')}; boxes changed in {len(made.changed)}")
    print(made.folder)


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes[:_MAX_LINES]:
        typer.echo(f"maskyolo: note: {note}", err=True)


def _listed(numbers: Mapping[str, int], empty: str = "") -> str:
    return ", ".join(f"{name or empty} {number}" for name, number in numbers.items())


def _refuse_unused(context: typer.Context) -> None:
    """Raise MaskyoloError if options were given that --to does not use."""
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in _OF_EXPORTS
        and getattr(context.get_parameter_source(option.name or ""), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise MaskyoloError(
            f"--to converts a set unchanged and cannot be used with {', '.join(given)}",
            "leave out one or the other",
        )
