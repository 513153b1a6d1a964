"""Who signs where nobody was named."""

from __future__ import annotations

import getpass


def default_author() -> str:
    """The name to sign with where the user gave none.

    Returns:
        The login name, or `unknown` where the system knows none (a container without a user entry).
    """
    try:
        return getpass.getuser() or "unknown"
    except (OSError, KeyError, ImportError):  # Python 3.13 raises the first, earlier versions the others
        return "unknown"
