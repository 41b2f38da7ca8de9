"""Runs a program as the user whom a user namespace made root: `python caller.py UID GID PROGRAM ARGUMENT…`.

In bakepy's namespace a program finds that it is root. That is wrong where it looks by its id for what the user has
running: D-Bus refuses who says to be somebody else, gpg looks for its agent in /run/user/0. In a namespace inside of
that one it has its own id again, and no other; whoever talks with it from outside sees the same.

This is run as a script, on its own: it imports nothing of bakepy, and may be started from any thread.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000


def main() -> None:
    uid, gid, *words = sys.argv[1:]
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) == 0:  # else: as root, better than not at all
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {group} 1")
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
