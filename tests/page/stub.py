"""A small stand-in for `regaze serve`: the page's routes over painted eyes, held in memory.

It answers by the same rules as the server (versions, leases, one correction per key), so that the page can be tested by
itself; what a model would answer is made up by a formula in which both the amount and the place of attention count.
"""

# ruff: noqa: ARG002, D102 - every route is a method with the same arguments; its name says what it answers

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from PIL import Image

import regaze

STATIC = Path(regaze.__file__).parent / "server" / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
TYPES |= {".svg": "image/svg+xml"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
CLASSES = ["No DR", "Mild", "Moderate", "Severe", "Proliferative"]
GRIDS = [[64, 64], [32, 32], [16, 16]]


@dataclass
class Case:
    """A photograph and what is known of it."""

    name: str
    photo: np.ndarray
    label: int
    lesions: list[dict[str, Any]] = field(default_factory=list)
    maps: list[np.ndarray] = field(default_factory=list)
    state: str = "waiting"
    draft: dict[str, Any] | None = None
    holder: str | None = None


class World:
    """Everything that the stand-in holds."""

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        self.lock = threading.Lock()
        self.keys: dict[str, int] = {}
        self.finished: list[dict[str, Any]] = []
        self.grids: list[bytes] = []
        self.job: dict[str, Any] | None = None
        self.model = "round-1"
        self.delay = 0.0  # seconds that a what-if takes
        self.down = False  # answers nothing

    def counts(self) -> dict[str, int]:
        """Cases by state."""
        states = [case.state for case in self.cases]
        counts = {s: states.count(s) for s in ("waiting", "corrected", "skipped", "accepted")}
        return counts | {"flagged": sum(bool(case.draft and case.draft.get("flagged")) for case in self.cases)}


def maps_of(lesions: np.ndarray, seed: int) -> list[np.ndarray]:
    """Made-up attention: some of the lesions, seen dimly, and a spot that means nothing."""
    rng = np.random.default_rng(seed)
    side = lesions.shape[0]
    maps = []
    for rows, columns in GRIDS:
        blurred = cv2.GaussianBlur(lesions.astype(np.float32), (0, 0), side / (1.2 * rows))
        seen = cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_AREA)
        y, x = (axis / rows for axis in np.mgrid[0:rows, 0:columns])
        spots = [(0.28, 0.62, 0.006, 0.7), (*rng.uniform(0.35, 0.65, 2), 0.012, 0.45)]
        wrong = sum(top * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / width) for cx, cy, width, top in spots)
        veil = 0.12 * np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.12)
        maps.append((0.9 * np.sqrt(seen / (seen.max() + 1e-6)) + wrong + veil).clip(0, 1))
    return maps


def grade_of(maps: list[np.ndarray], own: list[np.ndarray], label: int) -> list[list[float]]:
    """Made-up probabilities: one row per scale, then the fused one."""
    rows = []
    for edited, model in zip(maps, own, strict=True):
        place = float((edited * model).sum() / (model.sum() + 1e-6) - model.mean())
        amount = float(edited.mean())
        logits = -0.6 * np.abs(np.arange(5) - label - 1.2 * place) + np.linspace(-0.4, 0.9, 5) * amount * 3
        rows.append(np.exp(logits) / np.exp(logits).sum())
    rows.append(np.mean(rows, axis=0))
    return [[float(p) for p in row] for row in rows]


def now() -> str:
    """UTC, as the server writes times."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    world: World
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", CSP)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a page that was closed meanwhile
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, b"" if status == 204 else json.dumps(value).encode(), "application/json")

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.world.down:
            self.close_connection = True
            return None
        parts = url.path.strip("/").split("/")
        if url.path == "/" or parts[0] == "static":
            path = STATIC / ("index.html" if url.path == "/" else "/".join(parts[1:]))
            if not path.is_file():
                self._json({"detail": "no such file"}, 404)
                return None
            kind = TYPES.get(path.suffix, "text/plain") + "; charset=utf-8"
            return self._send(200, path.read_bytes(), kind, Cache_Control="no-cache")
        name = f"{self.command.lower()}_{parts[1]}"
        if parts[1] == "cases":
            case = self.world.cases[int(parts[2])]
            name = f"{self.command.lower()}_{'_'.join(['case', *parts[3:]])}".replace("-", "_")
            return getattr(self, name)(int(parts[2]), case, query, body)
        if parts[1] == "jobs" and len(parts) > 2:
            name = f"{self.command.lower()}_{'_'.join(['job', *parts[3:]])}"
        return getattr(self, name)(query, body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - names that http.server wants

    def get_study(self, query: dict[str, str], body: bytes) -> None:
        models = [{"name": f"round-{r}", "round": r, "is_active": f"round-{r}" == self.world.model} for r in (0, 1)]
        words = {"photograph": "photograph", "lesion": "lesion"}
        study = {"name": "painted eyes", "classes": CLASSES, "sound": 0, "author": "Dr. <b>Sato</b>", "eyes": True}
        study |= {"model": self.world.model, "models": models, "scales": 3, "grids": GRIDS, "words": words}
        self._json(study | {"counts": self.world.counts()})

    def get_queue(self, query: dict[str, str], body: bytes) -> None:
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 50))
        cases = [
            {"id": i, "name": c.name, "state": c.state, "why": self._why(i), "leased_by_other": False}
            for i, c in enumerate(self.world.cases)
        ]
        self._json({"cases": cases[offset : offset + limit], "counts": self.world.counts()})

    @staticmethod
    def _why(number: int) -> str:
        return f"The branches disagree most here (.{61 - number}): two of three scales call it moderate."

    def post_next(self, query: dict[str, str], body: bytes) -> None:
        with self.world.lock:
            for i, case in enumerate(self.world.cases):
                window = json.loads(body)["window"]
                if case.state == "waiting" and case.holder in (None, window):
                    case.holder = window
                    return self._json(self._case(i, case))
            return self._json(None, 204)

    def _case(self, number: int, case: Case) -> dict[str, Any]:
        height, width = case.photo.shape[:2]
        side = max(height, width)
        square = {"left": (width - side) // 2, "top": (height - side) // 2, "side": side}
        rows = grade_of(case.maps, case.maps, case.label)
        return {
            "id": number, "name": case.name, "width": width, "height": height, "label": case.label,
            "grade": int(np.argmax(rows[-1])), "probabilities": rows[-1], "branches": rows[:-1],
            "why": self._why(number), "state": case.state, "square": square, "grids": GRIDS,
            "lesions": case.lesions, "draft": case.draft, "known": bool(case.lesions), "confidence": max(rows[-1]),
        }  # fmt: skip

    def get_case(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        self._json(self._case(number, case))

    def post_case_lease(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        window = json.loads(body)["window"]
        if case.holder not in (None, window):
            return self._json({"held": True}, 409)
        case.holder = window
        return self._json({"until": now()})

    def post_case_release(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        case.holder = None
        self._json({})

    def get_case_photograph(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        height, width = case.photo.shape[:2]
        factor = 2 ** int(query.get("level", 0))
        size = (-(-width // factor), -(-height // factor))
        buffer = io.BytesIO()
        Image.fromarray(cv2.resize(case.photo, size, interpolation=cv2.INTER_AREA)).save(buffer, "JPEG", quality=92)
        self._send(200, buffer.getvalue(), "image/jpeg", Cache_Control="private, max-age=3600")

    def get_case_maps(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        def packed(values: np.ndarray, kind: Any) -> dict[str, Any]:
            data = base64.b64encode(np.rint(values).astype(kind).tobytes()).decode()
            return {"height": values.shape[0], "width": values.shape[1], "values": data}

        scales = case.maps if query.get("model", "round-1") == "round-1" else [np.roll(m, 4, 1) for m in case.maps]
        fused = np.mean([cv2.resize(m, (64, 64)) for m in scales], axis=0)
        evidence = packed((scales[1] - scales[1].mean()) / np.abs(scales[1]).max() * 127, np.int8) | {"scale": 0.01}
        rows = grade_of(case.maps, case.maps, case.label)
        answer = {"model": self.world.model, "scales": [packed(m * 254, np.uint8) for m in scales]}
        answer |= {"fused": packed(fused * 254, np.uint8), "evidence": evidence}
        self._json(answer | {"probabilities": rows[-1], "branches": rows[:-1]})

    def post_case_what_if(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        time.sleep(self.world.delay)
        self.world.grids.append(body)
        raw, at, maps, even = np.frombuffer(body, np.uint8), 0, [], []
        for (rows, columns), own in zip(GRIDS, case.maps, strict=True):
            cells = raw[at : at + rows * columns].reshape(rows, columns)
            at += rows * columns
            edited = np.where(cells == 255, own, cells / 254)
            maps.append(edited)
            even.append((own * (edited.mean() / max(own.mean(), 1e-6))).clip(0, 1))

        def outcome(given: list[np.ndarray]) -> dict[str, Any]:
            answers = grade_of(given, case.maps, case.label)
            return {"fused": answers[-1], "branches": answers[:-1]}

        answer = {"sequence": int(query["sequence"]), "stale": False, "listens": number != 2}
        three = {"before": outcome(case.maps), "now": outcome(maps), "same_amount": outcome(even)}
        self._json(answer | three)

    def put_case_draft(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        draft = json.loads(body)
        with self.world.lock:
            version = case.draft["version"] if case.draft else 0
            if draft.get("base") != version:
                saved = {"version": version, "saved_at": (case.draft or {}).get("saved_at"), "draft": case.draft}
                return self._json(saved | {"window": (case.draft or {}).get("window")}, 409)
            case.draft = draft | {"version": version + 1, "saved_at": now()}
            return self._json({"version": version + 1, "saved_at": case.draft["saved_at"]})

    def post_case_finish(self, number: int, case: Case, query: dict[str, str], body: bytes) -> None:
        wish = json.loads(body)
        with self.world.lock:
            if wish["key"] not in self.world.keys:
                self.world.keys[wish["key"]] = len(self.world.keys) + 1
                self.world.finished.append({"case": number, **(case.draft or {})})
            decision = (case.draft or {}).get("decision")
            case.state = {"skip": "skipped", "accept": "accepted"}.get(str(decision), "corrected")
            case.holder = None
        self._json({"correction": self.world.keys[wish["key"]], "state": case.state})

    def post_rounds(self, query: dict[str, str], body: bytes) -> None:
        self.world.job = {"id": 1, "state": "running", "phase": "training", "done": 0, "total": 12}
        self.world.job |= {"message": "", "verdict": None}
        self._json({"job": 1})

    def get_jobs(self, query: dict[str, str], body: bytes) -> None:
        self._json({"jobs": [self.world.job] if self.world.job else []})

    def get_job(self, query: dict[str, str], body: bytes) -> None:
        self._json(self.world.job)

    def get_job_events(self, query: dict[str, str], body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        job = self.world.job or {}
        while job["state"] == "running":
            job["done"] += 1
            job["message"] = f"epoch {job['done']} of {job['total']}: loss {1.4 - job['done'] * 0.05:.3f}"
            if job["done"] == job["total"]:
                job |= {"state": "done", "phase": "judging", "verdict": ROUNDS[-1]}
            self._event(job)
            time.sleep(0.15)
        self._event(job)
        self.close_connection = True

    def _event(self, job: dict[str, Any]) -> None:
        self.wfile.write(f"id: {job['done']}\ndata: {json.dumps(job)}\n\n".encode())

    def post_job_cancel(self, query: dict[str, str], body: bytes) -> None:
        (self.world.job or {})["state"] = "cancelled"
        self._json(self.world.job)

    def get_rounds(self, query: dict[str, str], body: bytes) -> None:
        rounds = [r | {"is_active": r["name"] == self.world.model} for r in ROUNDS]
        self._json({"rounds": rounds, "advice": ADVICE})

    def post_use(self, query: dict[str, str], body: bytes) -> None:
        self.world.model = json.loads(body)["model"]
        self._json({"model": self.world.model})

    def get_worse(self, query: dict[str, str], body: bytes) -> None:
        cases = [
            {"id": i, "name": c.name, "before": (c.label + 1) % 5, "after": c.label, "label": c.label}
            for i, c in enumerate(self.world.cases)
        ]
        worse = [cases[-1] | {"before": cases[-1]["after"], "after": cases[-1]["before"]}]
        self._json({"model": query["model"], "against": "round-0", "worse": worse, "better": cases[:-1]})

    def get_dashboard(self, query: dict[str, str], body: bytes) -> None:
        curve = [
            {"corrections": n, "kappa": 0.7 + 0.02 * n**0.5, "enrichment": 1 + 0.2 * n**0.5} for n in (0, 8, 16, 32)
        ]
        self._json({"counts": self.world.counts(), "rounds": ROUNDS, "curve": curve, "advice": ADVICE})


ADVICE = "Two rounds in a row improved attention and did not hurt grading: another round is likely to help."
NOTHING = {"before": None, "after": None, "difference": None, "interval": None, "verdict": "inconclusive"}
ROUNDS: list[dict[str, Any]] = [
    {"name": "round-0", "round": 0, "corrections": 0, "word": None, "grading": NOTHING, "attention": NOTHING},
    {"name": "round-1", "round": 1, "corrections": 16, "word": "improved"}
    | {"grading": {"before": 0.74, "after": 0.752, "difference": 0.012, "interval": [-0.021, 0.044]}}
    | {"attention": {"before": 1.42, "after": 2.31, "difference": 0.89, "interval": [0.51, 1.28]}},
]
ROUNDS[1]["grading"]["verdict"], ROUNDS[1]["attention"]["verdict"] = "equivalent", "improved"


def painted_cases(size: int = 640, count: int = 4) -> list[Case]:
    """Painted eyes with lesions whose places are known."""
    from regaze.synthetic.photograph import paint

    names = ["eye-001", "<img src=x onerror=alert(1)>", "eye-003", "eye-004", "eye-005", "eye-006"]
    cases = []
    for i in range(count):
        painted = paint(11 + i, size, 2 + i % 3)
        lesions = [
            {"kind": "polygon", "points": outline.reshape(-1, 2).tolist(), "name": name}
            for name, mask in painted.masks.items()
            for outline in cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
            if len(outline) >= 3
        ]
        union = np.any(list(painted.masks.values()), axis=0)
        cases.append(Case(names[i], painted.photo, painted.grade, lesions, maps_of(union, i)))
    return cases


def serve(cases: list[Case], port: int = 0) -> tuple[World, str, Callable[[], None]]:
    """Start the stand-in.

    Returns:
        What it holds, its address, and what stops it.
    """
    world = World(cases)
    handler = type("BoundHandler", (Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return world, f"http://127.0.0.1:{server.server_address[1]}", stop
