"""The page in a browser, driven as an expert would: by pointer and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.page.stub import World

# What the page must never do, noted by the browser itself.
_WATCH = """
window.wrongs = [];
addEventListener("securitypolicyviolation", (e) => window.wrongs.push(`CSP ${e.violatedDirective} ${e.blockedURI}`));
addEventListener("unhandledrejection", (e) => window.wrongs.push(String(e.reason)));
localStorage["regaze.language"] ??= "en";
"""


class Paper:
    """One window of the page with a case open."""

    def __init__(self, browser: Any, address: str, world: World | None, context: Any = None, **options: Any) -> None:
        options = {"viewport": {"width": 1000, "height": 700}} | options
        self.context = context or browser.new_context(**options)
        self.context.add_init_script(_WATCH)
        self.page = self.context.new_page()
        self.world, self.address = world, address
        self.origin = address.split("/enter")[0]
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        self.cdp = self.context.new_cdp_session(self.page)
        self.page.goto(address)
        self.wait_for_case()

    def wait_for_case(self) -> None:
        """Until the photograph of the case is there."""
        self.page.wait_for_selector(".why strong", timeout=90_000)  # a server loads its network first
        self.until(lambda: sum(self._centre()[:3]) > 60, 60)

    def _centre(self) -> list[int]:
        read = "c => Array.from(c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data)"
        return self.page.eval_on_selector("canvas.canvas", read)

    def until(self, true: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait for something to be true, letting the page work."""
        for _ in range(int(seconds * 20)):
            found = true()
            if found:
                return found
            self.page.wait_for_timeout(50)
        raise AssertionError("still not true")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where in the window a share (0..1) of the canvas lies."""
        box = self.page.locator("canvas.canvas").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def stroke(self, *points: tuple[float, float], button: str = "left") -> None:
        """Draw with the mouse through shares of the canvas."""
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=5)
        self.page.mouse.up(button=button)

    def pen(self, kind: str, x: float, y: float, pressed: bool = True) -> None:
        """A pen's event through the browser's own input path."""
        at = dict(zip("xy", self.place(x, y), strict=True))
        button = "left" if pressed else "none"
        event = {"type": kind, **at, "pointerType": "pen", "button": button, "buttons": int(pressed), "force": 0.6}
        self.cdp.send("Input.dispatchMouseEvent", event | {"clickCount": 1})

    def touch(self, kind: str, *fingers: tuple[float, float, float]) -> None:
        """Fingers (x, y in shares, radius in CSS pixels) through the browser's own input path."""
        points = []
        for number, (x, y, radius) in enumerate(fingers):
            at = dict(zip("xy", self.place(x, y), strict=True))
            points.append({**at, "radiusX": radius, "radiusY": radius, "id": number})
        self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def picture(self) -> str:
        """What the canvas shows, once it has come to rest."""
        before = ""
        for _ in range(60):
            self.page.wait_for_timeout(180)
            now = self.page.eval_on_selector("canvas.canvas", "c => c.toDataURL()")
            if now == before:
                return now
            before = now
        raise AssertionError("the canvas does not come to rest")

    @property
    def saved(self) -> str:
        """What the page says of saving."""
        return self.page.locator(".saved span").inner_text()

    def wait_saved(self) -> dict[str, Any]:
        """Until everything is saved; the server's draft of the open case."""
        self.until(lambda: self.page.locator(".saved.is-saved").count() and self.draft(), 25)
        draft = self.draft()
        assert draft is not None
        return draft

    def draft(self) -> dict[str, Any] | None:
        """The draft that the stand-in holds of the open case."""
        return self.world.cases[self.case].draft

    @property
    def case(self) -> int:
        """The open case's number."""
        return int(self.page.evaluate("location.hash.split('/')[2]"))

    def close(self) -> None:
        """Close the window; whatever the browser found wrong fails the test."""
        wrongs = self.page.evaluate("window.wrongs")
        self.context.close()
        assert not wrongs, wrongs
        assert not self.errors, self.errors
