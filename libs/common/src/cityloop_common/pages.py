"""The web pages that `web/` is built into: hashed files for a year, HTML that is asked about each time, nothing from elsewhere.

Only what the build wrote is known here, by its exact path: no address can lead out of the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import compression
from cityloop_common.preconditions import not_modified

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
STAMP = ".built"
FAILURE = "build-failed.log"  # beside the folder; scripts/web.py writes both
_HASHED = "assets/"  # the build puts a digest of the content into these names
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))  # the better one first
_NOT_KEPT = {"cache-control": "no-store"}  # during an upgrade another replica may have the file, and soon this one
_SECURITY = {"content-security-policy": CSP, "cross-origin-opener-policy": "same-origin"}

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class File:
    """One file of the build as it is sent; `packed` by content coding."""

    body: bytes
    media_type: str
    etag: str
    cache_control: str
    packed: Mapping[str, bytes] = field(default_factory=dict)


class Build:
    """What the build wrote into a folder, held in memory (about 1 MB) and read again when the folder was built anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: Mapping[str, File] = {}
        self._seen: tuple[int, int] | None = None

    def find(self, path: str) -> File | None:
        """The file at a path below the folder, `assets/home-1a2b.js`; None when the build has none."""
        self._refresh()
        return self._files.get(path)

    def page(self, name: str = "") -> File | None:
        """The HTML of a page, of the first one without a name."""
        return self.find(f"{name}/index.html" if name else "index.html")

    def failure(self) -> str | None:
        """How the last try to build ended, when it failed."""
        try:
            return (self.folder.parent / FAILURE).read_text(errors="replace").strip() or None
        except OSError:
            return None

    def _refresh(self) -> None:
        now = (_modified(self.folder / "index.html"), _modified(self.folder / STAMP))  # the stamp comes last
        if now != self._seen:
            self._files = _read(self.folder)
            self._seen = now


def find_build() -> Build:
    """The build of this checkout (`web/dist`), else the one that was put into the installed package."""
    here = Path(__file__).resolve()
    checkout = here.parents[4] if len(here.parents) > 4 else here.parent
    return Build(checkout / "web" / "dist" if (checkout / "web" / "package.json").exists() else here.parent / "web_dist")


def router(build: Build, *, headers: Mapping[str, str] | None = None, unbuilt: Endpoint | None = None) -> APIRouter:
    """`/`, `/{page}` and `/assets/{name}`, and 404 for what the build does not have.

    `headers`: what no edge adds there; `unbuilt` answers `/` while there is no build.
    """
    pages = APIRouter(include_in_schema=False)
    also = {**_SECURITY, **(headers or {})}

    async def first(request: Request) -> Response:
        file = build.page()
        return await unbuilt(request) if file is None and unbuilt is not None else _answer(request, file, also)

    async def page(request: Request) -> Response:
        return _answer(request, build.page(request.path_params["page"]), also)

    async def asset(request: Request) -> Response:
        return _answer(request, build.find(f"{_HASHED}{request.path_params['name']}"), also)

    pages.add_route("/", first, methods=["GET"])
    pages.add_route("/assets/{name}", asset, methods=["GET"])
    pages.add_route("/{page}", page, methods=["GET"])
    return pages


def _answer(request: Request, file: File | None, also: Mapping[str, str]) -> Response:
    if file is None:
        raise HTTPException(404, headers=_NOT_KEPT)
    headers = {**also, "cache-control": file.cache_control, "etag": file.etag, "vary": "Accept-Encoding"}
    if not_modified(request, file.etag):
        return Response(status_code=304, headers=headers)
    coding = _coding(request.headers.getlist("accept-encoding"), file)
    body = file.packed[coding] if coding else file.body
    if coding:
        headers["content-encoding"] = coding
    headers["content-length"] = str(len(body))
    return Response(b"" if request.method == "HEAD" else body, media_type=file.media_type, headers=headers)


def _coding(accepted: Sequence[str], file: File) -> str | None:
    """The best content coding that there is and the client takes; None for the plain file."""
    known = compression.weights(accepted)
    anything = known.get("*", 0.0)
    usable = [(known.get(coding, anything), coding) for coding, _ in _ENCODINGS if coding in file.packed]
    best = max(usable, key=lambda each: each[0], default=(0.0, ""))
    return best[1] if best[0] > 0 else None


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(folder: Path) -> dict[str, File]:
    endings = tuple(ending for _, ending in _ENCODINGS)
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".") and path.suffix not in endings)
    return {path.relative_to(folder).as_posix(): _file(folder, path) for path in paths if path.suffix in _TYPES}


def _file(folder: Path, path: Path) -> File:
    body = path.read_bytes()
    hashed = path.relative_to(folder).as_posix().startswith(_HASHED)
    packed = {coding: Path(f"{path}{ending}").read_bytes() for coding, ending in _ENCODINGS if Path(f"{path}{ending}").is_file()}
    return File(
        body=body,
        media_type=_TYPES[path.suffix],
        etag=f'W/"{hashlib.sha256(body).hexdigest()[:24]}"',  # weak: one for the plain and the packed form
        cache_control="public, max-age=31536000, immutable" if hashed else "no-cache",
        packed=packed,
    )
