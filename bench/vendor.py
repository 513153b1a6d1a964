"""Copy the page's few vendored ES modules out of npm packages and write `vendor.json`.

    python bench/vendor.py FOLDER_OF_TGZ

The only place that touches npm's packages: `npm pack NAME@VERSION` writes the archives. A bare import
(`from"preact"`) becomes a relative one, since an import map would need an inline script, which the page's CSP forbids.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tarfile
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "src/regaze/server/static/vendor"

# (npm name, archive, licence, its file, {file in the archive: file here})
PACKAGES = (
    ("preact", "preact-{}", "MIT", "LICENSE", {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "hooks.js"}),
    ("htm", "htm-{}", "Apache-2.0", "LICENSE", {"dist/htm.mjs": "htm.js"}),
    ("@preact/signals-core", "preact-signals-core-{}", "MIT", "LICENSE", {"dist/signals-core.mjs": "signals-core.js"}),
    ("@preact/signals", "preact-signals-{}", "MIT", "LICENSE", {"dist/signals.mjs": "signals.js"}),
    ("idb-keyval", "idb-keyval-{}", "Apache-2.0", "LICENCE", {"dist/index.js": "idb-keyval.js"}),
)
BARE = {"preact": "preact.js", "preact/hooks": "hooks.js", "@preact/signals-core": "signals-core.js"}


def main(folder: Path) -> None:
    """Write the modules, their licences and `vendor.json`."""
    entries = []
    for name, pattern, licence, licence_file, files in PACKAGES:
        (archive,) = folder.glob(pattern.format("[0-9]*") + ".tgz")
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        with tarfile.open(archive) as tar:
            version = json.loads(_read(tar, "package.json"))["version"]
            licence_here = f"licences/{pattern.format(version)}.txt"
            (VENDOR / licence_here).parent.mkdir(parents=True, exist_ok=True)
            (VENDOR / licence_here).write_text(_read(tar, licence_file))
            sums = {}
            for inside, here in files.items():
                (VENDOR / here).write_text(_relative(_read(tar, inside)))
                sums[here] = hashlib.sha256((VENDOR / here).read_bytes()).hexdigest()
        entry = {"name": name, "version": version, "licence": licence, "licence_file": licence_here}
        entries.append({**entry, "integrity": integrity, "sha256": sums})
    (VENDOR / "vendor.json").write_text(json.dumps(entries, indent=1) + "\n")


def _read(tar: tarfile.TarFile, inside: str) -> str:
    found = tar.extractfile(f"package/{inside}")
    assert found is not None, inside
    return found.read().decode()


def _relative(source: str) -> str:
    """Bare imports made relative, without the line that names a source map that is not shipped."""
    for bare, here in BARE.items():
        for quote in "\"'":
            source = source.replace(f"from{quote}{bare}{quote}", f"from{quote}./{here}{quote}")
    return source.split("//# sourceMappingURL=")[0].rstrip() + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
