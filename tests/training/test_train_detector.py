"""Real trainings of the detector on a dozen tiny images; what it learns does not matter."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from maskyolo.cli import main
from maskyolo.core.installation import install_command
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.photo_hashes import hash_photos, load_hashes, save_hashes
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, OutputError, WeightsError
from maskyolo.models.backends.loading import load_backend
from maskyolo.runtime.provenance import report_differences
from maskyolo.training.detector import (
    TrainResult,
    _report,
    _user_errors,
    _write_data,
    train_detector,
)
from maskyolo.training.initial_outputs import find_rows, match_outputs
from maskyolo.training.options import DetectorTrainOptions
from maskyolo.training.progress import Progress
from maskyolo.training.provenance import keep_hashes
from maskyolo.training.recipes import find_recipe, load_recipe
from maskyolo.training.resuming import find_run, trim_results

#: Small enough for a second or two per run; with no workers, all of it runs in this process.
TINY: dict[str, Any] = {
    "model": "yolov8n.yaml",
    "imgsz": 64,
    "batch": 4,
    "workers": 0,
    "device": "cpu",
}


def make_set(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, number in (("train", 8), ("val", 4)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for place in range(number):
            image = rng.integers(0, 60, (96, 96, 3), dtype=np.uint8)
            image[20:70, 30:75] = (200, 200, 40) if place % 2 else (60, 80, 220)
            cv2.imwrite(str(images / f"{place}.jpg"), image)
            (labels / f"{place}.txt").write_text(f"{place % 2} 0.546875 0.46875 0.46875 0.520833\n")
    content = {
        "path": str(folder),
        "train": "images/train",
        "val": "images/val",
        "names": {0: "with_mask", 1: "without_mask"},
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("set") / "tiny")


@pytest.fixture
def own_set(tiny_set: Path, tmp_path: Path) -> Path:
    """A copy whose data.yaml still names the place it was copied from."""
    return shutil.copytree(tiny_set, tmp_path / "own", ignore=shutil.ignore_patterns("*.cache"))


@pytest.fixture(scope="session")
def run(
    tiny_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainResult, list[Progress]]:
    reported: list[Progress] = []
    project = tmp_path_factory.mktemp("runs")
    return train_detector(
        tiny_set, epochs=2, project=project, on_progress=reported.append, **TINY
    ), reported


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(folder: Path) -> list[int]:
    return [int(row["epoch"]) for row in rows(folder)]


FINISHED = (
    "weights/best.pt",
    "weights/last.pt",
    "weights/best.onnx",
    "report.txt",
    "report.json",
    "results.csv",
    "curves.png",
)
PLOTS = ("args.yaml", "data.yaml", "confusion_matrix.png", "BoxPR_curve.png")


def assert_finished(folder: Path, epochs: int) -> None:
    assert [name for name in FINISHED + PLOTS if not (folder / name).is_file()] == []
    assert epochs_of(folder) == list(range(1, epochs + 1))
    assert not list(folder.rglob("*.part"))


def test_a_run_leaves_weights_report_and_plots(run: tuple[TrainResult, list[Progress]]) -> None:
    result, _ = run
    assert_finished(result.folder, epochs=2)
    report = json.loads((result.folder / "report.json").read_text())
    assert report == result.report.json()
    assert {name: scores["support"] for name, scores in report["classes"].items()} == {
        "with_mask": 2,
        "without_mask": 2,
    }
    assert report["images"] == 4
    assert (result.folder / "report.txt").read_text() == result.report.table()


def test_a_run_repeated_from_its_args_yaml_has_the_same_figures(
    run: tuple[TrainResult, list[Progress]], tiny_set: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    again = train_detector(tiny_set, args=run[0].folder, project=tmp_path, on_warning=lines.append)
    assert lines == []
    assert again.report.json() == run[0].report.json()
    without_time = [[{**row, "time": ""} for row in rows(one.folder)] for one in (again, run[0])]
    assert without_time[0] == without_time[1]
    made = yaml.safe_load((again.folder / "args.yaml").read_text())["provenance"]
    assert made["model"] == {"file": "yolov8n.yaml"}
    assert (made["data"]["train"], made["data"]["with_mask"], made["device"]) == (8, 6, "cpu")

    changed = tmp_path / "args.yaml"
    changed.write_text((run[0].folder / "args.yaml").read_text().replace("train: 8", "train: 9"))
    options = DetectorTrainOptions.merge(None, {"args": changed, "epochs": 7})
    assert (options.epochs, options.model, options.device) == (7, "yolov8n.yaml", "cpu")
    assert load_recipe(options.recipe or "")["batch"] == 4
    report_differences(options.args, made, lines.append)
    assert lines == [f"figures may differ from those of {changed}: data train 8 instead of 9"]


def test_a_run_keeps_the_hashes_of_its_training_photos_and_those_of_its_start(
    run: tuple[TrainResult, list[Progress]], tiny_set: Path, tmp_path: Path
) -> None:
    learned = hash_photos(sorted((tiny_set / "images" / "train").iterdir()))
    weights = run[0].folder / "weights"
    assert load_hashes(weights / "best.onnx") == load_hashes(weights / "last.pt") == learned
    save_hashes(tmp_path / "start.pt", ["0123456789abcdef"])
    keep_hashes(load_dataset(tiny_set), tmp_path / "start.pt", tmp_path / "weights")
    assert load_hashes(tmp_path / "weights" / "best.pt") == sorted([*learned, "0123456789abcdef"])


def test_progress_is_reported_after_each_batch_and_epoch(
    run: tuple[TrainResult, list[Progress]],
) -> None:
    _, reported = run
    assert [(now.epoch, now.batch, bool(now.metrics)) for now in reported] == [
        (1, 1, False), (1, 2, False), (1, 2, True), (2, 1, False), (2, 2, False), (2, 2, True),
    ]  # fmt: skip
    assert set(reported[0].losses) == {"box_loss", "cls_loss", "dfl_loss"}
    assert set(reported[2].metrics) == {"precision", "recall", "mAP50", "mAP50-95"}


def test_the_onnx_file_takes_any_size_and_contains_the_classes(
    run: tuple[TrainResult, list[Progress]],
) -> None:
    backend = load_backend(run[0].onnx)
    assert backend.names == ("with_mask", "without_mask")
    assert backend(np.zeros((1, 64, 96, 3), dtype=np.uint8)).shape == (1, 6, 8 * 12 + 4 * 6 + 2 * 3)
    assert backend(np.zeros((2, 32, 32, 3), dtype=np.uint8)).shape == (2, 6, 16 + 4 + 1)


def test_the_checkpoints_need_no_maskyolo(run: tuple[TrainResult, list[Progress]]) -> None:
    """They are plain Ultralytics models: no class of ours is pickled into them."""
    assert not [
        name
        for name in ("best.pt", "last.pt")
        if b"maskyolo._" in (run[0].folder / "weights" / name).read_bytes()
    ]


def test_the_same_seed_gives_the_same_losses(
    run: tuple[TrainResult, list[Progress]], tiny_set: Path, tmp_path: Path
) -> None:
    reported: list[Progress] = []

    def stop(now: Progress) -> None:
        reported.append(now)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_detector(tiny_set, epochs=2, project=tmp_path, on_progress=stop, **TINY)
    assert reported[0].losses == pytest.approx(run[1][0].losses, rel=1e-3)


def test_a_copied_set_is_trained_from_its_new_place(own_set: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((own_set / "data.yaml").read_text()) | {"path": str(tmp_path / "gone")}
    (own_set / "data.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(KeyboardInterrupt):
        train_detector(own_set, epochs=1, project=tmp_path, on_progress=interrupt, **TINY)
    assert yaml.safe_load((tmp_path / "train" / "data.yaml").read_text())["path"] == str(own_set)


def interrupt(_: Progress) -> None:
    raise KeyboardInterrupt


def in_epoch(epoch: int) -> Any:
    def stop(now: Progress) -> None:
        if now.epoch == epoch:
            raise KeyboardInterrupt

    return stop


def test_a_run_stopped_in_its_second_epoch_is_continued(tiny_set: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_detector(tiny_set, epochs=2, project=tmp_path, on_progress=in_epoch(2), **TINY)
    folder = tmp_path / "train"
    assert epochs_of(folder) == [1]
    assert not (folder / "report.json").exists()
    for thread in threading.enumerate():  # Ultralytics draws its plots in threads
        if "plot_images" in thread.name:
            thread.join()
    moved = folder.rename(tmp_path / "moved")
    reported: list[Progress] = []
    result = train_detector(
        resume="latest", project=tmp_path, device="cpu", workers=0, on_progress=reported.append
    )
    assert result.folder == moved
    assert {now.epoch for now in reported} == {2}
    assert_finished(moved, epochs=2)
    assert not folder.exists()


KILLED = """
import os, signal, sys
from maskyolo.training.detector import train_detector
def kill(now):
    if now.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
train_detector(
    sys.argv[1], model="yolov8n.yaml", epochs=3, imgsz=64, batch=4, workers=1, device="cpu",
    project=sys.argv[2], on_progress=kill,
)
"""


def test_a_killed_run_is_continued(tiny_set: Path, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tiny_set, tmp_path],
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert epochs_of(tmp_path / "train") == [1]
    result = train_detector(
        resume=tmp_path / "train" / "weights" / "last.pt", device="cpu", workers=0
    )
    assert_finished(result.folder, epochs=3)


def test_a_run_killed_after_its_last_epoch_is_only_finished(
    run: tuple[TrainResult, list[Progress]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(run[0].folder, tmp_path / "train")
    for name in ("report.json", "report.txt", "curves.png", "weights/best.onnx"):
        (folder / name).unlink()
    monkeypatch.setattr(
        "maskyolo.training.detector._run", lambda *_, **__: pytest.fail("trained again")
    )
    assert train_detector(resume=folder, device="cpu").report.classes == run[0].report.classes
    assert_finished(folder, epochs=2)


def test_a_run_stopped_in_its_first_epoch_starts_again(tiny_set: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_detector(tiny_set, epochs=1, project=tmp_path, on_progress=interrupt, **TINY)
    assert_finished(train_detector(resume=tmp_path / "train", device="cpu").folder, epochs=1)


def test_a_row_without_its_checkpoint_is_dropped(tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    results.write_text("epoch,time\n1,2\n2,4\n3,6\n4,")
    trim_results(results, 2)
    assert results.read_text() == "epoch,time\n1,2\n2,4\n"


def test_a_kill_while_the_checkpoint_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskyolo.training.detector_trainer import DetectionTrainer, DetectorTraining

    def half(self: Any) -> bool:
        self.last.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DetectionTrainer, "save_model", half)
    trainer = DetectorTraining.__new__(DetectorTraining)
    trainer.best, trainer.last = tmp_path / "best.pt", tmp_path / "last.pt"
    trainer.last.write_bytes(b"whole")
    with pytest.raises(OSError, match="No space"):
        trainer.save_model()
    assert (tmp_path / "last.pt").read_bytes() == b"whole"
    assert trainer.last == tmp_path / "last.pt"


OFFLINE = """
import os, sys
def guard(event, arguments):
    connects = event == "socket.connect" and isinstance(arguments[1], tuple)
    if event == "socket.getaddrinfo" or connects:
        os.write(2, f"connection attempt: {event} {arguments[1:]}".encode())
        os._exit(99)
sys.addaudithook(guard)
from maskyolo.cli import main
main(sys.argv[1:])
"""


def test_the_command_trains_offline_and_prints_nothing_of_ultralytics(
    tiny_set: Path, tmp_path: Path
) -> None:
    options = {
        "model": "yolov8n.yaml",
        "imgsz": 64,
        "batch": 4,
        "epochs": 1,
        "device": "cpu",
        "project": "runs",
        "name": "once",
    }
    words = ["train", *(f"--{key}={value}" for key, value in options.items()), "--data"]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "PYTEST"))
    }
    environment |= {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "WANDB_API_KEY": "x",
        "ULTRALYTICS_API_KEY": "x",
    }
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, *words, tiny_set],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert_finished(tmp_path / "runs" / "once", epochs=1)
    assert done.stdout.splitlines()[0].split()[0] == "precision"
    assert done.stdout.splitlines()[-3:] == [
        "weights: runs/once/weights/best.pt, runs/once/weights/best.onnx",
        "next: maskyolo detect --source 0 --show --model runs/once/weights/best.onnx",
        "runs/once",
    ]
    assert [line.split("  ")[0] for line in done.stderr.splitlines()] == [
        "training in runs/once, 1 epoch of 2 batches",
        "epoch 1/1",
    ]
    assert not (tmp_path / ".config" / "Ultralytics").exists()
    assert not list(tmp_path.rglob("deviceid"))  # ONNX Runtime's telemetry leaves one


def test_ctrl_c_exits_with_130_and_prints_how_to_continue(
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: Any, on_progress: Any, **__: Any) -> None:
        on_progress(Progress(tmp_path / "runs" / "train", 1, 2, 1, 2, {}))
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maskyolo.training.detector.train_detector", stopped)
    with pytest.raises(SystemExit) as caught:
        main(["train", "--data", str(tiny_set)])
    assert caught.value.code == 130
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "maskyolo: stopped; continue with: maskyolo train --resume runs/train"
    )


@pytest.mark.parametrize("bf16", [False, True])
def test_bfloat16_gives_the_losses_of_float32(
    bf16: bool,
    run: tuple[TrainResult, list[Progress]],
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    dtypes = set()
    original = torch.nn.Conv2d.forward

    def noted(self: Any, x: Any) -> Any:
        out = original(self, x)
        dtypes.add(out.dtype) if self.training else None
        return out

    reported: list[Progress] = []

    def stop(now: Progress) -> None:
        reported.append(now)
        raise KeyboardInterrupt

    monkeypatch.setattr("maskyolo.training.detector_trainer.cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", noted)
    with pytest.raises(KeyboardInterrupt):
        train_detector(tiny_set, epochs=2, project=tmp_path, on_progress=stop, **TINY)
    assert (torch.bfloat16 in dtypes) == bf16
    assert dtypes <= {torch.bfloat16, torch.float32}
    assert reported[0].losses == pytest.approx(run[1][0].losses, rel=0.02)


def test_the_report_is_read_off_at_the_best_mean_f1(tiny_set: Path) -> None:
    """3 of 4 boxes of class 0 are found, and a less confident false one; class 1 has no box."""
    from ultralytics.utils.metrics import DetMetrics

    from maskyolo.dataset.layout import load_dataset

    metrics = DetMetrics({0: "with_mask", 1: "without_mask"})
    right = np.array([[True] * 10] * 3 + [[False] * 10])
    metrics.stats = {
        "tp": [right], "conf": [np.array([0.9, 0.8, 0.7, 0.1])], "pred_cls": [np.zeros(4)],
        "target_cls": [np.zeros(4)], "target_img": [np.zeros(1)],
    }  # fmt: skip
    metrics.process()
    report = _report(
        SimpleNamespace(metrics=metrics, dataloader=SimpleNamespace(dataset=range(4))),
        load_dataset(tiny_set),
    )
    scores = report.classes["with_mask"]
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx(
        (1.0, 0.75, 6 / 7), abs=0.02
    )  # the curves are interpolated
    assert scores.support == 4
    assert 0.1 < report.confidence < 0.7
    assert report.classes["without_mask"].support == 0
    assert report.classes["without_mask"].precision is None


def test_recipes_by_name_and_path(tmp_path: Path) -> None:
    assert load_recipe("detector")["imgsz"] == 416
    mine = tmp_path / "mine.yaml"
    mine.write_text("epochs: 5\nmosaic: 0.5\n")
    assert load_recipe(mine) == {"epochs": 5, "mosaic": 0.5}
    with pytest.raises(MaskyoloError, match=r"no recipe 'nothing'.*names: .*detector"):
        find_recipe("nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochz: 5", "epochz cannot be set in a recipe"),
        ("data: x", "data cannot be set in a recipe"),
        ("distill_model: x.pt", "distill_model cannot be set in a recipe"),
        ("cfg: x.yaml", "cfg cannot be set in a recipe"),
        ("save_dir: /", "save_dir cannot be set in a recipe"),
        ("- 1", "does not consist of"),
        ("a: [", r"cannot read .*, line \d: "),
    ],
)
def test_wrong_recipes_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(MaskyoloError, match=message):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: Sgdd", "unknown optimizer 'Sgdd'; choose one of auto, SGD"),
        ("optimizer: [SGD]", "unknown optimizer"),
        ("cache: cloud", "unknown cache 'cloud'"),
        ("copy_paste_mode: swap", "unknown copy_paste_mode 'swap'"),
        ("lr0: .nan", "lr0 is out of range: nan"),
        ("box: .inf", "box is out of range: inf"),
        ("seed: 99999999999", "seed is out of range"),
        ("epochs: true", "epochs must be a whole number of at least 1, got True"),
        ("imgsz: 640000", "imgsz must be a multiple of 32, got 640000; use 8192"),
        ("amp: maybe", "amp must be true or false, got maybe"),
        ("freeze: {a: 1}", "freeze must be a number of layers"),
        ("pretrained: 3.5", "pretrained must be true, false or a .pt file, got 3.5"),
        ("scale: [1]", "invalid setting"),
        ("momentum: '0.9'", "invalid setting"),
    ],
)
def test_wrong_values_in_a_recipe_are_refused(
    text: str, message: str, tiny_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(MaskyoloError, match=re.escape(message)):
        train_detector(
            tiny_set, model="yolov8n.yaml", recipe=tmp_path / "r.yaml", project=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()


def test_a_batch_of_one_image_that_is_too_small_is_one_line(tiny_set: Path, tmp_path: Path) -> None:
    """At imgsz 32 the coarsest map has one cell, and batch normalization needs two values."""
    with pytest.raises(MaskyoloError, match=r"only one image.*--imgsz 64"):
        train_detector(tiny_set, epochs=1, project=tmp_path, **(TINY | {"imgsz": 32, "batch": 7}))


def test_options_override_the_recipe(tiny_set: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("epochs: 7\nimgsz: 96\ndegrees: 3\namp: false\nworkers: 0\n")
    with pytest.raises(KeyboardInterrupt):
        train_detector(
            tiny_set,
            model="yolov8n.yaml",
            recipe=tmp_path / "r.yaml",
            imgsz=64,
            batch=4,
            device="cpu",
            project=tmp_path,
            on_progress=interrupt,
        )
    args = yaml.safe_load((tmp_path / "train" / "args.yaml").read_text())
    assert (args["epochs"], args["imgsz"], args["degrees"], args["amp"]) == (7, 64, 3, False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": "nowhere"}, DatasetError, "no data set at nowhere"),
        ({"data": None}, MaskyoloError, "no data set given"),
        ({"imgsz": 100}, MaskyoloError, "imgsz must be a multiple of 32, got 100; use 96"),
        ({"epochs": 0}, MaskyoloError, "epochs must be at least 1, got 0"),
        ({"cache": "cloud"}, MaskyoloError, "unknown cache 'cloud'; choose one of ram, disk, none"),
        ({"device": "97"}, MaskyoloError, "cannot train on device '97'"),
        ({"device": "gpu"}, MaskyoloError, "cannot train on device 'gpu'"),
        ({"model": "yolov9000"}, WeightsError, "no weights 'yolov9000' to start from"),
        ({"model": "nothing.yaml"}, WeightsError, "no architecture 'nothing.yaml'"),
        ({"model": __file__}, WeightsError, "did not load .*--trust"),
        ({"model": __file__, "trust": True}, WeightsError, "wrong weights .*not a checkpoint"),
        ({"resume": "latest"}, MaskyoloError, "nothing to resume: .*no unfinished run"),
        ({"resume": "nowhere"}, MaskyoloError, "nothing to resume at nowhere"),
        ({"name": "../up"}, OutputError, "must be a single folder name"),
    ],
)
def test_wrong_settings_are_refused_in_one_line_before_anything_is_created(
    options: dict[str, Any],
    error: type[MaskyoloError],
    message: str,
    tiny_set: Path,
    tmp_path: Path,
) -> None:
    settings = {"data": tiny_set, "epochs": 1, "project": tmp_path / "runs", **TINY} | options
    if "resume" in options:
        settings = {"project": tmp_path / "runs"} | options
    with pytest.raises(error, match=message) as caught:
        train_detector(**settings)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "runs").glob("*"))


def remove(folder: Path, pattern: str) -> None:
    for path in list(folder.glob(pattern)):
        path.unlink()


def rename_class(folder: Path) -> None:
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(text.replace("without_mask", "bare"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: remove(folder, "images/train/*"), "the train split has no images"),
        (
            lambda folder: remove(folder, "labels/val/*"),
            "none of the 4 val images has a label file",
        ),
        (
            lambda folder: [path.write_text("") for path in (folder / "labels/train").iterdir()],
            "labels of the train split are all empty",
        ),
        (lambda folder: remove(folder, "labels/train/[1357].txt"), "no box of without_mask"),
        (
            lambda folder: (folder / "labels/train/0.txt").write_text("7 .5 .5 .1 .1"),
            "0.txt, line 1: class 7",
        ),
        (rename_class, "the first two must be with_mask, without_mask; convert the set"),
    ],
    ids=[
        "no-images",
        "no-labels",
        "empty-labels",
        "empty-class",
        "wrong-class-id",
        "other-names",
    ],
)
def test_sets_that_cannot_be_trained_on_are_refused(
    spoil: Any, message: str, own_set: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load((own_set / "data.yaml").read_text()) | {"path": str(own_set)}
    (own_set / "data.yaml").write_text(yaml.safe_dump(content))
    spoil(own_set)
    with pytest.raises(DatasetError, match=message):
        train_detector(own_set, epochs=1, project=tmp_path / "runs", **TINY)
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_is_not_resumed(run: tuple[TrainResult, list[Progress]]) -> None:
    with pytest.raises(MaskyoloError, match="the run is finished"):
        find_run(run[0].folder)
    with pytest.raises(MaskyoloError, match="no unfinished run"):
        find_run("latest", run[0].folder.parent)


def test_a_resumed_run_keeps_its_settings() -> None:
    with pytest.raises(MaskyoloError, match="leave out --epochs, --model"):
        train_detector(resume="latest", epochs=3, model="yolov8n")


def test_a_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space left"), _user_errors(tmp_path):
        raise RuntimeError(
            "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file "
            "data/0: file write failed"
        )


def test_a_killed_loader_process_is_reported_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(MaskyoloError, match=r"a process that loads images ended .*--resume"),
        _user_errors(tmp_path),
    ):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")


def test_without_ultralytics_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tiny_set: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(DependencyError, match=re.escape(install_command("train"))):
        train_detector(tiny_set)


def test_images_that_cannot_be_read_are_reported(own_set: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((own_set / "data.yaml").read_text()) | {"path": str(own_set)}
    (own_set / "data.yaml").write_text(yaml.safe_dump(content))
    (own_set / "images" / "train" / "0.jpg").write_bytes(b"no image")
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train_detector(
            own_set,
            epochs=1,
            project=tmp_path,
            on_progress=interrupt,
            on_warning=lines.append,
            **TINY,
        )
    assert [line.split(", ")[0] for line in lines] == ["skipped: 1 train image that cannot be read"]
    assert "0.jpg" in lines[0]


def test_downloads_of_ultralytics_fail_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.utils import downloads

    from maskyolo.models.ultralytics import no_downloads

    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("looked up a host"))
    for file in ("yolo26n.pt", "nothing-known.pt"):
        with pytest.raises(ConnectionError, match="maskyolo trains offline"), no_downloads():
            downloads.attempt_download_asset(tmp_path / file)


def test_the_processes_for_several_gpus_can_import_the_trainer() -> None:
    """Ultralytics' launcher pickles the class by its module and name."""
    import pickle

    from maskyolo.training.detector_trainer import DetectorTraining

    assert pickle.loads(pickle.dumps(DetectorTraining)) is DetectorTraining


def test_only_training_images_are_compressed_with_and_without_mosaic(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskyolo.training.detector_trainer._COMPRESSED_SHARE", 1.0)
    monkeypatch.setattr(
        "maskyolo.training.detector_trainer.recompress",
        lambda image, quality, scale: compressed.append(scale) or image,
    )
    compressed: list[float] = []
    numbers = []
    no_mosaic_at_the_end = tmp_path / "recipe.yaml"
    no_mosaic_at_the_end.write_text("close_mosaic: 1\n")

    def count(now: Progress) -> None:
        if now.metrics:
            numbers.append(len(compressed))

    train_detector(
        tiny_set, epochs=2, recipe=no_mosaic_at_the_end, project=tmp_path, on_progress=count, **TINY
    )
    assert numbers == [8, 16]
    assert all(0.5 <= scale <= 1 for scale in compressed)


def weights_of(file: Path) -> dict[str, Any]:
    from ultralytics.utils.patches import torch_load

    return {
        key: value.float()
        for key, value in torch_load(file, map_location="cpu")["model"].state_dict().items()
    }


def test_a_blended_run_ends_halfway_between_its_start_and_the_trained_weights(
    run: tuple[TrainResult, list[Progress]], tiny_set: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("blend: 0.5\noptimizer: AdamW\nlr0: 0.01\nwarmup_epochs: 0\n")
    start = run[0].folder / "weights" / "last.pt"
    with pytest.raises(KeyboardInterrupt):
        train_detector(
            tiny_set,
            recipe=recipe,
            epochs=2,
            project=tmp_path,
            on_progress=in_epoch(2),
            **TINY | {"model": start},
        )
    resumed = train_detector(resume=tmp_path / "train", device="cpu", workers=0)
    before, trained, after = (
        weights_of(file) for file in (start, resumed.folder / "weights" / "last.pt", resumed.best)
    )
    key = "model.0.conv.weight"
    assert float((trained[key] - before[key]).abs().max()) > 0.004
    assert float((after[key] - (trained[key] + before[key]) / 2).abs().max()) < 0.001
    (resumed.folder / "report.json").unlink()  # as if killed just before it was written
    again = train_detector(resume=resumed.folder, device="cpu", workers=0)
    assert all(bool((value == after[name]).all()) for name, value in weights_of(again.best).items())


def test_a_third_class_starts_as_without_mask_and_can_be_blended(
    run: tuple[TrainResult, list[Progress]], own_set: Path, tmp_path: Path
) -> None:
    """With a learning rate of nearly zero, the trained model still is what it started from."""
    names = ["with_mask", "without_mask", "mask_weared_incorrect"]
    (own_set / "data.yaml").write_text(
        yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names})
    )
    for split in ("train", "val"):
        (own_set / "labels" / split / "2.txt").write_text("2 0.55 0.47 0.47 0.52\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("blend: 0.5\noptimizer: AdamW\nlr0: 1.0e-9\nwarmup_epochs: 0\n")
    start = run[0].folder / "weights" / "last.pt"
    with pytest.raises(KeyboardInterrupt):
        train_detector(
            own_set,
            recipe=recipe,
            epochs=2,
            project=tmp_path,
            on_progress=in_epoch(2),
            **TINY | {"model": start},
        )
    recorded = {"initial_outputs": {"mask_weared_incorrect": "without_mask"}, "blend": 0.5}
    args = tmp_path / "train" / "args.yaml"
    assert yaml.safe_load(args.read_text()).items() >= recorded.items()
    made = train_detector(resume=tmp_path / "train", device="cpu", workers=0)
    assert yaml.safe_load(args.read_text()).items() >= recorded.items()
    assert list(made.report.classes) == names
    before = weights_of(start)
    for file in ("best.pt", "last.pt"):
        after = weights_of(made.folder / "weights" / file)
        for key in (name for name in before if ".cv3." in name and name.split(".")[-2] == "2"):
            assert after[key].shape[0] == 3
            assert float((after[key] - before[key][[0, 1, 1]]).abs().max()) < 0.002


def test_classes_start_from_those_they_are_called_like() -> None:
    assert match_outputs(["bare", "incorrect", "mask"], ["with_mask", "incorrect_mask"]) == {
        "with_mask": "mask",
        "incorrect_mask": "incorrect",
    }
    assert find_rows(["bare", "mask"], ["with_mask", "without_mask", "incorrect_mask"]) == [1, 0, 0]
    assert find_rows(["person", "dog"], ["with_mask", "without_mask"]) == []
    assert find_rows(["mask", "bare"], ["with_mask", "without_mask", "helmet"]) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [("blend: 0", "above 0 and at most 1"), ("blend: 0.5", "give --model maskyolo-n")],
)
def test_an_impossible_blend_is_refused_before_anything_is_created(
    line: str, message: str, tiny_set: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(line + "\n")
    with pytest.raises(MaskyoloError, match=message):
        train_detector(tiny_set, recipe=recipe, epochs=1, project=tmp_path / "runs", **TINY)
    assert not (tmp_path / "runs").exists()


def test_a_split_that_is_a_list_is_written_with_absolute_paths(tmp_path: Path) -> None:
    """Ultralytics takes its lines relative to the current folder, wherever the data set is."""
    root = tmp_path / "set"
    for name in ("images/train/a.png", "images/val/b.png"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    (root / "train.txt").write_text("images/train/a.png\n")
    (root / "data.yaml").write_text(
        "train: train.txt\nval: images/val\nnames: [with_mask, without_mask]\n"
    )
    _write_data(load_dataset(root), tmp_path)
    written = load_dataset(tmp_path)
    (listed,) = written.splits["train"]
    assert listed.read_text() == f"{root}/images/train/a.png\n"
    assert written.images("train") == [root / "images/train/a.png"]
    assert written.splits["val"] == (root / "images/val",)
