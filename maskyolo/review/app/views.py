"""Sets up FiftyOne's App for a data set: evaluations, saved views, sidebar and colors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from maskyolo.dataset.ledger import LEDGER_SIZES
from maskyolo.review.app.fields import LABELS
from maskyolo.review.app.fiftyone_set import OpenedSet
from maskyolo.review.suspicions import REASONS, Tag

__all__ = ["add_evaluation", "arrange_app", "save_views"]

#: Name of the evaluation of each field of predictions.
_EVALUATIONS = {"predictions": "eval", "two_stage": "eval_two_stage"}

#: The store in which the App's panel "Model Evaluation" keeps its scenarios; FiftyOne has no
#: public function for it.
_SCENARIOS = "model_evaluation_panel_builtin"

#: Colors of the classes by id, different for labels, suggestions and predictions.
_COLORS = {
    "ground_truth": ("#2ca02c", "#d62728", "#e69500"),
    "suggestions": ("#ffd000", "#ff9000", "#c8a2ff"),
    "predictions": ("#1f9bff", "#b26bff", "#00e5b0"),
    "two_stage": ("#00c8c8", "#ff6bd0", "#c0d000"),
    "unmerged": ("#9a9a9a", "#cfcfcf", "#6f6f6f"),
}

#: The only view that is saved even if it is empty, because people fill it in the App.
_TO_APPLY = "to apply"

#: Saved views by name: description and view.
_Views = dict[str, tuple[str, Any]]


def add_evaluation(opened: OpenedSet, fields: Sequence[str]) -> None:
    """Evaluate predictions against the labels, for the App's panel "Model Evaluation".

    A prediction is compared with the face it overlaps most, regardless of class, so that the
    confusion matrix also shows wrong classes. The panel also has precision-recall curves and COCO's
    mean average precision, and scenarios by face size and by fields of the ledger. An evaluation
    whose labels and predictions have not changed is kept.

    Args:
        opened: the data set.
        fields: the fields of predictions to evaluate.
    """
    done = dict(opened.recall("evaluated") or {})
    for where in fields:
        if done.get(where) == _fingerprint(opened, where):
            continue
        opened.samples.evaluate_detections(
            where,
            gt_field=LABELS,
            eval_key=_EVALUATIONS[where],
            classes=list(opened.review.names),
            classwise=False,
            compute_mAP=True,
            progress=False,
        )
        done[where] = _fingerprint(opened, where)
        opened.remember(evaluated=done)
    if fields:
        _save_scenarios(opened)


def save_views(opened: OpenedSet) -> None:
    """Save the views, such as one per kind of suspicion; delete those that have become empty."""
    samples = opened.samples
    tags = [tag.value for tag in Tag]
    views = _suspicion_views(samples) | _model_views(samples)
    for split in opened.review.dataset.splits:
        views[f"split: {split}"] = (f"photos of {split}", samples.match_tags(split))
    views |= _ledger_views(samples)
    views[_TO_APPLY] = (
        "photos and boxes with tags that `maskyolo review apply` will apply",
        samples.match_tags(tags),
    )
    views["conflict"] = (
        "edited in the App while the label file also changed",
        samples.match_tags("conflict"),
    )
    for name, (description, view) in views.items():
        if name == _TO_APPLY or view.limit(1).count():
            samples.save_view(name, view, description=description, overwrite=True)
        elif samples.has_saved_view(name):
            samples.delete_saved_view(name)


def _suspicion_views(samples: Any) -> _Views:
    from fiftyone import ViewField as F

    ranked = samples.exists("rank").sort_by("rank")
    return {
        "suspicious": ("all photos of review.csv, the most suspicious first", ranked),
        **{
            f"suspicious: {reason}": (meaning, ranked.match(F("reasons").contains(reason.value)))
            for reason, meaning in REASONS.items()
        },
    }


def _model_views(samples: Any) -> _Views:
    """Return views of differences between labels and predictions; none before an evaluation."""
    from fiftyone import ViewField as F

    if not samples.has_evaluation("eval"):
        return {}
    unmatched, other = F("eval_id") == "", (F("eval") == "fp") & (F("eval_id") != "")
    predictions, labels = F("predictions.detections"), F("ground_truth.detections")
    return {
        "model: finds more": (
            "faces that the model finds and the labels lack",
            samples.match(predictions.filter((F("eval") == "fp") & unmatched).length() > 0),
        ),
        "model: finds less": (
            "labeled faces that the model does not find",
            samples.match(labels.filter((F("eval") == "fn") & unmatched).length() > 0),
        ),
        "model: other class": (
            "faces for which the model and the label have different classes",
            samples.match(predictions.filter(other).length() > 0),
        ),
    }


def _ledger_views(samples: Any) -> _Views:
    from fiftyone import ViewField as F

    by_person_or_folder = F("decider").is_in(["folder", "given", "human", None])
    return {
        "ledger: corrected": (
            "photos that a person corrected",
            samples.match(F("status") == "corrected"),
        ),
        "ledger: cross-check disagrees": (
            "faces that only one of two face detectors found when the set was made",
            samples.filter_labels(LABELS, F("agreed") == False),  # noqa: E712  # None must not match
        ),
        "ledger: class by a detector": (
            "bystanders, whose class is the detector's and not the folder's",
            samples.filter_labels(LABELS, ~by_person_or_folder),
        ),
    }


def arrange_app(opened: OpenedSet) -> None:
    """Order the App's sidebar, give the classes their colors, and make the labels editable."""
    fo, samples = opened.fo, opened.samples
    names = list(opened.review.names)
    samples.app_config.sidebar_groups = _sidebar_groups(fo, samples.get_field_schema())
    samples.app_config.color_scheme = _color_scheme(fo, names)
    samples.app_config.active_fields = fo.ActiveFields(
        paths=[LABELS, "suggestions", "rank", "reasons"]
    )
    samples.save()
    labels = samples.generate_label_schemas(LABELS, scan_samples=False)
    samples.update_label_schema(
        LABELS, labels | {"component": "radio", "classes": names, "attributes": []}
    )
    samples.activate_label_schemas(LABELS)


def _sidebar_groups(fo: Any, schema: Any) -> list[Any]:
    evaluations = [f"{key}_{part}" for key in _EVALUATIONS.values() for part in ("tp", "fp", "fn")]
    groups = {
        "labels": [LABELS, "suggestions", "predictions", "two_stage", "unmerged"],
        "suspicion": ["rank", "suspicion", "reasons"],
        "ledger": [
            "folder_class",
            "status",
            "face_size",
            "detector",
            "reason",
            "source",
            "group",
        ],
        "evaluation": evaluations,
    }
    shown = [
        fo.SidebarGroupDocument(
            name=name,
            paths=[path for path in paths if path in schema],
            expanded=name != "evaluation",
        )
        for name, paths in groups.items()
    ]
    built_in = {
        "metadata": ["id", "filepath", "metadata.width", "metadata.height"],
        "other": ["image", "label_text", "created_at", "last_modified_at"],
    }
    return [
        fo.SidebarGroupDocument(name="tags", paths=[], expanded=True),
        *shown,
        *(
            fo.SidebarGroupDocument(name=name, paths=paths, expanded=False)
            for name, paths in built_in.items()
        ),
    ]


def _color_scheme(fo: Any, names: Sequence[str]) -> Any:
    fields = [
        {
            "path": path,
            "colorByAttribute": "label",
            "fieldColor": colors[0],
            "valueColors": [
                {"value": name, "color": color} for name, color in zip(names, colors, strict=False)
            ],
        }
        for path, colors in _COLORS.items()
    ]
    return fo.ColorScheme(color_by="value", fields=fields)


def _fingerprint(opened: OpenedSet, where: str) -> str:
    """Return a checksum of the labels and of one field's predictions."""
    paths = [
        f"{name}.detections.{part}"
        for name in (LABELS, where)
        for part in ("id", "label", "bounding_box")
    ]
    values = opened.samples.values(["image", *paths])
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _save_scenarios(opened: OpenedSet) -> None:
    """Add scenarios by face size, split and ledger fields to the panel; keep the user's own."""
    from bson import ObjectId
    from fiftyone.operators.store import ExecutionStore

    store = ExecutionStore.create(_SCENARIOS, opened.samples._doc.id)
    scenarios = dict(store.get("scenarios") or {})
    ours: dict[str, dict[str, Any]] = {
        "by face size": {
            "type": "label_attribute",
            "field": "ground_truth.detections.size",
            "subsets": list(LEDGER_SIZES),
        }
    }
    for name, path in {"by folder": "folder_class", "by status": "status"}.items():
        if values := [value for value in opened.samples.distinct(path) if value]:
            ours[name] = {"type": "sample_field", "field": path, "subsets": values}
    ours["by split"] = {
        "type": "view",
        "subsets": [f"split: {split}" for split in opened.review.dataset.splits],
    }
    for name, scenario in ours.items():
        # The id is always the same, so that opening the set again replaces the scenario.
        number = str(ObjectId(hashlib.sha256(name.encode()).digest()[:12]))
        scenarios[number] = {"id": number, "name": name} | scenario
    if scenarios != store.get("scenarios"):
        store.set("scenarios", scenarios)
