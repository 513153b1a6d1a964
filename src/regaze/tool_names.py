"""What annotation tools make of a picture's name, undone: upload prefixes, Roboflow's hashes, addresses."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, unquote, urlsplit

# Label Studio: 1a2b3c4d-eye.jpg (uploaded), 1a2b3c4d__eye.jpg (written by its converter).
_UPLOADED = re.compile(r"[0-9a-f]{8}(?:-|__)(.+)", re.DOTALL)
# Roboflow: eye_jpg.rf.0123456789abcdef0123456789abcdef.jpg
_ROBOFLOW = re.compile(
    r"(.+)_(jpe?g|png|tiff?|bmp|webp|gif)\.rf\.[0-9A-Za-z]{8,64}(\.\w+|_mask\.png)?", re.I | re.DOTALL
)


def is_hashed(name: str) -> bool:
    """Whether a name has Roboflow's hash, which puts `-` for all but letters and digits, too."""
    return _ROBOFLOW.fullmatch(re.split(r"[/\\]", name)[-1]) is not None


def spellings(name: str) -> list[str]:
    """What a name, a path or an address in a foreign file may call a picture.

    Args:
        name: As it stands there.

    Returns:
        Likeliest first, the name itself among them; folders before the name stay.
    """
    names = [name]
    try:
        address = urlsplit(name)
        if address.scheme or name.startswith("/"):  # elsewhere ? and # are letters of a file's name
            # Label Studio serves local files as /data/local-files/?d=folder/name.
            names += [*parse_qs(address.query).get("d", []), address.path]
    except ValueError:  # no address
        pass
    names += [unquote(text) for text in names]
    names += [unescape(text) for text in names]  # `&amp;`, by tools that escape twice
    for text in tuple(names):
        start = max(text.rfind("/"), text.rfind("\\")) + 1
        folder, base = text[:start], text[start:]
        uploaded = _UPLOADED.fullmatch(base)
        for inner in (base, *(uploaded.groups() if uploaded else ())):
            hashed = _ROBOFLOW.fullmatch(inner)
            for plain in (inner, *((f"{hashed[1]}.{hashed[2]}",) if hashed else ())):
                names.append(folder + plain)
    return list(dict.fromkeys(names))
