"""`maskyolo convert`: class folders and annotated sets to a YOLO data set; annotated sets to another format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from maskyolo._text import counted
from maskyolo.cli.options import ImageList, Seed, Strict, examples
from maskyolo.cli.progress import progress_bar
from maskyolo.errors import MaskyoloError

EXAMPLES = examples(
    "maskyolo convert data/samples/folders --out data/mask",
    "maskyolo convert photos --out data/mask --splits 0.9,0.1,0 --map covered=with_mask",
    "maskyolo convert photos --out data/mask --exclude benchmark/images --update",
    "maskyolo convert data/samples --format voc --out data/street",
    "maskyolo convert photos data/voc --out data/both --map mask_weared_incorrect=ignore",
    "maskyolo convert data/mask/data.yaml --to coco --out data/mask-coco",
)


#: What says something with --to, too; --list has an error of its own.
_OF_EXPORTS = {"source", "out", "format", "to", "class_map", "strict", "image_list"}


def convert(
    context: typer.Context,
    source: Annotated[
        list[Path],
        typer.Argument(
            help="Folders with with_mask and without_mask in them; Pascal VOC, COCO or YOLO sets; all become one set."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the data set to make; must not exist yet, but for --update."),
    ],
    format: Annotated[
        str, typer.Option(help="What the sources are: auto, folders, voc, coco or yolo.")
    ] = "auto",  # noqa: A002
    image_list: ImageList = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Only write an annotated set once more, as voc, coco or yolo: every box and split as it is."
        ),
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            help="Face detector: ssd (several looks, for reliable boxes), ssd-plain (one pass), yunet or haar."
        ),
    ] = "ssd",
    weights: Annotated[
        Path | None, typer.Option(help="The face detector's caffemodel, or the folder that has it.")
    ] = None,
    conf: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Least score of a sure face; where none is, ssd's best weak one counts from 0.12 if two looks or both detectors see it.",
        ),
    ] = 0.5,
    others: Annotated[
        str,
        typer.Option(
            help="Class of the faces beside a photo's subject: detector (where maskyolo-n-folders is sure, else painted over), paint (all "
            "painted over), set-aside (such photos are left out), folder (the folder's)."
        ),
    ] = "detector",
    second_opinion: Annotated[
        str,
        typer.Option(
            help="Who checks and completes the faces of ssd: yunet, both (YuNet and, for better boxes and missed faces, "
            "maskyolo-n-folders) or none; other detectors stand alone."
        ),
    ] = "both",
    splits: Annotated[
        str,
        typer.Option(
            help="Shares of train, val and test, or keep: those that annotated sets have."
        ),
    ] = "0.8,0.1,0.1",
    seed: Seed = 0,
    class_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="NAME=CLASS: what a folder or class means: with_mask, without_mask, drop, ignore or keep. Repeatable.",
        ),
    ] = None,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of pictures, such as a benchmark, whose near-copies are left out. Repeatable."
        ),
    ] = None,
    scenes: Annotated[
        int,
        typer.Option(
            min=0,
            help="Training pictures to compose of many of the photos' faces, for streets and crowds.",
        ),
    ] = 0,
    update: Annotated[
        bool,
        typer.Option(
            "--update", help="Bring the set in --out up to date; corrections made by hand stay."
        ),
    ] = False,
    sheets: Annotated[
        bool,
        typer.Option(
            "--sheets/--no-sheets", help="Draw contact sheets of the photos of each status."
        ),
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Photos worked on at once (else one more than there are cores)."),
    ] = None,
    strict: Strict = False,
) -> None:
    """Turn two folders of photos into a YOLO data set: face boxes, a ledger of every photo, splits without near-copies."""
    if to is not None:
        _refuse_unused(context)
        _export(source, out, to, format, _pairs(class_map or []), image_list, strict)
        return
    from maskyolo.convert import convert_dataset
    from maskyolo.formats.base import NO_ANNOTATION
    from maskyolo.ledger import STATUSES

    try:
        with progress_bar("photos") as on_progress:
            made = convert_dataset(
                source,
                out,
                format=format,
                image_list=image_list,
                detector=detector,
                weights=weights,
                conf=conf,
                second_opinion=second_opinion,
                others=others,
                splits=_numbers(splits),
                seed=seed,
                class_map=_pairs(class_map or []),
                exclude=exclude or [],
                scenes=scenes,
                update=update,
                sheets=sheets,
                workers=workers,
                on_progress=on_progress,
            )
    except KeyboardInterrupt:
        typer.echo(
            f"maskyolo: stopped; what is done is in {out}.part, and the same command goes on from there",
            err=True,
        )
        raise
    counts = made.counts()
    if unannotated := Counter(row.status for row in made.rows if row.reason == NO_ANNOTATION):
        counts[""] -= unannotated
        counts = {name: found for name, found in counts.items() if name or found} | {
            NO_ANNOTATION: unannotated
        }
    shown = [
        status
        for status in STATUSES
        if status == "kept" or any(counts[name][status] for name in counts)
    ]
    print(f"{'':13}" + "".join(f"{status:>12}" for status in shown) + f"{'all':>12}")
    for name, found in counts.items():
        print(
            f"{name or 'no faces':13}"
            + "".join(f"{found[status]:12}" for status in shown)
            + f"{found.total():12}"
        )
    by_chance = f"a plain random split would have had {made.random_leaks:.0f}"
    print(
        f"near-copies in different splits: {made.leaks} of {counted(made.pairs, 'pair')}; {by_chance}"
    )
    sources = ", ".join(map(str, source))
    for row in made.gone[:20]:
        print(
            f"no longer in {sources}, and so left the set: {row.source}{' (corrected)' if row.status == 'corrected' else ''}"
        )
    if len(made.gone) > 20:
        print(f"… and {len(made.gone) - 20} more")
    if uneven := made.uneven_loss():
        typer.echo(f"maskyolo: warning: {uneven}", err=True)
    unreadable = [row for row in made.rows if row.status == "unreadable"]
    for row in unreadable[:20]:
        typer.echo(f"maskyolo: unreadable: {row.source}: {row.reason}", err=True)
    if len(unreadable) > 20:
        typer.echo(f"maskyolo: … and {len(unreadable) - 20} more; see the ledger", err=True)
    if made.scenes:
        print(f"and {counted(made.scenes, 'scene')} composed of the training photos")
    print(f"ledger: {made.folder / 'ledger.csv'}{', contact sheets beside it' if sheets else ''}")
    print(made.folder)
    if strict and unreadable:
        raise typer.Exit(1)


def _export(
    source: list[Path],
    out: Path,
    to: str,
    source_format: str,
    class_map: dict[str, str],
    image_list: Path | None,
    strict: bool,
) -> None:
    from maskyolo.formats import export_dataset

    if len(source) > 1 or image_list is not None:
        raise typer.BadParameter(
            "writes one set as it is: give one source and no --list", param_hint="--to"
        )
    with progress_bar("pictures") as on_progress:
        made = export_dataset(
            source[0],
            out,
            to=to,
            format=source_format,
            class_map=class_map,
            on_progress=on_progress,
        )
    for name, reason in (made.skipped + made.changed)[:20]:
        typer.echo(f"maskyolo: {name}: {reason}", err=True)
    if len(made.skipped + made.changed) > 20:
        typer.echo(f"maskyolo: … and {len(made.skipped + made.changed) - 20} more", err=True)
    print(
        "pictures: "
        + ", ".join(
            f"{split or 'in no split'} {count}" for split, count in sorted(made.photos.items())
        )
    )
    print("boxes: " + ", ".join(f"{name} {count}" for name, count in made.boxes.items()))
    print(f"left out: {counted(len(made.skipped), 'picture')}; boxes changed in {len(made.changed)}")
    print(made.folder)
    if strict and made.skipped:
        raise typer.Exit(1)


def _refuse_unused(context: typer.Context) -> None:
    """Raise MaskyoloError if options were given that an export has no use for."""
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in _OF_EXPORTS
        and getattr(context.get_parameter_source(option.name or ""), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise MaskyoloError(
            f"--to writes a set as it is and has no use for {', '.join(given)}; leave out one or the other"
        )


def _numbers(text: str) -> list[float] | str:
    if text == "keep":
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a list of numbers such as 0.8,0.1,0.1, or keep", param_hint="--splits"
        ) from None


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"'{text}' is not NAME=CLASS", param_hint="--map")
        pairs[name] = value
    return pairs
