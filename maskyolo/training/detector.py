"""Trains a detector: recipe, checks, Ultralytics' trainer, report."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskyolo.core.choices import ImageCache, Logger
from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.core.repeating import PROVENANCE
from maskyolo.core.runs import add_to_args, clear_run, new_run
from maskyolo.dataset.layout import Dataset, load_dataset
from maskyolo.errors import DatasetError, MaskyoloError, OutputError, output_errors
from maskyolo.evaluation.class_scores import ClassScores, Report
from maskyolo.models.ultralytics import import_ultralytics, only_trusted, silenced
from maskyolo.runtime.provenance import report_differences
from maskyolo.training.checks import (
    check_detector_dataset,
    check_settings,
    check_several_gpus,
    check_start,
    check_weights,
    class_names,
    find_device,
    find_start,
    find_third_party,
    is_third_party,
)
from maskyolo.training.initial_outputs import match_outputs
from maskyolo.training.loggers import check_logger, logger_callbacks
from maskyolo.training.options import DetectorTrainOptions
from maskyolo.training.progress import Progress, TrainerListener
from maskyolo.training.provenance import describe_training, keep_hashes
from maskyolo.training.recipes import load_recipe, take_blend
from maskyolo.training.resuming import (
    INITIAL_OUTPUTS,
    find_run,
    last_epoch,
    remove_parts,
    saved_additions,
    saved_blend,
    saved_settings,
    trim_results,
)

__all__ = ["TrainResult", "export_onnx", "train_detector"]

#: Options that override the recipe's setting of the same name.
_RECIPE_OPTIONS = ("imgsz", "epochs", "batch", "seed", "patience")


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        folder: the run's folder.
        best: the best weights as `.pt`.
        onnx: the same as `.onnx`.
        report: scores on the val split.
    """

    folder: Path
    best: Path
    onnx: Path
    report: Report


@takes_options(DetectorTrainOptions)
def train_detector(
    data: Path | str | None = None,
    options: DetectorTrainOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a YOLOv8 detector on a YOLO data set.

    The run's folder gets `weights/{best,last}.pt`, `weights/best.onnx` (float32, any height, width
    and batch size), `weights/{best,last}.photos.txt` (perceptual hashes of the training photos, for
    the warnings of `evaluate`), `report.txt`, `report.json`, `results.csv`, `curves.png`,
    `args.yaml`, `data.yaml` (the data set's, with absolute paths) and Ultralytics' plots. A run
    that is interrupted or killed keeps its last complete epoch; `resume` continues from there.

    Args:
        data: the data set's `data.yaml` or its folder; with `resume`, only if the data set moved.
        options: options that are None come from the recipe, then from Ultralytics' defaults.
        on_progress: called after each batch and each epoch; not called with several GPUs, which
            train in processes of their own.
        on_warning: called with one line about images that cannot be used and are skipped, and
            before a download of initial weights.
        settings: fields of `DetectorTrainOptions`, which override `options`.

    Raises:
        DatasetError: no data set, missing or invalid labels, other classes, or a class without
            boxes.
        WeightsError: the initial weights are missing and cannot be downloaded, or are not a YOLO
            detector.
        DependencyError: Ultralytics is not installed.
        OutputError: the run's folder cannot be written, or no space is left.
        MaskyoloError: an invalid setting, an unavailable device, or nothing to resume.
    """
    chosen = DetectorTrainOptions.merge(options, settings)
    if data is not None and chosen.resume is None:
        _fetch_start(data, chosen, on_warning)
    import_ultralytics("maskyolo train")
    with only_trusted(chosen.trust):
        return _train(data, chosen, on_progress, on_warning)


def _fetch_start(
    data: Path | str, chosen: DetectorTrainOptions, on_warning: Callable[[str], None] | None
) -> None:
    """Download the initial weights, if they are missing, before the import of PyTorch.

    The import takes long; whoever is offline should know at once.
    """
    if importlib.util.find_spec("ultralytics") is None:  # reported by `import_ultralytics`
        return
    recipe = load_recipe(chosen.recipe or "detector")
    model = str(chosen.model or recipe.get("model", "yolov8n"))
    if is_third_party(model):
        load_dataset(data)  # no download for a data set that is not there
        find_third_party(model, on_warning)


def _train(
    data: Path | str | None,
    chosen: DetectorTrainOptions,
    on_progress: Callable[[Progress], None] | None,
    on_warning: Callable[[str], None] | None,
) -> TrainResult:
    """Start or resume a training; see `train_detector`."""
    check_logger(chosen.logger)
    machine = _machine_settings(chosen)
    given = _given(chosen, *_RECIPE_OPTIONS)
    if chosen.resume is not None:
        fixed = [*given, *_given(chosen, "model", "recipe")]
        if fixed:
            raise MaskyoloError(
                "a resumed run keeps its own settings",
                f"leave out {', '.join('--' + name for name in fixed)}",
            )
        folder = find_run(chosen.resume, chosen.project)
        if data is not None:
            _write_data(check_detector_dataset(load_dataset(data)), folder)
        listener = TrainerListener(folder, on_progress, on_warning)
        return _resume(folder, machine, chosen, listener)
    if data is None:
        raise MaskyoloError("no data set given", "give --data DIR/data.yaml, or --resume a run")
    args = load_recipe(chosen.recipe or "detector") | given | machine
    blend = take_blend(args)
    check_settings(args)
    check_weights(args, chosen.trust)
    dataset = check_detector_dataset(load_dataset(data))
    start = find_start(str(chosen.model or args.get("model", "yolov8n")), chosen.trust)
    if blend < 1:
        check_start(start, dataset)
    folder = new_run(chosen.project, chosen.name, chosen.exist_ok).absolute()
    clear_run(folder)
    with output_errors(folder):
        _write_data(dataset, folder)
        if blend < 1:
            _keep_start(folder, start, blend)
        place = {"project": str(folder.parent), "name": folder.name, "exist_ok": True}
        matches = match_outputs(class_names(start), dataset.names)
        args |= {"model": start, "data": str(folder / "data.yaml")}
        made = describe_training(args, dataset)
        report_differences(chosen.args, made, on_warning)
        keep_hashes(dataset, Path(start), folder / "weights")
        initial = {name: source for name, source in matches.items() if name != source}
        _run(
            args | place,
            folder,
            TrainerListener(folder, on_progress, on_warning),
            logger=chosen.logger,
            added={
                **({"blend": blend} if blend < 1 else {}),
                **({INITIAL_OUTPUTS: initial} if initial else {}),
                PROVENANCE: made,
            },
        )
    return _finish(folder, machine["device"])


def _machine_settings(options: DetectorTrainOptions) -> dict[str, Any]:
    """Return the settings that depend on the machine, which a resumed run may change."""
    settings = _given(options, "workers", "cache")
    if options.cache is not None:
        settings["cache"] = False if options.cache is ImageCache.NONE else str(options.cache)
    return settings | {"device": find_device(options.device)}


def _given(options: DetectorTrainOptions, *names: str) -> dict[str, Any]:
    """Return the named options that are not None."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _run(
    args: dict[str, Any],
    folder: Path,
    listener: TrainerListener,
    cfg: Any = None,
    *,
    logger: Logger | None,
    added: Mapping[str, Any],
) -> None:
    """Run Ultralytics' trainer with these settings; `args.yaml` also records what is `added`."""
    from ultralytics.utils import DEFAULT_CFG

    from maskyolo.training.detector_dataset import decoded_images
    from maskyolo.training.detector_trainer import DetectorTraining

    with silenced(), _user_errors(folder), decoded_images(folder):
        callbacks = logger_callbacks(logger, folder)
        trainer = DetectorTraining(cfg or DEFAULT_CFG, args, callbacks)
        add_to_args(folder, added)
        if trainer.ddp:
            check_several_gpus(logger)
        else:  # callbacks cannot be sent to the processes of the other GPUs
            for event, callback in listener.callbacks().items():
                trainer.add_callback(event, callback)
        trainer.train()


def _resume(
    folder: Path,
    machine: dict[str, Any],
    chosen: DetectorTrainOptions,
    listener: TrainerListener,
) -> TrainResult:
    """Continue an unfinished run with its original settings, except those in `machine`."""
    from ultralytics.utils import DEFAULT_CFG_DICT

    args = saved_settings(folder)
    more: dict[str, Any] = {"added": saved_additions(folder), "logger": chosen.logger}
    data = folder / "data.yaml"
    if not data.is_file():
        raise MaskyoloError(
            f"cannot resume {folder}: its data.yaml is missing", "give the data set with --data"
        )
    # Rewritten with the known keys only, because Ultralytics would run the code in `download`.
    _write_data(check_detector_dataset(load_dataset(data)), folder)
    last = folder / "weights" / "last.pt"
    remove_parts(last.parent)
    check_weights(
        args | {file: str(last.with_name(f"{file}.pt")) for file in ("last", "best", "start")},
        chosen.trust,
    )
    cfg = DEFAULT_CFG_DICT | {"save_dir": ""}
    place = {"save_dir": str(folder), "data": str(data)}
    with output_errors(folder):
        if not last.is_file():  # stopped in the first epoch: start over with the same settings
            start = find_start(str(args.get("model", "yolov8n")), chosen.trust)
            (folder / "results.csv").unlink(missing_ok=True)
            again = {"model": start, "resume": False}
            _run(args | machine | place | again, folder, listener, cfg, **more)
        elif 0 <= (epoch := last_epoch(last)) < args["epochs"] - 1:
            trim_results(folder / "results.csv", epoch + 1)
            resume = {"resume": str(last)}
            _run(machine | place | resume, folder, listener, cfg, **more)
    return _finish(folder, machine["device"])


def _finish(folder: Path, device: str) -> TrainResult:
    """Make the models, plots and report from a run's checkpoints.

    `report.json` is written last: it marks the run as finished.
    """
    from ultralytics.utils.plotting import plot_results

    from maskyolo.training.detector_dataset import DetectorValidation
    from maskyolo.training.detector_trainer import blend_checkpoint, strip_checkpoints

    weights = folder / "weights"
    best = weights / "best.pt"
    blend = folder / "blend.json"
    args = saved_settings(folder)
    with silenced(), _user_errors(folder), output_errors(folder):
        strip_checkpoints(weights)
        if not best.is_file():
            raise MaskyoloError(
                f"{folder} has no weights/best.pt: the training ended without a checkpoint",
                "start a new run",
            )
        if blend.is_file():
            blend_checkpoint(best, weights / "start.pt", saved_blend(blend))
        keys = ("imgsz", "batch", "seed")
        settings = {key: args[key] for key in keys} | {
            "model": str(best),
            "data": str(folder / "data.yaml"),
            "device": device.split(",")[0],
        }
        validator = DetectorValidation(
            args=settings | {"task": "detect", "mode": "val", "plots": True, "workers": 0},
            save_dir=folder,
        )
        validator()
        report = _report(validator, load_dataset(folder / "data.yaml"))
        plot_results(file=folder / "results.csv")
        if (folder / "results.png").is_file():
            (folder / "results.png").replace(folder / "curves.png")
        onnx = export_onnx(weights)
        write_atomic(folder / "report.txt", report.table())
        write_atomic(folder / "report.json", json.dumps(report.json(), indent=2) + "\n")
    return TrainResult(folder, best, onnx, report)


def export_onnx(weights: Path) -> Path:
    """Export `best.pt` in a folder to `best.onnx`, through a scratch folder, so that it is whole.

    The file is float32 and takes any height, width and batch size.
    """
    from ultralytics import YOLO

    onnx = weights / "best.onnx"
    scratch = weights / "export.part"
    scratch.mkdir(exist_ok=True)
    try:
        shutil.copyfile(weights / "best.pt", scratch / "best.pt")
        model = YOLO(weights / "best.pt")
        model.ckpt_path = model.model.pt_path = str(scratch / "best.pt")
        # Not simplified: OpenVINO does that itself, and onnxslim imports ONNX Runtime, whose
        # telemetry leaves a device id in the home folder.
        made = Path(
            model.export(format="onnx", dynamic=True, simplify=False, device="cpu", verbose=False)
        )
        made.replace(onnx)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return onnx


def _report(validator: Any, dataset: Dataset) -> Report:
    """Return the report at the confidence with the best mean F1, from Ultralytics' curves.

    Ultralytics chooses the same confidence (`ap_per_class`). Its curves are interpolated linearly
    between the detections' scores, which is inaccurate only for a handful of images.
    """
    from ultralytics.utils.metrics import smooth

    metrics, box = validator.metrics, validator.metrics.box
    support = [int(count) for count in metrics.nt_per_class]
    place = int(smooth(box.f1_curve.mean(0), 0.1).argmax()) if len(box.f1_curve) else 0
    classes = {}
    rows = {int(class_id): row for row, class_id in enumerate(box.ap_class_index)}
    for class_id, name in enumerate(dataset.names):
        if class_id in rows:
            row = rows[class_id]
            at = (float(curve[row, place]) for curve in (box.p_curve, box.r_curve, box.f1_curve))
            precision, recall, f1 = (round(value, 6) for value in at)
            classes[name] = ClassScores(
                precision,
                recall,
                f1,
                support[class_id],
                round(float(box.ap50[row]), 6),
                round(float(box.ap[row]), 6),
            )
        else:
            classes[name] = ClassScores(None, None, None, 0, None, None)
    confidence = round(float(box.px[place]), 4)
    return Report(
        str(dataset.root), "val", len(validator.dataloader.dataset), confidence, 0.5, classes
    )


def _keep_start(folder: Path, start: str, blend: float) -> None:
    """Store what `_finish` needs for blending in the run's folder, so that a resumed run has it."""
    kept = folder / "weights" / "start.pt"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(start, kept)
    write_atomic(folder / "blend.json", json.dumps({"share": blend}) + "\n")


def _write_data(dataset: Dataset, folder: Path) -> None:
    """Write the run's own `data.yaml`, with absolute paths, for Ultralytics."""
    content: dict[str, Any] = {"path": str(dataset.root)}
    for split, places in dataset.splits.items():
        content[split] = str(places[0])
        # Ultralytics would take the paths in a list relative to the current folder
        if len(places) > 1 or places[0].is_file():
            content[split] = str(folder / f"{split}.txt")
            write_atomic(
                folder / f"{split}.txt", "".join(f"{image}\n" for image in dataset.images(split))
            )
    content["names"] = dict(enumerate(dataset.names))
    write_atomic(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


@contextmanager
def _user_errors(folder: Path) -> Iterator[None]:
    """Convert errors of PyTorch and Ultralytics that a user can fix into `MaskyoloError`."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        raise MaskyoloError(
            "a process of the multi-GPU training failed "
            f"(exit code {error.returncode}); its message is above"
        ) from error
    except FileNotFoundError as error:
        found = re.search(r"Image Not Found (.+)", str(error))
        if not found:
            raise
        raise DatasetError(
            f"cannot decode image {found[1]}", "remove it from the data set or copy it again"
        ) from error
    except ValueError as error:
        if "value per channel" not in str(error):
            raise
        raise MaskyoloError(
            "the last batch of an epoch has only one image, which is too little at this imgsz",
            "use --imgsz 64 or more, or another --batch",
        ) from error
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "No valid images found" in text:
            raise DatasetError(
                f"{folder / 'data.yaml'}: none of the images in a split can be read",
                "replace the images",
            ) from error
        if "PytorchStreamWriter" in text or "No space left" in text:
            raise OutputError(
                f"cannot write {folder}: no space left on the device",
                "free some space and resume the run",
            ) from error
        if "DataLoader worker" in text:
            raise MaskyoloError(
                f"a process that loads images ended unexpectedly ({text[:90]})",
                f"continue with --resume {folder}; if it happens again, add --workers 0",
            ) from error
        if "out of memory" in text.lower():
            raise MaskyoloError(
                "out of memory during training",
                "use a smaller --batch or --imgsz, or --cache none",
            ) from error
        raise
