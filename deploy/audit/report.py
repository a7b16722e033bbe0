"""Judges what pip-audit has found: a known vulnerability that has a fix fails, one without is told.

A package that the source did not know was not audited, which is told too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

EXIT_FIX, EXIT_UNKNOWN = 1, 3
# Not from an index, so that nobody knows of it.
OWN = {"nextclick"}


def judge(report: dict[str, Any]) -> tuple[list[str], list[str], list[str], int]:
    """→ vulnerabilities with a fix, those without, packages that were not audited, and how many were."""
    fixed: list[str] = []
    unfixed: list[str] = []
    skipped: list[str] = []
    audited = 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped += [package["name"]] * (package["name"] not in OWN)
            continue
        audited += 1
        for found in package["vulns"]:
            names = ", ".join([found["id"], *found.get("aliases", [])])
            line = f"{package['name']} {package['version']}: {names}"
            fixes = found.get("fix_versions") or []
            if fixes:
                fixed.append(f"{line}; fixed in {', '.join(fixes)}")
            else:
                unfixed.append(line)
    return fixed, unfixed, skipped, audited


def main() -> int:
    """→ the exit code: 0, EXIT_FIX, or EXIT_UNKNOWN where there is no report."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: report.py report.json")
    parser.add_argument("report", type=Path)
    parser.add_argument("--canary", action="store_true", help="0 if the source knows a vulnerability at all")
    arguments = parser.parse_args()
    try:
        fixed, unfixed, skipped, audited = judge(json.loads(arguments.report.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not arguments.canary:
            print(f"NOT AUDITED: pip-audit left no report: {error}", file=sys.stderr)
        return EXIT_UNKNOWN
    if arguments.canary:
        return 0 if fixed else EXIT_UNKNOWN
    for line in unfixed:
        print(f"known, without a fix: {line}")
    for line in fixed:
        print(f"error: {line}. do: raise it in pyproject.toml", file=sys.stderr)
    if skipped:
        print(f"NOT AUDITED, unknown to the source: {', '.join(sorted(skipped))}", file=sys.stderr)
    print(
        f"{audited} packages audited, {len(fixed)} known vulnerabilities with a fix, {len(unfixed)} without"
    )
    return EXIT_FIX if fixed else 0


if __name__ == "__main__":
    sys.exit(main())
