"""`maskyolo compare` and its library, with detectors of known answers and with our own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from clips import make_clip, probe
from paths import ROOT
from stubs import TRUTH, Stub, flawed, make_voc, perfect

from maskyolo.cli import compare as cli_compare
from maskyolo.cli import main
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.evaluation.comparison import compare
from maskyolo.evaluation.comparison_result import Comparison
from maskyolo.evaluation.contestants import Contestant, parse_contestants
from maskyolo.evaluation.differences import Difference
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.evaluation.measure import AP_FLOOR, FACE_FLOOR
from maskyolo.evaluation.speed import COUNTS, Laps


def call(*words: str | Path) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["compare", *map(str, words)])
    return int(end.value.code or 0)


@pytest.fixture
def voc(tmp_path: Path) -> tuple[Path, Path]:
    return make_voc(tmp_path)


@pytest.fixture
def compared(voc: tuple[Path, Path], tmp_path: Path) -> Comparison:
    detectors = {"flawed": flawed(), "perfect": perfect()}
    return compare(detectors, images=voc[0], labels=voc[1], rounds=1, project=tmp_path / "runs")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("yolo", ("yolo", "maskyolo-n", None)),
        ("two-stage", ("two-stage", "mobilenet_v2", None)),
        ("maskyolo-n", ("yolo", "maskyolo-n", None)),
        ("yolo:runs/best.onnx", ("yolo", "runs/best.onnx", None)),
        ("two-stage:seed.onnx", ("two-stage", "seed.onnx", None)),
        ("two-stage:seed.onnx@yunet", ("two-stage", "seed.onnx", "yunet")),
        ("two-stage:@haar", ("two-stage", "mobilenet_v2", "haar")),
        ("two-stage@haar", ("two-stage", "mobilenet_v2", "haar")),
        ("C:\\models\\a@b.onnx", ("yolo", "C:\\models\\a@b.onnx", None)),
    ],
)
def test_a_contestant_is_parsed(text: str, parsed: tuple[str, str, str | None]) -> None:
    one = Contestant.parse(text)
    assert (one.pipeline, one.model, one.detector) == parsed


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        (
            "",
            "cannot compare '': no model is named",
            "write for example maskyolo-n or two-stage:mobilenet_v2",
        ),
        (
            "maskyolo-n@yunet",
            "cannot compare 'maskyolo-n@yunet': yolo has no face detector",
            "write two-stage:maskyolo-n@yunet",
        ),
    ],
)
def test_a_contestant_that_cannot_be_parsed(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(MaskyoloError) as caught:
        Contestant.parse(text)
    assert (caught.value.problem, caught.value.remedy) == (problem, remedy)


def test_each_has_the_figures_of_val(compared: Comparison, voc: tuple[Path, Path]) -> None:
    for name, detector in (("flawed", flawed()), ("perfect", perfect())):
        alone = evaluate(images=voc[0], labels=voc[1], model=detector, project=None)
        assert compared.evaluations[name].json() | {"model": ""} == (
            replace(alone, provenance={}).json() | {"model": ""}
        )


def test_the_difference_is_paired_over_the_images(compared: Comparison) -> None:
    found = compared.differences["perfect"]["map50"]
    value, span = found.difference, found.interval
    assert value == pytest.approx(1 - 51 / 101 * 0.75)
    assert span is not None
    assert 0 <= span[0] < value < span[1] <= 1
    pairs = zip(
        compared.evaluations["perfect"].resampled["map50"],
        compared.evaluations["flawed"].resampled["map50"],
        strict=True,
    )
    gains = [a - b for a, b in pairs if a is not None and b is not None]
    assert span == pytest.approx(tuple(np.percentile(gains, [2.5, 97.5])))


def test_a_difference_that_no_resample_reverses_is_reported_as_one(
    voc: tuple[Path, Path], tmp_path: Path
) -> None:
    better = compare(
        {"blind": Stub({}), "perfect": perfect()},
        images=voc[0],
        labels=voc[1],
        rounds=0,
        project=tmp_path / "runs",
    )
    assert better.in_words() == [
        "perfect is better than blind: mAP50 +1.000 (95 % interval +1.000 to +1.000, p = 0.002)."
    ]
    worse = compare(
        {"perfect": perfect(), "blind": Stub({})},
        images=voc[0],
        labels=voc[1],
        rounds=0,
        project=tmp_path / "runs",
    )
    assert worse.in_words() == [
        "blind is worse than perfect: mAP50 -1.000 (95 % interval -1.000 to -1.000, p = 0.002)."
    ]


def test_two_equal_ones_cannot_be_told_apart(voc: tuple[Path, Path], tmp_path: Path) -> None:
    same = compare(
        [flawed(), flawed()], images=voc[0], labels=voc[1], rounds=0, project=tmp_path / "runs"
    )
    assert same.names == ("Stub 1", "Stub 2")
    assert same.differences["Stub 2"]["map50"] == Difference(0.0, (0.0, 0.0), 1.0)
    assert same.in_words() == [
        "Stub 2 and Stub 1 cannot be told apart by mAP50 on these images (+0.000, p = 1)."
    ]
    assert same.speed == {}
    assert "Nowhere." in (tmp_path / "runs" / "compare" / "report.html").read_text()


def test_what_the_run_leaves(compared: Comparison) -> None:
    folder = compared.folder
    assert folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "args.yaml",
        "predictions",
        "report.html",
        "report.json",
        "report.txt",
        "table.csv",
        "table.tex",
    ]
    for name in compared.names:
        lines = (folder / "predictions" / f"{name}.jsonl").read_text().splitlines()
        assert len(lines) == len(TRUTH)
    content = json.loads((folder / "report.json").read_text())
    assert content["evaluations"]["flawed"]["map50"] == compared.evaluations["flawed"].map50
    assert set(content["speed"]["perfect"]) == {"1", "2", "5", "10", "20", "40"}
    # they are loaded in this process, not in one of their own
    assert content["memory"] == {"flawed": None, "perfect": None}


def test_the_page_holds_everything_itself(compared: Comparison) -> None:
    assert compared.folder
    html = (compared.folder / "report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []
    assert "http" not in html
    assert html.count("<svg") == 3 + 3 + 3 + 3 + 1  # by class, two curves, slices, speed
    differing = {gray for gray in TRUTH if f"p{gray}.png, " in html}
    assert differing == {20, 40}  # on p30 one lies on an ignored box, which is no error
    assert html.count('src="data:image/jpeg;base64,') == 2 * len(differing)
    assert "flawed: 1 error<" in html


def test_names_are_escaped_and_files_have_safe_names(
    voc: tuple[Path, Path], tmp_path: Path
) -> None:
    wild = compare(
        {"<b>a/../b": perfect(), "plain": flawed()},
        images=voc[0],
        labels=voc[1],
        rounds=0,
        project=tmp_path / "runs",
    )
    assert wild.folder
    assert "<b>a" not in (wild.folder / "report.html").read_text()
    assert sorted(path.name for path in (wild.folder / "predictions").iterdir()) == [
        "b_a_.._b.jsonl",
        "plain.jsonl",
    ]


def test_a_video_alone_gives_speed_and_a_video_side_by_side(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=6, size=(64, 48))
    finder = Stub({gray: [("with_mask", 20, 15, 32, 27, 0.9)] for gray in range(256)})
    seen: list[tuple[str, int, int | None]] = []
    both = compare(
        {"finder": finder, "blind": Stub({})},
        source=clip,
        rounds=1,
        project=tmp_path / "runs",
        on_progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert both.evaluations == both.differences == {}
    assert {name: row["faces"] for name, row in both.video.items()} == {"finder": 1.0, "blind": 0.0}
    assert list(both.speed) == ["finder", "blind"]
    assert both.video_file == tmp_path / "runs" / "compare" / "clip.mp4"
    assert probe(both.video_file) == (6, 25, (128, 76))
    assert ("frames", 6, 6) in seen
    assert "clip.mp4" in (tmp_path / "runs" / "compare" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--images", "images", "--labels", "annotations", "--model", "maskyolo-n"],
            "cannot compare 1 model",
        ),
        (
            [
                "--images",
                "images",
                "--labels",
                "annotations",
                "--model",
                "maskyolo-n",
                "--model",
                "yolo",
            ],
            "given twice",
        ),
        (["--model", "yolo", "--model", "two-stage"], "nothing to compare on"),
        (
            ["--images", "images", "--model", "yolo", "--model", "two-stage"],
            "no labeled images",
        ),
        (
            [
                "--images",
                "images",
                "--labels",
                "annotations",
                "--model",
                "yolo",
                "--model",
                "gone.onnx",
            ],
            "no model 'gone.onnx'",
        ),
        (
            ["--source", "images/p10.png", "--model", "yolo", "--model", "two-stage"],
            "not a video",
        ),
        (["--source", "0", "--model", "yolo", "--model", "two-stage"], "not a video"),
        (["--source", "gone.mp4", "--model", "yolo", "--model", "two-stage"], "no source"),
        (
            ["--images", "images", "--labels", "annotations", "--list", "wrong.txt"],
            "lists 1 image missing from",
        ),
        (
            [
                "--images",
                "images",
                "--labels",
                "annotations",
                "--model",
                "two-stage",
                "--model",
                "two-stage@haar",
                "--imgsz",
                "320",
            ],
            "--imgsz has no effect with --pipeline two-stage",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_error_is_one_line_and_exit_one(
    words: list[str],
    message: str,
    voc: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.txt").write_text("p99.png\n")
    assert call(*words) == 1
    err = capfd.readouterr().err
    assert err.startswith("maskyolo: ")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_each_detector_has_a_file_of_its_own(voc: tuple[Path, Path], tmp_path: Path) -> None:
    detectors = {"a b": flawed(), "a_b": perfect(), "A b": perfect(), "a_b_2": perfect()}
    compare(detectors, images=voc[0], labels=voc[1], rounds=0, project=tmp_path / "runs")
    found = {
        path.name: path.read_text()
        for path in (tmp_path / "runs" / "compare" / "predictions").iterdir()
    }
    assert sorted(found) == ["A_b_3.jsonl", "a_b.jsonl", "a_b_2.jsonl", "a_b_2_2.jsonl"]
    assert found["a_b.jsonl"] != found["a_b_2.jsonl"]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Load stubs in place of models: `flawed` for one stage, `perfect` for two; note how."""
    loads: list[dict[str, Any]] = []

    def load(**settings: Any) -> Stub:
        loads.append(settings)
        return perfect() if settings["pipeline"] == "two-stage" else flawed()

    monkeypatch.setattr("maskyolo.evaluation.contestants.load_detector", load)
    return loads


def test_size_and_overlap_reach_one_stage_only(
    loads: list[dict[str, Any]], voc: tuple[Path, Path], tmp_path: Path
) -> None:
    shared = {"max_det": 7, "device": "cpu", "trust": True, "threads": 1, "incorrect": False}
    settings = {**shared, "imgsz": 64, "iou": 0.4, "class_map": {"mask": "with_mask"}}
    compare(
        ["yolo", "two-stage@haar"],
        images=voc[0],
        labels=voc[1],
        rounds=0,
        project=tmp_path,
        **settings,
    )
    yolo = {"model": "maskyolo-n", "pipeline": "yolo", "detector": None, "face_conf": None}
    two_stage = {"model": "mobilenet_v2", "pipeline": "two-stage", "detector": "haar"}
    assert loads == [
        {**yolo, **settings, "conf": 0.25},
        {**two_stage, **shared, "conf": 0.25, "face_conf": None},
        {**yolo, **settings, "conf": AP_FLOOR},
        {**two_stage, **shared, "conf": AP_FLOOR, "face_conf": FACE_FLOOR},
    ]
    args = yaml.safe_load((tmp_path / "compare" / "args.yaml").read_text())
    assert (args["iou"], args["max_det"], args["device"], args["split"]) == (0.4, 7, "cpu", None)


def test_the_size_that_was_used_is_recorded(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("portrait.jpg\n")
    found = compare(
        ["two-stage", "yolo"],
        images=samples,
        labels=samples / "annotations",
        image_list=tmp_path / "list.txt",
        imgsz=64,
        iou=0.4,
        rounds=0,
        project=tmp_path,
    )
    assert [found.evaluations[name].face.support for name in found.names] == [1, 1]
    assert found.names == ("two-stage:mobilenet_v2", "maskyolo-n")
    args = yaml.safe_load((tmp_path / "compare" / "args.yaml").read_text())
    assert (args["model"], args["imgsz"]) == (["two-stage", "yolo"], 64)
    assert args["provenance"]["models"]["maskyolo-n"]["backend"].endswith(", 64 px")


def test_two_stages_alone_refuse_an_overlap(voc: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match=r"^--iou has no effect with --pipeline two-stage"):
        compare(
            ["two-stage", "two-stage@haar"],
            images=voc[0],
            labels=voc[1],
            iou=0.4,
            project=tmp_path / "runs",
        )
    assert not (tmp_path / "runs").exists()


def overview(html: str) -> dict[str, dict[str, bool]]:
    """Return whether a cell of the report's first table is marked best, by column and row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<table>")[2].partition("</table>")[0])
    heads = re.findall(r"<th>(.*?)</th>", rows[0])
    found: dict[str, dict[str, bool]] = {head: {} for head in heads[1:]}
    for row in rows[1:]:
        first, *cells = re.findall(r"<td.*?</td>", row)
        name = re.sub(r"<.*?>", "", first)
        for head, cell in zip(heads[1:], cells, strict=True):
            found[head][name] = cell.startswith('<td class="best"')
    return found


#: The names of the pipelines with their default models.
ONE, TWO = "maskyolo-n", "two-stage:mobilenet_v2"


@pytest.mark.parametrize("order", [("yolo", "two-stage"), ("two-stage", "yolo")])
def test_the_best_cell_of_each_column_is_marked(
    order: tuple[str, str],
    loads: list[dict[str, Any]],
    voc: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second stage is right more often, yolo is faster and needs less memory."""
    speed = {
        name: {count: Laps(1, [milliseconds], {}) for count in COUNTS}
        for name, milliseconds in ((ONE, 10.0), (TWO, 90.0))
    }
    memory = {"yolo": 200.0, "two-stage": 800.0}
    monkeypatch.setattr(
        "maskyolo.evaluation.comparison.measure_speed",
        lambda detectors, *_: {name: speed[name] for name in detectors},
    )
    monkeypatch.setattr(
        "maskyolo.evaluation.comparison.measure_memory",
        lambda settings, _: memory[settings["pipeline"]],
    )
    result = compare(order, images=voc[0], labels=voc[1], project=tmp_path)
    assert result.folder
    columns = overview((result.folder / "report.html").read_text())
    right = (
        "mAP50",
        "mAP50-95",
        "AP50 with_mask",
        "AP50 without_mask",
        "mean F1",
        "false alarms per image",
    )
    cheap = ("ms, 1 face", "ms, 10 faces", "ms, 40 faces", "peak MB")
    assert columns == {
        **{title: {ONE: False, TWO: True} for title in right},
        **{title: {ONE: True, TWO: False} for title in cheap},
    }


def test_the_page_has_the_curves_of_both(compared: Comparison) -> None:
    assert compared.folder
    html = (compared.folder / "report.html").read_text()
    section = html.partition("<h2>Precision and recall</h2>")[2].partition("<h2>")[0]
    charts = section.split("<figure>")[1:]
    lines = [re.findall(r'<polyline points="(.*?)" .*?stroke="(.*?)"', chart) for chart in charts]
    assert [[color for _, color in chart] for chart in lines] == [["#0072b2", "#d55e00"]] * 3
    # precision 1 up to recall 1; both of its two faces, or all four
    two, four = (
        "44.0,10.0 232.0,10.0 420.0,10.0 420.0,238.0",
        "44.0,10.0 138.0,10.0 232.0,10.0 326.0,10.0 420.0,10.0 420.0,238.0",
    )
    assert [chart[1][0] for chart in lines] == [two, two, four]
    # flawed: precision 1 up to recall 0.5; the curve ends there
    assert lines[0][0][0] == "44.0,10.0 232.0,10.0 232.0,238.0"
    assert all(chart.count("<polygon") == 2 for chart in charts)  # intervals


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["a/best.onnx", "b/last.onnx"], ["best.onnx", "last.onnx"]),
        (
            ["runs/a/weights/best.onnx", "runs/b/weights/best.onnx"],
            ["a/weights/best.onnx", "b/weights/best.onnx"],
        ),
        (["best.onnx", "b/best.onnx"], ["best.onnx", "b/best.onnx"]),
        (["yolo", "two-stage", "two-stage@haar"], [ONE, TWO, f"{TWO}@haar"]),
        (["C:\\m\\a.onnx", "two-stage:m/a.onnx"], ["a.onnx", "two-stage:a.onnx"]),
    ],
)
def test_models_are_named_by_their_files(models: list[str], names: list[str]) -> None:
    assert list(parse_contestants(models)) == names


def test_a_video_that_cannot_be_read_leaves_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("text")
    with pytest.raises(SourceError, match="cannot read"):
        compare(
            {"a": perfect(), "b": flawed()}, source=tmp_path / "bad.mp4", project=tmp_path / "runs"
        )


def test_the_command_prints_the_figures_and_the_folder_last(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "other.onnx"
    checkpoint.write_bytes((ROOT / "maskyolo" / "weights" / "maskyolo-n.onnx").read_bytes())
    (tmp_path / "list.txt").write_text("street.jpg\nportrait.jpg\nselfie.jpg\n")
    words = [
        "--images",
        samples,
        "--labels",
        samples / "annotations",
        "--list",
        tmp_path / "list.txt",
        "--rounds",
        "0",
        "--imgsz",
        "320",
    ]
    assert (
        call(*words, "--model", "maskyolo-n", "--model", checkpoint, "--project", tmp_path / "runs")
        == 0
    )
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == str(tmp_path / "runs" / "compare")
    assert out[-2] == "next: maskyolo detect --source 0 --show --model maskyolo-n"
    assert out[-3] == f"report: {tmp_path / 'runs' / 'compare' / 'report.html'}"
    written = (tmp_path / "runs" / "compare" / "report.txt").read_text()
    assert out[:-3] == [*written.rpartition("\n\n")[0].splitlines(), ""]
    assert f"other.onnx file {checkpoint}, sha256 " in written.rpartition("\n\n")[2]
    assert "other.onnx and maskyolo-n cannot be told apart" in "\n".join(out)
    first, second = sorted((tmp_path / "runs" / "compare" / "predictions").iterdir())
    assert sure_faces(first) == sure_faces(second)


def sure_faces(predictions: Path) -> list[list[str]]:
    """Return each image's sure classes: `auto` may choose int8, for our own weights only."""
    images = [json.loads(line) for line in predictions.read_text().splitlines()]
    return [
        sorted(face["class"] for face in image["detections"] if face["confidence"] >= 0.5)
        for image in images
    ]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ((0.5, 0.7), "--model maskyolo-n"),
        ((0.7, 0.5), "--model mobilenet_v2 --pipeline two-stage --detector yunet"),
        ((None, 0.1), "--model maskyolo-n"),
        ((), "--model mobilenet_v2 --pipeline two-stage --detector yunet"),
    ],
)
def test_the_next_command_runs_the_most_accurate_detector(scores: Any, words: str) -> None:
    names = ("two-stage", "yolo")
    evaluations: Any = {
        name: SimpleNamespace(map50=score) for name, score in zip(names, scores, strict=False)
    }
    models = {"two-stage": "two-stage@yunet", "yolo": "maskyolo-n"}
    result = Comparison(names, "here", evaluations, {}, {}, (), {}, models=models)
    assert cli_compare._next(result) == f"maskyolo detect --source 0 --show {words}"
