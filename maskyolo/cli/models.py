"""`maskyolo models`: the known weights, where they are, and how to get missing ones."""

from __future__ import annotations

from typing import Annotated

import typer

from maskyolo.cli.options import examples

__all__ = ["EXAMPLES", "models"]

EXAMPLES = examples(
    "maskyolo models",
    "maskyolo models --verify",
    "maskyolo models --fetch yolov8n",
    "maskyolo models --fetch all",
)


def models(
    fetch: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Download these weights (or all missing ones: `all`) into the user's cache.",
        ),
    ] = "",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Exit with 1 if a file has the wrong checksum or cannot be loaded."
        ),
    ] = False,
) -> None:
    """List, download and verify weights.

    Lists this project's weights, and third-party weights with license, size, checksum and location.
    """
    from maskyolo.errors import WeightsError
    from maskyolo.models.own import check_own_weights, model_card, own_weights
    from maskyolo.models.weights import fetch_weights, load_manifest, locate_weights

    if fetch:
        names = (
            [name for name in load_manifest() if locate_weights(name).status != "ok"]
            if fetch == "all"
            else [fetch]
        )
        for name in names:
            found = locate_weights(name)
            path = found.path if found.status == "ok" else fetch_weights(name, report=print)
            print(f"{name}: {path}")
        if not names:
            print("nothing to download: every file is there")
        return

    wrong = []
    print("This project's (AGPL-3.0-or-later), included in the package:")
    described = ""
    for path in own_weights():
        if path.stem != described:
            described = path.stem
            card = model_card(path.stem)
            print(f"  {card.name}: {card.description}")
            print(f"    {card.figures} on {card.measured_on}")
        status = "there"
        if verify:
            try:
                check_own_weights(path)
                status = "ok"
            except WeightsError as error:
                wrong.append(path.name)
                status = f"wrong ({error})"
        print(f"    {path.name:<23} {_size(path.stat().st_size):>8}  {status:<7}  {path}")
    print("Third-party:")
    for name in load_manifest():
        found = locate_weights(name)
        weights = found.weights
        size = _size(found.path.stat().st_size) if found.path else ""
        print(
            f"  {name:<23} {size:>8}  {found.status:<7}  {weights.license:<10}  "
            f"{weights.file}: {weights.description}"
        )
        if found.path:
            print(f"  {'':<23} {'':>8}  in {found.place}: {found.path}")
        else:
            print(f"  {'':<23} {'':>8}  get it: maskyolo models --fetch {name}")
        wrong += [name] if found.status == "wrong" else []
    if verify and wrong:
        raise WeightsError(
            f"wrong weights: {', '.join(wrong)}",
            "delete each file named above and run `maskyolo models --fetch NAME`",
        )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
