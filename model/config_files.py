"""Model configurations in TOML files and in name=value settings."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.config import ModelConfig
from model.errors import NextclickError


def read_params(path: Path) -> dict[str, Any]:
    """Returns the settings in a TOML file. Raises NextclickError when the file cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise NextclickError(
            f"{path}: {error}",
            "It does not read as a file of model settings.",
            "Name a TOML file such as those in deploy/params.",
        ) from error


def read_variants(
    path: Path, always: Mapping[str, Any] | None = None, only: Collection[str] = ()
) -> dict[str, ModelConfig]:
    """Returns a file's named configurations: each [variants.NAME] table, over the settings above it.

    `always` overrides the file. `only` chooses names; empty chooses all. Raises NextclickError when
    the file has no variants, or lacks a chosen name.
    """
    shared = read_params(path)
    variants = shared.pop("variants", None)
    if not isinstance(variants, dict) or not all(isinstance(own, dict) for own in variants.values()):
        raise NextclickError(
            f"{path} has no [variants.NAME] tables",
            "It does not name several configurations.",
            "Name a file such as deploy/params/product-sequences.toml.",
        )
    missing = [name for name in only if name not in variants]
    if missing:
        raise NextclickError(
            f"{path} has no variant {', '.join(map(repr, missing))}",
            f"It has: {', '.join(variants)}.",
            "Choose among them.",
        )
    return {
        name: build_config({**shared, **own, **(always or {})})
        for name, own in variants.items()
        if not only or name in only
    }


def write_params(path: Path, config: ModelConfig, comment: Iterable[str]) -> None:
    """Write the settings that differ from the defaults, below lines of comment."""
    lines = [f"# {line}".rstrip() for line in comment]
    for name, value in {"network": config.network, **config.model_dump(exclude_defaults=True)}.items():
        # TOML has no None; 0 stands for it here and on the command line.
        text = "0" if value is None else json.dumps(value)
        lines.append(f"{name} = {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Parse name=value pairs; a value that is not JSON is text. Raises NextclickError without an =.

    >>> parse_settings(["loss=bpr-max", "epochs=10"])
    {'loss': 'bpr-max', 'epochs': 10}
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NextclickError(
                f"{text!r} is no setting", "A setting is name=value.", "Write, for instance, loss=bpr-max."
            )
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value.strip()
    return settings


def build_config(settings: Mapping[str, Any]) -> ModelConfig:
    """Build a configuration. Raises NextclickError, which names every wrong setting.

    >>> build_config({"network": "pop", "session_gap_s": 0}).session_gap_s is None
    True
    """
    values = dict(settings)
    if values.get("session_gap_s") == 0:
        values["session_gap_s"] = None
    try:
        return ModelConfig(**values)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'} = {e['input']!r}: {e['msg']}"
            for e in error.errors()
        )
        raise NextclickError(
            f"the model's settings are wrong: {wrong}",
            "Nothing was trained.",
            "`nextclick train --help` and model/config.py list the settings and their ranges.",
        ) from error


def parse_model(
    text: str, defaults: Mapping[str, Any], always: Mapping[str, Any] | None = None
) -> tuple[str, ModelConfig]:
    """Parse a model's name on the command line. Returns its label and its configuration.

    The text is a network or the path of a settings file, then settings if any:
    "gru4rec:loss=bpr-max,epochs=10". A leading "label=" gives the label; without it the whole text
    is the label. The text overrides `defaults`; `always` overrides the text.

    >>> label, config = parse_model("mine=gru4rec:epochs=10", {"batch_size": 64})
    >>> label, config.epochs, config.batch_size
    ('mine', 10, 64)
    """
    head, _, tail = text.partition(":")
    label, equals, named = head.partition("=")
    if equals:
        head = named
    own = read_params(Path(head)) if head.endswith(".toml") else {"network": head}
    # A comma inside brackets belongs to a list.
    given = parse_settings(part for part in re.split(r",(?![^\[]*\])", tail) if part)
    return label if equals else text, build_config({**defaults, **own, **given, **(always or {})})


def parse_models(
    texts: Iterable[str], defaults: Mapping[str, Any], always: Mapping[str, Any] | None = None
) -> dict[str, ModelConfig]:
    """Parse several models, by label. Raises NextclickError without any, or when two labels are equal."""
    models = distinct(parse_model(text, defaults, always) for text in texts)
    if not models:
        raise NextclickError("no model is named", "There is nothing to compare.", "Name some with --models.")
    return models


def distinct(named: Iterable[tuple[str, ModelConfig]]) -> dict[str, ModelConfig]:
    """Returns configurations by label. Raises NextclickError when two labels are equal.

    >>> list(distinct([("a", ModelConfig()), ("b", ModelConfig(epochs=2))]))
    ['a', 'b']
    """
    models: dict[str, ModelConfig] = {}
    for label, config in named:
        if label in models:
            raise NextclickError(
                f"two models are called {label!r}",
                "Only one of them would be in the table.",
                "Give each a label of its own: label=network:name=value.",
            )
        models[label] = config
    return models
