"""The tutorial notebook runs from top to bottom on the sample photos."""

import nbformat
import pytest
from nbclient import NotebookClient
from paths import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [
        output["data"].keys()
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "display_data"
    ]
    assert sum("image/jpeg" in kinds for kinds in shown) == 5


def test_the_stored_outputs_are_small() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.outputs for cell in notebook.cells[2:] if cell.cell_type == "code")
