"""The settings of each process of a worker: its name in the group, its state folder, its ports.

The first process keeps those of the worker, so that a worker that had one process goes on with its stores
and is found at its port. Tested by tests/unit/stream/processes/test_children.py.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import closing
from typing import Any

from model.errors import NextclickError
from stream.process_settings import AUTO, cores
from stream.settings import Settings
from stream.web_address import address_of

LAST_PORT = 65_535


def process_count(settings: Settings) -> int:
    """How many processes the settings ask for. Raises NextclickError where some would have nothing to do.

    >>> process_count(Settings(processes=3))
    3
    """
    if settings.processes == AUTO:
        return min(cores(), settings.partitions)
    count = int(settings.processes)
    if count > settings.partitions:
        raise NextclickError(
            f"{count} processes for {settings.partitions} partitions",
            "Nothing was started: each process needs a partition, or it has nothing to do.",
            f"Name at most {settings.partitions} --processes, or auto.",
        )
    return count


def child_settings(settings: Settings, number: int) -> Settings:
    """The settings of process `number`.

    >>> child = child_settings(Settings(worker_id="shop", web_port=6066), 1)
    >>> child.worker_id, str(child.state_dir), child.web_port
    ('shop.1', 'state/process-1', 6067)
    """
    changes: dict[str, Any] = {"processes": 1}
    if "step_threads" not in settings.model_fields_set:
        # A second thread waits for the interpreter of the first; a second process has its own.
        changes["step_threads"] = 1
    if number:
        host, _, port = settings.web_address.rpartition(":")
        own = address_of(settings).rpartition(":")[0].strip("[]")
        trusted = {settings.web_trusted_proxies, *_loopback(own)} - {""}
        changes |= {
            "worker_id": f"{settings.worker_id}.{number}",
            "state_dir": settings.state_dir / f"process-{number}",
            "web_port": settings.web_port + number,
            "web_address": f"{host}:{int(port) + number}" if host else "",
            # Of its own: the first process, which answers for all, asks it where no client is in the way.
            "web_probe_port": None if settings.web_probe_port is None else settings.web_probe_port + number,
            # What the first process passes on counts as its client's.
            "web_trusted_proxies": ",".join(sorted(trusted)),
        }
    return settings.model_copy(update=changes)


def check_ports(settings: Settings, processes: int) -> None:
    """Raises NextclickError when a process could not listen at its port."""
    for name, first in (("web_port", settings.web_port), ("web_probe_port", settings.web_probe_port)):
        if first is not None and (last := first + processes - 1) > LAST_PORT:
            raise NextclickError(
                f"{processes} processes need the ports {first} to {last}",
                f"Nothing was started: the last port there is is {LAST_PORT}.",
                f"Name a lower {name}.",
            )
    probes = settings.web_probe_port
    if probes is not None and abs(probes - settings.web_port) < processes:
        raise NextclickError(
            f"web_probe_port {probes} is too near to web_port {settings.web_port} for {processes} processes",
            f"Nothing was started: each takes a port from {settings.web_port} on for clients, and one from "
            f"{probes} on for probes.",
            f"Name a web_probe_port from {settings.web_port + processes} on.",
        )
    for number in range(processes):
        _check_free(settings, settings.web_port, number, processes)
        if probes is not None:
            _check_free(settings, probes, number, processes)


def _check_free(settings: Settings, first: int, number: int, processes: int) -> None:
    """Raises NextclickError when the port of process `number` is taken."""
    family = socket.AF_INET6 if ":" in settings.web_host else socket.AF_INET
    try:
        with closing(socket.socket(family)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.web_host, first + number))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            # The process itself says what is wrong with the host.
            return
        name = "web_port" if first == settings.web_port else "web_probe_port"
        raise NextclickError(
            f"port {first + number} of {settings.web_host} is taken; process {number} needs it",
            f"Nothing was started: {processes} processes listen at {first} and the ports after it.",
            f"Name another {name} with free ports after it, or end the program that has this one.",
        ) from None


def _loopback(host: str) -> set[str]:
    """The addresses by which processes of one machine reach each other."""
    try:
        return {"127.0.0.1", "::1", str(ipaddress.ip_address(host))}
    except ValueError:
        return {"127.0.0.1", "::1"}
