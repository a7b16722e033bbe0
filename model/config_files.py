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
    """The settings in a file. Raises NextclickError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NextclickError(
            f"{path}: {error}",
            "It does not read as a file of model settings.",
            "Name a TOML file such as those in deploy/params.",
        ) from error


def read_variants(
    path: Path, always: Mapping[str, Any] | None = None, only: Collection[str] = ()
) -> dict[str, ModelConfig]:
    """The named configurations in a file: its [variants.NAME] tables, over the settings above them.

    `always` holds whatever the file says; `only` names those that are wanted, all when it is empty.
    Raises NextclickError when the file has none, or none of a wanted name.
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
    """The settings that differ from the defaults, below lines of comment."""
    lines = [f"# {line}".rstrip() for line in comment]
    for name, value in config.model_dump(exclude_defaults=True).items():
        # None has no place in TOML; where it is a setting, 0 says it in the command line and here.
        text = "0" if value is None else json.dumps(value)
        lines.append(f"{name} = {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """name=value pairs, values as JSON where they read so, else as text. Raises NextclickError without =."""
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
    """The configuration of these settings. Raises NextclickError that names every wrong one."""
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
    """A model as it is named on the command line: → its label, and its configuration.

    "gru4rec", "gru4rec:loss=bpr-max,epochs=10", or the path of a file of settings, with or
    without settings behind it; "label=" in front gives it a label, else all of the text is.
    `defaults` hold where nothing says more, `always` whatever is said.
    """
    head, _, tail = text.partition(":")
    label, equals, named = head.partition("=")
    if equals:
        head = named
    own = read_params(Path(head)) if head.endswith(".toml") else {"network": head}
    # A comma inside of brackets belongs to a list.
    given = parse_settings(part for part in re.split(r",(?![^\[]*\])", tail) if part)
    return label if equals else text, build_config({**defaults, **own, **given, **(always or {})})


def parse_models(
    texts: Iterable[str], defaults: Mapping[str, Any], always: Mapping[str, Any] | None = None
) -> dict[str, ModelConfig]:
    """Several of them by label. Raises NextclickError when there is none, or two have the same label."""
    models = distinct(parse_model(text, defaults, always) for text in texts)
    if not models:
        raise NextclickError("no model is named", "There is nothing to compare.", "Name some with --models.")
    return models


def distinct(named: Iterable[tuple[str, ModelConfig]]) -> dict[str, ModelConfig]:
    """Configurations by label. Raises NextclickError when two have the same label."""
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
