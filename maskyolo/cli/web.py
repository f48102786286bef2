"""`maskyolo web`: the detector as a page in the browser."""

from __future__ import annotations

import typer

from maskyolo.cli.options import examples, with_options
from maskyolo.web.options import WebOptions

EXAMPLES = examples(
    "maskyolo web",
    "maskyolo web --model runs/train/train/weights/best.onnx",
    "maskyolo web --out public",
)


@with_options(WebOptions)
def web(options: WebOptions) -> None:
    """Run the detector in the browser: photos, videos and the camera, without uploading anything.

    The page is served to browsers on this machine until Ctrl-C.
    """
    from maskyolo.web.serving import serve_web

    folder = serve_web(
        options=options,
        on_start=lambda url: typer.echo(f"open {url} in your browser; Ctrl-C to stop"),
    )
    if folder:
        print(folder)
