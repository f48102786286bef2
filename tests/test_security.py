"""Other people's files can neither run code nor write outside the folders that the user named.

docs/security.md lists the attack vectors, each with its test.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hostile_models import make_model
from paths import ROOT, SAMPLES

import maskyolo
from maskyolo.core.children import python_command
from maskyolo.core.files import package_folder
from maskyolo.core.images import decode_image
from maskyolo.core.runs import new_run
from maskyolo.dataset.layout import load_dataset
from maskyolo.errors import ImageError, MaskyoloError, OutputError, WeightsError
from maskyolo.evaluation.charts import bar_chart, line_chart
from maskyolo.evaluation.html import Cell, facts, legend, page, table
from maskyolo.models.backends.loading import load_backend
from maskyolo.review.finding.find import _folder_to_resume
from maskyolo.review.finding.folds import FoldDetector
from maskyolo.training.recipes import load_recipe
from maskyolo.training.resuming import find_run, saved_settings

WEIGHTS = package_folder() / "weights"

#: A page of PostScript, which is a program.
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 20 20
%%EndComments
newpath 0 0 moveto 20 20 lineto stroke
showpage
%%EOF
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that the foreign code of these tests makes, if anything runs it."""
    return tmp_path / "it-ran"


def test_an_image_never_starts_ghostscript(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow decodes EPS with Ghostscript, whatever the file's name is."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 10.0\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    with pytest.raises(ImageError, match="not an image in a known format"):
        decode_image(EPS, name="photo.jpg")
    assert not mark.exists()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))


@pytest.fixture
def foreign_set(tmp_path: Path, bomb: bytes) -> Path:
    """Two photos with labels, and each kind of file that Ultralytics would load or replace."""
    folder = tmp_path / "foreign"
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for split in ("train", "val"):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for place in range(2):
            photo = images / f"{place}.jpg"
            cv2.imwrite(str(photo), image)
            photo.write_bytes(photo.read_bytes() + b"no end marker")
            (labels / f"{place}.txt").write_text("0 0.5 0.5 0.4 0.4\n1 0.2 0.2 0.2 0.2\n")
        with (folder / "labels" / f"{split}.cache").open("wb") as file:
            np.save(file, np.array(Bomb(tmp_path / "it-ran"), dtype=object), allow_pickle=True)
        (images / "0.npy").write_bytes(b"not an image")
        (images / "1.npy").symlink_to(tmp_path / "outside.npy")
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: {0: with_mask, 1: without_mask}\n"
        f"download: mkdir {tmp_path / 'it-ran'}\n"
    )
    return folder


def contents(folder: Path) -> dict[str, Any]:
    return {
        str(path): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_training_reads_a_data_set_and_neither_unpickles_nor_writes_in_it(
    foreign_set: Path, mark: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    from maskyolo.training.detector import train_detector

    before = contents(foreign_set)
    result = train_detector(
        foreign_set,
        project=tmp_path / "runs",
        epochs=1,
        model="yolov8n.yaml",
        imgsz=32,
        batch=2,
        workers=0,
        device="cpu",
        cache="disk",
    )
    assert result.best.is_file()
    assert not mark.exists()
    assert contents(foreign_set) == before
    assert not (tmp_path / "outside.npy").exists()
    assert not list(result.folder.rglob("*.npy"))
    assert {path.name for path in tmp_path.iterdir()} <= {"foreign", "runs", "data"}


@pytest.mark.parametrize(
    ("given", "opened"), [("it's.pt", "its.pt"), (" a.pt", "a.pt"), ("yolov5n.pt", "yolov5nu.pt")]
)
def test_the_checkpoint_that_is_checked_is_the_one_that_is_unpickled(
    given: str, opened: str, bomb: bytes, mark: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Ultralytics changes a path before it opens it."""
    pytest.importorskip("ultralytics")
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(WEIGHTS / "maskyolo-n.pt", given)
    Path(opened).write_bytes(bomb)
    with pytest.raises(WeightsError, match="--trust"):
        load_backend(given, device="cpu")
    assert not mark.exists()


def test_training_on_a_gpu_unpickles_no_model_from_the_working_folder(
    bomb: bytes, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics tests mixed precision with `weights/yolo26n.pt`, if that exists."""
    pytest.importorskip("ultralytics")
    import torch
    from ultralytics import utils
    from ultralytics.utils import checks

    from maskyolo.models.ultralytics import import_ultralytics, no_downloads

    import_ultralytics()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "yolo26n.pt").write_bytes(bomb)
    monkeypatch.setattr(utils, "WEIGHTS_DIR", tmp_path / "weights")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    weight = type("Weight", (), {"device": torch.device("cuda")})
    network = type("Network", (), {"parameters": lambda _: iter([weight])})()
    with no_downloads():
        assert checks.check_amp(network)
    assert not mark.exists()


@pytest.fixture
def foreign_folder(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with modules named like those that we and our libraries import."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    for name in ("yaml", "cv2", "numpy", "typer", "openvino", "supervision", "json", "pickle"):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(package_folder().parent))
    return folder


def test_modules_in_the_working_folder_are_not_imported(foreign_folder: Path, mark: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maskyolo", "models"], capture_output=True, text=True, check=True
    )
    assert "yolov8n" in done.stdout
    assert not mark.exists()


def test_nor_by_the_processes_that_we_start(
    foreign_folder: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskyolo.evaluation.speed import measure_memory
    from maskyolo.runtime.window import _no_window

    monkeypatch.setenv("DISPLAY", ":97")
    assert _no_window()
    assert measure_memory({}, np.zeros((64, 64, 3), np.uint8))
    assert not mark.exists()


def test_nor_by_the_processes_that_libraries_start(foreign_folder: Path, mark: Path) -> None:
    """`python -c` and `python -m` are how multiprocessing, joblib and PyTorch start theirs."""
    code = """
import atexit, subprocess, sys
from maskyolo.cli import main
atexit.register(lambda: subprocess.run([sys.executable, "-c", "import yaml, pickle"], check=True))
sys.argv = ["maskyolo", "--version"]
main()
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
    assert not mark.exists()


def test_a_program_of_the_user_gets_the_users_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskyolo.core import children

    monkeypatch.setattr(children, "_was_set", False)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    children.protect_children()
    assert os.environ["PYTHONSAFEPATH"] == "1"
    assert children.programs_environment() == before
    monkeypatch.setattr(children, "_was_set", True)
    assert children.programs_environment() == dict(os.environ)


def test_settings_of_matplotlib_in_the_working_folder_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can name a module to import, and commands for LaTeX."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(package_folder().parent))
    (tmp_path / "matplotlibrc").write_text("backend: module://foreign\ntext.usetex: True\n")
    code = (
        "from maskyolo.core.plotting import import_matplotlib\n"
        "settings = import_matplotlib().rcParams\n"
        "print(settings['backend'], settings['text.usetex'])"
    )
    done = subprocess.run(python_command(code), capture_output=True, text=True, check=True)
    assert done.stdout.lower().split() == ["agg", "false"]


@pytest.mark.parametrize(
    "start", [find_run, lambda run: new_run(run.parent, run.name, exist_ok=True)]
)
def test_a_run_does_not_write_through_links_in_its_folder(
    start: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "foreign"
    (run / "weights").mkdir(parents=True)
    (run / "args.yaml").write_text("model: yolov8n.yaml\nepochs: 1\n")
    (run / "weights" / "export.part").symlink_to(tmp_path)
    with pytest.raises(OutputError, match=r"weights/export\.part is a link"):
        start(run)


def test_a_report_runs_no_script(tmp_path: Path) -> None:
    """Names of files, classes and models are shown in reports."""
    name = "<script>alert(1)</script>"
    text = page(
        name,
        [
            facts({name: name}),
            table([name], [[name, Cell(name, name, dot=0)]]),
            legend([name]),
            bar_chart({name: [(0.5, (0.4, 0.6))]}, name, name, name),
            line_chart([[(0, 1)]], name, name, name, 1, 1),
        ],
    )
    assert "<script" not in text


def test_ultralytics_installs_uploads_and_downloads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    from ultralytics import utils
    from ultralytics.utils import checks, downloads

    from maskyolo.models.ultralytics import import_ultralytics, no_downloads

    import_ultralytics()
    assert not checks.check_requirements("surely-not-a-package-of-anyone")
    for name in ("sync", "clearml", "comet", "dvc", "mlflow", "neptune", "wandb", "hub"):
        assert not utils.SETTINGS.get(name)
    assert os.environ["ULTRALYTICS_API_KEY"] == ""
    with no_downloads(), pytest.raises(ConnectionError, match="refused to download"):
        downloads.safe_download("https://example.com/x.pt")


TAGGED = "names: !!python/object/apply:os.mkdir [it-ran]\n"


def read_data_yaml(folder: Path) -> Any:
    (folder / "data.yaml").write_text(TAGGED)
    return load_dataset(folder)


def read_a_recipe(folder: Path) -> Any:
    (folder / "recipe.yaml").write_text(TAGGED)
    return load_recipe(folder / "recipe.yaml")


def read_a_run(folder: Path) -> Any:
    pytest.importorskip("ultralytics")
    (folder / "args.yaml").write_text(TAGGED)
    return saved_settings(folder)


def read_a_search(folder: Path) -> Any:
    (folder / "args.yaml").write_text(TAGGED)
    return _folder_to_resume(folder, {})


def read_openvino_metadata(folder: Path) -> Any:
    import openvino

    (folder / "x.onnx").write_bytes(make_model().SerializeToString())
    openvino.save_model(openvino.Core().read_model(folder / "x.onnx"), folder / "x.xml")
    (folder / "metadata.yaml").write_text(TAGGED)
    return load_backend(folder / "x.xml")


@pytest.mark.parametrize(
    "read", [read_data_yaml, read_a_recipe, read_a_run, read_a_search, read_openvino_metadata]
)
def test_tags_in_yaml_make_no_objects(
    read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MaskyoloError) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    "setting",
    [
        "cfg",
        "data",
        "distill_model",
        "exist_ok",
        "name",
        "project",
        "save_dir",
        "source",
        "tracker",
    ],
)
def test_a_recipe_names_no_file_and_no_place_to_write(setting: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"{setting}: {tmp_path / 'foreign'}\n")
    with pytest.raises(MaskyoloError, match=f"{setting} cannot be set in a recipe"):
        load_recipe(tmp_path / "recipe.yaml")


def test_predictions_of_a_search_come_from_no_foreign_checkpoint(
    bomb: bytes, mark: Path, tmp_path: Path
) -> None:
    """`review find --resume` loads the checkpoints in its run's folder."""
    pytest.importorskip("ultralytics")
    (tmp_path / "last.pt").write_bytes(bomb)
    with pytest.raises(WeightsError, match="--trust"):
        FoldDetector(tmp_path / "last.pt", device="cpu")
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXTINF:1,\n{secret}\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        "v=0\nm=video 5000 RTP/AVP 96\n",
    ],
)
def test_a_video_file_that_names_other_files_is_not_read(content: str, tmp_path: Path) -> None:
    secret = Path(shutil.copy(SAMPLES / "street.mp4", tmp_path / "secret.mp4"))
    (tmp_path / "clip.mp4").write_text(content.format(secret=secret))
    with pytest.raises(MaskyoloError):
        list(maskyolo.detect(tmp_path / "clip.mp4"))


def test_every_attack_vector_in_the_docs_has_a_test() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text("utf-8")))
    written = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert [name for name in named if f"def {name}(" not in written] == []
    here = re.findall(r"^def (test_\w+)", Path(__file__).read_text("utf-8"), re.MULTILINE)
    assert [name for name in here if name not in named and "docs" not in name] == []
