"""Writes the dashboards that Grafana is provisioned with: python deploy/grafana/generate.py"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.ingest import ingest
from deploy.grafana.overview import overview
from deploy.grafana.quality import quality
from deploy.grafana.retraining import retraining
from deploy.grafana.store import store

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = (overview, quality, store, retraining, ingest)


def files() -> dict[str, str]:
    """File name → its content."""
    made = {}
    for board in BOARDS:
        dashboard = board().build()
        for number, panel in enumerate(dashboard.panels or [], start=1):
            panel.id_val = number
        made[f"{board.__name__}.json"] = JSONEncoder(sort_keys=True, indent=2).encode(dashboard) + "\n"
    return made


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content)
