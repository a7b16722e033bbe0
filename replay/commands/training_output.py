"""What the commands that learn from files show: progress, and a table of evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.table import Column, Table

from model.evaluation.intervals import Interval
from model.evaluation.rank_targets import Evaluation
from model.networks.fused.fused_list import FusedList
from model.training.fused_training import FEWEST_LISTS
from model.training.job import JobScores
from model.training.run_options import Progress
from model.training.trained_model import TrainedModel
from replay.console import log, out, progress_bar


@contextmanager
def training_bar(title: str, quiet: bool = False) -> Iterator[Any]:
    """A progress bar for `train`."""
    with progress_bar(title) as bar:

        def report(p: Progress) -> None:
            bar(p.done, p.whole, str(p))

        yield (lambda p: None) if quiet else report


def show(rows: dict[str, Evaluation]) -> None:
    """A table of evaluations; accuracy is Recall@1, loss the cross-entropy over all items.

    Of a network that predicts vectors the loss is its own.
    """
    table = Table(
        Column("", no_wrap=True), "Recall@20", "MRR@20", "accuracy", "loss", "next events", "sessions"
    )
    for name, scored in rows.items():
        table.add_row(
            name,
            f"{scored.recall:.4f}",
            f"{scored.mrr:.4f}",
            f"{scored.accuracy:.4f}",
            "–" if scored.loss is None else _loss_text(scored.loss),
            f"{scored.targets:,}",
            f"{scored.sessions:,}",
        )
    out.print(table)


def _loss_text(loss: float) -> str:
    """A loss with four digits that say something: those of vectors are small.

    >>> _loss_text(5.71291), _loss_text(0.0201351)
    ('5.713', '0.02014')
    """
    return f"{loss:.3f}" if loss >= 1 else f"{loss:.4g}"


def print_epoch(epoch: int, scored: Evaluation) -> None:
    """One line on stderr for the validation after an epoch."""
    if not scored.targets:
        log.print(f"epoch {epoch}: there is no next event to validate by", highlight=False)
        return
    loss = "" if scored.loss is None else f" loss {_loss_text(scored.loss)}"
    if scored.mse is not None and scored.mae is not None:
        loss += f" MSE {scored.mse:.5f} MAE {scored.mae:.5f}"
    measures = f"Recall@20 {scored.recall:.4f} MRR@20 {scored.mrr:.4f} accuracy {scored.accuracy:.4f}{loss}"
    log.print(f"epoch {epoch}: {measures} of {scored.targets:,} next events", highlight=False)


def show_ranker(trained: TrainedModel) -> None:
    """What the order of a fused list rests on; nothing of another model."""
    lists = trained.ranker_lists
    if lists is None or not isinstance(trained.network, FusedList):
        return
    if lists >= FEWEST_LISTS:
        said = f"the ranker learned from {lists:,} lists which source to believe when"
    elif trained.network.ranker.has_learned:
        said = f"{lists:,} new lists are too few for the ranker ({FEWEST_LISTS} needed): it stays as it was"
    else:
        said = (
            f"{lists:,} lists are too few for a ranker ({FEWEST_LISTS} needed): the list rests on the ranks "
            "that its sources give, added up, until it is trained on a longer log"
        )
    out.print(said, highlight=False, markup=False)


def show_scores(name: str, scored: JobScores) -> None:
    """The model beside POP, and a warning about the leaky evaluation where there is one."""
    rows = {name: scored.model}
    if scored.leaky is not None:
        rows[f"{name}, LEAKY"] = scored.leaky
    rows |= {f"  {source} alone": found for source, found in scored.sources.items()}
    show({**rows, "POP": scored.pop})
    model = scored.model
    if model.targets and (found := Interval.of_share(model.recall, model.targets)).says_little:
        out.print(
            f"{model.targets:,} next events are too few: Recall@20 is {found:.4f}, an interval wider than "
            "half the value; evaluate more of the log before the version is relied on",
            highlight=False, markup=False,
        )  # fmt: skip
    if scored.leaky is not None:
        out.print(
            "LEAKY: the test targets are repeated by their own dwell too, so that an item often predicts "
            "itself. Published gains of dwell-time boosting come from there.",
            highlight=False,
        )


def curves_of(trained: TrainedModel) -> dict[str, bytes]:
    """The curves of a training as a file of its version; none for a network that counts."""
    # Imported here: matplotlib takes half a second that no other command should wait for.
    from model.comparison.plots import training_curves

    if not trained.losses:
        return {}
    return {"curves.png": training_curves(trained.losses, trained.validation, trained.accuracies)}
