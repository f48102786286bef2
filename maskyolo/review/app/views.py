"""What the App shows of a data set: its evaluation, a saved view for each kind of suspicion, and a sidebar in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from maskyolo.ledger import LEDGER_SIZES
from maskyolo.review.app.fiftyone_set import OpenedSet
from maskyolo.review.suspicions import REASONS, TAGS

__all__ = ["arrange_app", "evaluate", "save_views"]

#: Name of the evaluation of each field of predictions.
EVALUATIONS = {"predictions": "eval", "two_stage": "eval_two_stage"}

#: The store where the App's panel "Model Evaluation" keeps its scenarios; FiftyOne has no function for it.
_SCENARIOS = "model_evaluation_panel_builtin"

#: Colours of the classes by id in each field: labels stand out from what is suggested and from what detectors see.
_COLOURS = {
    "ground_truth": ("#2ca02c", "#d62728"),
    "suggestions": ("#ffd000", "#ff9000"),
    "predictions": ("#1f9bff", "#b26bff"),
    "two_stage": ("#00c8c8", "#ff6bd0"),
    "unmerged": ("#9a9a9a", "#cfcfcf"),
}


def evaluate(shown: OpenedSet, fields: Sequence[str]) -> None:
    """Evaluate predictions against the labels as COCO does, where either changed since; the App's panel "Model Evaluation" shows it.

    A prediction is compared with the face it overlaps best, whatever their classes, so that the confusion matrix shows both. The panel
    has the precision-recall curves and the mean average precision besides, and scenarios by the faces' size and by fields of the ledger.
    """
    done = dict(shown.recall("evaluated") or {})
    for where in fields:
        state = _state(shown, where)
        if done.get(where) == state:
            continue
        shown.samples.evaluate_detections(
            where,
            gt_field="ground_truth",
            eval_key=EVALUATIONS[where],
            classes=list(shown.review.names),
            classwise=False,
            compute_mAP=True,
            progress=False,
        )
        done[where] = _state(shown, where)
        shown.remember(evaluated=done)
    if fields:
        _save_scenarios(shown)


def save_views(shown: OpenedSet) -> None:
    """Save a view for each kind of suspicion that there is, and remove ours that show nothing any more."""
    from fiftyone import ViewField as F

    samples, ranked = shown.samples, shown.samples.exists("rank").sort_by("rank")
    views: dict[str, tuple[str, Any]] = {
        "suspicious": ("all photos of review.csv, the most suspicious first", ranked)
    }
    for reason, told in REASONS.items():
        views[f"suspicious: {reason}"] = (told, ranked.match(F("reasons").contains(reason)))
    if shown.samples.has_evaluation("eval"):
        unmatched, other = F("eval_id") == "", (F("eval") == "fp") & (F("eval_id") != "")
        views["model: finds more"] = (
            "faces that the model sees and the labels lack",
            samples.match(
                F("predictions.detections").filter((F("eval") == "fp") & unmatched).length() > 0
            ),
        )
        views["model: finds less"] = (
            "labelled faces that the model does not see",
            samples.match(
                F("ground_truth.detections").filter((F("eval") == "fn") & unmatched).length() > 0
            ),
        )
        views["model: other class"] = (
            "faces whose class the model and the label tell otherwise",
            samples.match(F("predictions.detections").filter(other).length() > 0),
        )
    for split in shown.review.dataset.splits:
        views[f"split: {split}"] = (f"photos of {split}", samples.match_tags(split))
    views["ledger: corrected"] = (
        "photos that a person corrected",
        samples.match(F("status") == "corrected"),
    )
    views["ledger: second opinion disagrees"] = (
        "faces that only one of two face detectors saw when the set was made",
        samples.filter_labels("ground_truth", F("agreed") == False),  # noqa: E712  an expression, not a truth value
    )
    views["ledger: class by a detector"] = (
        "faces whose class is not the folder's, as they stand beside the photo's subject",
        samples.filter_labels(
            "ground_truth", F("decider").is_in(["folder", "given", "human", None]) == False
        ),  # noqa: E712
    )
    views["to apply"] = (
        "photos and boxes with tags that `maskyolo review apply` will take over",
        samples.match_tags(list(TAGS)),
    )
    views["conflict"] = (
        "edited in the App while the label file changed, too",
        samples.match_tags("conflict"),
    )
    for name, (told, view) in views.items():
        if name == "to apply" or view.limit(1).count():
            samples.save_view(name, view, description=told, overwrite=True)
        elif samples.has_saved_view(name):
            samples.delete_saved_view(name)


def arrange_app(shown: OpenedSet) -> None:
    """Put the fields in order in the sidebar, give the classes their colours, and let the labels be edited in the App."""
    fo, samples = shown.fo, shown.samples
    schema = samples.get_field_schema()

    def group(name: str, *fields: str, expanded: bool = True) -> Any:
        return fo.SidebarGroupDocument(
            name=name, paths=[field for field in fields if field in schema], expanded=expanded
        )

    evaluations = [f"{key}_{part}" for key in EVALUATIONS.values() for part in ("tp", "fp", "fn")]
    samples.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name="tags", paths=[], expanded=True),
        group("labels", "ground_truth", "suggestions", "predictions", "two_stage", "unmerged"),
        group("suspicion", "rank", "suspicion", "reasons"),
        group(
            "ledger", "folder_class", "status", "face_size", "detector", "reason", "source", "group"
        ),
        group("evaluation", *evaluations, expanded=False),
        fo.SidebarGroupDocument(
            name="metadata",
            paths=["id", "filepath", "metadata.width", "metadata.height"],
            expanded=False,
        ),
        fo.SidebarGroupDocument(
            name="other",
            paths=["image", "label_text", "created_at", "last_modified_at"],
            expanded=False,
        ),
    ]
    samples.app_config.color_scheme = fo.ColorScheme(
        color_by="value",
        fields=[
            {
                "path": name,
                "colorByAttribute": "label",
                "fieldColor": colours[0],
                "valueColors": [
                    {"value": label, "color": colour}
                    for label, colour in zip(shown.review.names, colours, strict=False)
                ],
            }
            for name, colours in _COLOURS.items()
        ],
    )
    samples.app_config.active_fields = fo.ActiveFields(
        paths=["ground_truth", "suggestions", "rank", "reasons"]
    )
    samples.save()
    labels = samples.generate_label_schemas("ground_truth", scan_samples=False)
    samples.update_label_schema(
        "ground_truth",
        labels | {"component": "radio", "classes": list(shown.review.names), "attributes": []},
    )
    samples.activate_label_schemas("ground_truth")


def _state(shown: OpenedSet, where: str) -> str:
    """Return a fingerprint of the labels and of the predictions in a field."""
    paths = [
        f"{name}.detections.{part}"
        for name in ("ground_truth", where)
        for part in ("id", "label", "bounding_box")
    ]
    return hashlib.sha256(json.dumps(shown.samples.values(["image", *paths])).encode()).hexdigest()


def _save_scenarios(shown: OpenedSet) -> None:
    """Have the panel "Model Evaluation" tell results apart by the faces' size and by fields of the ledger; keep people's own ones."""
    from bson import ObjectId
    from fiftyone.operators.store import ExecutionStore

    store = ExecutionStore.create(_SCENARIOS, shown.samples._doc.id)
    scenarios = dict(store.get("scenarios") or {})
    ours: dict[str, dict[str, Any]] = {
        "by face size": {
            "type": "label_attribute",
            "field": "ground_truth.detections.size",
            "subsets": list(LEDGER_SIZES),
        }
    }
    for name, path in {"by folder": "folder_class", "by status": "status"}.items():
        if values := [value for value in shown.samples.distinct(path) if value]:
            ours[name] = {"type": "sample_field", "field": path, "subsets": values}
    ours["by split"] = {
        "type": "view",
        "subsets": [f"split: {split}" for split in shown.review.dataset.splits],
    }
    for name, scenario in ours.items():
        number = str(ObjectId(hashlib.sha256(name.encode()).digest()[:12]))
        scenarios[number] = {"id": number, "name": name} | scenario
    if scenarios != store.get("scenarios"):
        store.set("scenarios", scenarios)
