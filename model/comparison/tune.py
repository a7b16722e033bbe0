"""Hyper-parameter search by Optuna, decided by the newest part of the training data.

The search never reads the test part. A seeded tree-structured Parzen estimator (Bergstra et al.,
NeurIPS 2011) draws the trials; trials below the median are given up.

Tested by tests/learning/test_learning.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import optuna
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.splits import split_at
from model.data.vocabulary import Vocabulary
from model.device import CPU
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation, evaluate
from model.training.train import RunOptions, train

Measure = Literal["recall", "mrr"]


@dataclass(frozen=True)
class SearchPlan:
    """How to search: the trials, the measure to maximise, the newest share that decides, and where."""

    trials: int
    measure: Measure = "recall"
    validation_fraction: float = 0.1
    device: torch.device = CPU


@dataclass(frozen=True)
class SearchResult:
    """The best configuration, its evaluation on the validation sessions, and the trials it took."""

    config: ModelConfig
    evaluation: Evaluation
    trials: int
    given_up: int


def suggest(trial: optuna.Trial, network: str) -> dict[str, Any]:
    """Draws the settings that are searched for a network.

    >>> suggest(optuna.trial.FixedTrial({"window_s": 3600.0}), "window-pop")
    {'window_s': 3600.0}
    """
    match network:
        case "item-knn" | "decayed-item-knn" | "time-weighted-item-knn":
            found: dict[str, Any] = {
                "neighbours": trial.suggest_int("neighbours", 20, 500, log=True),
                "shrinkage": trial.suggest_float("shrinkage", 0.5, 200, log=True),
            }
            if network == "decayed-item-knn":
                found["decay"] = trial.suggest_float("decay", 0.05, 3, log=True)
            if network == "time-weighted-item-knn":
                found["decay_time_s"] = trial.suggest_float("decay_time_s", 60, 365 * 86_400, log=True)
            return found
        case "v-sknn":
            return {
                "neighbours": trial.suggest_int("neighbours", 50, 1000, log=True),
                "sampled_sessions": trial.suggest_int("sampled_sessions", 500, 10_000, log=True),
            }
        case "window-pop":
            return {"window_s": trial.suggest_float("window_s", 600, 30 * 86_400, log=True)}
        case "bpr-mf" | "sequential-mf" | "user-mf" | "user-sequential-mf":
            return {
                "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.5, log=True),
                "regularisation": trial.suggest_float("regularisation", 1e-5, 0.1, log=True),
            }
        case "gru4rec":
            loss = trial.suggest_categorical("loss", ["cross-entropy", "bpr-max"])
            found = {
                "loss": loss,
                "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
                "momentum": trial.suggest_categorical("momentum", [0.0, 0.2, 0.4]),
                "dropout_embedding": trial.suggest_float("dropout_embedding", 0, 0.5, step=0.05),
                "dropout_hidden": trial.suggest_float("dropout_hidden", 0, 0.5, step=0.05),
                "alpha": trial.suggest_float("alpha", 0, 1, step=0.25),
                "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
            }
            if loss == "bpr-max":
                found["regularisation"] = trial.suggest_float("regularisation", 0, 2, step=0.25)
            return found
    raise NextclickError(
        f"there is nothing to search for {network!r}",
        "It has no settings that its quality depends on, or none that are searched.",
        "Tune another network, or train this one as it is.",
    )


def tune(
    sessions: Sessions,
    vocabulary: Vocabulary,
    base: ModelConfig,
    plan: SearchPlan,
    *,
    progress: Callable[[int, int, float], None] = lambda done, total, best: None,
) -> SearchResult:
    """Search around `base`; the newest share of the sessions decides, as `plan` says.

    `progress` gets (trials done, all, the best so far). Raises NextclickError when either part
    has no next event, or when no trial ended.
    """
    trials, measure, validation_fraction = plan.trials, plan.measure, plan.validation_fraction
    # Items that only the newer part has stay unknown, like new items of a test part.
    cut = int(len(sessions) * (1 - validation_fraction))
    older, newer, vocabulary = split_at(sessions, vocabulary, cut)
    if not newer.known().pairs:
        raise NextclickError(
            f"the newest {validation_fraction:.0%} of the sessions have no next event of a known item",
            "There is nothing to compare trials by.",
            "Use a longer log or a larger --validation-fraction.",
        )
    reached: dict[int, tuple[ModelConfig, Evaluation]] = {}

    def run(trial: optuna.Trial) -> float:
        found = suggest(trial, base.network)
        # Train with the four digits that the file of the result will have.
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in found.items()}
        config = base.model_copy(update=rounded)

        def after_epoch(epoch: int, scored: Evaluation) -> None:
            trial.report(_value(scored, measure), epoch)
            if epoch < config.epochs and trial.should_prune():
                raise optuna.TrialPruned

        try:
            result = train(
                older,
                vocabulary,
                config,
                validation=newer,
                run=RunOptions(after_epoch=after_epoch, device=plan.device),
            )
        except NextclickError as error:
            if "diverged" not in error.meaning:
                raise
            # A diverged trial counts as bad, so that the next trials avoid its settings.
            raise optuna.TrialPruned from error
        masked = config.exclude_session_items
        # With patience the best epoch's weights are kept, not those of the last.
        scored = (
            result.validation[-1]
            if result.validation and config.patience is None
            else evaluate(result.network.to(plan.device), newer, exclude_session_items=masked, losses=False)
        )
        reached[trial.number] = (config, scored)
        return _value(scored, measure)

    # A trial that fails raises its error; optuna would print its traceback, too.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=base.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    )
    study.optimize(
        run,
        n_trials=trials,
        callbacks=[lambda study, trial: progress(trial.number + 1, trials, _best(study))],
    )
    if not reached:
        raise NextclickError(
            f"none of {trials} trials ended",
            "All of them diverged.",
            "Search around a smaller learning rate.",
        )
    config, scored = reached[study.best_trial.number]
    return SearchResult(config, scored, trials, trials - len(reached))


def _value(scored: Evaluation, measure: Measure) -> float:
    return scored.recall if measure == "recall" else scored.mrr


def _best(study: optuna.Study) -> float:
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    return max((trial.value for trial in done if trial.value is not None), default=0.0)
