"""Real trainings of the classifier on a dozen images, to tell red from blue.

The backbones have random weights.
"""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
import torchvision
import yaml
from paths import ROOT

from maskyolo.cli import main
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import sha256_of
from maskyolo.core.images import read_image
from maskyolo.core.installation import install_command
from maskyolo.core.labels import read_yolo
from maskyolo.dataset.layout import load_dataset
from maskyolo.detectors.classifier import METADATA_KEY, Classifier, CropSettings, preprocess
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError, WeightsError
from maskyolo.training.augment import Augmentation
from maskyolo.training.classifier import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ClassifierResult,
    train_classifier,
)
from maskyolo.training.classifier_settings import ClassifierSettings, load_settings
from maskyolo.training.classifier_trainer import (
    assemble,
    compute_features,
    export_onnx,
    load_backbone,
    load_runner,
)
from maskyolo.training.crops import Draw, crop_batches, draw_crops, list_faces
from maskyolo.training.progress import Progress
from maskyolo.training.resuming import find_run

TINY = {"imgsz": 64, "epochs": 8, "batch": 8, "device": "cpu"}
SETTINGS = CropSettings("mobilenet_v2", 64, IMAGENET_MEAN, IMAGENET_STD, 0.0, CLASS_NAMES)


def make_set(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, number in (("train", 8), ("val", 4), ("test", 4)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for place in range(number):
            image = rng.integers(0, 60, (96, 120, 3), dtype=np.uint8)
            image[20:70, 30:75] = (200, 200, 40) if place % 2 else (60, 80, 220)
            cv2.imwrite(str(images / f"{place}.png"), image)
            (labels / f"{place}.txt").write_text(f"{place % 2} 0.4375 0.46875 0.375 0.520833\n")
    content = {"path": str(folder)} | {
        split: f"images/{split}" for split in ("train", "val", "test")
    }
    (folder / "data.yaml").write_text(
        yaml.safe_dump(content | {"names": dict(enumerate(CLASS_NAMES))})
    )
    return folder


@pytest.fixture(scope="session")
def faces_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("faces") / "set")


@pytest.fixture
def own_set(faces_set: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(faces_set, tmp_path / "own")
    content = yaml.safe_load((folder / "data.yaml").read_text()) | {"path": str(folder)}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder


def random_weights(arch: str, folder: Path) -> Path:
    """Write random weights in the format of torchvision's ImageNet weights.

    Their normalization statistics are such that images still differ after all layers.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = getattr(torchvision.models, arch)()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # cumulative mean
    with torch.no_grad():
        network(torch.randn(8, 3, 64, 64))
    torch.save(network.state_dict(), folder / f"{arch}.pth")
    return folder / f"{arch}.pth"


@pytest.fixture(scope="session")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights("mobilenet_v2", tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(
        "crops: 48\nlr0: 0.001\nrotation: 0\nzoom: 0\nshift: 0\nshear: 0\nflip: 0\nsmall: 0\n"
        "blur: 0\njpeg: 0\n"
    )
    return path


@pytest.fixture(scope="session")
def run(
    faces_set: Path, mobilenet: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ClassifierResult, list[Progress], list[str]]:
    reported: list[Progress] = []
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("runs")
    result = train_classifier(
        faces_set,
        model=mobilenet,
        recipe=recipe,
        project=folder,
        on_progress=reported.append,
        on_warning=lines.append,
        **TINY,
    )
    return result, reported, lines


FILES = (
    "args.yaml",
    "weights/best.onnx",
    "report.txt",
    "report.json",
    "results.csv",
    "curves.png",
    "confusion_matrix.png",
)


def test_a_run_leaves_a_classifier_report_and_plots(
    run: tuple[ClassifierResult, list[Progress], list[str]],
) -> None:
    result, _, lines = run
    assert [name for name in FILES if not (result.folder / name).is_file()] == []
    assert not list(result.folder.rglob("*.part"))
    assert lines == []
    report = json.loads((result.folder / "report.json").read_text())
    assert list(report) == ["test", "val"]
    assert report == {split: found.json() for split, found in result.reports.items()}
    assert {name: scores["support"] for name, scores in report["test"]["classes"].items()} == {
        "with_mask": 2,
        "without_mask": 2,
    }
    with (result.folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 9)]
    assert list(rows[0]) == ["epoch", "time", "loss", "accuracy", "val_loss", "val_accuracy"]


def train_images(data: Path) -> int:
    return len(list((data / "images" / "train").iterdir()))


def test_args_yaml_records_every_setting(
    run: tuple[ClassifierResult, list[Progress], list[str]], faces_set: Path, mobilenet: Path
) -> None:
    recorded = yaml.safe_load((run[0].folder / "args.yaml").read_text())
    made = recorded.pop("provenance")
    assert made["model"] == {"file": str(mobilenet), "sha256": sha256_of(mobilenet)}
    assert (made["data"]["train"], made["device"], made["seed"]) == (
        train_images(faces_set),
        "cpu",
        0,
    )
    assert recorded == {
        "pipeline": "two-stage",
        "data": str(faces_set / "data.yaml"),
        "model": str(mobilenet),
        "device": "cpu",
        "arch": "mobilenet_v2",
        "imgsz": 64,
        "margin": 0,
        "crops": 48,
        "epochs": 8,
        "batch": 8,
        "optimizer": "adam",
        "lr0": 0.001,
        "decay": 0.000005,
        "dropout": 0.5,
        "unfreeze": 0,
        "seed": 0,
        "workers": 2,
        "half": True,
        **dict.fromkeys(("rotation", "zoom", "shift", "shear", "flip", "small"), 0),
        "face_size": [16, 100],
        "blur": 0,
        "jpeg": 0,
        "quality": [40, 95],
    }


def test_the_classes_are_learned(
    run: tuple[ClassifierResult, list[Progress], list[str]], faces_set: Path
) -> None:
    assert run[0].reports["test"].accuracy == 1
    classifier = Classifier(run[0].best)
    assert classifier.settings.arch == "mobilenet_v2"
    for place, name in ((0, "with_mask"), (1, "without_mask")):
        image = read_image(faces_set / "images" / "test" / f"{place}.png")
        assert (
            CLASS_NAMES[int(classifier(image, np.array([[30, 20, 75, 70]], np.float32)).argmax())]
            == name
        )


def test_progress_reports_the_crops_then_batches_and_epochs(
    run: tuple[ClassifierResult, list[Progress], list[str]],
) -> None:
    crops = [now for now in run[1] if now.epoch == 0]
    assert [(now.batch, now.batches) for now in crops] == [(48, 64), (64, 64)]
    epochs = [now for now in run[1] if now.metrics]
    assert [now.epoch for now in epochs] == list(range(1, 9))
    assert set(epochs[0].metrics) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert [now.batch for now in run[1] if now.epoch == 1 and now.losses] == [1, 2, 3, 4, 5, 6]


def test_the_file_contains_no_path_of_this_machine(
    run: tuple[ClassifierResult, list[Progress], list[str]],
) -> None:
    content = run[0].best.read_bytes()
    assert b"/site-packages" not in content
    assert str(ROOT).encode() not in content
    assert str(run[0].folder).encode() not in content
    assert {entry.key for entry in onnx.load(run[0].best).metadata_props} == {METADATA_KEY}


def test_the_same_seed_gives_the_same_losses(
    run: tuple[ClassifierResult, list[Progress], list[str]],
    faces_set: Path,
    mobilenet: Path,
    recipe: Path,
    tmp_path: Path,
) -> None:
    reported: list[Progress] = []

    def stop(now: Progress) -> None:
        reported.append(now)
        if now.metrics:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier(
            faces_set, model=mobilenet, recipe=recipe, project=tmp_path, on_progress=stop, **TINY
        )
    first = next(now for now in run[1] if now.metrics)
    assert reported[-1].metrics == pytest.approx(first.metrics, rel=1e-3)
    assert (
        len((tmp_path / "train" / "results.csv").read_text().splitlines()) == 2
    )  # the epoch that was finished
    assert not (tmp_path / "train" / "report.json").exists()
    with pytest.raises(MaskyoloError, match="has no unfinished run"):
        find_run("latest", tmp_path)
    with pytest.raises(MaskyoloError, match="classifier cannot be resumed"):
        find_run(tmp_path / "train")


def test_resnet50_trains_too(faces_set: Path, recipe: Path, tmp_path: Path) -> None:
    weights = random_weights("resnet50", tmp_path)
    result = train_classifier(
        faces_set,
        arch="resnet50",
        model=weights,
        recipe=recipe,
        imgsz=32,
        epochs=1,
        optimizer="rmsprop",
        unfreeze=2,
        device="cpu",
        project=tmp_path,
    )
    assert Classifier(result.best).settings == CropSettings(
        "resnet50", 32, IMAGENET_MEAN, IMAGENET_STD, 0.0, CLASS_NAMES
    )
    assert sum(scores.support for scores in result.reports["test"].classes.values()) == 4


def test_only_unfrozen_blocks_are_trained(
    faces_set: Path, mobilenet: Path, recipe: Path, tmp_path: Path
) -> None:
    def weights_of(path: Path) -> list[Any]:
        graph = onnx.load(path).graph
        tensors = {
            tensor.name.removesuffix(".half"): onnx.numpy_helper.to_array(tensor)
            for tensor in graph.initializer
        }
        return [tensors[node.input[1]] for node in graph.node if node.op_type == "Conv"]

    options = {
        "model": mobilenet,
        "recipe": recipe,
        "imgsz": 32,
        "device": "cpu",
        "project": tmp_path,
        "epochs": 1,
    }
    frozen, trained = (
        weights_of(train_classifier(faces_set, unfreeze=number, **options).best)
        for number in (0, 2)
    )
    same = [np.array_equal(first, second) for first, second in zip(frozen, trained, strict=True)]
    assert (
        same == [True] * 48 + [False] * 4
    )  # the last block but one has three convolutions, the last one


def network_of(
    mobilenet: Path, unfreeze: int = 0
) -> tuple[torch.nn.Sequential, torch.nn.Sequential]:
    torch.manual_seed(1)
    return assemble(load_backbone("mobilenet_v2", mobilenet), 64, unfreeze, 0.5)


def test_openvino_gives_the_probabilities_of_pytorch(
    mobilenet: Path, samples: Path, tmp_path: Path
) -> None:
    network = torch.nn.Sequential(*network_of(mobilenet)).eval()
    with torch.no_grad():
        network[1][3].weight *= 20  # so that they are not all one half
    image = read_image(samples / "street.jpg")
    boxes = np.array(
        [[x, y, x + 60, y + 60] for x in range(0, 300, 60) for y in range(0, 240, 60)], np.float32
    )
    with torch.inference_mode():
        expected = network(torch.from_numpy(preprocess(image, boxes, SETTINGS))).softmax(1).numpy()
    assert np.ptp(expected[:, 0]) > 0.01
    for half, tolerance in ((False, 1e-4), (True, 0.05)):
        export_onnx(network, SETTINGS, tmp_path / f"{half}.onnx", half)
        np.testing.assert_allclose(
            Classifier(tmp_path / f"{half}.onnx")(image, boxes), expected, atol=tolerance
        )
    assert (tmp_path / "True.onnx").stat().st_size < 0.55 * (tmp_path / "False.onnx").stat().st_size


def test_frozen_features_are_those_of_pytorch(mobilenet: Path) -> None:
    frozen, trained = network_of(mobilenet, unfreeze=3)
    crops = np.random.default_rng(0).normal(size=(5, 3, 64, 64)).astype(np.float32)
    run = load_runner(frozen, 64, torch.device("cpu"))
    found = compute_features(
        run, iter([(crops[:3], [0, 1, 0]), (crops[3:], [1, 1])]), 7, lambda _: None
    )
    with torch.inference_mode():
        expected = frozen.eval()(torch.from_numpy(crops))
        assert trained.eval()(expected).shape == (5, 2)
    assert found.class_ids.tolist() == [0, 1, 0, 1, 1]
    np.testing.assert_allclose(found.values.float().numpy(), expected.numpy(), rtol=1e-2, atol=1e-3)


def test_crops_are_those_of_detection(samples: Path, faces_set: Path) -> None:
    """The same photo and box give the same tensor in training and in detection."""
    dataset = load_dataset(faces_set)
    faces = list_faces(dataset, "val", pytest.fail)
    plan = [(found, [Draw(0, None)]) for found in faces]
    [(tensor, class_ids)] = list(crop_batches(plan, SETTINGS, Augmentation(), 2, pytest.fail))
    assert class_ids == [0, 1, 0, 1]
    for place, found in enumerate(faces):
        image = read_image(found.path)
        labels = read_yolo(dataset.label_of(found.path), image.shape[1], image.shape[0])
        np.testing.assert_array_equal(
            tensor[place : place + 1], preprocess(image, labels.boxes, SETTINGS)
        )


def test_crops_are_drawn_evenly_from_both_classes_and_their_images(own_set: Path) -> None:
    for place in (1, 3, 5):  # one image of without_mask is left, with two faces
        (own_set / "labels" / "train" / f"{place}.txt").write_text("")
    label = own_set / "labels" / "train" / "7.txt"
    label.write_text(label.read_text() * 2)
    plan = draw_crops(list_faces(load_dataset(own_set), "train", pytest.fail), 40, 0)
    drawn = {faces.path.stem: len(draws) for faces, draws in plan}
    assert drawn == {"0": 5, "2": 5, "4": 5, "6": 5, "7": 20}
    assert {draw.face for faces, draws in plan for draw in draws if faces.path.stem == "7"} == {
        0,
        1,
    }
    assert len({draw.seed for _, draws in plan for draw in draws}) == 40


def test_a_mask_worn_incorrectly_counts_as_none_for_a_classifier_of_two_classes(
    own_set: Path,
) -> None:
    names = {0: "with_mask", 1: "without_mask", 2: "incorrect_mask", 3: "helmet"}
    content = yaml.safe_load((own_set / "data.yaml").read_text()) | {"names": names}
    (own_set / "data.yaml").write_text(yaml.safe_dump(content))
    label = own_set / "labels" / "train" / "0.txt"
    label.write_text("0 .3 .3 .2 .2\n2 .6 .6 .2 .2\n3 .8 .8 .1 .1\n")
    lines: list[str] = []
    faces = next(one for one in list_faces(load_dataset(own_set), "train", lines.append))
    assert faces.class_ids == [0, 1]
    assert lines == [
        "a classifier has two classes: without_mask includes 1 train face of incorrect_mask"
    ]


def test_what_cannot_be_used_is_reported_and_skipped(
    own_set: Path, mobilenet: Path, recipe: Path, tmp_path: Path
) -> None:
    (own_set / "images" / "train" / "0.png").write_bytes(b"no image")
    (own_set / "images" / "test" / "0.png").write_bytes(b"no image")
    with (own_set / "labels" / "train" / "1.txt").open("a") as file:
        file.write("0 1.5 0.5 0.2 0.2\n")
    lines: list[str] = []
    result = train_classifier(
        own_set,
        model=mobilenet,
        recipe=recipe,
        project=tmp_path,
        on_warning=lines.append,
        **TINY | {"epochs": 1},
    )
    assert [line.split(", ")[0].split(": ")[:2] for line in lines] == [
        ["skipped", "boxes outside the image in 1 train image"],
        ["skipped", "1 image that cannot be read"],
        ["skipped in the test split", f"cannot decode {own_set}/images/test/0.png"],
    ]
    assert str(own_set / "labels" / "train" / "1.txt") in lines[0]
    assert str(own_set / "images" / "train" / "0.png") in lines[1]
    assert str(own_set / "images" / "test" / "0.png") in lines[2]
    assert result.reports["test"].images == 3


def test_without_a_test_split_the_report_is_of_val(
    own_set: Path, mobilenet: Path, recipe: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load((own_set / "data.yaml").read_text())
    del content["test"]
    (own_set / "data.yaml").write_text(yaml.safe_dump(content))
    lines: list[str] = []
    result = train_classifier(
        own_set,
        model=mobilenet,
        recipe=recipe,
        project=tmp_path,
        on_warning=lines.append,
        **TINY | {"epochs": 1},
    )
    assert list(result.reports) == ["val"]
    assert "no test split" in lines[0]


def test_a_set_of_one_class_is_refused(own_set: Path, mobilenet: Path) -> None:
    for place in (1, 3, 5, 7):
        (own_set / "labels" / "train" / f"{place}.txt").write_text("")
    with pytest.raises(DatasetError, match="no box of without_mask"):
        train_classifier(own_set, model=mobilenet, device="cpu")


def test_missing_weights_are_reported_with_every_place(
    faces_set: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MASKYOLO_OFFLINE", "1")
    monkeypatch.delenv("MASKYOLO_MODELS", raising=False)
    with pytest.raises(
        WeightsError,
        match=r"mobilenet_v2-b0353104\.pth.*face_detector/.*maskyolo models --fetch mobilenet_v2",
    ):
        train_classifier(faces_set, device="cpu")
    with pytest.raises(WeightsError, match=r"no resnet50-0676ba61\.pth"):
        train_classifier(faces_set, arch="resnet50", model=tmp_path, device="cpu")
    assert not (tmp_path / "runs").exists()


def test_weights_of_another_architecture_are_refused(
    faces_set: Path, mobilenet: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        WeightsError, match=r"not those of resnet50; give torchvision's ImageNet weights"
    ):
        train_classifier(faces_set, arch="resnet50", model=mobilenet, device="cpu")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, found in (
        ("list.pth", "not those of mobilenet_v2"),
        ("text.pth", "not a file of PyTorch weights"),
        ("no.pth", "not a file"),
    ):
        with pytest.raises(WeightsError, match=found):
            train_classifier(faces_set, model=tmp_path / name, device="cpu")


def test_code_in_a_file_of_weights_is_not_run(faces_set: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="not a file of PyTorch weights"):
        train_classifier(faces_set, model=tmp_path / "evil.pth", device="cpu")
    assert not (tmp_path / "ran").exists()


def test_without_torchvision_the_error_says_how_to_install_it(
    faces_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(DependencyError, match=re.escape(install_command("train"))):
        train_classifier(faces_set)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch: vgg16", "unknown arch 'vgg16'; choose one of mobilenet_v2, resnet50"),
        ("optimizer: sgd", "choose one of adam, rmsprop"),
        ("epochs: 0", "epochs must be at least 1, got 0"),
        ("crops: many", "crops must be a whole number, got many"),
        ("dropout: 2", "dropout must be between 0 and 1, got 2"),
        ("quality: 80", "quality must be a list of two numbers, got 80"),
        (
            "face_size: [100, 16]",
            r"face_size must be two ascending numbers from 1 to 10000, got \[100, 16\]",
        ),
        ("half: 1", "half must be true or false, got 1"),
        ("imgsize: 224", "imgsize cannot be set in a recipe"),
    ],
)
def test_wrong_settings_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(MaskyoloError, match=message):
        load_settings(tmp_path / "r.yaml")


def test_settings_come_from_the_options_then_the_recipe_then_the_defaults(recipe: Path) -> None:
    settings, augmentation = load_settings(recipe, epochs=7, batch=None)
    assert (settings.epochs, settings.lr0, settings.batch, settings.arch) == (
        7,
        0.001,
        32,
        "mobilenet_v2",
    )
    assert augmentation.rotation == 0
    # The defaults of the code are those of the recipe.
    assert load_settings() == (ClassifierSettings(), Augmentation())


def test_too_many_blocks_to_unfreeze_are_refused(faces_set: Path, mobilenet: Path) -> None:
    with pytest.raises(MaskyoloError, match="mobilenet_v2 has 19; use --unfreeze 19"):
        train_classifier(faces_set, model=mobilenet, unfreeze=20, device="cpu")


def test_the_command_trains_and_prints_the_report(
    faces_set: Path,
    mobilenet: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "--data",
        faces_set,
        "--model",
        mobilenet,
        "--recipe",
        recipe,
        "--imgsz",
        64,
        "--epochs",
        1,
        "--device",
        "cpu",
    ]
    with pytest.raises(SystemExit) as caught:
        main(["train", "--pipeline", "two-stage", *map(str, words)])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["precision", "recall", "f1-score", "support"]
    assert out.splitlines()[-3:] == [
        "weights: runs/train/train/weights/best.onnx",
        (
            "next: maskyolo detect --source 0 --show --pipeline two-stage --model "
            "runs/train/train/weights/best.onnx"
        ),
        "runs/train/train",
    ]
    assert "first, running 64 crops through the frozen layers" in err
    assert err.splitlines()[-1].startswith("epoch 1/1  loss ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--pipeline", "two-stage", "--resume", "latest"],
            "--resume cannot be used with --pipeline two-stage",
        ),
        (
            ["--arch", "resnet50", "--unfreeze", "0"],
            "--arch, --unfreeze cannot be used with --pipeline yolo",
        ),
        (["--pipeline", "two-stage"], "no data set given"),
    ],
)
def test_settings_of_the_other_pipeline_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", *words])
    assert caught.value.code == 1
    assert message in capsys.readouterr().err


def test_an_unknown_pipeline_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--pipeline", "three-stage"])
    assert caught.value.code == 2
    assert "'three-stage' is not one of 'yolo', 'two-stage'" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(
    faces_set: Path,
    mobilenet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: Any, on_progress: Any, **__: Any) -> None:
        on_progress(Progress(tmp_path / "runs" / "train", 1, 2, 1, 2, {}))
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maskyolo.training.classifier.train_classifier", stopped)
    with pytest.raises(SystemExit) as caught:
        main(["train", "--pipeline", "two-stage", "--data", str(faces_set)])
    assert caught.value.code == 130
    assert (
        "runs/train/results.csv has the epochs so far; classifier training cannot be "
        "resumed" in capsys.readouterr().err
    )
