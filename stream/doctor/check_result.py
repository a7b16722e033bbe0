"""The result of one check: what was checked, the verdict, and the remedy.

Tested by tests/integration/test_doctor.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.errors import NextclickError

Verdict = Literal["PASS", "WARN", "FAIL", "SKIP"]


@dataclass(frozen=True)
class CheckResult:
    """`verdict` FAIL: cannot run, or would lose something; WARN: needs attention; SKIP: not checked.

    >>> CheckResult("disk", "PASS", "12 GB free").remedy
    ''
    """

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def failed(check: str, error: NextclickError) -> CheckResult:
    """An error as the result of a check."""
    return CheckResult(check, "FAIL", error.what, error.remedy)
