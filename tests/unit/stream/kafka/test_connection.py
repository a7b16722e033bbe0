import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.kafka.connection import RefusedConnection, raise_refusal
from stream.settings import Settings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an authority that has made a certificate for today and one for yesterday."""
    folder = tmp_path_factory.mktemp("authority")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(folder, "req", "-x509", *key, "-subj", "/CN=other", "-keyout", "other.key", "-out", "other.pem")
    openssl(folder, "req", *key, "-subj", "/CN=broker", "-keyout", "broker.key", "-out", "broker.csr")
    for name, days, host in (
        ("good", "1", "IP:127.0.0.1"),
        ("expired", "-1", "IP:127.0.0.1"),
        ("elsewhere", "1", "DNS:broker.example"),
    ):
        (folder / "extensions").write_text(f"subjectAltName={host}\n")
        signed = ["x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        openssl(folder, *signed, "-days", days, "-extfile", "extensions", "-out", f"{name}.pem")
    return folder


def openssl(folder: Path, *arguments: str) -> None:
    ended = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr


@contextlib.contextmanager
def broker(context: ssl.SSLContext | None) -> Iterator[str]:
    """Something that takes connections, speaks TLS if it has a `context`, and says nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), connection:
                        if context is None:
                            connection.recv(1000)
                        else:
                            context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def with_certificate(authority: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / f"{name}.pem", authority / "broker.key")
    return context


@pytest.mark.parametrize(
    ("certificate", "ca", "words", "remedy"),
    [
        ("expired", "ca", "certificate has expired", "Renew"),
        ("elsewhere", "ca", "IP address mismatch", "Name the broker by a name"),
        ("good", "other", "unable to get local issuer certificate", "NEXTCLICK_SSL_CA_FILE"),
    ],
)
def test_a_certificate_that_is_not_to_be_trusted_is_told_with_its_remedy(
    authority: Path, certificate: str, ca: str, words: str, remedy: str
) -> None:
    with broker(with_certificate(authority, certificate)) as address:
        settings = Settings(
            bootstrap_servers=address, security_protocol="SSL", ssl_ca_file=authority / f"{ca}.pem"
        )
        with pytest.raises(RefusedConnection) as caught:
            raise_refusal(settings)
    assert f"the certificate of {address} is not accepted: {words}" in caught.value.what
    assert remedy in caught.value.remedy


def test_tls_on_one_side_only_is_told(authority: Path) -> None:
    told = "speaks TLS, and security_protocol is PLAINTEXT"
    with broker(with_certificate(authority, "good")) as address, pytest.raises(RefusedConnection, match=told):
        raise_refusal(Settings(bootstrap_servers=address))
    with broker(None) as address:
        settings = Settings(
            bootstrap_servers=address, security_protocol="SSL", ssl_ca_file=authority / "ca.pem"
        )
        with pytest.raises(RefusedConnection, match="made no TLS connection"):
            raise_refusal(settings)


def test_brokers_that_are_away_or_well_are_not_refused(authority: Path) -> None:
    raise_refusal(Settings(bootstrap_servers="127.0.0.1:9,nonsense"))
    with broker(None) as address:
        raise_refusal(Settings(bootstrap_servers=f"127.0.0.1:9,{address}"))
    with broker(with_certificate(authority, "good")) as address:
        raise_refusal(
            Settings(bootstrap_servers=address, security_protocol="SSL", ssl_ca_file=authority / "ca.pem")
        )
