"""The settings as a reference: text for --help-config, Markdown for the documentation; both from the schema."""

import textwrap
from collections.abc import Mapping
from typing import Any

from ltjax.settings.blocks import Settings
from ltjax.settings.schema import Block, Setting, allowed_values, flat, leaves, type_name

RESUME = "may change on resume"


def markdown(block: type[Block], prefix: str = "config.") -> str:
    """A Markdown table of a block's settings and of those of the blocks in it.

    Args:
      block: its class, such as ``Settings``, ``DataSettings`` or a method's own.
      prefix: of the settings' names, such as "config." or "config.reslt.".

    Example:
      >>> from ltjax.settings import CheckpointSettings
      >>> print(markdown(CheckpointSettings, "config.checkpoint."))
      | Setting | Type | Default | Meaning | On resume |
      |---|---|---|---|---|
      | `config.checkpoint.every_steps` | int; an integer >= 1 | `200` | training steps between two checkpoints | free |
      | `config.checkpoint.keep` | int; an integer >= 1 | `2` | how many of a stage are kept | free |
    """
    lines = ["| Setting | Type | Default | Meaning | On resume |", "|---|---|---|---|---|"]
    for key, kind, default, about in leaves(block, prefix):
        cells = [f"`{key}`", allowed_values(kind, about), f"`{default!r}`", about.meaning, _resume(about)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _resume(about: Setting) -> str:
    return "free" if about.run_only else "fixed"


def help_text(config: Mapping[str, Any], block: str, own: type[Block]) -> str:
    """Every setting of a config: name, value in the file, type, allowed values, meaning.

    Args:
      config: nested mappings, as the file has them.
      block: the name of the method's own block; "" = it has none.
      own: its class.
    """
    values = flat(config)
    lines = [f"Settings of this config ('free': {RESUME}; 'default': where the file differs from it)"]
    tables = [leaves(Settings), *([leaves(own, f"{block}.")] if block else [])]
    for table in tables:
        for key, kind, default, about in table:
            if key in values or not key.startswith("second_stage_"):
                lines += ["", *_entry(key, kind, values.get(key, default), default, about)]
    return "\n".join(lines)


def _entry(key: str, kind: Any, value: Any, default: Any, about: Setting) -> list[str]:
    differs = "" if value == default else f" (default {default!r})"
    free = ", free" if about.run_only else ""
    head = f"--config.{key}={value!r}{differs}: {type_name(kind)}{free}"
    allowed = f" Allowed: {about.check.allowed}." if about.check is not None else ""
    meaning = about.meaning[:1].upper() + about.meaning[1:]
    return [head, *textwrap.wrap(f"{meaning}.{allowed}", 100, initial_indent="    ", subsequent_indent="    ")]
