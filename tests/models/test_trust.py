"""A checkpoint of unknown origin is not loaded: no command runs its pickle."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from pathlib import Path

import pytest
import yaml

from maskyolo.cli import main
from maskyolo.core.files import package_folder
from maskyolo.detectors.loading import load_detector
from maskyolo.errors import WeightsError
from maskyolo.models import trust
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.trust import check_trust, is_trusted, record_own, record_path

WEIGHTS = package_folder() / "weights"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def check_refused(command: list[str], mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command; it must end with one line that names --trust, and not run the pickle."""
    with pytest.raises(SystemExit) as caught:
        main(command)
    told = capsys.readouterr().err
    assert caught.value.code == 1
    assert "--trust" in told
    assert told.count("\n") == 1
    assert not mark.exists()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def bomb(tmp_path: Path, mark: Path) -> Path:
    path = tmp_path / "gift.pt"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    return path


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_the_list_of_our_own_checkpoints_is_complete_and_right() -> None:
    """After new weights: `cd maskyolo/weights && sha256sum *.pt > SHA256SUMS`."""
    listed = dict(
        reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines()
    )
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.glob("*.pt")
    }
    assert listed


def test_ours_and_those_of_the_manifest_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in WEIGHTS.glob("*.pt"):
        assert is_trusted(path)
    renamed = tmp_path / "known.pt"
    renamed.write_bytes(b"known")
    assert not is_trusted(renamed)
    monkeypatch.setattr(
        trust,
        "load_manifest",
        lambda: {"x": type("W", (), {"sha256": (hashlib.sha256(b"known").hexdigest(),)})},
    )
    assert is_trusted(renamed)


def test_what_a_training_of_this_user_made_is_trusted_and_nothing_else(
    bomb: Path, tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine.pt", tmp_path / "other.pt"
    mine.write_bytes(b"mine")
    other.write_bytes(b"other")
    record_own(mine)
    record_own(other)
    check_trust(mine)
    check_trust(mine.rename(tmp_path / "elsewhere.pt"))
    assert not is_trusted(bomb)
    other.write_bytes(b"changed since")
    with pytest.raises(WeightsError, match="--trust"):
        check_trust(other)
    assert record_path().stat().st_mode & 0o077 == 0


def test_a_run_folder_cannot_vouch_for_itself(bomb: Path) -> None:
    for name in ("SHA256SUMS", "own-weights.txt", "report.json"):
        (bomb.parent / name).write_text(hashlib.sha256(bomb.read_bytes()).hexdigest())
    assert not is_trusted(bomb)


def test_the_refusal_is_one_line_that_says_why(bomb: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        check_trust(bomb)
    message = str(caught.value)
    assert "\n" not in message
    assert all(
        words in message for words in (str(bomb), "pickle", "run any code", "--trust", ".onnx")
    )


def test_loading_does_not_run_it_and_with_trust_it_would(bomb: Path, mark: Path) -> None:
    for load in (load_backend, load_detector):
        with pytest.raises(WeightsError, match="--trust"):
            load(bomb)
        assert not mark.exists()
    pytest.importorskip("ultralytics")
    with pytest.raises(WeightsError, match="not an Ultralytics checkpoint"):
        load_backend(bomb, device="cpu", trust=True)
    assert mark.exists()


@pytest.fixture
def gift(bomb: Path, tmp_path: Path, samples: Path) -> Path:
    """An unfinished run, as from somebody else, with a data set that can be trained on."""
    run = tmp_path / "gift"
    (run / "weights").mkdir(parents=True)
    for split in ("train", "val"):
        for kind, place in (
            ("images", tmp_path / "set" / "images" / split),
            ("labels", tmp_path / "set" / "labels" / split),
        ):
            place.mkdir(parents=True)
            if kind == "images":
                (place / "a.jpg").write_bytes((samples / "selfie.jpg").read_bytes())
            else:
                (place / "a.txt").write_text("0 0.5 0.5 0.4 0.4\n1 0.2 0.2 0.1 0.1\n")
    names = {0: "with_mask", 1: "without_mask"}
    data = yaml.safe_dump(
        {
            "path": str(tmp_path / "set"),
            "train": "images/train",
            "val": "images/val",
            "names": names,
        }
    )
    (run / "data.yaml").write_text(data)
    (run / "args.yaml").write_text(
        yaml.safe_dump({"model": "yolov8n.yaml", "epochs": 2, "data": str(run / "data.yaml")})
    )
    return run


@pytest.fixture
def drawing(tmp_path: Path, mark: Path) -> Path:
    """An Ultralytics architecture that makes a folder when its activation is evaluated."""
    path = tmp_path / "drawing.yaml"
    path.write_text(
        f"activation: __import__('os').mkdir({str(mark)!r})\nnc: 2\n"
        "scales: {n: [1, 1, 64]}\nbackbone: []\nhead: []\n"
    )
    return path


@pytest.mark.parametrize("where", ["--model", "a recipe", "a run"])
def test_no_command_builds_an_architecture_of_unknown_origin(
    gift: Path, drawing: Path, mark: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ultralytics")
    command = [
        "train",
        "--data",
        str(gift / "data.yaml"),
        "--device",
        "cpu",
        "--project",
        str(gift.parent),
    ]
    if where == "--model":
        command += ["--model", str(drawing)]
    elif where == "a recipe":
        (gift / "recipe.yaml").write_text(f"model: {drawing}\n")
        command += ["--recipe", str(gift / "recipe.yaml")]
    else:
        (gift / "args.yaml").write_text(yaml.safe_dump({"model": str(drawing), "epochs": 1}))
        command = ["train", "--resume", str(gift), "--device", "cpu"]
    check_refused(command, mark, capsys)


def test_what_a_runs_data_yaml_says_of_downloads_never_runs(
    gift: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics runs it if the folder `path` is missing; we use the folder of `data.yaml`."""
    pytest.importorskip("ultralytics")
    from maskyolo.training import detector as detector_training

    (gift.parent / "set" / "images").rename(gift / "images")
    (gift.parent / "set" / "labels").rename(gift / "labels")
    content = yaml.safe_load((gift / "data.yaml").read_text()) | {
        "path": "/nowhere",
        "download": "print('it ran')",
    }
    (gift / "data.yaml").write_text(yaml.safe_dump(content))
    read: list[dict[str, object]] = []
    monkeypatch.setattr(
        detector_training,
        "_run",
        lambda *_, **__: read.append(yaml.safe_load((gift / "data.yaml").read_text())),
    )
    monkeypatch.setattr(detector_training, "_finish", lambda *_: None)
    detector_training.train_detector(resume=gift, device="cpu")
    assert len(read) == 1
    assert "download" not in read[0]
    assert read[0]["path"] == str(gift)


def test_unfinished_checkpoints_of_a_run_are_not_taken_for_ours(
    gift: Path, bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training records what it finds under the names that it writes checkpoints to."""
    pytest.importorskip("ultralytics")
    from maskyolo.training import detector as detector_training

    bomb.rename(gift / "weights" / "best.pt.part")
    (gift / "weights" / "export.part").mkdir()
    found: list[list[Path]] = []
    monkeypatch.setattr(
        detector_training, "_run", lambda *_, **__: found.append(list((gift / "weights").iterdir()))
    )
    monkeypatch.setattr(detector_training, "_finish", lambda *_: None)
    detector_training.train_detector(resume=gift, device="cpu")
    assert found == [[]]


@pytest.mark.parametrize(
    "where",
    [
        "weights/last.pt",
        "weights/best.pt",
        "the model",
        "pretrained",
        "spaced",
        "start",
        "recipe",
        "detect",
    ],
)
def test_no_command_opens_it(
    gift: Path,
    bomb: Path,
    mark: Path,
    where: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ultralytics")
    monkeypatch.chdir(gift.parent)
    command = ["train", "--resume", str(gift), "--device", "cpu"]
    if where.endswith(".pt"):
        bomb.rename(gift / where)
    elif where in ("the model", "pretrained"):
        settings = {"model": "yolov8n.yaml", "epochs": 2} | {where.removeprefix("the "): str(bomb)}
        (gift / "args.yaml").write_text(yaml.safe_dump(settings))
    elif where == "spaced":  # Ultralytics strips it
        (gift / "args.yaml").write_text(
            yaml.safe_dump({"model": "yolov8n.yaml", "epochs": 2, "pretrained": f" {bomb}"})
        )
    elif where == "start":
        command = [
            "train",
            "--data",
            str(gift / "data.yaml"),
            "--model",
            str(bomb),
            "--device",
            "cpu",
        ]
    elif where == "recipe":
        (gift / "recipe.yaml").write_text(f"pretrained: {bomb}\n")
        command = [
            "train",
            "--data",
            str(gift / "data.yaml"),
            "--model",
            "yolov8n.yaml",
            "--recipe",
            str(gift / "recipe.yaml"),
        ]
    else:
        command = [
            "detect",
            "--source",
            str(gift.parent / "set" / "images" / "val" / "a.jpg"),
            "--model",
            str(bomb),
        ]
    check_refused(command, mark, capsys)


def test_a_training_goes_on_where_there_is_no_place_for_the_note(
    bomb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ultralytics")
    from maskyolo.training.detector_trainer import _record

    told: list[str] = []
    monkeypatch.setattr(
        logging.getLogger("maskyolo"),
        "warning",
        lambda message, *words: told.append(message % words),
    )

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    for _ in range(2):
        _record(bomb)
    assert len(told) == 1
    assert "--trust" in told[0]
    assert is_trusted(bomb)  # until this process ends
    monkeypatch.setattr(trust, "_made_here", set())
    assert not is_trusted(bomb)
