"""`--save-plots`: the plots show the figures and intervals of the report."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import pytest
from stubs import flawed, make_voc, perfect

from maskyolo.errors import DependencyError
from maskyolo.evaluation.comparison import compare
from maskyolo.evaluation.evaluation import evaluate
from maskyolo.evaluation.plots import PLOTS
from maskyolo.evaluation.scores import Evaluation

pytest.importorskip("matplotlib")


@pytest.fixture
def voc(tmp_path: Path) -> tuple[Path, Path]:
    return make_voc(tmp_path)


@pytest.fixture
def found(voc: tuple[Path, Path], tmp_path: Path) -> Evaluation:
    return evaluate(
        images=voc[0], labels=voc[1], model=flawed(), save_plots=True, project=tmp_path / "runs"
    )


def test_each_plot_is_written_as_png_and_svg(found: Evaluation) -> None:
    assert found.folder
    folder = found.folder / "plots"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{suffix}" for name in PLOTS for suffix in ("png", "svg")
    )
    for name in PLOTS:
        image = cv2.imread(str(folder / f"{name}.png"))
        assert image is not None
        assert image.min() < 100 < 250 < image.max()
        assert ET.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_same_figures_give_the_same_files(
    found: Evaluation, voc: tuple[Path, Path], tmp_path: Path
) -> None:
    again = evaluate(
        images=voc[0], labels=voc[1], model=flawed(), save_plots=True, project=tmp_path / "runs"
    )
    assert found.folder
    assert again.folder
    for name in PLOTS:
        for suffix in ("png", "svg"):
            first, second = (
                one / "plots" / f"{name}.{suffix}" for one in (found.folder, again.folder)
            )
            assert first.read_bytes() == second.read_bytes()


def test_the_curves_have_bands_and_the_report_s_figures(found: Evaluation) -> None:
    figure = PLOTS["precision_recall"]([found])
    assert [axes.get_title() for axes in figure.axes] == ["with_mask", "without_mask", "face"]
    axes = figure.axes[0]
    low, high = found.intervals["with_mask"]["map50"] or (0, 0)
    value = found.report.classes["with_mask"].map50
    (label,) = (text.get_text() for text in axes.get_legend().get_texts())
    assert label == f"Stub\nAP50 {value:.3f} ({low:.3f} to {high:.3f})"
    curve, ring = axes.lines
    assert curve.get_ydata().mean() == pytest.approx(value)  # 101 recall levels
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (0.5, 0.5)
    assert len(axes.collections) == 1
    best, confidence = found.best["face"]
    ring = PLOTS["f1"]([found]).axes[2].lines[1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (confidence, best)


def test_error_bars_are_the_intervals(found: Evaluation) -> None:
    axes = PLOTS["by_size"]([found, found]).axes[0]
    large = found.slices["size"][">96"]
    assert [bar.get_height() for bar in axes.patches] == [large.map50] * 2  # the others are empty
    for whiskers in axes.collections:
        ((_, low), (_, high)) = whiskers.get_segments()[0]
        assert (low, high) == pytest.approx(large.intervals["map50"])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[-1] == ">96\nn = 4"


def test_the_confusion_has_counts_and_shares(found: Evaluation) -> None:
    axes = PLOTS["confusion"]([found]).axes[0]
    assert [text.get_text() for text in axes.texts] == [
        *("1\n50.0%", "1\n50.0%", "0\n0.0%"),
        *("0\n0.0%", "1\n50.0%", "1\n50.0%"),
        *("1\n50.0%", "0\n0.0%"),
    ]


def test_compare_draws_all_detectors(voc: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare(
        {"a": perfect(), "b": flawed()},
        images=voc[0],
        labels=voc[1],
        rounds=0,
        save_plots=True,
        project=tmp_path / "runs",
    )
    assert found.folder
    assert len(list((found.folder / "plots").iterdir())) == 2 * len(PLOTS)
    figure = PLOTS["confusion"](list(found.evaluations.values()))
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]


def test_without_matplotlib_nothing_is_started(
    voc: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match="--save-plots needs Matplotlib"):
        evaluate(
            images=voc[0], labels=voc[1], model=flawed(), save_plots=True, project=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()
