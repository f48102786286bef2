"""`maskyolo val` and its library, on pictures whose faces are known and detectors whose answers are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from stubs import TRUTH, flawed, make_voc, make_yolo, perfect

from maskyolo.cli import main
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.errors import DatasetError, MaskyoloError
from maskyolo.evaluate import Evaluation, evaluate, find_images


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
    assert (with_mask.precision, with_mask.recall) == (
        0.5,
        0.5,
    )  # one right, one missed, one where nothing is
    assert with_mask.map50 == pytest.approx(51 / 101)  # precision 1 up to recall 0.5
    assert (without_mask.precision, without_mask.recall) == (0.5, 0.5)
    assert without_mask.map50 == pytest.approx(51 / 101 * 0.5)  # a face with a mask was surer
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
    sure = evaluate(images=voc[0], labels=voc[1], model=flawed(), conf=0.75, project=None)
    assert (
        sure.report.classes["with_mask"].precision,
        sure.report.classes["without_mask"].recall,
    ) == (1.0, 0.0)
    assert sure.map50 == found.map50


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
    assert [Path(record["source"]).stem for record in records] == [f"p{grey}" for grey in TRUTH]
    assert sum(len(record["detections"]) for record in records) == 5
    content = json.loads((found.folder / "report.json").read_text())
    assert content["map50"] == found.map50
    assert content["confusion"]["counts"][1] == [0, 1, 1]
    assert content["classes"]["with_mask"]["support"] == 2
    html = (found.folder / "report.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "http" not in html.replace("http-equiv", "")
    assert yaml.safe_load((found.folder / "args.yaml").read_text())["conf"] == 0.25


@pytest.mark.parametrize(
    "names",
    [
        (*CLASS_NAMES, "mask_weared_incorrect"),
        ("mask_weared_incorrect", "without_mask", "with_mask"),
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
    pictures, _ = find_images(images=voc[0], labels=voc[1], image_list=tmp_path / "list.txt")
    assert [picture.path.name for picture in pictures] == ["p20.png", "p10.png"]


def test_a_bad_picture_is_told_and_left_out(voc: tuple[Path, Path], tmp_path: Path) -> None:
    (voc[0] / "p10.png").write_bytes(b"no picture")
    told: list[str] = []
    found = evaluate(
        images=voc[0],
        labels=voc[1],
        model=perfect(),
        project=tmp_path / "runs",
        on_error=lambda source, error: told.append(source),
    )
    assert told == list(found.unreadable) == [str(voc[0] / "p10.png")]
    assert (found.report.images, found.face.support) == (3, 3)
    assert found.folder
    assert '"error"' in (found.folder / "predictions.jsonl").read_text().splitlines()[0]


def test_no_labelled_picture_that_can_be_read_leaves_no_figure(tmp_path: Path) -> None:
    images, labels = make_voc(tmp_path)
    for grey in (10, 20, 30):
        (images / f"p{grey}.png").write_bytes(b"no picture")
    found = evaluate(
        images=images,
        labels=labels,
        model=perfect(),
        project=tmp_path / "runs",
        on_error=lambda *_: None,
    )
    assert (found.map50, found.report.images, len(found.unreadable)) == (None, 1, 3)


@pytest.mark.parametrize("value", ["nan", "1e400", "70"])
def test_a_box_without_area_is_an_error_and_not_a_face_that_nobody_finds(
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


def spoil_labels(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").unlink()


def spoil_xml(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").write_text("<annotation><object>")


def spoil_number(folder: Path) -> None:
    path = folder / "annotations" / "p20.xml"
    path.write_text(path.read_text().replace("<xmin>20</xmin>", "<xmin>left</xmin>", 1))


def spoil_names(folder: Path) -> None:
    for path in (folder / "annotations").iterdir():
        path.write_text(path.read_text().replace("mask<", "hat<"))


def spoil_class(folder: Path) -> None:
    (folder / "annotations" / "p20.xml").unlink()
    (folder / "annotations" / "p20.txt").write_text("2 0.5 0.5 0.1 0.1\n")


def spoil_pictures(folder: Path) -> None:
    for path in (folder / "pictures").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            spoil_labels,
            r"no labels for 1 of 4 pictures .*p20.png, with neither p20.xml nor p20.txt",
        ),
        (spoil_xml, r"cannot read labels .*p20.xml: .*correct the file"),
        (spoil_number, r"cannot read labels .*p20.xml: .*left.*correct the file"),
        (spoil_names, r"no box of with_mask or without_mask in the labels of all 4 pictures"),
        (spoil_class, r"p20.txt, line 1: class 2 is not one of 0 to 1"),
        (spoil_pictures, r"no pictures in .*pictures"),
    ],
)
def test_labels_that_cannot_be_used_are_an_error_before_anything_runs(
    spoil: Callable[[Path], None], told: str, voc: tuple[Path, Path], tmp_path: Path
) -> None:
    spoil(tmp_path)
    with pytest.raises(DatasetError, match=told) as caught:
        evaluate(images=voc[0], labels=voc[1], model=perfect(), project=tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_set_without_any_label_file_is_an_error(tmp_path: Path) -> None:
    data = make_yolo(tmp_path / "set")
    for path in (tmp_path / "set" / "labels" / "val").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="no labels for any of the 4 pictures"):
        find_images(data=data)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--images", "pictures"],
        ["--images", "pictures", "--labels", "annotations", "--data", "set"],
        ["--images", "gone", "--labels", "annotations"],
        ["--images", "pictures", "--labels", "annotations", "--list", "gone.txt"],
        ["--images", "pictures", "--labels", "annotations", "--list", "wrong.txt"],
        ["--images", "pictures", "--labels", "annotations", "--list", "empty.txt"],
        ["--images", "pictures", "--labels", "annotations", "--model", "gone"],
        ["--images", "pictures", "--labels", "annotations", "--pipeline", "three-stage"],
        ["--images", "pictures", "--labels", "annotations", "--detector", "haar"],
        ["--data", "gone"],
    ],
    ids=" ".join,
)
def test_a_users_error_is_one_line_and_exit_one(
    words: list[str],
    voc: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.txt").write_text("p10.png\np99.png\n")
    Path("empty.txt").write_text("\n")
    assert call(*words) == 1
    err = capfd.readouterr().err
    assert err.startswith("maskyolo: ")
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_confidence_out_of_range_is_an_error(voc: tuple[Path, Path]) -> None:
    with pytest.raises(MaskyoloError, match=r"conf 1\.5"):
        evaluate(images=voc[0], labels=voc[1], model=perfect(), conf=1.5, project=None)


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
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == str(tmp_path / "val")
    assert out[:-1] == [*(tmp_path / "val" / "report.txt").read_text().splitlines(), ""]
    content = json.loads((tmp_path / "val" / "report.json").read_text())
    assert content["images"] == 8
    assert content["classes"]["with_mask"]["map50"] > 0.5
    same = evaluate(images=samples, labels=samples / "annotations", imgsz=320, project=None)
    assert json.loads(json.dumps(same.json())) == content


def test_val_runs_without_pytorch(samples: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['matplotlib'] = None; from maskyolo.cli import main; "
        f"main(['val', '--images', {str(samples)!r}, '--labels', {str(samples / 'annotations')!r}, '--imgsz', '160', "
        f"'--project', {str(tmp_path)!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_boxes_are_those_of_the_lines_of_json(voc: tuple[Path, Path], tmp_path: Path) -> None:
    """Rounded to hundredths there; the figures are of the rounded ones, so that anybody comes to the same."""
    found = evaluate(images=voc[0], labels=voc[1], model=flawed(), project=tmp_path / "runs")
    assert found.folder
    record = json.loads((found.folder / "predictions.jsonl").read_text().splitlines()[0])
    assert found.cases[0].found.tolist() == [record["detections"][0]["box"]]
    assert found.cases[0].confidence.dtype == np.float64
