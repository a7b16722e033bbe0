"""`nextclick settings`: every setting, its value and its source.

Tested by tests/docs/test_readme.py.
"""

from __future__ import annotations

import json

from rich.table import Table

from replay.commands.options import Json
from replay.console import out
from stream.settings import Settings, load_settings, setting_source


def settings(as_json: Json = False) -> None:
    """List every setting with its value and where it comes from."""
    current = load_settings()
    rows = {
        name: {"value": getattr(current, name), "source": setting_source(name, {})}
        for name in Settings.model_fields
    }
    if as_json:
        print(json.dumps(rows, default=str))
        return
    table = Table("setting", "value", "from", "meaning")
    for name, row in rows.items():
        table.add_row(name, str(row["value"]), row["source"], Settings.model_fields[name].description or "")
    out.print(table)
