from pathlib import Path

import pytest

from stream.doctor.web_checks import web_checks
from stream.settings import Settings


def verdicts(**changes: object) -> dict[str, str]:
    return {result.check: result.verdict for result in web_checks(Settings(**changes))}  # type: ignore[arg-type]


def test_on_this_machine_nothing_is_wrong_without_tokens_and_names() -> None:
    assert verdicts() == {"web tokens": "PASS", "web names": "PASS", "web certificate": "PASS"}


def test_beyond_this_machine_tokens_and_names_are_missed(tmp_path: Path) -> None:
    everywhere = verdicts(web_host="0.0.0.0")
    assert (everywhere["web tokens"], everywhere["web names"]) == ("WARN", "WARN")
    keys = tmp_path / "web.keys"
    keys.write_text("k" * 64)
    keys.chmod(0o600)
    given = {"web_host": "0.0.0.0", "web_keys_file": keys, "web_allowed_hosts": "shop.example"}
    assert set(verdicts(**given).values()) == {"PASS"}
    assert verdicts(**{**given, "web_allowed_hosts": " , "})["web names"] == "WARN"


@pytest.mark.parametrize(("text", "mode", "verdict"), [("k" * 64, 0o644, "WARN"), ("short", 0o600, "FAIL")])
def test_keys_that_everybody_reads_or_could_guess_are_told(
    text: str, mode: int, verdict: str, tmp_path: Path
) -> None:
    keys = tmp_path / "web.keys"
    keys.write_text(text)
    keys.chmod(mode)
    assert verdicts(web_keys_file=keys)["web tokens"] == verdict
    assert verdicts(web_keys_file=tmp_path / "none")["web tokens"] == "FAIL"
