"""One finding of an examination: what was looked at, whether it is well, and what to do if not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.errors import NextclickError

Verdict = Literal["PASS", "WARN", "FAIL", "SKIP"]


@dataclass(frozen=True)
class CheckResult:
    """`verdict` FAIL: it cannot run so, or loses something; WARN: look at it; SKIP: not looked at."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def failed(check: str, error: NextclickError) -> CheckResult:
    """What an error says, as a finding."""
    return CheckResult(check, "FAIL", error.what, error.remedy)
