"""`nextclick models`: the versions in the registry.

Tested by tests/docs/test_readme.py.
"""

from __future__ import annotations

import json

from rich.table import Table

from model.registry.registry import Registry
from model.registry.version_files import RefusedVersion
from replay.commands.options import Json, RegistryDir
from replay.console import log, moment, out
from stream.settings import load_settings


def models(registry: RegistryDir = None, as_json: Json = False) -> None:
    """List the versions in the registry, oldest first, with their measured quality.

    A version that cannot be read is named on stderr with the reason; the others are listed.
    """
    folder = Registry(registry or load_settings().registry_dir)
    refused: list[RefusedVersion] = []
    versions = folder.versions(refused)
    for error in refused:
        log.print(error.what, highlight=False, markup=False)
    if as_json:
        print(json.dumps(versions))
        return
    table = Table("version", "network", "items", "Recall@20", "MRR@20", "trained on events until", "")
    for row in versions:
        scored = row["scores"].get("evaluation", {})
        table.add_row(
            row["version"],
            row["network"],
            f"{row['items']:,}",
            f"{scored.get('recall', float('nan')):.4f}",
            f"{scored.get('mrr', float('nan')):.4f}",
            moment(row["data"].get("last_event_time_ms")),
            "champion" if row["champion"] else "",
        )
    out.print(table)
