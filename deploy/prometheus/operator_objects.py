"""The rules and what is scraped, as objects of the Prometheus operator.

python deploy/prometheus/operator_objects.py | kubectl -n nextclick apply -f -
A cluster with the operator then has every rule of deploy/prometheus as it is; labels that its Prometheus
selects rules by are arguments: release=kube-prometheus-stack. runbooks=https://git.example.com/nextclick/blob/main
says where this repository can be read: each alert then has the address of its row in the runbook.
Tested by tests/deploy/test_kubernetes_manifests.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parent
# Job of the rules → port of its pods. Retraining is a CronJob there, which serves no metrics:
# NextclickModelStale tells when it makes no versions.
JOBS = {"worker": "probes", "archive": "metrics", "ingest": "metrics", "outcomes": "metrics"}


def objects(labels: dict[str, str], runbooks: str = "") -> list[dict[str, Any]]:
    """A PrometheusRule of all rules, and a PodMonitor for each job that runs all the time."""
    groups: list[dict[str, Any]] = []
    for name in ("recording.yml", "alerts.yml"):
        for group in yaml.safe_load((RULES / name).read_text())["groups"]:
            # A name may stand once in an object, and both files have some groups of one name.
            named = f"{group['name']}-{name.removesuffix('.yml')}"
            rules = [_with_address(rule, runbooks) for rule in group["rules"]]
            groups.append({**group, "name": named, "rules": rules})
    made = [_object("PrometheusRule", "nextclick", labels, {"groups": groups})]
    for job, port in JOBS.items():
        # The rules know a job by its name alone, and an instance by its pod.
        relabelings = [
            {"targetLabel": "job", "replacement": f"nextclick-{job}"},
            {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"},
        ]
        spec = {
            "selector": {"matchLabels": {"app.kubernetes.io/name": f"nextclick-{job}"}},
            "podMetricsEndpoints": [
                {"port": port, "path": "/metrics", "interval": "15s", "relabelings": relabelings}
            ],
        }
        made.append(_object("PodMonitor", f"nextclick-{job}", labels, spec))
    return made


def _with_address(rule: dict[str, Any], runbooks: str) -> dict[str, Any]:
    """A rule whose runbook is an address: what its template would put before the path, or `runbooks`."""
    notes = rule.get("annotations")
    if not (notes and runbooks):
        return rule
    path = notes["runbook"].rpartition("}}")[2]
    return {**rule, "annotations": {**notes, "runbook": f"{runbooks.rstrip('/')}/{path}"}}


def _object(kind: str, name: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "nextclick", **labels}}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": metadata, "spec": spec}


if __name__ == "__main__":
    given = dict(text.split("=", 1) for text in sys.argv[1:])
    print(yaml.safe_dump_all(objects(given, given.pop("runbooks", "")), sort_keys=False, allow_unicode=True))
