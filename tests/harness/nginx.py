"""Debian's nginx with the configuration of deploy/nginx, at ports, certificates and a worker of a test."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replay.end_to_end.worker_process import free_port
from tests.harness.certificates import Authority

FOLDER = Path(__file__).parents[2] / "deploy" / "nginx"
LISTS, INNER = "lists.shop.example", "inner.shop.example"
DEADLINE_S = 240
MAIN = """
{user}
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/nextclick.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """Where it listens, and the authority of its certificates."""

    tls_port: int
    clear_port: int
    authority: Authority


@contextmanager
def nginx(folder: Path, worker_port: int, changes: Mapping[str, str] | None = None) -> Iterator[Proxy]:
    """Run it in front of a worker; `changes` replaces texts of nextclick.conf, each of which is there."""
    proxy = Proxy(free_port(), free_port(), Authority(folder))
    lists, inner = proxy.authority.sign("lists", LISTS), proxy.authority.sign("inner", INNER)
    configuration = (FOLDER / "nextclick.conf").read_text()
    replaced = {
        "listen 443": f"listen 127.0.0.1:{proxy.tls_port}",
        "listen 80": f"listen 127.0.0.1:{proxy.clear_port}",
        "server 127.0.0.1:6066": f"server 127.0.0.1:{worker_port}",
        "/etc/nginx/lists.pem": str(lists.certificate),
        "/etc/nginx/lists.key": str(lists.key),
        "/etc/nginx/inner.pem": str(inner.certificate),
        "/etc/nginx/inner.key": str(inner.key),
        "/etc/nginx/nextclick_proxy.inc": str(FOLDER / "nextclick_proxy.inc"),
        **(changes or {}),
    }
    for before, after in replaced.items():
        assert before in configuration, before
        configuration = configuration.replace(before, after)
    (folder / "nextclick.conf").write_text(configuration)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", proxy.tls_port), timeout=DEADLINE_S).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, process.communicate()[1].decode()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield proxy
    finally:
        process.kill()
        process.communicate()
