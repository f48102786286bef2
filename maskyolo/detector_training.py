"""Train a detector: a thin layer on Ultralytics' trainer, with recipes, honest checks before, and a report after."""

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
from pathlib import Path
from typing import Any

import yaml

from maskyolo._ultralytics import import_ultralytics, silenced
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
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
from maskyolo.manifest import find_weights, load_manifest
from maskyolo.report import ClassScores, Report
from maskyolo.runs import new_run
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


@dataclass(frozen=True)
class Progress:
    """How far a training is; told after each batch, and with `metrics` after each epoch.

    Attributes:
        folder: the run's folder.
        epoch: from 1 to `epochs`.
        batch: from 1 to `batches` of this epoch.
        losses: running means of this epoch by name (box_loss, cls_loss, dfl_loss).
        metrics: on the val split after the epoch (precision, recall, mAP50, mAP50-95), else empty.
        seconds: since this epoch began.
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
    """A finished run: its folder, the best weights as `.pt` and `.onnx`, and the report on the val split."""

    folder: Path
    best: Path
    onnx: Path
    report: Report


def train_detector(
    data: Path | str | None = None,
    model: Path | str | None = None,
    recipe: Path | str | None = None,
    imgsz: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    seed: int | None = None,
    patience: int | None = None,
    cache: str | None = None,
    resume: Path | str | None = None,
    trust: bool = False,
    project: Path | str = "runs/train",
    name: str = "train",
    exist_ok: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train a YOLOv8 detector on a YOLO data set; settings that are None come from the recipe, then from Ultralytics.

    The run's folder gets `weights/{best,last}.pt`, `weights/best.onnx` (any height, width and batch; float32), `report.txt`,
    `report.json`, `results.csv`, `curves.png`, `args.yaml`, `data.yaml` (the set with absolute paths) and Ultralytics' plots.
    A run that was interrupted or killed keeps its last whole epoch and is continued by `resume`.

    Args:
        data: the set's `data.yaml` or its folder; with `resume` only where the set has moved.
        model: start weights: a name (yolov8n, maskyolo-n), a `.pt` file (a Python pickle: only one that you trust), or an
            architecture (yolov8n.yaml) to start from random numbers; default yolov8n.
        recipe: name of a recipe in `configs/` or a YAML file of Ultralytics' settings; default `detector`.
        imgsz: longer side in pixels the pictures are scaled to, a multiple of 32.
        epochs: passes over the training pictures.
        batch: pictures in a step.
        device: auto, cpu, 0 (first GPU), 0,1 (several, by Ultralytics' DDP), mps.
        workers: processes that load pictures.
        seed: of everything random.
        patience: epochs without improvement after which the training ends early.
        cache: ram, disk or none: where decoded pictures are kept.
        resume: an unfinished run to continue: its folder, its `last.pt`, or "latest" for the newest in `project`. Its own
            settings hold; only `data`, `device`, `workers` and `cache` can be changed.
        trust: open a `.pt` file of unknown origin; see `trust.check_trust`.
        project: folder the run's folder is made in.
        name: of the run's folder; numbered if it exists.
        exist_ok: use an existing folder of that name; an earlier run's results in it are removed.
        on_progress: called after each batch and each epoch (not with several GPUs, which train in processes of their own).
        on_warning: called with a line about pictures that cannot be used and are left out.

    Raises:
        DatasetError: no set, no or wrong labels, other classes, or no box of a class.
        WeightsError: the start weights are missing or no YOLO detector.
        DependencyError: Ultralytics is not installed.
        OutputError: the run's folder cannot be written, or no space left.
        MaskyoloError: a wrong setting, a device that is not there, or nothing to resume.
    """
    settings = {
        "imgsz": imgsz,
        "epochs": epochs,
        "batch": batch,
        "seed": seed,
        "patience": patience,
    }
    if cache is not None:
        if cache not in ("ram", "disk", "none"):
            raise MaskyoloError(f"cannot cache pictures in '{cache}'; give ram, disk or none")
        cache_setting: Any = {"cache": False if cache == "none" else cache}
    else:
        cache_setting = {}
    free = {
        key: value for key, value in {"workers": workers}.items() if value is not None
    } | cache_setting
    given = {key: value for key, value in settings.items() if value is not None}
    import_ultralytics("maskyolo train")
    free["device"] = find_device(device)
    if resume is not None:
        fixed = [
            *given,
            *(key for key, value in (("model", model), ("recipe", recipe)) if value is not None),
        ]
        if fixed:
            raise MaskyoloError(
                f"a resumed run keeps its own settings; leave out {', '.join('--' + key for key in fixed)}"
            )
        folder = find_run(resume, project)
        if data is not None:
            _write_data(check_dataset(load_dataset(data)), folder)
        return _resume(folder, free, trust, _Listener(folder, on_progress, on_warning))
    if data is None:
        raise MaskyoloError("no data set given; give --data DIR/data.yaml, or --resume a run")
    args = load_recipe(recipe or "detector") | given | free
    blend = _find_blend(args)
    _check_settings(args)
    _check_weights(args, trust)
    dataset = check_dataset(load_dataset(data))
    start = _find_start(str(model or args.pop("model", "yolov8n")), trust)
    args.pop("model", None)
    if blend < 1:
        _check_start(start, dataset)
    folder = new_run(project, name, exist_ok).absolute()
    clear_run(folder)
    with output_errors(folder):
        _write_data(dataset, folder)
        if blend < 1:
            _keep_start(folder, start, blend)
        place = {"project": str(folder.parent), "name": folder.name, "exist_ok": True}
        _run(
            args | {"model": start, "data": str(folder / "data.yaml")} | place,
            folder,
            _Listener(folder, on_progress, on_warning),
        )
    return _finish(folder, free["device"])


def find_recipe(recipe: Path | str) -> Path:
    """Return the YAML file of a recipe: a path that is there, or the name of one in `configs/` (as shipped, or of the checkout).

    Raises:
        MaskyoloError: neither; the message lists the names there are.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    here = Path(__file__).parent
    folders = [folder for folder in (here / "configs", here.parent / "configs") if folder.is_dir()]
    for folder in folders:
        if path.name == str(recipe) and (folder / f"{recipe}.yaml").is_file():
            return folder / f"{recipe}.yaml"
    names = (
        ", ".join(sorted({file.stem for folder in folders for file in folder.glob("*.yaml")}))
        or "none"
    )
    raise MaskyoloError(f"no recipe '{recipe}': neither a file nor a name (names: {names})")


def load_recipe(recipe: Path | str) -> dict[str, Any]:
    """Return the settings of a recipe by Ultralytics' names, and `blend` (see `_trainer.blend_checkpoint`); see `find_recipe`.

    Raises:
        MaskyoloError: no such recipe, no YAML mapping, or a setting Ultralytics does not have or that the run's options own.
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
    """Return the settings of a recipe, all of which must be among `settings`; see `find_recipe`.

    Raises:
        MaskyoloError: no such recipe, no YAML mapping, or another setting.
    """
    path = find_recipe(recipe)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MaskyoloError(
            f"cannot read recipe {path}: {' '.join(str(error).split())}; correct the file"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise MaskyoloError(
            f"recipe {path} is no list of 'name: value' lines; see configs/detector.yaml"
        )
    unknown = sorted(str(key) for key in content if key not in settings)
    if unknown:
        raise MaskyoloError(
            f"recipe {path}: {', '.join(unknown)} cannot be set there; correct the name or remove the line"
        )
    return content


def find_run(run: Path | str, project: Path | str = "runs/train") -> Path:
    """Return the folder of an unfinished run: given as folder or as its `last.pt`, or "latest" for the newest in `project`.

    Raises:
        MaskyoloError: no such run, or it is finished.
    """
    if str(run) == "latest":
        begun = [path.parent for path in Path(project).glob("*/args.yaml") if _can_resume(path)]
        if not begun:
            raise MaskyoloError(
                f"nothing to resume: {project} has no unfinished run; start one with `maskyolo train --data DIR/data.yaml`"
            )
        return max(begun, key=lambda folder: (folder / "args.yaml").stat().st_mtime).absolute()
    folder = Path(run).absolute()
    if folder.suffix == ".pt":
        folder = folder.parent.parent
    if not (folder / "args.yaml").is_file():
        raise MaskyoloError(
            f"nothing to resume at {run}: no run's folder with args.yaml; give the folder that `maskyolo train` printed"
        )
    if (folder / "report.json").exists():
        raise MaskyoloError(
            f"nothing to resume at {run}: the run is finished; to train on, start a new one with --model {folder}/weights/last.pt"
        )
    if not _can_resume(folder / "args.yaml"):
        raise MaskyoloError(
            f"nothing to resume at {run}: a training of the two-stage classifier is not continued; start it again"
        )
    return folder


def _can_resume(args: Path) -> bool:
    """Tell whether these are the settings of an unfinished training of a detector."""
    return (
        not (args.parent / "report.json").exists()
        and "pipeline: two-stage" not in args.read_text(encoding="utf-8").splitlines()
    )


class _Listener:
    """Turns the callbacks of Ultralytics' trainer into ours."""

    def __init__(
        self,
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self.folder, self.on_progress, self.on_warning = folder, on_progress, on_warning
        self.begun, self.batch = 0.0, 0

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        """Return a method for each event of the trainer."""
        return {
            "on_pretrain_routine_end": self._ready,
            "on_train_epoch_start": self._epoch_begins,
            "on_train_batch_end": self._batch_ends,
            "on_fit_epoch_end": self._epoch_ends,
        }

    def _ready(self, trainer: Any) -> None:
        dataset = load_dataset(self.folder / "data.yaml")
        for split, loader in (("train", trainer.train_loader), ("val", trainer.test_loader)):
            used = {Path(file).name for file in loader.dataset.im_files}
            left_out = [image for image in dataset.images(split) if image.name not in used]
            if left_out and self.on_warning:
                self.on_warning(
                    f"{len(left_out)} {split} pictures cannot be read and are left out, for instance {left_out[0]}"
                )

    def _epoch_begins(self, _: Any) -> None:
        self.begun, self.batch = time.monotonic(), 0

    def _batch_ends(self, trainer: Any) -> None:
        self.batch += 1
        self._tell(trainer, {})

    def _epoch_ends(self, trainer: Any) -> None:
        found = {
            key.removeprefix("metrics/").removesuffix("(B)"): value
            for key, value in trainer.metrics.items()
            if "metrics/" in key
        }
        self._tell(trainer, found)

    def _tell(self, trainer: Any, metrics: dict[str, float]) -> None:
        if self.on_progress:
            losses = {key: float(value) for key, value in trainer.tloss.items()}
            place = (trainer.epoch + 1, trainer.epochs, self.batch, len(trainer.train_loader))
            self.on_progress(
                Progress(self.folder, *place, losses, metrics, time.monotonic() - self.begun)
            )


def _run(args: dict[str, Any], folder: Path, listener: _Listener, cfg: Any = None) -> None:
    """Run Ultralytics' trainer with these settings; its errors that a user can mend become ours."""
    from ultralytics.utils import DEFAULT_CFG

    from maskyolo._trainer import DetectorTraining

    with silenced(), _mended(folder):
        trainer = DetectorTraining(cfg=cfg or DEFAULT_CFG, overrides=args)
        if trainer.ddp:
            _check_several_gpus()
        else:  # callbacks would have to travel to the other processes
            for event, callback in listener.callbacks().items():
                trainer.add_callback(event, callback)
        trainer.train()


def _check_several_gpus() -> None:
    if importlib.util.find_spec("cloudpickle") is None:
        raise DependencyError(
            'training on several GPUs needs cloudpickle; run: pip install "cloudpickle>=3.1.1"'
        )


def _resume(folder: Path, free: dict[str, Any], trust: bool, listener: _Listener) -> TrainResult:
    from ultralytics.utils import DEFAULT_CFG_DICT

    args = yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8"))
    data = folder / "data.yaml"
    if not data.is_file():
        raise MaskyoloError(
            f"cannot resume {folder}: its data.yaml is missing; give the set with --data"
        )
    _write_data(
        check_dataset(load_dataset(data)), folder
    )  # nothing else of it: Ultralytics would run what `download` says
    last = folder / "weights" / "last.pt"
    _check_weights(
        args | {file: str(last.with_name(f"{file}.pt")) for file in ("last", "best", "start")},
        trust,
    )
    cfg = DEFAULT_CFG_DICT | {"save_dir": ""}
    place = {"save_dir": str(folder), "data": str(data)}
    with output_errors(folder):
        if not last.is_file():  # stopped in its first epoch: begin again, with the same settings
            start = _find_start(str(args["model"]), trust)
            (folder / "results.csv").unlink(missing_ok=True)
            _run(args | free | place | {"model": start, "resume": False}, folder, listener, cfg)
        elif 0 <= (epoch := _last_epoch(last)) < args["epochs"] - 1:
            _trim_results(folder / "results.csv", epoch + 1)
            _run(free | place | {"resume": str(last)}, folder, listener, cfg)
    return _finish(folder, free["device"])


def _last_epoch(last: Path) -> int:
    """Return the number of the epoch, from 0, after which a checkpoint was written; -1 if its training is over."""
    from ultralytics.utils.patches import torch_load

    try:
        return int(torch_load(last, map_location="cpu")["epoch"])
    except Exception as error:  # unpickling runs whatever the file says
        raise WeightsError(
            f"cannot resume from {last}: not a checkpoint of a training; start a new run"
        ) from error


def _trim_results(results: Path, epochs: int) -> None:
    """Drop rows of `results.csv` after the checkpoint's epoch: a kill between writing the row and the checkpoint leaves one."""
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
    """Make models, plots and report of a run's checkpoints; `report.json` comes last and says that the run is finished."""
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.plotting import plot_results

    from maskyolo._trainer import blend_checkpoint, strip_checkpoints

    weights = folder / "weights"
    best = weights / "best.pt"
    blend = folder / "blend.json"
    args = yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8"))
    with silenced(), _mended(folder), output_errors(folder):
        strip_checkpoints(weights)
        if not best.is_file():
            raise MaskyoloError(
                f"{folder} has no weights/best.pt: the training ended without a checkpoint; start a new run"
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
    """Export to a folder beside, so that `best.onnx` appears whole."""
    onnx = weights / "best.onnx"
    scratch = weights / "export.part"
    scratch.mkdir(exist_ok=True)
    try:
        shutil.copyfile(weights / "best.pt", scratch / "best.pt")
        model.ckpt_path = model.model.pt_path = str(scratch / "best.pt")
        # not simplified: OpenVINO does that itself, and onnxslim would import ONNX Runtime, whose telemetry marks the home folder
        made = Path(
            model.export(format="onnx", dynamic=True, simplify=False, device="cpu", verbose=False)
        )
        made.replace(onnx)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return onnx


def _report(validator: Any, dataset: Dataset) -> Report:
    """Read the report off Ultralytics' curves at the confidence of the best mean F1 (its own choice, `ap_per_class`).

    Its curves run straight between the scores of neighbouring detections, which is exact enough for sets of more than a handful.
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


def _find_start(model: str, trust: bool) -> str:
    """Return the file (or the architecture's YAML) that a training starts from, checked to be a YOLO detector."""
    from ultralytics.nn.tasks import load_checkpoint
    from ultralytics.utils import ROOT

    path = Path(model)
    if path.suffix in (".yaml", ".yml"):
        without_scale = path.name.replace("yolov8n", "yolov8")
        files = [file for file in (path, path.with_name(without_scale)) if file.is_file()]
        if not files and not list((ROOT / "cfg" / "models").rglob(without_scale)):
            raise WeightsError(
                f"no architecture '{model}': neither a file nor one of Ultralytics'; give yolov8n.yaml"
            )
        if files and not trust:  # its activations are evaluated, its layers called by name
            raise WeightsError(
                f"did not open {files[0]}: an architecture's YAML can run any code; add --trust if you trust whoever wrote it, "
                "or take one of Ultralytics' own, such as yolov8n.yaml, from a folder without a file of that name"
            )
        return model
    ours = {file.stem: file for file in (Path(__file__).parent / "weights").glob("*.pt")}
    if path.is_file():
        found = path
    elif path.name == model and path.stem in load_manifest():
        found = find_weights(path.stem)
    elif model in ours:
        found = ours[model]
    else:
        names = ", ".join(["yolov8n", *sorted(ours)])
        raise WeightsError(
            f"no weights '{model}' to start from: neither a file nor a name (names: {names}); or give yolov8n.yaml"
        )
    check_trust(found, trust)
    try:
        with silenced():
            task = load_checkpoint(found)[0].task
    except Exception as error:  # unpickling runs whatever the file says
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(
            f"wrong weights {found}: not a checkpoint of Ultralytics ({reason}); give a .pt of a YOLO detector"
        ) from error
    if task != "detect":
        raise WeightsError(
            f"wrong weights {found}: a model for the task '{task}'; give a .pt of a YOLO detector"
        )
    return str(found.absolute())


def _find_blend(args: dict[str, Any]) -> float:
    """Take the setting that is ours out of a recipe's: the share of what was trained in the weights that result."""
    blend = args.pop("blend", 1.0)
    if not isinstance(blend, (int, float)) or not 0 < blend <= 1:
        raise MaskyoloError(f"blend {blend} is not above 0 and at most 1; correct it")
    return float(blend)


def _check_start(start: str, dataset: Dataset) -> None:
    """Check that the start weights and what becomes of them can be averaged."""
    from ultralytics.nn.tasks import load_checkpoint

    names = (
        () if start.endswith((".yaml", ".yml")) else tuple(load_checkpoint(start)[0].names.values())
    )
    if names != dataset.names:
        raise WeightsError(
            f"the recipe blends what it learns with the start weights, which must know {', '.join(dataset.names)}; "
            "give --model maskyolo-n or a detector of yours, or remove the recipe's line `blend`"
        )


def _keep_start(folder: Path, start: str, blend: float) -> None:
    """Keep what `_finish` needs to blend, for a run that is resumed as well."""
    kept = folder / "weights" / "start.pt"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(start, kept)
    write_atomic(folder / "blend.json", json.dumps({"share": blend}) + "\n")


def find_device(device: str) -> str:
    """Return Ultralytics' name of a device that is there.

    Raises:
        MaskyoloError: it is not.
    """
    import torch

    gpus = torch.cuda.device_count()
    if device == "auto":
        return "0" if gpus else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cpu" or (device == "mps" and torch.backends.mps.is_available()):
        return device
    wanted = device.split(",")
    if all(part.isdigit() and int(part) < gpus for part in wanted) and len(set(wanted)) == len(
        wanted
    ):
        return device
    found = f"{gpus} CUDA GPU{'s' if gpus != 1 else ''}" if gpus else "no CUDA GPU"
    raise MaskyoloError(
        f"cannot train on device '{device}': PyTorch finds {found}; use --device auto or cpu"
    )


def _check_weights(args: dict[str, Any], trust: bool) -> None:
    """Check every checkpoint that settings name: a recipe or a run's folder may come from somebody else."""
    for key, value in args.items():
        if isinstance(value, str) and (key == "pretrained" or value.endswith(".pt")):
            for path in {Path(value), Path(value.strip())}:  # Ultralytics opens the second
                if path.is_file():
                    check_trust(path, trust)


def _check_settings(args: dict[str, Any]) -> None:
    """Check what Ultralytics would change or refuse later, in words of its own."""
    from ultralytics.cfg import check_cfg

    imgsz = args.get("imgsz", 640)
    if not isinstance(imgsz, int) or imgsz < 32 or imgsz % 32:
        near = max(32, round(imgsz / 32) * 32) if isinstance(imgsz, (int, float)) else 640
        raise MaskyoloError(f"imgsz {imgsz} is not a multiple of 32; use {near}")
    for key, least in (("epochs", 1), ("batch", 1), ("workers", 0), ("patience", 0)):
        if key in args and (not isinstance(args[key], int) or args[key] < least):
            raise MaskyoloError(
                f"{key} {args[key]} is not a whole number of at least {least}; correct it"
            )
    try:
        check_cfg(dict(args))
    except (TypeError, ValueError) as error:
        raise MaskyoloError(f"a wrong setting: {' '.join(str(error).split())}") from error


def check_dataset(dataset: Dataset) -> Dataset:
    """Check that a set can be trained on: our classes, pictures in train and val, labels that hold, boxes of each class.

    Raises:
        DatasetError: it cannot.
    """
    if dataset.names[: len(CLASS_NAMES)] != CLASS_NAMES:
        found = ", ".join(dataset.names)
        raise DatasetError(
            f"{dataset.yaml} has the classes {found}; the first two must be {', '.join(CLASS_NAMES)}; rename or reorder them"
        )
    if "val" not in dataset.splits:
        raise DatasetError(
            f"{dataset.yaml} names no `val` pictures, which the training is measured on; add the line `val: images/val`"
        )
    for split in ("train", "val"):
        images = dataset.images(split)
        if not images:
            raise DatasetError(
                f"{dataset.yaml}: the {split} split has no pictures ({dataset.splits[split]}); put pictures there"
            )
        counts: Counter[int] = Counter()
        labelled = 0
        for image in images:
            label = dataset.label_of(image)
            if label.is_file():
                labelled += 1
                text = label.read_text(encoding="utf-8", errors="replace")
                counts.update(
                    parse_yolo(
                        text, 1, 1, name=str(label), classes=len(dataset.names)
                    ).class_ids.tolist()
                )
        if not labelled:
            raise DatasetError(
                f"{dataset.yaml}: none of the {len(images)} {split} pictures has a label file; "
                f"expected for instance {dataset.label_of(images[0])}; make the set with `maskyolo convert`"
            )
        if not counts:
            raise DatasetError(
                f"{dataset.yaml}: the labels of the {split} split are all empty; label the faces in them"
            )
        empty = [name for class_id, name in enumerate(dataset.names) if not counts[class_id]]
        if empty and split == "train":
            raise DatasetError(
                f"{dataset.yaml}: the train split has no box of {', '.join(empty)}, which could not be learnt; add pictures of it"
            )
    return dataset


def _write_data(dataset: Dataset, folder: Path) -> None:
    """Write the run's own `data.yaml`, with absolute paths: what Ultralytics reads, wherever the run was started."""
    content = {"path": str(dataset.root)}
    for split, place in dataset.splits.items():
        content[split] = str(place)
        if place.is_file():  # a list, whose lines Ultralytics would look for in the working folder
            content[split] = str(folder / f"{split}.txt")
            write_atomic(
                folder / f"{split}.txt", "".join(f"{image}\n" for image in dataset.images(split))
            )
    content["names"] = dict(enumerate(dataset.names))  # type: ignore[assignment]
    write_atomic(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def clear_run(folder: Path) -> None:
    """Remove what an earlier run left in a folder that is used again, so that nothing of it passes for the new one's."""
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
def _mended(folder: Path) -> Iterator[None]:
    """Turn errors of PyTorch and Ultralytics that a user can mend into ours."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        raise MaskyoloError(
            f"a process of the training on several GPUs failed (exit code {error.returncode}); what it said is above"
        ) from error
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "PytorchStreamWriter" in text or "No space left" in text:
            raise OutputError(
                f"cannot write {folder}: no space left on the device; free some and resume the run"
            ) from error
        if "DataLoader worker" in text:
            raise MaskyoloError(
                f"a process that loads pictures ended ({text[:90]}); continue with --resume {folder}, with --workers 0 if it comes again"
            ) from error
        if "out of memory" in text.lower():
            raise MaskyoloError(
                "out of memory in training; use a smaller --batch or --imgsz, or --cache none"
            ) from error
        raise
