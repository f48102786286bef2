from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskyolo.cli import main
from maskyolo.conversion import convert
from maskyolo.conversion.convert import convert_dataset
from maskyolo.core.boxes import as_boxes
from maskyolo.core.images import ImageArray, read_image
from maskyolo.dataset.synthesis_log import (
    MADE_STATUSES,
    MadePhoto,
    read_origins,
    read_synthesis,
    write_synthesis,
)
from maskyolo.detectors.faces.base import Faces
from maskyolo.errors import DatasetError, MaskyoloError, OutputError
from maskyolo.synthesis.synthesize import Synthesis, synthesize_masks

COUNT = 8


@pytest.fixture(scope="module")
def bare(samples: Path) -> Path:
    return samples / "folders" / "without_mask"


@pytest.fixture(scope="module")
def made(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesize_masks(bare, tmp_path_factory.mktemp("synthesis") / "made", occluders=0.7)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def statuses(made: Synthesis) -> dict[str, set[str]]:
    names = {photo.original for photo in made.photos}
    return {
        name: {photo.status for photo in made.photos if photo.original == name} for name in names
    }


def test_every_photo_is_masked_or_bare_and_an_original_of_a_masked_one_is_left_out(
    made: Synthesis, bare: Path
) -> None:
    found = statuses(made)
    assert set(found) == {path.name for path in bare.iterdir()}
    assert all(
        status in ({"masked", "left_out"}, {"bare"}, {"bare", "occluder"})
        for status in found.values()
    )
    assert {"masked", "left_out", "bare", "occluder"} == set().union(*found.values())
    assert read_synthesis(made.folder / "synthesis.csv") == made.photos
    files = {photo.file for photo in made.photos if photo.file}
    assert set(tree(made.folder)) == files | {"synthesis.csv"}
    originals = {path.read_bytes() for path in bare.iterdir()}
    for photo in made.photos:
        if photo.file:
            assert photo.class_name == ("with_mask" if photo.status == "masked" else "without_mask")
            assert photo.file.startswith(photo.class_name + "/")
            assert bool(photo.drawn) == (photo.status != "bare")
            assert ((made.folder / photo.file).read_bytes() in originals) == (
                photo.status == "bare"
            )


def test_only_the_lower_face_is_drawn_on(made: Synthesis, bare: Path) -> None:
    masked = [photo for photo in made.photos if photo.status == "masked"]
    assert len(masked) >= 2
    for photo in masked:
        before, after = (
            read_image(bare / photo.original).astype(int),
            read_image(made.folder / photo.file).astype(int),
        )
        assert before.shape == after.shape
        change = np.abs(before - after).mean(-1)
        (landmarks,) = json.loads(photo.landmarks)
        near = [
            change[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].mean()
            for x, y in landmarks
        ]
        assert min(near[2:]) > 3 * max(near[:2])


def test_two_runs_give_the_same_bytes_and_another_seed_others(
    made: Synthesis, bare: Path, tmp_path: Path
) -> None:
    again = synthesize_masks(bare, tmp_path / "again", occluders=0.7, workers=1)
    assert tree(again.folder) == tree(made.folder)
    other = synthesize_masks(bare, tmp_path / "other", occluders=0.7, seed=1)
    assert tree(other.folder) != tree(made.folder)


def test_what_is_made_of_a_photo_does_not_depend_on_the_others(
    made: Synthesis, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "few").mkdir()
    for number in (2, 5):
        shutil.copy(bare / f"0{number}.jpg", tmp_path / "few" / f"renamed {number}.jpg")
    few = synthesize_masks(tmp_path / "few", tmp_path / "made", occluders=0.7)
    whole, part = tree(made.folder), tree(few.folder)
    assert len(part) > 1
    assert all(whole[name] == data for name, data in part.items() if name != "synthesis.csv")


def test_copies_and_originals_when_asked_for(bare: Path, tmp_path: Path) -> None:
    made = synthesize_masks(bare, tmp_path / "made", masks=1, per_photo=2, keep_originals=True)
    assert made.counts() == {"masked": 2 * COUNT, "bare": COUNT}
    masked = [
        (made.folder / photo.file).read_bytes() for photo in made.photos if photo.status == "masked"
    ]
    assert len(set(masked)) == 2 * COUNT
    assert not any(origin.left_out for origin in read_origins(made.folder).values())


def test_a_fraction_of_the_masks_is_worn_incorrectly_and_the_others_do_not_change(
    made: Synthesis, bare: Path, tmp_path: Path
) -> None:
    some = synthesize_masks(bare, tmp_path / "some", occluders=0.7, incorrect=0.5, masks=1)
    incorrect = [photo for photo in some.photos if photo.status == "incorrect"]
    assert 0 < len(incorrect) < COUNT
    assert {photo.class_name for photo in incorrect} == {"incorrect_mask"}
    for photo in incorrect:
        assert photo.file.startswith("incorrect_mask/")
        assert photo.drawn.endswith(("under the nose", "on the chin", "hanging from an ear"))
        left_out = next(one for one in some.photos if one.sha256 == photo.sha256 and not one.file)
        assert left_out.reason == "its masked copy is in incorrect_mask"
    before, after = tree(made.folder), tree(some.folder)
    masked = {name for name in after if name.startswith("with_mask/")}
    assert len(masked) == COUNT - len(incorrect)
    assert all(before[name] == after[name] for name in masked & set(before))
    assert masked & set(before)
    assert not (made.folder / "incorrect_mask").exists()


def test_a_mask_worn_incorrectly_is_visible_in_a_photo_that_ends_below_the_mouth(
    bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    whole = synthesize_masks(bare, tmp_path / "whole").photos[0]
    eyes, mouth = np.array(json.loads(whole.landmarks)[0])[[0, 3]]
    image = read_image(bare / whole.original)[: round(mouth[1] + 0.1 * (mouth[1] - eyes[1]))]
    Image.fromarray(np.ascontiguousarray(image[:, :, ::-1])).save(tmp_path / "photos" / "cut.png")
    drawn = set()
    for seed in range(7):
        made = synthesize_masks(
            tmp_path / "photos", tmp_path / f"made{seed}", masks=1, incorrect=1, seed=seed
        )
        photo = made.photos[0]
        (landmarks,) = np.array(json.loads(photo.landmarks))
        change = np.abs(read_image(made.folder / photo.file).astype(int) - image).max(-1)
        assert (change > 20).sum() > 0.42 * np.linalg.norm(landmarks[0] - landmarks[1]) ** 2
        drawn.add(photo.drawn)
    assert len(drawn) > 3


def test_photos_that_cannot_be_drawn_on_are_told_and_in_neither_folder(
    bare: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    face = Image.open(bare / "01.jpg")
    face.save(photos / "face.jpg")
    shutil.copy(photos / "face.jpg", photos / "face copy.JPG")
    Image.new("RGB", (90, 90), "gray").save(photos / "wall.png")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    face.resize((12, 15)).save(photos / "tiny.png")
    (photos / "cut.jpg").write_bytes((photos / "face.jpg").read_bytes()[:900])
    (photos / "notes.txt").write_text("no photo")
    made = synthesize_masks(photos, tmp_path / "made", masks=1)
    found = {photo.original: photo for photo in made.photos if photo.status != "masked"}
    assert {name: photo.status for name, photo in found.items() if name != "tiny.png"} == {
        "face.jpg": "duplicate",
        "face copy.JPG": "left_out",
        "wall.png": "no_face",
        "dot.png": "no_face",
        "cut.jpg": "unreadable",
        "notes.txt": "unreadable",
    }
    assert found["tiny.png"].status in ("small", "turned", "no_face", "unsure")
    assert all(photo.reason and not photo.file for photo in found.values())
    assert sum(photo.status == "masked" for photo in made.photos) == 1
    assert set(MADE_STATUSES) >= {photo.status for photo in made.photos}


def test_all_faces_of_a_photo_are_masked_or_none(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (Image.open(bare / name).resize((200, 240)) for name in ("01.jpg", "04.jpg"))
    pair = Image.new("RGB", (400, 240))
    pair.paste(one, (0, 0))
    pair.paste(two, (200, 0))
    (tmp_path / "photos").mkdir()
    pair.save(tmp_path / "photos" / "pair.png")
    made = synthesize_masks(tmp_path / "photos", tmp_path / "made", masks=1)
    masked, left_out = made.photos
    assert (masked.status, left_out.status) == ("masked", "left_out")
    assert masked.drawn.count(";") == 1
    change = np.abs(
        read_image(tmp_path / "made" / masked.file).astype(int) - np.asarray(pair)[:, :, ::-1]
    ).max(-1)
    assert (change[:, :200] > 20).mean() > 0.03
    assert (change[:, 200:] > 20).mean() > 0.03
    assert json.loads(masked.landmarks)[0] != json.loads(masked.landmarks)[1]


def test_files_are_encoded_as_their_originals_were(bare: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    face = Image.open(bare / "02.jpg").convert("RGB")
    face.save(photos / "coarse.jpg", quality=30, subsampling=2)
    face.save(photos / "fine.jpg", quality=97, subsampling=0)
    face.convert("L").save(photos / "gray.jpg")
    face.save(photos / "png.png")
    face.save(photos / "webp.webp")
    made = synthesize_masks(photos, tmp_path / "made", masks=1)
    for photo in made.photos:
        if photo.file:
            before, after = (
                Image.open(photos / photo.original),
                Image.open(made.folder / photo.file),
            )
            assert after.mode == before.mode
            if before.format == "JPEG":
                assert after.quantization == before.quantization  # type: ignore[attr-defined]
                assert after.layer == before.layer, "subsampling"  # type: ignore[attr-defined]
            assert after.format == {"WEBP": "JPEG"}.get(str(before.format), before.format)
    assert made.counts()["masked"] == 5


def test_an_interrupted_run_goes_on_and_gives_the_same_photos(
    made: Synthesis, bare: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_masks(bare, tmp_path / "made", occluders=0.7, on_progress=stop)
    assert not (tmp_path / "made").exists()
    (tmp_path / "made.part" / "with_mask" / "0123456789abcdef_ffp2_1.jpg").write_bytes(
        b"of a photo that has gone"
    )
    journal = tmp_path / "made.part" / "journal.jsonl"
    assert len(journal.read_text().splitlines()) == 5
    with journal.open("a") as file:
        file.write('[{"original": "cut sh')
    assert tree(synthesize_masks(bare, tmp_path / "made", occluders=0.7).folder) == tree(
        made.folder
    )
    assert not (tmp_path / "made.part").exists()


def test_other_options_do_not_take_over_an_interrupted_run(bare: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_masks(bare, tmp_path / "made", masks=1, on_progress=stop)
    made = synthesize_masks(bare, tmp_path / "made", masks=0, occluders=0)
    assert made.counts() == {"bare": COUNT}


def test_an_existing_folder_is_never_mixed_into(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "precious.txt").touch()
    with pytest.raises(OutputError, match="it exists"):
        synthesize_masks(bare, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_another_run_has_just_finished_is_said_to_exist(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(*_: object, **__: object) -> None:
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "made" / "synthesis.csv").write_text("theirs")

    monkeypatch.setattr("maskyolo.synthesis.synthesize.YuNet", finish)
    with pytest.raises(OutputError, match="it exists"):
        synthesize_masks(bare, tmp_path / "made")
    assert (tmp_path / "made" / "synthesis.csv").read_text() == "theirs"
    assert not (tmp_path / "made.part").exists()


def test_what_others_left_in_the_working_folder_is_not_removed(bare: Path, tmp_path: Path) -> None:
    part = tmp_path / "made.part"
    part.mkdir()
    for name in (".maskyolo", "journal.jsonl"):  # an interrupted convert's
        (part / name).write_text("convert")
    with pytest.raises(
        OutputError,
        match=r"journal\.jsonl in it is not from an interrupted synthesize; move it away",
    ):
        synthesize_masks(bare, tmp_path / "made")
    assert tree(part) == {".maskyolo": b"convert", "journal.jsonl": b"convert"}
    (part / "with_mask").mkdir()
    (part / "with_mask" / "mine.jpg").touch()
    (part / ".maskyolo").write_text("synthesize")
    with pytest.raises(
        OutputError, match=r"with_mask/mine\.jpg in it is not from an interrupted synthesize"
    ):
        synthesize_masks(bare, tmp_path / "made")
    assert (part / "with_mask" / "mine.jpg").is_file()


def test_folders_and_options_that_do_not_fit_are_told(
    samples: Path, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for folder, told in (
        (samples / "folders", "with_mask"),
        (tmp_path / "empty", "no photos"),
        (tmp_path / "gone", "no folder"),
    ):
        with pytest.raises(DatasetError, match=told):
            synthesize_masks(folder, tmp_path / "made")
    for options, told in (
        ({"masks": 1.5}, "masks must be between 0 and 1, got 1.5"),
        ({"occluders": -0.1}, "occluders must be between 0 and 1, got -0.1"),
        ({"per_photo": 0}, "per-photo must be at least 1, got 0"),
    ):
        with pytest.raises(MaskyoloError, match=told):
            synthesize_masks(bare, tmp_path / "made", **options)


def test_a_value_that_is_too_long_for_a_line_is_told(tmp_path: Path) -> None:
    write_synthesis(tmp_path / "synthesis.csv", [MadePhoto("a.jpg", "bare", "long" * 300_000)])
    with pytest.raises(
        DatasetError, match=r"line 2: field larger than .*; synthesize the photos again"
    ):
        read_synthesis(tmp_path / "synthesis.csv")


def test_a_photo_that_was_moved_to_the_other_class_keeps_its_origin(
    made: Synthesis, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made.folder, tmp_path / "photos" / "made"))
    before = read_origins(tmp_path / "photos")
    assert len(before) == sum(bool(photo.file) for photo in made.photos)
    (moved,) = [photo.file for photo in made.photos if photo.status == "occluder"][:1]
    (folder / moved).rename(folder / "with_mask" / Path(moved).name)
    after = read_origins(tmp_path / "photos")
    assert after[f"made/with_mask/{Path(moved).name}"] == before[f"made/{moved}"]
    assert f"made/{moved}" not in after


class WholePicture:
    """A face detector that sees one face in every image."""

    name = "fake"

    def detect(self, image: ImageArray) -> Faces:
        return Faces(as_boxes([(5, 5, image.shape[1] - 5, image.shape[0] - 5)]), np.float32([0.9]))


def test_convert_keeps_photos_with_their_originals_and_leaves_these_out(
    samples: Path, made: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photos together with what was made of them, as when real photos are augmented."""
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: WholePicture())
    source = tmp_path / "photos"
    shutil.copytree(samples / "folders", source / "real")
    shutil.copytree(made.folder, source / "made")
    rows = {
        row.source: row
        for row in convert_dataset(source, tmp_path / "set", splits=(0.5, 0.5, 0)).rows
    }
    for photo in made.photos:
        original = rows[f"real/without_mask/{photo.original}"]
        if photo.file:
            row = rows[f"made/{photo.file}"]
            assert row.group == original.group
            assert row.status == "kept"
            assert photo.status != "bare" or original.status == "duplicate"
            assert row.class_name == photo.class_name
        if photo.status == "left_out":
            assert (original.status, original.split, original.image) == ("original", "", "")
            assert "with_mask/" in original.reason
    by_group = {
        row.group: {
            other.split for other in rows.values() if other.group == row.group and other.split
        }
        for row in rows.values()
    }
    assert all(len(splits) <= 1 for splits in by_group.values())
    assert {row.split for row in rows.values()} == {"train", "val", ""}


def test_convert_joins_copies_of_an_original_that_is_not_there(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "load_face_detector", lambda *_, **__: WholePicture())
    made = synthesize_masks(bare, tmp_path / "made", per_photo=3, masks=0.6)
    rows = {
        row.source: row
        for row in convert_dataset(made.folder, tmp_path / "set", splits=(0.5, 0.5, 0)).rows
    }
    groups: dict[str, set[int]] = {}
    for photo in made.photos:
        if photo.file:
            groups.setdefault(photo.sha256, set()).add(rows[photo.file].group)
    assert len(groups) == COUNT
    assert all(len(found) == 1 for found in groups.values())
    assert len(set().union(*groups.values())) == COUNT


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_the_command_prints_what_became_of_the_photos(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = Path(shutil.copytree(bare, tmp_path / "photos"))
    (photos / "empty.jpg").touch()
    assert command("synthesize", photos, "--out", tmp_path / "made", "--masks", 1, "--strict") == 1
    printed, told = capsys.readouterr()
    lines = [line.split() for line in printed.splitlines()]
    assert lines[0][:2] == ["masked", str(COUNT)]
    assert ["unreadable", "1"] in [line[:2] for line in lines]
    assert lines[-1] == [str(tmp_path / "made")]
    assert "empty.jpg" in told


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--masks", "2"], 2, "--masks"),
        (["--per-photo", "0"], 2, "--per-photo"),
        (["--weights", "gone.onnx"], 1, "gone.onnx"),
    ],
)
def test_wrong_options_are_one_line(
    bare: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    assert command("synthesize", bare, "--out", tmp_path / "made", *arguments) == code
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    if code == 1:
        assert error.count("\n") == 1
