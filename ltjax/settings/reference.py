"""A reference of the settings from the schema: text for --help-config, Markdown for the documentation."""

import textwrap
from collections.abc import Mapping
from typing import Any

from ltjax.settings.blocks import Settings
from ltjax.settings.schema import Block, Setting, allowed_values, flat, leaves, type_name

RESUME = "may change on resume"


def markdown(block: type[Block], prefix: str = "config.") -> str:
    """A Markdown table of the settings in a block and in its inner blocks.

    Args:
      block: the class, such as ``Settings``, ``DataSettings`` or a method's block.
      prefix: the prefix of the settings' names, such as "config." or "config.reslt.".

    Example:
      >>> from ltjax.settings import CheckpointSettings
      >>> print(markdown(CheckpointSettings, "config.checkpoint."))
      | Setting | Type | Default | Meaning | On resume |
      |---|---|---|---|---|
      | `config.checkpoint.every_steps` | an integer >= 1 | `200` | training steps between checkpoints | free |
      | `config.checkpoint.keep` | an integer >= 1 | `2` | number of checkpoints kept per stage | free |
    """
    lines = ["| Setting | Type | Default | Meaning | On resume |", "|---|---|---|---|---|"]
    for key, kind, default, about in leaves(block, prefix):
        cells = [f"`{key}`", allowed_values(kind, about), f"`{default!r}`", about.meaning, _resume(about)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _resume(about: Setting) -> str:
    return "free" if about.run_only else "fixed"


def help_text(config: Mapping[str, Any], block: str, block_type: type[Block]) -> str:
    """Every setting of a config with its value, type, allowed values and meaning.

    Args:
      config: the config as nested mappings.
      block: the name of the method's block; "" = it has none.
      block_type: the class of that block.
    """
    values = flat(config)
    lines = [f"Settings of this config (free: {RESUME}; default: shown if this config changes it)"]
    tables = [leaves(Settings), *([leaves(block_type, f"{block}.")] if block else [])]
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
