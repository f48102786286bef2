"""Train a detector: recipes, checks before and a report after, around Ultralytics' trainer."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from maskyolo._text import counted
from maskyolo._ultralytics import import_ultralytics, silenced
from maskyolo.core.choices import ImageCache
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.options import takes_options
from maskyolo.dataset import Dataset, load_dataset
from maskyolo.errors import (
    DatasetError,
    DependencyError,
    MaskyoloError,
    OutputError,
    WeightsError,
    output_errors,
)
from maskyolo.labels import parse_yolo
from maskyolo.manifest import find_weights, load_manifest, own_weights
from maskyolo.report import ClassScores, Report
from maskyolo.runs import new_run
from maskyolo.training.options import DetectorTrainOptions
from maskyolo.trust import check_trust

__all__ = [
    "Progress",
    "TrainResult",
    "check_dataset",
    "clear_run",
    "find_device",
    "find_recipe",
    "find_run",
    "load_recipe",
    "read_recipe",
    "train_detector",
]

#: Options that override the same setting of a recipe.
_RECIPE_OPTIONS = ("imgsz", "epochs", "batch", "seed", "patience")


@dataclass(frozen=True)
class Progress:
    """Progress of a training: reported after each batch, and with `metrics` after each epoch.

    Attributes:
        folder: the run's folder.
        epoch: from 1 to `epochs`; 0 while a classifier's frozen layers compute their features.
        epochs: number of epochs.
        batch: from 1 to `batches` of this epoch.
        batches: number of batches per epoch; of crops in epoch 0.
        losses: running means of this epoch by name (box_loss, cls_loss, dfl_loss).
        metrics: scores on the val split after the epoch (precision, recall, mAP50, mAP50-95); empty
            after a batch.
        seconds: time since the start of this epoch.
    """

    folder: Path
    epoch: int
    epochs: int
    batch: int
    batches: int
    losses: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


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
    and batch size), `report.txt`, `report.json`, `results.csv`, `curves.png`, `args.yaml`,
    `data.yaml` (the data set with absolute paths) and Ultralytics' plots. A run that was
    interrupted or killed keeps its last complete epoch; `resume` continues it.

    Args:
        data: the data set's `data.yaml` or its folder; with `resume`, only if the data set moved.
        options: the training's options; options that are None come from the recipe, then from
            Ultralytics' defaults.
        on_progress: called after each batch and each epoch, except with several GPUs, which train
            in processes of their own.
        on_warning: called with one line about images that cannot be used and are skipped.
        settings: fields of `DetectorTrainOptions`, which override `options`.

    Raises:
        DatasetError: no data set, missing or invalid labels, other classes, or no box of a class.
        WeightsError: the start weights are missing or not a YOLO detector.
        DependencyError: Ultralytics is not installed.
        OutputError: the run's folder cannot be written, or no space is left.
        MaskyoloError: an invalid setting, an unavailable device, or nothing to resume.
    """
    chosen = DetectorTrainOptions.merge(options, settings)
    import_ultralytics("maskyolo train")
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
            _write_data(check_dataset(load_dataset(data)), folder)
        listener = TrainerListener(folder, on_progress, on_warning)
        return _resume(folder, machine, chosen.trust, listener)
    if data is None:
        raise MaskyoloError("no data set given", "give --data DIR/data.yaml, or --resume a run")
    args = load_recipe(chosen.recipe or "detector") | given | machine
    blend = take_blend(args)
    check_settings(args)
    check_weights(args, chosen.trust)
    dataset = check_dataset(load_dataset(data))
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
        _run(
            args | {"model": start, "data": str(folder / "data.yaml")} | place,
            folder,
            TrainerListener(folder, on_progress, on_warning),
        )
    return _finish(folder, machine["device"])


def _machine_settings(options: DetectorTrainOptions) -> dict[str, Any]:
    """Return the settings that depend on the machine, so that a resumed run can change them."""
    settings = _given(options, "workers", "cache")
    if options.cache is not None:
        settings["cache"] = False if options.cache is ImageCache.NONE else str(options.cache)
    return settings | {"device": find_device(options.device)}


def _given(options: DetectorTrainOptions, *names: str) -> dict[str, Any]:
    """Return those of the named options that are not None."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def find_recipe(recipe: Path | str) -> Path:
    """Return the YAML file of a recipe: an existing file, or the one of that name in `configs/`.

    `configs/` is looked for in the installed package and in the repository.

    Raises:
        MaskyoloError: there is no such file or name; the message lists the known names.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    package = Path(str(files("maskyolo")))
    folders = [
        folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir()
    ]
    for folder in folders:
        if path.name == str(recipe) and (folder / f"{recipe}.yaml").is_file():
            return folder / f"{recipe}.yaml"
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise MaskyoloError(
        f"no recipe '{recipe}': neither a file nor a known name",
        f"give a YAML file or a name (names: {', '.join(names) or 'none'})",
    )


def load_recipe(recipe: Path | str) -> dict[str, Any]:
    """Return a detector recipe's settings by Ultralytics' names, and `blend`; see `find_recipe`.

    `blend` is explained in `blend_checkpoint` of the trainer.

    Raises:
        MaskyoloError: no such recipe, not a YAML mapping, or a setting that Ultralytics does not
            have or that comes from the run's options.
    """
    import_ultralytics("reading a recipe")
    from ultralytics.utils import DEFAULT_CFG_DICT

    owned = {
        "task",
        "mode",
        "data",
        "project",
        "name",
        "exist_ok",
        "resume",
        "save_dir",
        "save",
        "val",
        "plots",
    }
    return read_recipe(recipe, set(DEFAULT_CFG_DICT) - owned | {"blend"})


def read_recipe(recipe: Path | str, settings: Collection[str]) -> dict[str, Any]:
    """Return the settings of a recipe, which may only be those in `settings`; see `find_recipe`.

    Raises:
        MaskyoloError: no such recipe, not a YAML mapping, or another setting.
    """
    path = find_recipe(recipe)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise MaskyoloError(f"cannot read recipe {path}: {reason}", "correct the file") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise MaskyoloError(
            f"recipe {path} does not consist of 'name: value' lines",
            "see configs/detector.yaml for an example",
        )
    unknown = sorted(str(key) for key in content if key not in settings)
    if unknown:
        raise MaskyoloError(
            f"recipe {path}: {', '.join(unknown)} cannot be set in a recipe",
            "correct the name or remove the line",
        )
    return content


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
        return max(unfinished, key=lambda path: path.stat().st_mtime).parent.absolute()
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
            "start it again",
        )
    return folder


def _can_resume(args: Path) -> bool:
    """Return whether `args.yaml` belongs to an unfinished training of a detector."""
    return (
        not (args.parent / "report.json").exists()
        and "pipeline: two-stage" not in args.read_text(encoding="utf-8").splitlines()
    )


class TrainerListener:
    """Turns the callbacks of Ultralytics' trainer into `on_progress` and `on_warning`."""

    def __init__(
        self,
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self.folder, self.on_progress, self.on_warning = folder, on_progress, on_warning
        self.started, self.batch = 0.0, 0

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        """Return a callback for each event of the trainer."""
        return {
            "on_pretrain_routine_end": self._check_images,
            "on_train_epoch_start": self._start_epoch,
            "on_train_batch_end": self._end_batch,
            "on_fit_epoch_end": self._end_epoch,
        }

    def _check_images(self, trainer: Any) -> None:
        dataset = load_dataset(self.folder / "data.yaml")
        for split, loader in (("train", trainer.train_loader), ("val", trainer.test_loader)):
            used = {Path(file).name for file in loader.dataset.im_files}
            skipped = [image for image in dataset.images(split) if image.name not in used]
            if skipped and self.on_warning:
                images = counted(len(skipped), f"{split} image")
                self.on_warning(f"skipped: {images} that cannot be read, for example {skipped[0]}")

    def _start_epoch(self, _: Any) -> None:
        self.started, self.batch = time.monotonic(), 0

    def _end_batch(self, trainer: Any) -> None:
        self.batch += 1
        self._report_progress(trainer, {})

    def _end_epoch(self, trainer: Any) -> None:
        metrics = {
            key.removeprefix("metrics/").removesuffix("(B)"): value
            for key, value in trainer.metrics.items()
            if "metrics/" in key
        }
        self._report_progress(trainer, metrics)

    def _report_progress(self, trainer: Any, metrics: dict[str, float]) -> None:
        if self.on_progress:
            losses = {key: float(value) for key, value in trainer.tloss.items()}
            counts = (trainer.epoch + 1, trainer.epochs, self.batch, len(trainer.train_loader))
            self.on_progress(
                Progress(self.folder, *counts, losses, metrics, time.monotonic() - self.started)
            )


def _run(args: dict[str, Any], folder: Path, listener: TrainerListener, cfg: Any = None) -> None:
    """Run Ultralytics' trainer with these settings."""
    from ultralytics.utils import DEFAULT_CFG

    from maskyolo._trainer import DetectorTraining

    with silenced(), _user_errors(folder):
        trainer = DetectorTraining(cfg=cfg or DEFAULT_CFG, overrides=args)
        if trainer.ddp:
            check_several_gpus()
        else:  # callbacks cannot be sent to the processes of the other GPUs
            for event, callback in listener.callbacks().items():
                trainer.add_callback(event, callback)
        trainer.train()


def check_several_gpus() -> None:
    """Check for the package that Ultralytics needs to train on several GPUs.

    Raises:
        DependencyError: it is not installed.
    """
    if importlib.util.find_spec("cloudpickle") is None:
        raise DependencyError(
            "training on several GPUs needs cloudpickle",
            'run: pip install "cloudpickle>=3.1.1"',
        )


def _resume(
    folder: Path, machine: dict[str, Any], trust: bool, listener: TrainerListener
) -> TrainResult:
    """Continue an unfinished run with the settings it was started with, except for `machine`."""
    from ultralytics.utils import DEFAULT_CFG_DICT

    args = yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8"))
    data = folder / "data.yaml"
    if not data.is_file():
        raise MaskyoloError(
            f"cannot resume {folder}: its data.yaml is missing", "give the data set with --data"
        )
    # Written again with what we know of it only: Ultralytics would run what `download` says.
    _write_data(check_dataset(load_dataset(data)), folder)
    last = folder / "weights" / "last.pt"
    check_weights(
        args | {file: str(last.with_name(f"{file}.pt")) for file in ("last", "best", "start")},
        trust,
    )
    cfg = DEFAULT_CFG_DICT | {"save_dir": ""}
    place = {"save_dir": str(folder), "data": str(data)}
    with output_errors(folder):
        if not last.is_file():  # stopped in its first epoch: start again, with the same settings
            start = find_start(str(args["model"]), trust)
            (folder / "results.csv").unlink(missing_ok=True)
            _run(args | machine | place | {"model": start, "resume": False}, folder, listener, cfg)
        elif 0 <= (epoch := _last_epoch(last)) < args["epochs"] - 1:
            _trim_results(folder / "results.csv", epoch + 1)
            _run(machine | place | {"resume": str(last)}, folder, listener, cfg)
    return _finish(folder, machine["device"])


def _last_epoch(last: Path) -> int:
    """Return the epoch (from 0) after which a checkpoint was written, or -1 after a training."""
    from ultralytics.utils.patches import torch_load

    try:
        return int(torch_load(last, map_location="cpu")["epoch"])
    except Exception as error:  # unpickling can raise anything
        raise WeightsError(
            f"cannot resume from {last}: not a checkpoint of a training", "start a new run"
        ) from error


def _trim_results(results: Path, epochs: int) -> None:
    """Drop the rows of `results.csv` after the checkpoint's epoch.

    A training that is killed after writing a row and before writing the checkpoint leaves one.
    """
    if results.is_file():
        lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [
            line
            for line in lines[1:]
            if line.split(",")[0].isdigit()
            and int(line.split(",")[0]) <= epochs
            and line.endswith("\n")
        ]
        write_atomic(results, "".join(lines[:1] + kept))


def _finish(folder: Path, device: str) -> TrainResult:
    """Make the models, plots and report from a run's checkpoints.

    `report.json` is written last: it marks the run as finished.
    """
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.plotting import plot_results

    from maskyolo._trainer import blend_checkpoint, strip_checkpoints

    weights = folder / "weights"
    best = weights / "best.pt"
    blend = folder / "blend.json"
    args = yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8"))
    with silenced(), _user_errors(folder), output_errors(folder):
        strip_checkpoints(weights)
        if not best.is_file():
            raise MaskyoloError(
                f"{folder} has no weights/best.pt: the training ended without a checkpoint",
                "start a new run",
            )
        if blend.is_file():
            blend_checkpoint(
                best,
                weights / "start.pt",
                float(json.loads(blend.read_text(encoding="utf-8"))["share"]),
            )
        keys = ("imgsz", "batch", "seed")
        settings = {key: args[key] for key in keys} | {
            "model": str(best),
            "data": str(folder / "data.yaml"),
            "device": device.split(",")[0],
        }
        validator = DetectionValidator(
            args=settings | {"task": "detect", "mode": "val", "plots": True, "workers": 0},
            save_dir=folder,
        )
        validator()
        report = _report(validator, load_dataset(folder / "data.yaml"))
        plot_results(file=folder / "results.csv")
        (folder / "results.png").replace(folder / "curves.png")
        onnx = _export(YOLO(best), weights)
        write_atomic(folder / "report.txt", report.table())
        write_atomic(folder / "report.json", json.dumps(report.json(), indent=2) + "\n")
    return TrainResult(folder, best, onnx, report)


def _export(model: Any, weights: Path) -> Path:
    """Export `best.onnx` by way of a scratch folder, so that it is never seen incomplete."""
    onnx = weights / "best.onnx"
    scratch = weights / "export.part"
    scratch.mkdir(exist_ok=True)
    try:
        shutil.copyfile(weights / "best.pt", scratch / "best.pt")
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
    """Read the report off Ultralytics' curves at the confidence with the best mean F1.

    Ultralytics chooses the same confidence (`ap_per_class`). Its curves are interpolated linearly
    between the scores of detections, which is accurate enough for more than a handful of images.
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


def find_start(model: str, trust: bool) -> str:
    """Return the checkpoint, or the architecture's YAML, that a training starts from.

    Raises:
        WeightsError: there is none, it is not a YOLO detector, or it is not trusted.
    """
    if Path(model).suffix in (".yaml", ".yml"):
        return _find_architecture(model, trust)
    from ultralytics.nn.tasks import load_checkpoint

    found = _find_checkpoint(model)
    check_trust(found, trust)
    try:
        with silenced():
            task = load_checkpoint(found)[0].task
    except Exception as error:  # unpickling can raise anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(
            f"wrong weights {found}: not a checkpoint of Ultralytics ({reason})",
            "give a .pt of a YOLO detector",
        ) from error
    if task != "detect":
        raise WeightsError(
            f"wrong weights {found}: a model for the task '{task}'", "give a .pt of a YOLO detector"
        )
    return str(found.absolute())


def _find_architecture(model: str, trust: bool) -> str:
    from ultralytics.utils import ROOT

    path = Path(model)
    without_scale = path.name.replace("yolov8n", "yolov8")
    found = [file for file in (path, path.with_name(without_scale)) if file.is_file()]
    if not found and not list((ROOT / "cfg" / "models").rglob(without_scale)):
        raise WeightsError(
            f"no architecture '{model}': neither a file nor one of Ultralytics'",
            "give yolov8n.yaml",
        )
    if found and not trust:  # its activations are evaluated, its layers called by name
        raise WeightsError(
            f"did not open {found[0]}: an architecture's YAML can run any code",
            "add --trust if you trust its author, or use one of Ultralytics' own, such as "
            "yolov8n.yaml, from a folder without a file of that name",
        )
    return model


def _find_checkpoint(model: str) -> Path:
    path = Path(model)
    ours = {file.stem: file for file in own_weights() if file.suffix == ".pt"}
    if path.is_file():
        return path
    if path.name == model and path.stem in load_manifest():
        return find_weights(path.stem)
    if model in ours:
        return ours[model]
    names = ", ".join(["yolov8n", *sorted(ours)])
    raise WeightsError(
        f"no weights '{model}' to start from: neither a file nor a known name",
        f"give a .pt file or a name (names: {names}), or yolov8n.yaml for random weights",
    )


def take_blend(args: dict[str, Any]) -> float:
    """Remove and return a recipe's `blend`: the share of the trained weights in the result."""
    blend = args.pop("blend", 1.0)
    if not isinstance(blend, (int, float)) or not 0 < blend <= 1:
        raise MaskyoloError(
            f"blend must be above 0 and at most 1, got {blend}", "correct it in the recipe"
        )
    return float(blend)


def check_start(start: str, dataset: Dataset) -> None:
    """Check that the start weights have the data set's classes, so that they can be blended."""
    from ultralytics.nn.tasks import load_checkpoint

    names = (
        () if start.endswith((".yaml", ".yml")) else tuple(load_checkpoint(start)[0].names.values())
    )
    if names != dataset.names:
        raise WeightsError(
            "the recipe blends the trained weights with the start weights, which must have the "
            f"classes {', '.join(dataset.names)}",
            "give --model maskyolo-n or a detector of yours, or remove `blend` from the recipe",
        )


def _keep_start(folder: Path, start: str, blend: float) -> None:
    """Store what `_finish` needs for blending in the run's folder, also for a resumed run."""
    kept = folder / "weights" / "start.pt"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(start, kept)
    write_atomic(folder / "blend.json", json.dumps({"share": blend}) + "\n")


def find_device(device: str) -> str:
    """Return Ultralytics' name of a device, once it is known to be available.

    Raises:
        MaskyoloError: it is not available.
    """
    import torch

    gpus = torch.cuda.device_count()
    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "0" if gpus else "mps" if has_mps else "cpu"
    if device == "cpu" or (device == "mps" and has_mps):
        return device
    wanted = device.split(",")
    exist = all(part.isdigit() and int(part) < gpus for part in wanted)
    if exist and len(set(wanted)) == len(wanted):
        return device
    raise MaskyoloError(
        f"cannot train on device '{device}': PyTorch finds "
        f"{counted(gpus, 'CUDA GPU') if gpus else 'no CUDA GPU'}",
        "use --device auto or cpu",
    )


def check_weights(args: dict[str, Any], trust: bool) -> None:
    """Check the trust of every checkpoint in settings: a recipe or run may be someone else's."""
    for key, value in args.items():
        if isinstance(value, str) and (key == "pretrained" or value.endswith(".pt")):
            for path in {Path(value), Path(value.strip())}:  # Ultralytics opens the second
                if path.is_file():
                    check_trust(path, trust)


def check_settings(args: dict[str, Any]) -> None:
    """Check the settings that Ultralytics would change, or would refuse only later.

    Raises:
        MaskyoloError: a setting is invalid.
    """
    from ultralytics.cfg import check_cfg

    imgsz = args.get("imgsz", 640)
    if not isinstance(imgsz, int) or imgsz < 32 or imgsz % 32:
        near = max(32, round(imgsz / 32) * 32) if isinstance(imgsz, (int, float)) else 640
        raise MaskyoloError(f"imgsz must be a multiple of 32, got {imgsz}", f"use {near}")
    for key, minimum in (("epochs", 1), ("batch", 1), ("workers", 0), ("patience", 0)):
        value = args.get(key, minimum)
        if not isinstance(value, int) or value < minimum:
            raise MaskyoloError(
                f"{key} must be a whole number of at least {minimum}, got {value}", "correct it"
            )
    try:
        check_cfg(dict(args))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MaskyoloError(f"invalid setting: {reason}", "correct the recipe") from error


def check_dataset(dataset: Dataset) -> Dataset:
    """Return a data set after checking that a model can be trained on it.

    It needs our classes, images in train and val, valid labels, and boxes of each class in train.

    Raises:
        DatasetError: a model cannot be trained on it.
    """
    if dataset.names[: len(CLASS_NAMES)] != CLASS_NAMES:
        raise DatasetError(
            f"{dataset.yaml} has the classes {', '.join(dataset.names)}; the first two must be "
            f"{', '.join(CLASS_NAMES)}",
            "rename or reorder them",
        )
    if "val" not in dataset.splits:
        raise DatasetError(
            f"{dataset.yaml} has no `val` split, which the training is measured on",
            "add the line `val: images/val`",
        )
    for split in ("train", "val"):
        counts = _count_boxes(dataset, split)
        empty = [name for class_id, name in enumerate(dataset.names) if not counts[class_id]]
        if empty and split == "train":
            raise DatasetError(
                f"{dataset.yaml}: the train split has no box of {', '.join(empty)}, so the class "
                "cannot be learned",
                "add images with such boxes",
            )
    return dataset


def _count_boxes(dataset: Dataset, split: str) -> Counter[int]:
    """Return the number of boxes in a split by class id.

    Raises:
        DatasetError: it has no images, no labels or no boxes, or a label is invalid.
    """
    images = dataset.images(split)
    if not images:
        raise DatasetError(
            f"{dataset.yaml}: the {split} split has no images ({dataset.splits[split]})",
            "put images there",
        )
    counts: Counter[int] = Counter()
    labels = [label for label in map(dataset.label_of, images) if label.is_file()]
    for label in labels:
        text = label.read_text(encoding="utf-8", errors="replace")
        found = parse_yolo(text, 1, 1, name=str(label), classes=len(dataset.names))
        counts.update(found.class_ids.tolist())
    if not labels:
        raise DatasetError(
            f"{dataset.yaml}: none of the {len(images)} {split} images has a label file; expected, "
            f"for example, {dataset.label_of(images[0])}",
            "create the data set with `maskyolo convert`",
        )
    if not counts:
        raise DatasetError(
            f"{dataset.yaml}: the labels of the {split} split are all empty",
            "label the faces in its images",
        )
    return counts


def _write_data(dataset: Dataset, folder: Path) -> None:
    """Write the run's own `data.yaml`, with absolute paths, which Ultralytics reads."""
    content: dict[str, Any] = {"path": str(dataset.root)}
    for split, place in dataset.splits.items():
        content[split] = str(place)
        if place.is_file():  # a list, which Ultralytics would take relative to the current folder
            content[split] = str(folder / f"{split}.txt")
            write_atomic(
                folder / f"{split}.txt", "".join(f"{image}\n" for image in dataset.images(split))
            )
    content["names"] = dict(enumerate(dataset.names))
    write_atomic(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def clear_run(folder: Path) -> None:
    """Remove an earlier run's results from a folder that is used again.

    Otherwise they could be taken for the new run's.
    """
    for pattern in (
        "report.*",
        "blend.json",
        "curves.png",
        "results.csv",
        "weights/*.pt",
        "weights/*.onnx",
        "weights/*.part",
    ):
        for path in folder.glob(pattern):
            path.unlink()


@contextmanager
def _user_errors(folder: Path) -> Iterator[None]:
    """Turn the errors of PyTorch and Ultralytics that a user can fix into ours."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        raise MaskyoloError(
            "a process of the training on several GPUs failed "
            f"(exit code {error.returncode}); its message is above"
        ) from error
    except RuntimeError as error:
        text = " ".join(str(error).split())
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
