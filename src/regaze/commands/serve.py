"""The command of the expert's page. Importing this module imports no torch and no web framework."""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec

from regaze.commands.base import Command, Result, StudyFolder
from regaze.console import show
from regaze.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Serve(Command):
    """The page is for this machine alone, and is opened by a link that is good once.

    What the page says is saved is on the disk; Ctrl-C ends the server, and a round that is being trained goes on.
    """

    folder: StudyFolder
    """Folder of the study."""

    host: str = "127.0.0.1"
    """Address of this machine to listen at."""
    port: int = 8437
    """Port, 0 to 65535; 0: any that is free."""
    open: bool = False
    """Open the page in the browser."""
    author: str | None = None
    """Author of what is drawn; default: the user's login name."""
    model: str | None = None
    """Name of the model whose maps are shown; default: the active model, else multi-scale."""

    def run(self) -> Result:
        """Serve the page."""
        missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
        if missing:
            raise OptionError(f"regaze serve needs {' and '.join(missing)}: pip install 'regaze[serve]'.")
        if not 0 <= self.port <= 65535:
            raise OptionError(f"--port {self.port}: expected 0 to 65535.")
        from regaze.corrections.author import default_author
        from regaze.server.run import serve

        links = 0

        def show_link(link: str) -> None:
            nonlocal links
            links += 1
            # With --json stdout is the object's alone, and this goes to stderr.
            show(f"{'page' if links == 1 else 'the next link'}: {link}")
            sys.stdout.flush()
            if self.open and links == 1:
                webbrowser.open(link)

        serve(self.folder, self.host, self.port, self.author or default_author(), self.model, show_link)
        return {"study": str(self.folder), "links": links}, 0
