import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CLEAN = {"name": "clean", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "private", "skip_reason": "Dependency not found on PyPI"}
MENDED = {
    "name": "old",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"], "description": "x"}],
}
UNMENDED = {"name": "sad", "version": "2.0", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}


def judged(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "audit" / "report.py"), *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([CLEAN], 0, "1 packages audited, 0 known vulnerabilities with a fix"),
        ([CLEAN, MENDED], 1, "error: old 1.0: PYSEC-1, CVE-1; fixed in 1.1. do: raise it"),
        ([CLEAN, UNMENDED], 0, "known, without a fix: sad 2.0: PYSEC-2"),
        ([CLEAN, UNKNOWN], 0, "NOT AUDITED, unknown to the source: private"),
    ],
)
def test_only_a_known_vulnerability_with_a_fix_fails(
    tmp_path: Path, packages: list[dict[str, Any]], code: int, words: str
) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": packages, "fixes": []}))
    ended = judged(report)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stdout + ended.stderr


def test_a_source_that_knows_nothing_is_none_and_no_report_is_told(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for packages, code in (([MENDED], 0), ([CLEAN], 3), ([UNKNOWN], 3), ([UNMENDED], 3)):
        report.write_text(json.dumps({"dependencies": packages}))
        assert judged(report, "--canary").returncode == code
    assert judged(tmp_path / "none.json", "--canary").returncode == 3
    missing = judged(tmp_path / "none.json")
    assert missing.returncode == 3
    assert "NOT AUDITED" in missing.stderr
