"""A version that the gate accepts waits for an experiment where `gate_experiment` asks for one."""

from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from model.registry.registry import Registry
from stream.retraining import retrain
from stream.retraining.options import RetrainOptions
from stream.retraining.report import RunReport, headline
from stream.retraining.retrain import _Run, no_bar
from stream.settings import Settings


@pytest.mark.parametrize(
    ("gate_experiment", "before", "wanted", "is_promoted"),
    [
        ("none", "v1", True, True),
        ("clicks", "v1", True, False),
        ("clicks", "v1", False, False),
        # There is none that the first version could be held against.
        ("clicks", None, True, True),
    ],
)
def test_it_is_saved_and_promoted_only_where_nothing_has_to_be_waited_for(
    gate_experiment: str, before: str | None, wanted: bool, is_promoted: bool, tmp_path: Path
) -> None:
    registry = Mock(spec=Registry, root=tmp_path)
    registry.save.return_value.version = "v2"
    registry.succeed.return_value = True
    report, told = RunReport("a run", "accepted", champion=before), list[str]()
    settings = Settings(registry_dir=tmp_path, gate_experiment=gate_experiment)
    options = RetrainOptions(promote=wanted, announce=False)
    run = _Run(settings, options, registry, report, no_bar, told.append)
    split = Mock(frame=None, earlier=None)
    run.wanted, run.earlier = Mock(), Mock()
    written: list[bool] = []
    with (
        patch.object(retrain, "learned_data", Mock(return_value={})),
        patch.object(retrain, "write_note", lambda root, note: written.append(note.promote)),
        patch.object(RunReport, "scores", Mock(return_value={})),
    ):
        run._save_and_promote(Mock(), before, Mock(), split, Mock())
    assert report.version == "v2"
    assert registry.succeed.called == report.promoted == is_promoted
    # What a run after an interruption would do.
    assert written == [is_promoted]
    waits = wanted and not is_promoted
    assert report.waits_for == (gate_experiment if waits else "")
    assert [("nextclick promote v2 --until-it-leads" in text) for text in told] == [True] * waits
    assert ("waits until an experiment sees it lead in clicks" in headline(report)) == waits
