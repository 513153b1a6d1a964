"""The author of a correction or selection where the user named none."""

from __future__ import annotations

import getpass


def default_author() -> str:
    """The login name, or `unknown` where the system knows none (a container without a user entry)."""
    try:
        return getpass.getuser() or "unknown"
    except (OSError, KeyError, ImportError):  # Python 3.13 raises the first, earlier versions the others
        return "unknown"
