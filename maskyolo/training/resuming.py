"""What a resumed training takes from the run's folder, which may come from anyone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.core.parsing import load_json, load_yaml
from maskyolo.core.repeating import PROVENANCE
from maskyolo.core.runs import check_no_links
from maskyolo.errors import DatasetError, MaskyoloError, WeightsError
from maskyolo.training.checks import check_settings
from maskyolo.training.recipes import SETTINGS, take_blend

__all__ = ["find_run"]

#: Key in `args.yaml`: which classes started from another class of the initial weights.
INITIAL_OUTPUTS = "initial_outputs"


def find_run(run: Path | str, project: Path | str = "runs/train") -> Path:
    """Return the folder of an unfinished run.

    Args:
        run: the run's folder, its `last.pt`, or "latest" for the newest unfinished run.
        project: the folder that "latest" searches.

    Raises:
        MaskyoloError: there is no such run, or it is finished.
    """
    if str(run) == "latest":
        unfinished = [path for path in Path(project).glob("*/args.yaml") if _can_resume(path)]
        if not unfinished:
            raise MaskyoloError(
                f"nothing to resume: {project} has no unfinished run",
                "start one with `maskyolo train --data DIR/data.yaml`",
            )
        latest = max(unfinished, key=lambda path: path.stat().st_mtime).parent.absolute()
        check_no_links(latest)
        return latest
    folder = Path(run).absolute()
    if folder.suffix == ".pt":
        folder = folder.parent.parent
    if not (folder / "args.yaml").is_file():
        raise MaskyoloError(
            f"nothing to resume at {run}: not a run's folder (no args.yaml)",
            "give the folder that `maskyolo train` printed",
        )
    if (folder / "report.json").exists():
        raise MaskyoloError(
            f"nothing to resume at {run}: the run is finished",
            f"to train further, start a new run with --model {folder}/weights/last.pt",
        )
    if not _can_resume(folder / "args.yaml"):
        raise MaskyoloError(
            f"nothing to resume at {run}: the training of a classifier cannot be resumed",
            "start a new run",
        )
    check_no_links(folder)
    return folder


def _can_resume(args: Path) -> bool:
    """Return whether `args.yaml` belongs to an unfinished training of a detector."""
    return (
        not (args.parent / "report.json").exists()
        and b"pipeline: two-stage" not in args.read_bytes().splitlines()
    )


def saved_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run that a recipe may set; maskyolo chooses all others.

    Raises:
        MaskyoloError: its `args.yaml` cannot be read, or a setting is invalid.
    """
    from ultralytics.utils import DEFAULT_CFG_DICT

    try:
        content = load_yaml(folder / "args.yaml")
        given = {key: content[key] for key in (SETTINGS - {"blend"}) & content.keys()}
    except (DatasetError, AttributeError) as error:
        raise MaskyoloError(
            f"cannot resume {folder}: its args.yaml cannot be read", "start a new run"
        ) from error
    args = {key: DEFAULT_CFG_DICT[key] for key in ("epochs", "imgsz", "batch", "seed")} | given
    check_settings(args)
    return args


def saved_additions(folder: Path) -> dict[str, Any]:
    """Return what we have added to a run's `args.yaml`, which a resumed run keeps.

    That is `blend`, which classes started from another class of the initial weights, and what the
    run is made with.
    """
    content = load_yaml(folder / "args.yaml")
    keys = ("blend", INITIAL_OUTPUTS, PROVENANCE)
    return {key: content[key] for key in keys if key in content} if content else {}


def saved_blend(path: Path) -> float:
    """Return a run's `blend`; see `take_blend`.

    Raises:
        MaskyoloError: the file cannot be read, or is not from a training.
    """
    try:
        share = load_json(path)["share"]
        return take_blend({"blend": share})
    except (DatasetError, TypeError, KeyError) as error:
        raise MaskyoloError(f"cannot read {path}", "start a new run") from error


def last_epoch(last: Path) -> int:
    """Return the epoch (from 0) after which a checkpoint was written, or -1 if it is finished."""
    from ultralytics.utils.patches import torch_load

    try:
        return int(torch_load(last, map_location="cpu")["epoch"])
    except Exception as error:  # unpickling can raise anything
        raise WeightsError(
            f"cannot resume from {last}: not a checkpoint of a training", "start a new run"
        ) from error


def trim_results(results: Path, epochs: int) -> None:
    """Drop the rows of `results.csv` after the checkpoint's epoch.

    Such a row exists if training was killed after writing it and before the checkpoint.
    """
    if results.is_file():
        lines = results.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [
            line
            for line in lines[1:]
            if line.split(",")[0].isdigit()
            and int(line.split(",")[0]) <= epochs
            and line.endswith("\n")
        ]
        write_atomic(results, "".join(lines[:1] + kept))


def remove_parts(weights: Path) -> None:
    """Remove unfinished files, which would otherwise count as written by this training."""
    for part in weights.glob("*.part"):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()
