"""Small git repositories with fixed dates, made by the git program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Repository:
    """A bare repository at `path`, and the work tree that commits are made in."""

    path: Path
    work: Path

    @classmethod
    def create(cls, folder: Path, name: str) -> Repository:
        repository = cls(folder / name, folder / f"work-{name}")
        repository.work.mkdir(parents=True)
        _git(folder, "init", "--quiet", "--bare", "-b", "main", str(repository.path))
        repository.git("init", "--quiet", "-b", "main")
        repository.git("remote", "add", "origin", str(repository.path))
        return repository

    def git(self, *arguments: str, seconds: int = 1_600_000_000) -> str:
        return _git(self.work, *arguments, seconds=seconds)

    def commit(self, files: Mapping[str, str], *, branch: str = "", seconds: int = 1_600_000_000) -> str:
        """Writes files (`*` at the end of a name: executable; a text that begins with `->`: a symlink), commits and
        pushes them; returns the commit."""
        if branch:
            self.git("checkout", "--quiet", "-B", branch)
        for name, text in files.items():
            path = self.work / name.removesuffix("*")
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                path.symlink_to(text.removeprefix("->"))
            else:
                path.write_text(text)
                path.chmod(0o755 if name.endswith("*") else 0o644)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", "a change", seconds=seconds)
        self.push()
        return self.git("rev-parse", "HEAD")

    def push(self) -> None:
        self.git("push", "--quiet", "--force", "--all", "origin")
        self.git("push", "--quiet", "--force", "--tags", "origin")
        _git(self.path, "update-server-info")


def _git(folder: Path, *arguments: str, seconds: int = 1_600_000_000) -> str:
    when = f"{seconds} +0000"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"), ("DATE", when))},
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always",
        "GIT_CONFIG_KEY_1": "safe.directory", "GIT_CONFIG_VALUE_1": "*",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True, umask=0o022
    )
    return done.stdout.strip()
