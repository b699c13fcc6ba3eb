"""YAML files checked against typed structures, with errors that name file and key."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from pipshpc.errors import SpecError

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen structure that refuses unknown keys and wrong types."""


def load_yaml(path: str | Path, kind: type[T]) -> T:
    """Read one YAML file into `kind`.

    Raises
    ------
    SpecError
        Where the file is missing, is not YAML, has an unknown key, lacks a
        key, or holds a value of the wrong type. The message names the file,
        the key, what was found and what is wanted.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from error
    return parse_yaml(text, kind, str(path))


def parse_yaml(text: str, kind: type[T], origin: str) -> T:
    """Read YAML text into `kind`; `origin` is named in errors."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{origin}: is not valid YAML: {' '.join(str(error).split())}") from error
    if raw is None:
        raise SpecError(f"{origin}: is empty; a mapping of keys is wanted")
    return convert(raw, kind, origin)


def convert(raw: object, kind: type[T], origin: str) -> T:
    """Turn plain data (from YAML or JSON) into `kind`, strictly."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise SpecError(f"{origin}: {_in_words(str(error), raw)}{_known_keys(str(error), kind)}") from error


def _known_keys(message: str, kind: object) -> str:
    """Name the keys of the top level where an unknown one stands there."""
    fields = getattr(kind, "__struct_fields__", ())
    return f"; known keys: {', '.join(fields)}" if "unknown field" in message and " - at" not in message else ""


def _in_words(message: str, raw: object) -> str:
    """Rewrite msgspec's message so that it names key, found value and wanted type."""
    what, _, where = message.partition(" - at `$")
    where = where.rstrip("`")
    keys = where.replace("[", ".[").strip(".")
    found = raw
    for key in [k for k in keys.split(".") if k]:
        try:
            found = found[int(key[1:-1])] if key.startswith("[") else found[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError, ValueError):
            return message
    key = f"key '{keys.replace('.[', '[')}'" if keys else "top level"
    shown = f", found {found!r}" if not isinstance(found, dict | list) else ""
    return f"{key}: {what}{shown}"
