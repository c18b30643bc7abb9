"""What the operators' commands have in common at a terminal: their groups, and what they print on."""

from __future__ import annotations

import sys
from typing import Final

import typer
from rich.console import Console

console: Final = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
"""Wide where nobody looks, so that a table in a file has its rows in one line each."""


def commands(about: str) -> typer.Typer:
    """A group of commands: plain help, no completion, tracebacks as Python has them."""
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def printable(text: str) -> str:
    """Text of a stranger, or the beginning of it: no control characters, no markup."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:200]).replace("[", "\\[")
