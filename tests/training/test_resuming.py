"""A run's folder that is resumed may come from anyone."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskyolo.errors import MaskyoloError
from maskyolo.training.resuming import find_run, saved_blend, saved_settings, trim_results

pytest.importorskip("ultralytics")


def test_only_settings_of_a_recipe_are_taken_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text(
        "epochs: 3\nmosaic: 0.5\nproject: /elsewhere\nsave_dir: /elsewhere\ncfg: x.yaml\n"
        "distill_model: x.pt\ntask: segment\nunknown: 1\n"
    )
    saved = saved_settings(tmp_path)
    assert saved["epochs"] == 3
    assert set(saved) == {"epochs", "mosaic", "imgsz", "batch", "seed"}


@pytest.mark.parametrize(
    "content",
    [
        b"!!python/object/apply:os.mkdir [it-ran]",
        b"a: [",
        b"[" * 5000,
        b"- 1",
        b"\xff\xfe\xff",
        b"",
        b"epochs: many",
        b"imgsz: 7",
        b"optimizer: {a: b}",
    ],
)
def test_settings_that_cannot_be_read_are_one_line(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "args.yaml").write_bytes(content)
    find_run(tmp_path)
    with pytest.raises(MaskyoloError) as caught:
        saved_settings(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"share": "x"}', '{"share": 7}', "[" * 9999])
def test_a_blend_that_cannot_be_read_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "blend.json").write_text(content)
    with pytest.raises(MaskyoloError) as caught:
        saved_blend(tmp_path / "blend.json")
    assert "\n" not in str(caught.value)


def test_results_of_any_bytes_are_trimmed(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_bytes(b"epoch,\xff\n1,2\n2,\xfe\n")
    trim_results(tmp_path / "results.csv", 1)
    assert (tmp_path / "results.csv").read_text().splitlines()[1:] == ["1,2"]
