"""The series of an ingester by topic and by outcome of its transactions, there before anything came."""

from __future__ import annotations

from collections import Counter

from stream.ingest.ingest_metrics import IngestMetrics
from stream.ingest.ingest_report import IngestReport


def values(report: IngestReport, name: str, label: str) -> dict[str, float]:
    metrics = {metric.name: metric for metric in IngestMetrics(report).collect()}
    return {sample.labels[label]: sample.value for sample in metrics[name].samples}


def test_a_source_of_which_nothing_has_come_stays_at_0() -> None:
    report = IngestReport(taken_of=Counter(views=0, orders=0), lag_of={"views": 7, "orders": 0})
    assert values(report, "nextclick_ingest_source_records", "topic") == {"views": 0, "orders": 0}
    batch = IngestReport(taken=3, given_on=3, events=4)
    batch.taken_of["views"] += 3
    report.add(batch)
    report.add(IngestReport())
    report.aborted += 1
    assert values(report, "nextclick_ingest_source_records", "topic") == {"views": 3, "orders": 0}
    assert values(report, "nextclick_ingest_source_lag_records", "topic") == {"views": 7, "orders": 0}
    assert values(report, "nextclick_ingest_transactions", "outcome") == {"committed": 2, "aborted": 1}
    assert report.difference == 0
