"""`maskyolo synthesize`: masks drawn on bare faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskyolo.cli.options import Seed, Strict, examples
from maskyolo.cli.progress import progress_bar

EXAMPLES = examples(
    "maskyolo synthesize data/samples/folders/without_mask --out data/made",
    "maskyolo synthesize photos/without_mask --out data/made --masks 0.3 --per-photo 2 --confusers 0.5",
)


def synthesize(
    faces: Annotated[Path, typer.Argument(help="Folder of photos in which nobody wears a mask.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder to make, with with_mask and without_mask in it; must not exist yet."
        ),
    ],
    masks: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the photos that get masks.")
    ] = 0.5,
    per_photo: Annotated[int, typer.Option(min=1, help="Masked copies of each of these.")] = 1,
    confusers: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the others that are copied with a hand, a cup, a scarf, ... before the face.",
        ),
    ] = 0.3,
    keep_originals: Annotated[
        bool,
        typer.Option(
            "--keep-originals", help="Put the originals of masked copies into without_mask, too."
        ),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="YuNet's weights, or the folder that has them.")
    ] = None,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(min=1, help="Photos worked on at once.")] = 2,
    strict: Strict = False,
) -> None:
    """Draw masks on photos of bare faces, and hands, cups and scarves that are none: two folders of photos for convert."""
    from maskyolo.origins import MADE_STATUSES, SYNTHESIS
    from maskyolo.synthesize import synthesize_masks

    try:
        with progress_bar("photos") as on_progress:
            made = synthesize_masks(
                faces,
                out,
                masks=masks,
                per_photo=per_photo,
                confusers=confusers,
                keep_originals=keep_originals,
                weights=weights,
                seed=seed,
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
    for status in MADE_STATUSES:
        if counts[status]:
            print(f"{status:11}{counts[status]:7}  {MADE_STATUSES[status]}")
    for photo in made.photos:
        if photo.status == "unreadable":
            typer.echo(f"maskyolo: unreadable: {photo.original}: {photo.reason}", err=True)
    print(f"ledger: {made.folder / SYNTHESIS}")
    print(made.folder)
    if strict and counts["unreadable"]:
        raise typer.Exit(1)
