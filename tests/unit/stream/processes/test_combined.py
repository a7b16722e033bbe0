import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.processes.combined import combined_metrics, combined_ready, combined_status
from stream.processes.siblings import Answer, Siblings
from stream.processes.table import ProcessTable
from stream.settings import Settings

TEXT = b"""# HELP nextclick_lists_total lists
# TYPE nextclick_lists_total counter
nextclick_lists_total 7.0
# HELP nextclick_events_total by outcome
# TYPE nextclick_events_total counter
nextclick_events_total{outcome="stepped",partition="0"} 7.0
# HELP nextclick_step_duration_seconds a wave
# TYPE nextclick_step_duration_seconds histogram
nextclick_step_duration_seconds_bucket{le="+Inf"} 2.0
nextclick_step_duration_seconds_count 2.0
nextclick_step_duration_seconds_sum 0.5
"""


def test_a_sum_over_the_processes_is_the_workers_and_no_sample_is_there_twice() -> None:
    only_second = b'# HELP nextclick_new new\n# TYPE nextclick_new gauge\nnextclick_new{a="b c"} 1.0\n'
    text = combined_metrics({0: TEXT, 1: TEXT + only_second}).decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families) == 4
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["process"] for sample in samples} == {"0", "1"}
    assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples) == 11
    assert sum(sample.value for sample in samples if sample.name == "nextclick_lists_total") == 14
    (new,) = [sample for sample in samples if sample.name == "nextclick_new"]
    assert new.labels == {"process": "1", "a": "b c"}


def test_a_series_that_says_of_which_process_it_is_is_left_as_it_is() -> None:
    own = b'# HELP up up\n# TYPE up gauge\nup{process="1"} 0.0\n'
    assert combined_metrics({0: own}).decode().splitlines()[-1] == 'up{process="1"} 0.0'


def test_a_worker_is_ready_when_all_its_processes_are() -> None:
    own = {"ready": True, "why_not": None, "recovering": {"0": {"done": 1, "total": 2}}}
    theirs = {"ready": False, "why_not": "recovering", "recovering": {"3": {"done": 5, "total": 9}}}
    body = combined_ready(own, {1: Answer(503, orjson.dumps(theirs))})
    assert (body["ready"], body["why_not"]) == (False, "recovering")
    assert body["recovering"].keys() == {"0", "3"}
    ready = orjson.dumps({"ready": True, "why_not": None, "recovering": {}})
    assert combined_ready(own, {1: Answer(200, ready)})["ready"]
    assert not combined_ready(own, {1: Answer(200, ready), 2: None})["ready"]


def status(partition: int, **changes: object) -> dict[str, object]:
    """A process's status with 10 events of one partition."""
    counts = {"read": 10, "lost": 0, "stepped": 9, "dead_lettered": 0}
    return {
        "model": "v", "ready": True, "why_not_ready": None, "lists": 9, "lag": 3, "level": 0,
        "partitions": [partition], "begun_anew": [], "sessions": 4, "waiting": {}, "refused_versions": [],
        "producer_faults": {"key": 1}, "quality": "of the first",
        "accounting": {
            **counts, "in_flight": 1, "holds": True, "partitions": {str(partition): counts, "7": counts},
        },
        **changes,
    }  # fmt: skip


def test_counts_are_added_up_and_each_process_is_named() -> None:
    table = ProcessTable(2)
    table.begin(1, 4711)
    table.add_restart(1)
    answers = {1: Answer(200, orjson.dumps(status(1, lag=5)))}
    found = combined_status(status(0), answers, Siblings(table, {}, Settings()))
    assert (found["lists"], found["lag"], found["sessions"]) == (18, 8, 8)
    assert found["partitions"] == [0, 1]
    assert found["producer_faults"] == {"key": 2}
    assert found["ready"] and found["quality"] == "of the first"
    accounting = found["accounting"]
    assert (accounting["read"], accounting["in_flight"], accounting["holds"]) == (20, 2, True)
    # A partition that moved from one process to the other.
    assert accounting["partitions"]["7"]["read"] == 20
    assert found["processes"][1] == {
        "process": 1, "pid": 4711, "restarts": 1, "answers": True,
        "model": "v", "ready": True, "lists": 9, "lag": 5, "partitions": [1],
    }  # fmt: skip


def test_a_lag_that_one_process_does_not_know_is_not_known() -> None:
    answers = {1: Answer(200, orjson.dumps(status(1, lag=None)))}
    assert combined_status(status(0), answers, Siblings(ProcessTable(2), {}, Settings()))["lag"] is None


def test_a_process_that_refuses_to_say_is_not_taken_for_ready() -> None:
    own: dict[str, object] = {"ready": True, "why_not": None, "recovering": {}}
    body = combined_ready(own, {1: Answer(429, b'{"error":"too many requests"}')})
    assert (body["ready"], body["why_not"]) == (False, "process 1 does not answer")


@pytest.mark.parametrize("answer", [None, Answer(500, b"{}")])
def test_a_process_that_does_not_answer_is_said_to_be_missing_from_the_sums(answer: Answer | None) -> None:
    found = combined_status(status(0), {1: answer}, Siblings(ProcessTable(2), {}, Settings()))
    assert found["lists"] == 9
    assert (found["ready"], found["why_not_ready"]) == (False, "process 1 does not answer")
    assert found["processes"][1]["answers"] is False
