"""The tables of a comparison: the report's figures as CSV and as LaTeX."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
from stubs import Stub, flawed, make_voc, perfect

from maskyolo.evaluation.comparison import compare
from maskyolo.evaluation.comparison_result import Comparison
from maskyolo.evaluation.comparison_table import as_latex


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    images, labels = make_voc(tmp_path)
    detectors = {"=a_1 & 50%": flawed(), "better": perfect(), "blind": Stub({})}
    return compare(detectors, images=images, labels=labels, rounds=1, project=tmp_path / "runs")


def test_csv_has_the_figures_intervals_and_p_values(compared: Comparison) -> None:
    assert compared.folder
    with (compared.folder / "table.csv").open(newline="") as file:
        first, better, blind = csv.DictReader(file)
    assert first["model"] == "'=a_1 & 50%"  # no formula in a spreadsheet
    flaw = compared.evaluations["=a_1 & 50%"]
    low, high = flaw.intervals["mean"]["map50_95"] or (0, 0)
    assert [float(first[f"map50_95{end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [flaw.map50_95, low, high], rel=1e-5
    )
    assert float(first["ap50_without_mask"]) == pytest.approx(51 / 101 * 0.5, rel=1e-5)
    assert (first["map50_difference"], first["map50_p"]) == ("", "")
    gain = compared.differences["better"]["false_alarms"]
    assert gain.difference == -0.25
    assert float(better["false_alarms_difference"]) == -0.25
    assert float(better["false_alarms_p"]) == pytest.approx(gain.p, rel=1e-5)
    assert float(better["ms_10_faces"]) == pytest.approx(
        compared.speed["better"][10].median, rel=1e-5
    )
    assert blind["map50"] == "0"


def test_latex_has_two_rows_per_model_and_the_best_in_bold(compared: Comparison) -> None:
    assert compared.folder
    text = (compared.folder / "table.tex").read_text()
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    rows = [line.removesuffix(r" \\") for line in body.splitlines()]
    columns = len(re.split(r"(?<!\\)&", text.splitlines()[3]))
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]
    assert [len(row) for row in cells] == [columns] * 6
    assert [row[0] for row in cells] == [r"=a\_1 \& 50\%", "", "better", "", "blind", ""]
    assert cells[2][1] == r"\textbf{1.000}"
    assert cells[0][1] == f"{compared.evaluations['=a_1 & 50%'].map50:.3f}"
    assert cells[0][-2:] == ["--", "--"]
    gain = compared.differences["better"]["map50"]
    assert cells[2][-2:] == [f"${gain.difference:+.3f}$", f"{gain.p:.3f}"]
    assert gain.interval
    assert f"[{gain.interval[0]:+.3f}, {gain.interval[1]:+.3f}]" in cells[3][-2]


def test_latex_of_a_name_is_text(compared: Comparison) -> None:
    first = next(iter(compared.evaluations.values()))
    wild = replace(first, name="\\input{x}\n$y^2$~#")
    renamed = replace(compared, evaluations={wild.name: wild}, differences={})
    assert r"\textbackslash{}input\{x\} \$y\textasciicircum{}2\$\textasciitilde{}\#" in as_latex(
        renamed
    )
