"""Where the files of deploy/ are: in a checkout beside the packages, in an installation where pip put them.

A wheel carries what commands read: the demo's log, the benchmarks, the script that starts a broker and the
parameter files (pyproject.toml, `data-files`). Tested by tests/deploy/test_wheel.py.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from model.errors import NextclickError


def deploy_folder() -> Path:
    """The folder deploy/ that belongs to these packages.

    Raises:
        NextclickError: the packages are in no checkout, and the installation has no such files.

    >>> (deploy_folder() / "data" / "online_retail.csv.xz").exists()
    True
    """
    beside = Path(__file__).parents[1] / "deploy"
    if beside.is_dir():
        return beside
    try:
        installed = files("nextclick") or []
    except PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-3:-1] == ("nextclick", "deploy"):
            return Path(str(file.locate())).resolve().parent
    raise NextclickError(
        "the files of deploy/ are not installed",
        "They are the demo's log, the benchmarks and the script that starts a broker.",
        "Install the wheel anew, or run this in a checkout.",
    )
