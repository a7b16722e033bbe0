import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import faust
import pytest
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from stream.faust_app import broker_credentials
from stream.settings import Settings, load_settings

SECRET = "s3cret-Of-Nobody"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, its key (once with a password), a password, and a file that is none of it."""
    folder = tmp_path_factory.mktemp("files")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=a",
    ]
    for name, options in (("a", ["-nodes"]), ("b", ["-passout", f"pass:{SECRET}"])):
        out = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run([*made, *options, *out], check=True, capture_output=True)
    (folder / "password").write_text(f"{SECRET}\n")
    (folder / "empty").write_text("\n")
    (folder / "text").write_text("no certificate")
    return folder


def scram(**changes: Any) -> dict[str, Any]:
    return {"security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password": SECRET, **changes}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sasl_username": "u"}, "sasl_username: of no use with security_protocol PLAINTEXT"),
        ({"ssl_ca_file": "FILES/a.pem"}, "ssl_ca_file: of no use with security_protocol PLAINTEXT"),
        (scram(security_protocol="SASL_PLAINTEXT", ssl_ca_file="FILES/a.pem"), "set it to SASL_SSL"),
        (scram(security_protocol="SSL"), "of no use with security_protocol SSL"),
        (scram(security_protocol="TLS"), "security_protocol"),
        (scram(sasl_mechanism="GSSAPI"), "sasl_mechanism"),
        ({"security_protocol": "SASL_SSL"}, "needs one; SASL_SSL needs a password"),
        (scram(sasl_password_file="FILES/password"), "set one of them only"),
        (scram(sasl_password=None, sasl_password_file="FILES/none"), "cannot be read: No such file"),
        (scram(sasl_password=None, sasl_password_file="FILES/empty"), "is empty"),
        (scram(ssl_ca_file="FILES/text"), "no PEM files that belong together"),
        (scram(ssl_certificate_file="FILES/a.pem"), "set both or none"),
        (scram(ssl_key_password_file="FILES/password"), "there is no ssl_key_file"),
        (scram(ssl_certificate_file="FILES/a.pem", ssl_key_file="FILES/b.key"), "no PEM files that belong"),
        (
            scram(
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="PLAIN",
                bootstrap_servers="127.0.0.1:1,far.example:9092",
            ),
            "PLAIN sends the password unencrypted to far.example:9092",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused_without_the_password(
    files: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], words: str
) -> None:
    for name, value in given.items():
        if value is not None:
            monkeypatch.setenv(f"NEXTCLICK_{name.upper()}", str(value).replace("FILES", str(files)))
    with pytest.raises(NextclickError) as caught:
        load_settings()
    assert words in caught.value.what
    assert SECRET not in str(caught.value)


def test_a_password_is_neither_a_flag_nor_in_the_file_nor_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "nextclick.toml"
    file.write_text(f'sasl_password = "{SECRET}"\nsasl_pasword = "{SECRET}"\n')
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(file))
    with pytest.raises(NextclickError, match="a secret does not belong into") as caught:
        load_settings(security_protocol="SASL_SSL", sasl_username="u")
    assert "sasl_pasword" in caught.value.what
    assert SECRET not in str(caught.value)
    monkeypatch.delenv("NEXTCLICK_CONFIG")
    with pytest.raises(NextclickError, match="a secret is no flag"):
        load_settings(**scram())
    file.write_text("sasl_password = 12345678\n")
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(file))
    with pytest.raises(NextclickError) as caught:
        load_settings()
    assert "12345678" not in str(caught.value)
    ended = CliRunner().invoke(nextclick.app, ["worker", "--sasl-password", SECRET])
    assert ended.exit_code == 2


def test_no_text_of_the_settings_has_the_password(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(**scram(ssl_ca_file=files / "a.pem"))
    for text in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.__dict__}"):
        assert SECRET not in text
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    for arguments in (["settings"], ["settings", "--json"]):
        shown = CliRunner().invoke(nextclick.app, arguments)
        assert shown.exit_code == 0
        assert SECRET not in shown.output
        assert "sasl_password" in shown.output
    shown = CliRunner().invoke(nextclick.app, ["settings", "--json"])
    assert json.loads(shown.stdout)["sasl_password"]["source"] == "environment"
    monkeypatch.setenv("NEXTCLICK_WAVE_SIZE", "none")
    with pytest.raises(NextclickError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    with pytest.raises(ValueError) as direct:
        Settings(**scram(sasl_username=None))
    assert SECRET not in str(direct.value)


def test_another_process_is_given_what_it_needs(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(**scram(ssl_ca_file=files / "a.pem"))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings().kafka_config() == settings.kafka_config()
    kept = Settings(**scram(sasl_password=None, sasl_password_file=files / "password"))
    assert SECRET not in str(kept.environment())


def test_librdkafka_and_faust_are_told_the_same(files: Path) -> None:
    settings = Settings(**scram(ssl_ca_file=files / "a.pem", sasl_mechanism="SCRAM-SHA-256"))
    config = settings.producer_config()
    assert (
        config.items()
        >= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": "u",
            "sasl.password": SECRET,
            "ssl.ca.location": str(files / "a.pem"),
            "ssl.endpoint.identification.algorithm": "https",
        }.items()
    )
    credentials = broker_credentials(settings)
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.username, credentials.password) == ("u", SECRET)
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-256")
    assert credentials.ssl_context is not None
    assert credentials.ssl_context.verify_mode == ssl.CERT_REQUIRED
    assert credentials.ssl_context.check_hostname
    assert SECRET not in repr(credentials)


def test_a_certificate_of_its_own_goes_with_its_key_s_password(files: Path) -> None:
    settings = Settings(
        security_protocol="SSL",
        ssl_ca_file=files / "b.pem",
        ssl_certificate_file=files / "b.pem",
        ssl_key_file=files / "b.key",
        ssl_key_password_file=files / "password",
    )
    assert settings.kafka_config()["ssl.key.password"] == SECRET
    assert isinstance(broker_credentials(settings), faust.SSLCredentials)


def test_without_security_nothing_is_said_of_it() -> None:
    assert Settings().security_properties() == {}
    assert broker_credentials(Settings()) is None


def test_a_password_file_may_change_and_when_it_has_gone_that_is_told(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    settings = Settings(**scram(sasl_password=None, sasl_password_file=file))
    assert settings.kafka_config()["sasl.password"] == "first"
    file.write_text("second")
    assert settings.kafka_config()["sasl.password"] == "second"
    file.unlink()
    with pytest.raises(NextclickError, match="there is no password in"):
        settings.kafka_config()
