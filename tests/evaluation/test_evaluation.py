"""`maskyolo val` and its library, with known images and detectors of known answers."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from stubs import TRUTH, Stub, flawed, make_voc, make_yolo, perfect

from maskyolo.cli import main, val
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.detectors.options import InferenceOptions
from maskyolo.errors import DatasetError, MaskyoloError
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.evaluation.header import header
from maskyolo.evaluation.labeled import find_images
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR
from maskyolo.evaluation.options import EvaluateOptions
from maskyolo.evaluation.scores import Evaluation
from maskyolo.evaluation.scores_page import main_figures


def call(*words: str | Path) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["val", *map(str, words)])
    return int(end.value.code or 0)


@pytest.fixture
def voc(tmp_path: Path) -> tuple[Path, Path]:
    return make_voc(tmp_path)


@pytest.fixture
def found(voc: tuple[Path, Path], tmp_path: Path) -> Evaluation:
    return evaluate(images=voc[0], labels=voc[1], model=flawed(), project=tmp_path / "runs")


def test_a_perfect_detector_has_ones_everywhere(voc: tuple[Path, Path]) -> None:
    found = evaluate(images=voc[0], labels=voc[1], model=perfect(), project=None)
    assert (found.map50, found.map50_95, found.false_alarms, found.folder) == (1.0, 1.0, 0.0, None)
    for scores in (*found.report.classes.values(), found.face):
        assert (scores.precision, scores.recall, scores.f1, scores.map50) == (
            1,
            1,
            pytest.approx(1),
            1,
        )
    assert [scores.support for scores in found.report.classes.values()] == [2, 2]
    assert found.confusion.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]


def test_figures_of_a_flawed_detector_by_hand(found: Evaluation) -> None:
    with_mask, without_mask = found.report.classes.values()
    # one right, one missed, one where nothing is
    assert (with_mask.precision, with_mask.recall) == (0.5, 0.5)
    assert with_mask.map50 == pytest.approx(51 / 101)  # precision 1 up to recall 0.5
    assert (without_mask.precision, without_mask.recall) == (0.5, 0.5)
    # the face with a mask, found as without_mask, was more confident
    assert without_mask.map50 == pytest.approx(51 / 101 * 0.5)
    assert found.map50 == pytest.approx(51 / 101 * 0.75)
    assert (found.face.precision, found.face.recall, found.face.support) == (0.75, 0.75, 4)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert found.false_alarms == 0.25
    assert found.ignored == 1
    assert found.best["with_mask"] == (pytest.approx(2 / 3), pytest.approx(0.8))


def test_slices(found: Evaluation) -> None:
    sizes = found.slices["size"]
    assert {name: part.support for name, part in sizes.items()} == {
        "<16": 0,
        "16-32": 0,
        "32-96": 0,
        ">96": 4,
    }  # sides of 45 in 200
    assert (sizes[">96"].found, sizes[">96"].right) == (0.75, 0.5)
    assert sizes["<16"].map50 is None
    crowds = found.slices["faces"]
    assert {name: (part.pictures, part.support) for name, part in crowds.items()} == {
        "0": (1, 0),
        "1": (1, 1),
        "2-4": (2, 3),
    }
    assert crowds["1"].map50 == 1.0
    assert sum(part.support for part in found.slices["sharpness"].values()) == 4


def test_intervals_hold_the_figure_and_come_from_the_seed(
    voc: tuple[Path, Path], found: Evaluation
) -> None:
    span = found.intervals["mean"]["map50"]
    assert span is not None
    assert found.map50 is not None
    assert 0 <= span[0] < found.map50 < span[1] <= 1
    again = evaluate(images=voc[0], labels=voc[1], model=flawed(), project=None)
    other = evaluate(images=voc[0], labels=voc[1], model=flawed(), seed=1, project=None)
    assert again.resampled == found.resampled != other.resampled


def test_confidence_decides_precision_and_recall_but_not_average_precision(
    voc: tuple[Path, Path], found: Evaluation
) -> None:
    confident = evaluate(images=voc[0], labels=voc[1], model=flawed(), conf=0.75, project=None)
    assert (
        confident.report.classes["with_mask"].precision,
        confident.report.classes["without_mask"].recall,
    ) == (1.0, 0.0)
    assert confident.map50 == found.map50


def test_what_the_run_leaves(found: Evaluation, tmp_path: Path) -> None:
    assert found.folder == tmp_path / "runs" / "val"
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "args.yaml",
        "predictions.jsonl",
        "report.html",
        "report.json",
        "report.txt",
    ]
    records = [
        json.loads(line) for line in (found.folder / "predictions.jsonl").read_text().splitlines()
    ]
    assert [Path(record["source"]).stem for record in records] == [f"p{gray}" for gray in TRUTH]
    assert sum(len(record["detections"]) for record in records) == 5
    content = json.loads((found.folder / "report.json").read_text())
    assert content["map50"] == found.map50
    assert content["confusion"]["counts"][1] == [0, 1, 1]
    assert content["classes"]["with_mask"]["support"] == 2
    html = (found.folder / "report.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "http" not in html.replace("http-equiv", "")
    assert yaml.safe_load((found.folder / "args.yaml").read_text())["conf"] == 0.25


def test_the_page_says_what_was_measured_and_how_sure_it_is(found: Evaluation) -> None:
    made = replace(
        found, provenance={"date": "2020-01-02", "packages": {"numpy": "2.3"}, "commit": None}
    )
    html = "".join(
        [header([made], {"Model": "runs/best.onnx"}, made.provenance), main_figures(made)]
    )
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert facts == {
        "Model": "runs/best.onnx",
        "Images": "4",
        "Labeled faces": "4 (2 with_mask, 2 without_mask)",
        "Ignored boxes": "1",
        "Thresholds": "confidence 0.25, IoU with the label 0.5",
        "Version": f"maskyolo {importlib.metadata.version('maskyolo')}",
        "date": "2020-01-02",
        "packages": "numpy 2.3",
    }
    assert made.json()["provenance"]["packages"] == {"numpy": "2.3"}
    assert "provenance" not in replace(found, provenance={}).json()
    low, high = found.intervals["mean"]["map50"] or (0, 0)
    assert f"mAP50<b>{found.map50:.3f}</b><small>{low:.3f}–{high:.3f}</small>" in html  # noqa: RUF001


def test_the_confusion_has_counts_and_shares(found: Evaluation) -> None:
    assert found.folder
    html = (found.folder / "report.html").read_text()
    section = html.partition("<h2>Confusion")[2].partition("<h2>")[0]
    rows = [
        re.findall(r"<td[^>]*>([^<]*)<small>(.*?)</small>", row)
        for row in section.split("<tr>")[2:]
    ]
    assert rows == [
        [("with_mask", "2 labeled"), ("1", "50.0%"), ("1", "50.0%"), ("0", "0.0%")],
        [("without_mask", "2 labeled"), ("0", "0.0%"), ("1", "50.0%"), ("1", "50.0%")],
        [("1", "50.0%"), ("0", "0.0%")],  # one of two detections of with_mask
    ]
    assert "Of 2 faces labeled with_mask, 1 (50.0%) are found in their class, 1 (50.0%)" in section


def test_slices_and_average_precision_have_intervals(found: Evaluation) -> None:
    large = found.slices["size"][">96"]
    assert set(large.intervals) == {"found", "right", "map50"}
    for metric, span in large.intervals.items():
        value = getattr(large, metric)
        assert span is not None
        assert 0 <= span[0] < value < span[1] <= 1
    assert found.slices["size"]["<16"].intervals == dict.fromkeys(("found", "right", "map50"))
    span = found.intervals["mean"]["map50_95"]
    assert span is not None
    assert found.map50_95 is not None
    assert span[0] < found.map50_95 < span[1]
    assert found.folder
    content = json.loads((found.folder / "report.json").read_text())
    assert content["intervals"]["mean"]["map50_95"] == list(span)
    assert content["slices"]["size"][">96"]["intervals"]["found"] == list(
        large.intervals["found"] or ()
    )


@pytest.mark.parametrize(
    "names",
    [
        (*CLASS_NAMES, "face_on_a_poster"),
        ("face_on_a_poster", "without_mask", "with_mask"),
    ],
)
def test_a_yolo_set_gives_the_same_whatever_the_order_of_its_classes(
    names: tuple[str, ...], found: Evaluation, tmp_path: Path, voc: tuple[Path, Path]
) -> None:
    same = evaluate(data=make_yolo(tmp_path / "set", names), model=flawed(), project=None)
    assert same.json()["classes"] == found.json()["classes"]
    assert same.confusion.tolist() == found.confusion.tolist()
    assert same.ignored == 1


def test_the_list_chooses_by_name_or_path(voc: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("elsewhere/p20.png\np10.png\n\np20.png\n")
    images, _ = find_images(images=voc[0], labels=voc[1], image_list=tmp_path / "list.txt")
    assert [image.path.name for image in images] == ["p20.png", "p10.png"]


def test_an_unreadable_image_is_reported_and_left_out(
    voc: tuple[Path, Path], tmp_path: Path
) -> None:
    (voc[0] / "p10.png").write_bytes(b"not an image")
    reported: list[str] = []
    found = evaluate(
        images=voc[0],
        labels=voc[1],
        model=perfect(),
        project=tmp_path / "runs",
        on_error=lambda source, error: reported.append(source),
    )
    assert reported == list(found.unreadable) == [str(voc[0] / "p10.png")]
    assert (found.report.images, found.face.support) == (3, 3)
    assert found.folder
    assert '"error"' in (found.folder / "predictions.jsonl").read_text().splitlines()[0]


def test_without_a_readable_labeled_image_there_is_no_score(tmp_path: Path) -> None:
    images, labels = make_voc(tmp_path)
    for gray in (10, 20, 30):
        (images / f"p{gray}.png").write_bytes(b"not an image")
    found = evaluate(
        images=images,
        labels=labels,
        model=perfect(),
        project=tmp_path / "runs",
        on_error=lambda *_: None,
    )
    assert (found.map50, found.report.images, len(found.unreadable)) == (None, 1, 3)


@pytest.mark.parametrize("value", ["nan", "1e400", "70"])
def test_a_box_without_area_is_an_error_and_not_a_face_that_nobody_can_find(
    voc: tuple[Path, Path], value: str
) -> None:
    file = voc[1] / "p10.xml"
    file.write_text(file.read_text().replace("<xmin>20<", f"<xmin>{value}<"))
    with pytest.raises(DatasetError, match=r"p10\.xml: with_mask has the box"):
        find_images(images=voc[0], labels=voc[1])


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_folder_whose_name_is_no_unicode_has_a_report(tmp_path: Path) -> None:
    folder = Path(str(tmp_path) + "/d\udcff")
    folder.mkdir()
    images, labels = make_voc(folder)
    found = evaluate(images=images, labels=labels, model=perfect(), project=tmp_path / "runs")
    assert found.folder
    assert r"d\udcff" in (found.folder / "report.txt").read_text(encoding="utf-8")


def test_usual_spellings_of_the_classes_are_understood(
    found: Evaluation, tmp_path: Path, voc: tuple[Path, Path]
) -> None:
    for path in voc[1].iterdir():
        path.write_text(
            path.read_text().replace(">with_mask<", ">Mask<").replace(">without_mask<", ">no-mask<")
        )
    same = evaluate(images=voc[0], labels=voc[1], model=flawed(), project=None)
    assert (same.json()["classes"], same.ignored) == (found.json()["classes"], 1)


def remove_label(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").unlink()


def truncate_xml(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").write_text("<annotation><object>")


def write_a_word_for_a_number(folder: Path) -> None:
    path = folder / "annotations" / "p20.xml"
    path.write_text(path.read_text().replace("<xmin>20</xmin>", "<xmin>left</xmin>", 1))


def rename_classes(folder: Path) -> None:
    for path in (folder / "annotations").iterdir():
        path.write_text(path.read_text().replace("mask<", "hat<"))


def use_unknown_class(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").unlink()
    (folder / "annotations" / "p20.txt").write_text("3 0.5 0.5 0.1 0.1\n")


def write_no_text(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").unlink()
    (folder / "annotations" / "p20.txt").write_bytes(b"\xff\xfe")


def make_label_a_folder(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").unlink()
    (folder / "annotations" / "p20.xml").mkdir()


def flip_box(folder: Path) -> None:
    path = folder / "annotations" / "p20.xml"
    path.write_text(path.read_text().replace("<xmin>20</xmin>", "<xmin>70</xmin>", 1))


def remove_images(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "problem", "remedy"),
    [
        (
            remove_label,
            "no labels for 1 of 4 images in annotations: the first is p20.png, with neither",
            "add an empty .txt for an image without faces, or leave images out with --list",
        ),
        (truncate_xml, "annotations/p20.xml", ""),
        (write_a_word_for_a_number, "annotations/p20.xml: object 1", ""),
        (
            rename_classes,
            "no with_mask or without_mask box in the labels of any of the 4 images of images",
            "check the labels; `maskyolo convert` converts sets with other class names",
        ),
        (use_unknown_class, "p20.txt, line 1: class 3 is not one of 0 to 2", ""),
        (
            write_no_text,
            "cannot read labels annotations/p20.txt: line 1: not UTF-8",
            "check the file",
        ),
        (make_label_a_folder, "cannot read labels annotations/p20.xml: [Errno", "check the file"),
        (
            flip_box,
            "cannot read labels annotations/p20.xml: with_mask has the box 70, 20, 60, 70",
            "correct the file",
        ),
        (remove_images, "no images in images", "check the path"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_unusable_labels_are_an_error_before_anything_runs(
    spoil: Callable[[Path], None],
    problem: str,
    remedy: str,
    voc: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DatasetError) as caught:
        evaluate(images="images", labels="annotations", model=perfect(), project="runs")
    assert problem in caught.value.problem
    assert caught.value.remedy == (remedy or caught.value.remedy)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


NEITHER = (
    "no labeled images",
    "give either a data set with --data, or images with --images and their boxes with --labels",
)


@pytest.mark.parametrize(
    ("settings", "problem", "remedy"),
    [
        ({}, *NEITHER),
        ({"images": "images"}, *NEITHER),
        ({"labels": "annotations"}, *NEITHER),
        ({"data": "set", "labels": "annotations"}, *NEITHER),
        ({"data": "set", "images": "images", "labels": "annotations"}, *NEITHER),
        ({"images": "gone", "labels": "annotations"}, "no folder gone", "check the path"),
        ({"images": "images", "labels": "gone"}, "no folder gone", "check the path"),
        (
            {"images": "images", "labels": "annotations", "image_list": "wrong.txt"},
            "wrong.txt lists 2 images missing from images: the first is p98.png",
            "correct the list",
        ),
        (
            {"images": "images", "labels": "annotations", "image_list": "empty.txt"},
            "the list empty.txt is empty",
            "write one image name per line",
        ),
    ],
)
def test_inputs_that_do_not_go_together_are_named_with_a_remedy(
    settings: dict[str, str],
    problem: str,
    remedy: str,
    voc: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_yolo(tmp_path / "set")
    Path("wrong.txt").write_text("p10.png\np98.png\np99.png\n")
    Path("empty.txt").write_text("\n")
    with pytest.raises(DatasetError) as caught:
        evaluate(**settings, model=perfect(), project="runs")  # type: ignore[arg-type]
    assert (caught.value.problem, caught.value.remedy) == (problem, remedy)
    assert not Path("runs").exists()


def test_a_set_without_any_label_file_is_an_error(tmp_path: Path) -> None:
    data = make_yolo(tmp_path / "set")
    for path in (tmp_path / "set" / "labels" / "val").iterdir():
        path.unlink()
    with pytest.raises(DatasetError) as caught:
        find_images(data=data)
    first = tmp_path / "set" / "labels" / "val" / "p10.txt"
    assert caught.value.problem == (
        f"no labels for any of the 4 images of {data}: {first} would be the first"
    )
    assert caught.value.remedy == "check the data set"


def test_a_set_of_other_classes_is_an_error(tmp_path: Path) -> None:
    data = make_yolo(tmp_path / "set")
    names = "names: [helmet, vest, cap]\n"
    data.write_text(data.read_text().partition("names:")[0] + names)
    with pytest.raises(DatasetError) as caught:
        find_images(data=data)
    assert caught.value.problem == f"{data} has the classes cap, helmet, vest"
    assert caught.value.remedy.startswith("give a data set with the classes with_mask and without_")


def test_images_of_which_none_can_be_read_are_an_error(
    voc: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in voc[0].iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(DatasetError) as caught:
        evaluate(
            images=voc[0],
            labels=voc[1],
            model=perfect(),
            project=None,
            on_error=lambda *_: None,
        )
    assert caught.value.problem == (
        f"none of the 4 images can be read; the first is {voc[0] / 'p10.png'}"
    )
    assert caught.value.remedy == "check the files"


def test_an_unreadable_image_is_logged_if_nobody_listens(
    voc: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (voc[0] / "p10.png").write_bytes(b"not an image")
    evaluate(images=voc[0], labels=voc[1], model=perfect(), project=None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "p10.png" in caplog.text


LABELED = ["--images", "images", "--labels", "annotations"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 1, "no labeled images"),
        (["--images", "images"], 1, "no labeled images"),
        ([*LABELED, "--data", "set"], 1, "no labeled images"),
        (["--images", "gone", "--labels", "annotations"], 1, "no folder gone"),
        ([*LABELED, "--list", "gone.txt"], 1, "cannot read list gone.txt"),
        ([*LABELED, "--list", "wrong.txt"], 1, "wrong.txt lists 1 image missing from images"),
        ([*LABELED, "--list", "empty.txt"], 1, "the list empty.txt is empty"),
        ([*LABELED, "--model", "gone"], 1, "no model 'gone'"),
        ([*LABELED, "--detector", "haar"], 1, "--detector has no effect with --pipeline yolo"),
        (["--data", "gone"], 1, "no data set at gone"),
        ([*LABELED, "--pipeline", "three-stage"], 2, "'three-stage'"),
        ([*LABELED, "--conf", "1.5"], 2, "Invalid value for '--conf'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_error_is_one_line_and_leaves_nothing(
    words: list[str],
    code: int,
    message: str,
    voc: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.txt").write_text("p10.png\np99.png\n")
    Path("empty.txt").write_text("\n")
    assert call(*words) == code
    err = capfd.readouterr().err
    assert message in err
    if code == 1:
        assert err.startswith("maskyolo: ")
        assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_confidence_out_of_range_is_an_error(voc: tuple[Path, Path]) -> None:
    with pytest.raises(MaskyoloError, match=r"^conf must be between 0 and 1, got 1\.5"):
        evaluate(images=voc[0], labels=voc[1], model=perfect(), conf=1.5, project=None)


def test_options_come_as_an_object_as_keywords_or_both(
    voc: tuple[Path, Path], found: Evaluation
) -> None:
    options = EvaluateOptions(images=voc[0], labels=voc[1], conf=0.75, project=None)
    confident = evaluate(model=flawed(), options=options)
    assert confident.report.confidence == 0.75
    again = evaluate(model=flawed(), options=options, conf=0.25)
    assert replace(again, provenance={}).json() == replace(found, provenance={}).json()
    with pytest.raises(TypeError, match="unexpected keyword argument 'confidence'"):
        evaluate(model=flawed(), options=options, confidence=0.5)


def test_the_options_reach_the_detector_and_args_yaml(
    voc: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[InferenceOptions] = []

    def load(model: str, options: InferenceOptions, **settings: Any) -> Stub:
        assert model == "mobilenet_v2"
        loaded.append(replace(options, **settings))
        return perfect()

    monkeypatch.setattr("maskyolo.evaluation.evaluation.load_detector", load)
    given = {"pipeline": "two-stage", "detector": "yunet", "device": "cpu", "max_det": 7}
    where = {"images": voc[0], "labels": voc[1]}
    result = evaluate(**where, **given, conf=0.4, trust=True, project=tmp_path)  # type: ignore[arg-type]
    assert loaded == [InferenceOptions(**given, conf=AP_FLOOR, face_conf=FACE_FLOOR, trust=True)]
    assert result.folder
    args = yaml.safe_load((result.folder / "args.yaml").read_text())
    assert args.items() >= (given | {"conf": 0.4, "model": "mobilenet_v2", "split": None}).items()
    assert args["images"] == str(voc[0])
    assert not {"trust", "project", "name", "exist_ok"} & args.keys()


def test_the_command_prints_the_report_and_the_folder_last(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--images",
        samples,
        "--labels",
        samples / "annotations",
        "--imgsz",
        "320",
        "--project",
        tmp_path,
    ]
    assert call(*words) == 0
    out, err = capsys.readouterr()
    out = out.splitlines()
    network, warning = err.splitlines()
    assert re.fullmatch(r"OpenVINO CPU (fp32|bf16|int8), 320 px", network)
    assert warning.startswith("maskyolo: 7 of 8 images are near-copies of photos that maskyolo-n")
    assert out[-1] == str(tmp_path / "val")
    assert out[-2] == f"next: maskyolo detect --source {samples}"
    assert out[-3] == f"report: {tmp_path / 'val' / 'report.html'}"
    written, _, made = (tmp_path / "val" / "report.txt").read_text().rpartition("\n\n")
    assert out[:-3] == [*written.splitlines(), ""]
    assert re.search(r"\nmodel: file .*maskyolo-n.onnx, sha256 [0-9a-f]{64}, backend ", made)
    content = json.loads((tmp_path / "val" / "report.json").read_text())
    assert content["images"] == 8
    assert content["classes"]["with_mask"]["map50"] > 0.5
    same = evaluate(images=samples, labels=samples / "annotations", imgsz=320, project=None)
    assert json.loads(json.dumps(same.json())) | {"provenance": 0} == content | {"provenance": 0}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "a set", "model": "my.onnx"}, "review open --data 'a set' --model my.onnx"),
        ({"data": "set", "pipeline": "two-stage"}, "review open --data set --pipeline two-stage"),
        (
            {"images": "faces", "pipeline": "two-stage", "model": "my.onnx"},
            "detect --source faces --pipeline two-stage --model my.onnx",
        ),
    ],
)
def test_the_next_command_uses_the_same_data_and_model(
    settings: dict[str, Any], words: str
) -> None:
    assert val._next(EvaluateOptions(**settings)) == f"maskyolo {words}"


def test_val_runs_without_pytorch(samples: Path, tmp_path: Path) -> None:
    labels = samples / "annotations"
    code = (
        "import sys; sys.modules['torch'] = sys.modules['matplotlib'] = None; "
        "from maskyolo.cli import main; "
        f"main(['val', '--images', {str(samples)!r}, '--labels', {str(labels)!r}, "
        f"'--imgsz', '160', '--project', {str(tmp_path)!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_boxes_are_those_of_the_lines_of_json(voc: tuple[Path, Path], tmp_path: Path) -> None:
    """They are rounded there; scores of the rounded ones can be recomputed from the file."""
    found = evaluate(images=voc[0], labels=voc[1], model=flawed(), project=tmp_path / "runs")
    assert found.folder
    record = json.loads((found.folder / "predictions.jsonl").read_text().splitlines()[0])
    assert found.cases[0].found.tolist() == [record["detections"][0]["box"]]
    assert found.cases[0].confidence.dtype == np.float64
