from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskyolo import adapt
from maskyolo.adaptation import adapting
from maskyolo.adaptation.adapting import Adaptation
from maskyolo.adaptation.views import Sighting
from maskyolo.cli import main
from maskyolo.core.images import ImageArray, read_image
from maskyolo.dataset.layout import load_dataset
from maskyolo.dataset.ledger import read_ledger
from maskyolo.errors import MaskyoloError, OutputError, SourceError


@pytest.fixture(scope="module")
def stills(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for name in ("indoors.jpg", "plaza.jpg", "portrait.jpg"):
        shutil.copy(samples / name, folder)
    shutil.copy(samples / "portrait.jpg", folder / "same.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    return folder


@pytest.fixture(scope="module")
def made(stills: Path, tmp_path_factory: pytest.TempPathFactory) -> Adaptation:
    return adapt(stills, tmp_path_factory.mktemp("adapted") / "set")


def test_stills_become_a_data_set_with_ledger_and_contact_sheet(made: Adaptation) -> None:
    dataset = load_dataset(made.folder)

    images = dataset.images("train")
    assert images
    for image in images:
        height, width = read_image(image).shape[:2]
        assert len(dataset.read_labels(image, width, height)) >= 1
    assert [row.image for row in read_ledger(made.folder / "ledger.csv")] == [
        image.relative_to(made.folder).as_posix() for image in images
    ]
    assert (made.folder / "sheets" / "kept.png").is_file()


def test_copies_are_taken_once_and_a_broken_image_is_reported(made: Adaptation) -> None:
    sources = [Path(row.source).name for row in made.rows]

    assert sources.count("portrait.jpg") + sources.count("same.jpg") == 1
    assert made.left_out["near-copy"] == 1
    assert [Path(name).name for name, _ in made.errors] == ["broken.jpg"]


class Told:
    """A teacher with one clear face on the left and one unclear face on the right."""

    def __init__(self, options: object) -> None:
        pass

    def __call__(self, image: ImageArray) -> list[Sighting]:
        clear, unclear = (np.array([x, 40, x + 40, 80], np.float32) for x in (20, 120))
        return [Sighting(clear, 0.9, 1.0, 0.9, True), Sighting(unclear, 0.1, 0.6, 0.4, False)]


def test_unclear_faces_of_a_recording_are_blanked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "Teacher", Told)
    noise = np.random.default_rng(0)
    video = cv2.VideoWriter(
        str(tmp_path / "door.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (200, 120)
    )
    for _ in range(20):
        video.write(cv2.resize(noise.integers(0, 256, (12, 20, 3), np.uint8), (200, 120)))
    video.release()

    made = adapt(tmp_path / "door.avi", tmp_path / "set", vid_stride=2)

    assert made.looked_at == 10
    assert made.counts() == {"with_mask": len(made.rows), "ignore": len(made.rows)}
    assert len(made.rows) >= 5
    for row in made.rows:
        image = read_image(made.folder / row.image).astype(float)
        assert image[45:75, 125:155].std() < image[45:75, 25:55].std() / 2
        label = made.folder / "labels" / "train" / Path(row.image).with_suffix(".txt").name
        assert label.read_text().startswith("0 0.2")
        assert len(label.read_text().splitlines()) == 1


def test_an_existing_output_is_not_touched(stills: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")

    with pytest.raises(OutputError, match="it exists"):
        adapt(stills, tmp_path / "set")

    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_camera_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="reads its recordings twice"):
        adapt("0", tmp_path / "set")


def test_the_two_stage_pipeline_is_refused(stills: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match="two-stage cannot"):
        adapt(stills, tmp_path / "set", pipeline="two-stage")


def test_images_without_faces_give_one_line_and_no_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((120, 200, 3), 128, np.uint8))

    with pytest.raises(SystemExit) as stopped:
        main(["adapt", "--source", str(tmp_path / "wall.png"), "--out", str(tmp_path / "set")])

    assert stopped.value.code == 1
    assert "none of the 1 frames has a clear face (1 no clear face)" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wall.png"]
