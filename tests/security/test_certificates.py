"""Certificates that end: told by doctor before, and by a gauge of the one that connections are shown."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from model.errors import NextclickError
from stream.access.certificates import DAY_S, validity_of
from stream.access.metrics import CertificateMetrics
from stream.access.tls import server_context
from stream.doctor.web_checks import web_checks
from stream.settings import Settings
from tests.harness.certificates import Authority, Certificate


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def found(files: Certificate, **changes: Any) -> tuple[str, str]:
    """What doctor says of the certificate: verdict and words."""
    given = {"web_tls_certificate_file": files.certificate, "web_tls_key_file": files.key, **changes}
    (one,) = (one for one in web_checks(Settings(**given)) if one.check == "web certificate")
    return one.verdict, one.found


def test_doctor_tells_a_certificate_that_ends_soon_has_ended_or_has_another_key(authority: Authority) -> None:
    good, soon, ended = (authority.sign(f"{days}", days=days) for days in (60, 10, -3))
    assert found(good)[0] == "PASS"
    assert found(soon)[0] == "WARN" and "ends in 10 days" in found(soon)[1]
    assert found(ended)[0] == "FAIL" and "days ago" in found(ended)[1]
    verdict, words = found(Certificate(good.certificate, soon.key))
    assert verdict == "FAIL" and "the certificates of the web server cannot be used" in words
    # The authority's own ends within three days.
    assert found(good, web_tls_ca_file=authority.file)[0] == "WARN"


def test_of_a_chain_the_certificate_that_ends_first_counts(authority: Authority, tmp_path: Path) -> None:
    long, short = authority.sign("long", days=60), authority.sign("short", days=5)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(long.certificate.read_bytes() + short.certificate.read_bytes())
    assert validity_of(chain).ends_s == validity_of(short.certificate).ends_s
    assert found(Certificate(chain, long.key))[0] == "WARN"
    # A root at the end of the chain is no matter: clients have it themselves, or do not look at it.
    chain.write_bytes(long.certificate.read_bytes() + authority.file.read_bytes())
    assert validity_of(chain) == validity_of(long.certificate)
    # Of authorities the one that holds longest counts: an old one stays beside a new one for a while.
    both = tmp_path / "authorities.pem"
    both.write_bytes(authority.file.read_bytes() + long.certificate.read_bytes())
    assert validity_of(both, of_authorities=True).ends_s == validity_of(long.certificate).ends_s
    chain.write_text("no certificate")
    with pytest.raises(NextclickError, match="cannot be read"):
        validity_of(chain)


def test_the_gauge_is_of_the_certificate_that_is_shown(authority: Authority) -> None:
    files, renewed = authority.sign("worker", days=2), authority.sign("renewed", days=40)
    settings = Settings(web_tls_certificate_file=files.certificate, web_tls_key_file=files.key)
    context = server_context(settings)
    assert context is not None
    metrics = CertificateMetrics(context.ends_s)

    def days() -> int:
        (gauge,) = metrics.collect()
        (sample,) = gauge.samples
        assert sample.name == "nextclick_web_certificate_ends_timestamp_seconds"
        return round((sample.value - time.time()) / DAY_S)

    assert days() == 2
    # Its key has not come yet: connections are shown the former one.
    shutil.copy(renewed.certificate, files.certificate)
    assert days() == 2
    shutil.copy(renewed.key, files.key)
    assert days() == 40
    files.certificate.write_text("no certificate")
    assert days() == 40


def test_in_clear_there_is_no_gauge() -> None:
    assert list(CertificateMetrics(lambda: None).collect()) == []
