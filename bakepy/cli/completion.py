"""`bakepy completion`: the scripts with which shells complete commands, options and the names of targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from bakepy.cli.app import COMPLETE
from bakepy.errors import UsageError, nearest

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", metavar="SHELL")],
) -> None:
    """Print the completion script of a shell: source <(bakepy completion bash)."""
    if shell not in SHELLS:
        raise UsageError(f"no completion for {shell!r}", hint=nearest(shell, SHELLS) or "bash, zsh or fish")
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    print(get_completion_script(prog_name="bakepy", complete_var=COMPLETE, shell=shell))


def prepare_completion(environment: Mapping[str, str]) -> list[str]:
    """Makes typer's completion know its shells; gives the words to complete, without the program."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    # as the script of bash hands them over, or those of zsh and fish
    words = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or ""
    return words.split()[1:]
