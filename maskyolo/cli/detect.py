"""`maskyolo detect`: boxes on pictures, videos, cameras and streams."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from maskyolo._text import counted
from maskyolo.cli.options import (
    Backend,
    Device,
    ExistOk,
    FaceDetectorName,
    FaceWeights,
    ImageSize,
    MaxDetections,
    Model,
    Name,
    NmsIou,
    Pipeline,
    Precision,
    Project,
    Strict,
    Trust,
    examples,
)
from maskyolo.cli.progress import progress_bar

EXAMPLES = examples(
    "maskyolo detect --source data/samples",
    "maskyolo detect --source data/samples/street.mp4 --save-json street.jsonl",
    "maskyolo detect --source 'data/samples/*.jpg' --no-save --save-txt --save-conf",
    "maskyolo detect --source 0 --show",
    "maskyolo detect --source data/samples --pipeline two-stage",
    "maskyolo detect --source data/samples/street.mp4 --track --events street.csv",
    "maskyolo detect --source data/samples/street.mp4 --stats-only --zone 0,0.2,1,0.2,1,1,0,1",
    "maskyolo detect --source data/samples --blur",
)


def detect(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            "--image",
            help="Picture, video, folder, glob, list of them (.txt), camera number, or address (http, https, rtsp).",
        ),
    ],
    model: Model = None,
    conf: Annotated[
        float,
        typer.Option(
            "--conf", "--confidence", min=0, max=1, help="Least confidence of a detection."
        ),
    ] = 0.25,
    iou: NmsIou = 0.5,
    imgsz: ImageSize = None,
    device: Device = "auto",
    vid_stride: Annotated[
        int, typer.Option(min=1, help="Look at every n-th frame of a video.")
    ] = 1,
    reconnect: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds for which a camera or stream that breaks off is tried again (inf: for ever).",
        ),
    ] = 60,
    max_det: MaxDetections = 300,
    slice_size: Annotated[
        int | None,
        typer.Option(
            "--slice",
            min=64,
            help="Look besides at tiles of this many pixels: far faces in very large pictures.",
        ),
    ] = None,
    pipeline: Pipeline = "yolo",
    detector: FaceDetectorName = None,
    face: FaceWeights = None,
    face_conf: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least score of a face in two-stage (0.5).")
    ] = None,
    backend: Backend = "auto",
    precision: Precision = "auto",
    trust: Trust = False,
    track: Annotated[
        bool,
        typer.Option(
            "--track",
            help="Follow the faces of videos and streams: steady labels, and people are counted.",
        ),
    ] = False,
    zone: Annotated[
        str | None,
        typer.Option(
            help="Count only people in this polygon: x1,y1,x2,y2,x3,y3,... in pixels, or in shares from 0 to 1."
        ),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            help="Count who crosses this line: x1,y1,x2,y2 in pixels, or in shares from 0 to 1."
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            help="Write what happens to the people to this file, .csv or .jsonl: appears, changes, alert, ..."
        ),
    ] = None,
    alert_after: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds that a person is seen without a mask before there is an alert."
        ),
    ] = None,
    alert_cmd: Annotated[
        str | None,
        typer.Option(
            help="Program that is run at each alert, without a shell, with the event as JSON on its input."
        ),
    ] = None,
    alert_url: Annotated[
        str | None, typer.Option(help="Address that the event is posted to as JSON at each alert.")
    ] = None,
    blur: Annotated[
        bool,
        typer.Option(
            "--blur", help="Make every face found unrecognisable in all that is saved and shown."
        ),
    ] = False,
    stats_only: Annotated[
        bool,
        typer.Option(
            "--stats-only", help="Save no pictures, only numbers: counts.json in the run's folder."
        ),
    ] = False,
    save: Annotated[
        bool,
        typer.Option(
            "--save/--no-save", help="Write drawn pictures and videos into the run's folder."
        ),
    ] = True,
    save_json: Annotated[
        Path | None, typer.Option(help="Write a line of JSON per frame to this file.")
    ] = None,
    save_txt: Annotated[
        bool, typer.Option("--save-txt", help="Write YOLO label files into the run's folder.")
    ] = False,
    save_conf: Annotated[
        bool, typer.Option("--save-conf", help="Add the confidence to these.")
    ] = False,
    save_crop: Annotated[
        bool,
        typer.Option(
            "--save-crop", help="Write each detection as a picture into the run's folder."
        ),
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show the frames in a window; q quits.")
    ] = False,
    project: Project = Path("runs/detect"),
    name: Name = "predict",
    exist_ok: ExistOk = False,
    strict: Strict = False,
) -> None:
    """Find faces and say of each whether it wears a mask, one forward pass a frame, or with --pipeline two-stage as in 2020."""
    from maskyolo.core.classes import CLASS_NAMES
    from maskyolo.detection import Summary
    from maskyolo.detection import detect as run

    for ending in ("SIGTERM", "SIGHUP"):  # the polite end, the closed terminal
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), _interrupt)
    summary = Summary()
    try:
        with (
            progress_bar("frames") as on_progress,
            closing(
                run(
                    source,
                    model=model,
                    conf=conf,
                    iou=iou,
                    imgsz=imgsz,
                    device=device,
                    vid_stride=vid_stride,
                    reconnect=reconnect,
                    max_det=max_det,
                    slice_size=slice_size,
                    pipeline=pipeline,
                    detector=detector,
                    face=face,
                    face_conf=face_conf,
                    backend=backend,
                    precision=precision,
                    trust=trust,
                    track=track,
                    zone=zone,
                    line=line,
                    events=events,
                    alert_after=alert_after,
                    alert_cmd=alert_cmd,
                    alert_url=alert_url,
                    blur=blur,
                    stats_only=stats_only,
                    save=save and not stats_only,
                    save_json=save_json,
                    save_txt=save_txt,
                    save_conf=save_conf,
                    save_crop=save_crop,
                    show=show,
                    project=project,
                    name=name,
                    exist_ok=exist_ok,
                    on_error=lambda _, error: typer.echo(f"maskyolo: {error}", err=True),
                    summary=summary,
                )
            ) as results,
        ):
            for number, _ in enumerate(results):
                if number == 0 and summary.network:
                    typer.echo(summary.network, err=True)
                on_progress(summary.frames, summary.total)
    finally:  # also after Ctrl-C and errors: what is finished is on disk
        if summary.frames:
            print(
                counted(summary.frames, "frame")
                + ": "
                + ", ".join(f"{summary.counts[name]} {name}" for name in CLASS_NAMES)
            )
        if summary.people and summary.frames:
            print(summary.people.summary())
        if summary.dropped:
            print(f"{counted(summary.dropped, 'frame')} passed over to keep up")
        if summary.interruptions:
            print(
                "broke off "
                + ("once" if summary.interruptions == 1 else f"{summary.interruptions} times")
            )
        for path in (save_json, events):
            if path and summary.frames:
                print(path)
        if summary.folder:
            print(summary.folder)
    if len(summary.errors) > 1:
        typer.echo(
            f"maskyolo: {len(summary.errors)} sources could not be read, or not to their end",
            err=True,
        )
    if strict and summary.errors:
        raise typer.Exit(1)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
