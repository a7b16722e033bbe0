"""`nextclick asyncapi`: prints the contract of the topics.

Tested by tests/unit/stream/test_asyncapi.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
import yaml

from stream.asyncapi import document
from stream.settings import load_settings


def asyncapi(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of YAML")] = False,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")
    ] = None,
) -> None:
    """Print the AsyncAPI 3 document of the topics: keys, headers, payloads, partitions, retention."""
    contract = document(load_settings(bootstrap_servers=bootstrap_servers))
    print(json.dumps(contract, indent=2, ensure_ascii=False) if as_json else to_yaml(contract), end="")


def to_yaml(contract: dict[str, object]) -> str:
    """The document as YAML, keys in the document's order."""
    # Copying through JSON repeats shared parts in full: YAML's aliases are hard to read.
    plain = json.loads(json.dumps(contract))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110))
