"""Builds the documentation site in `build/site` with Zensical: `make docs`.

The pages are those of the repository, at the same relative paths, so that their links work on
GitHub, in a clone and on the site. This script copies them, and every file of the repository that
they link to, to `build/docs`, with README.md as the home page. A broken link fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "docs/**/*.md",
    "benchmarks/*.md",
    "maskyolo/weights/*.md",
    "face_detector/README.md",
    "data/samples/README.md",
]
_LINK = re.compile(r"\]\(([^)#\s]+)|src=\"([^\"]+)\"")


def copy_pages(target: Path) -> None:
    """Copy all pages and the files that they link to, such as images, to `target`."""
    shutil.rmtree(target, ignore_errors=True)
    for page in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        text = page.read_text(encoding="utf-8")
        if page == ROOT / "README.md":
            _write(target / "index.md", text)
        else:
            _write(target / page.relative_to(ROOT), text.replace("../README.md", "../index.md"))
        for link in (first or second for first, second in _LINK.findall(text)):
            linked = (page.parent / link).resolve()
            if linked.is_file() and linked.is_relative_to(ROOT) and linked.suffix != ".md":
                copy = target / linked.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(linked, copy)


def convert_notebook(notebook: Path, target: Path) -> None:
    """Write a notebook with its stored outputs as a Markdown page, with its images beside it."""
    from nbconvert import MarkdownExporter

    text, resources = MarkdownExporter().from_filename(str(notebook))
    _write(target, text)
    for name, content in resources["outputs"].items():
        (target.parent / name).write_bytes(content)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    copy_pages(ROOT / "build" / "docs")
    convert_notebook(ROOT / "docs/tutorial.ipynb", ROOT / "build/docs/docs/notebook/tutorial.md")
    program = Path(sys.executable).parent / "zensical"
    sys.exit(subprocess.run([program, "build", "--clean", "--strict"], cwd=ROOT).returncode)
