"""Whether an experiment says that a version may be promoted, where `gate_experiment` asks for it.

Tested by tests/unit/stream/outcomes/test_lead.py and tests/integration/test_promote.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from model.errors import NextclickError
from stream.experiments.experiment import CHALLENGER, CHAMPION, Experiment, decode_experiment
from stream.kafka.announcements import EXPERIMENT_KEY, kept_values
from stream.outcomes.comparison import LEAST_SESSIONS, Comparison
from stream.outcomes.outcomes_reader import compared
from stream.settings import Settings

LOOK_EVERY_S = 60.0
# So long a wait goes on while brokers do not answer.
AWAY_S = 1800.0
REGARDLESS = "`nextclick promote VERSION --regardless` promotes it all the same."


@dataclass(frozen=True)
class Lead:
    """What an experiment says by one measure: who leads, "" while neither does, and that in words.

    >>> lead_by("clicks", None).text
    'nothing is recorded of its lists'
    """

    leader: str
    text: str


def lead_by(measure: str, comparison: Comparison | None) -> Lead:
    """Who leads by a measure, so that it holds whenever it is looked at."""
    if comparison is None:
        return Lead("", "nothing is recorded of its lists")
    found = next((one for one in comparison.differences() if one.measure == measure), None)
    sessions = comparison.sessions
    counted = f"{sessions[CHAMPION]:,} and {sessions[CHALLENGER]:,} sessions of champion and challenger"
    if found is None or not comparison.is_enough:
        return Lead("", f"{counted} are too few: {LEAST_SESSIONS} of each are needed")
    low, high = found.interval.low, found.interval.high
    text = (
        f"the challenger's {measure} are {found.interval.mean:+.4f} ({low:+.4f} to {high:+.4f}) by {counted}"
    )
    return Lead(found.leader, text)


def announced_experiment(settings: Settings) -> Experiment | None:
    """The experiment that runs, None without one. Raises NextclickError."""
    value = kept_values(settings)[0].get(EXPERIMENT_KEY)
    try:
        return decode_experiment(value)
    except msgspec.DecodeError as error:
        raise NextclickError(
            f"the announced experiment on {settings.models_topic} cannot be read: {error}",
            "Workers refuse it, and the champion serves every session.",
            "`nextclick experiment stop` takes it back.",
        ) from None


def check_lead(
    settings: Settings,
    version: str,
    champion_now: Callable[[], str | None],
    *,
    waits: bool = False,
    notify: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> str | None:
    """Raise NextclickError unless the running experiment says that `version` leads over the champion.

    Returns the champion that it leads over, which alone it may replace. Does nothing, and returns None,
    where `gate_experiment` is none, or there is no champion, or it is the version. With `waits` it looks
    again while neither leads, after LOOK_EVERY_S or ten times as long as a look takes, says by `notify`
    what it sees, and goes on while brokers are away, up to AWAY_S.
    """
    answered_s = now_s()
    while True:
        champion = champion_now()
        measure = settings.gate_over(champion)
        if measure == "none" or champion == version:
            return None
        begun_s = now_s()
        try:
            one = announced_experiment(settings)
            lead = None if one is None else lead_by(measure, compared(settings, one.experiment))
        except NextclickError as error:
            if not waits or now_s() - answered_s > AWAY_S:
                raise
            notify(f"looked in vain, and looks again: {error.what}")
            sleep(LOOK_EVERY_S)
            continue
        answered_s = now_s()
        if one is None or lead is None or (one.champion, one.challenger) != (champion, version):
            running = "none runs" if one is None else f"{one.experiment} is of {one.challenger}"
            raise NextclickError(
                f"no experiment holds {version} against {champion}: {running}",
                f"A promotion waits until one says that the challenger leads in {measure} (gate_experiment). "
                "CHAMPION is unchanged.",
                f"`nextclick experiment start {version}`, and promote it once it leads. {REGARDLESS}",
            )
        if lead.leader == CHALLENGER:
            return champion
        if lead.leader == CHAMPION or not waits:
            who = "the champion leads" if lead.leader else "neither leads yet"
            raise NextclickError(
                f"{version} does not lead in {measure}: {who}; {lead.text}",
                "A promotion waits for that (gate_experiment). CHAMPION is unchanged.",
                ("`nextclick experiment stop` ends it. " if lead.leader else "Wait, with --until-it-leads. ")
                + REGARDLESS,
            )
        notify(f"{version} does not lead in {measure} yet: {lead.text}")
        # Each look reads the topic of outcomes.
        sleep(max(LOOK_EVERY_S, 10 * (answered_s - begun_s)))
