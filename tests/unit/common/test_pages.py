"""The pages as they are delivered: what may be kept how long, packed or not, from nowhere else, and the way out of a build that failed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cityloop_common import pages, start_page
from cityloop_common.pages import Build
from cityloop_common.service import installed_services
from tests.unit.common.edge import Edge, client_of

SCRIPT = b"console.log('" + b"x" * 600 + b"')"
HTML = b"<!doctype html><title>CityLoop</title>"


def write(dist: Path, html: bytes = HTML) -> None:
    """What a build leaves behind."""
    (dist / "assets").mkdir(parents=True, exist_ok=True)
    (dist / "index.html").write_bytes(html)
    (dist / "assets" / "home-1a2b.js").write_bytes(SCRIPT)
    (dist / "assets" / "home-1a2b.js.br").write_bytes(b"br of it")
    (dist / "assets" / "home-1a2b.js.gz").write_bytes(b"gz of it")
    (dist / "assets" / "notes.exe").write_bytes(b"no page needs this")
    (dist / pages.STAMP).write_text("made of these sources")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A build beside files that are nobody's business."""
    write(tmp_path / "dist")
    (tmp_path / "secret.json").write_text("{}")
    return tmp_path / "dist"


@pytest.fixture
async def client(dist: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The root of `cityloop dev` over that build."""
    app = start_page.create_app([("parking", "CityLoop parking")], lambda base: [f"curl {base}/<x>"], build=Build(dist))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city", headers={"accept-encoding": ""}) as http:
        yield http


async def test_html_is_asked_about_each_time(client: httpx.AsyncClient) -> None:
    """It names the hashed files: an old one would name files that are gone."""
    page = await client.get("/")
    assert (page.content, page.headers["cache-control"]) == (HTML, "no-cache")
    again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", page.headers["etag"])


async def test_hashed_files_are_kept_for_a_year(client: httpx.AsyncClient) -> None:
    """Their names change with their content."""
    script = await client.get("/assets/home-1a2b.js")
    assert (script.content, script.headers["cache-control"]) == (SCRIPT, "public, max-age=31536000, immutable")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "accepted, coding",
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("deflate", None),
        ("br;q=x", None),
        ("", None),
    ],
)
async def test_the_best_packed_form_that_the_client_takes(client: httpx.AsyncClient, accepted: str, coding: str | None) -> None:
    """And what is kept on the way knows that the answer depends on it."""
    request = client.build_request("GET", "/assets/home-1a2b.js", headers={"accept-encoding": accepted})
    answer = await client.send(request, stream=True)
    body = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == coding
    assert body == {"br": b"br of it", "gzip": b"gz of it", None: SCRIPT}[coding]
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-length"] == str(len(body))


async def test_a_file_that_is_missing_is_not_kept_as_missing(client: httpx.AsyncClient) -> None:
    """During an upgrade another replica has it already, and soon this one: no cache on the way remembers the 404."""
    for path in ("/assets/home-9z9z.js", "/other"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


async def test_what_is_taken_may_be_said_in_several_lines(client: httpx.AsyncClient) -> None:
    """As a proxy may write it: together they are one list."""
    headers = [("accept-encoding", "deflate"), ("accept-encoding", "br;q=0.9"), ("accept-encoding", "gzip;q=0.5")]
    request = client.build_request("GET", "/assets/home-1a2b.js", headers=headers)
    request.headers = httpx.Headers(headers)
    answer = await client.send(request, stream=True)
    assert answer.headers.get("content-encoding") == "br"
    await answer.aclose()


async def test_a_head_has_the_headers_and_no_body(client: httpx.AsyncClient) -> None:
    """Of the page and of a file."""
    for path, length in (("/", len(HTML)), ("/assets/home-1a2b.js", len(SCRIPT))):
        answer = await client.head(path)
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(length))


async def test_nothing_comes_from_elsewhere(client: httpx.AsyncClient) -> None:
    """Scripts, styles and data are of this host alone, and no other page may frame it."""
    headers = (await client.get("/")).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not [word for word in headers["content-security-policy"].split() if "unsafe" in word or "http" in word or "*" in word]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/assets/nothing.js", "/assets/../secret.json", "/assets/%2e%2e/secret.json", "/assets/..%2f..%2fsecret.json",
     "/..%2fsecret.json", "/assets/.built", "/.built", "/assets/home-1a2b.js.br", "/assets/notes.exe", "/assets/", "/home", "/a/b/c"],
)  # fmt: skip
async def test_what_the_build_does_not_have_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    """Only exact paths of the build are known: none leads out of its folder."""
    url = httpx.URL("http://city").copy_with(raw_path=path.encode())
    answer = await client.send(httpx.Request("GET", url))
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["type"] == "urn:cityloop:problem:not-found"


async def test_a_page_is_not_written_to(client: httpx.AsyncClient) -> None:
    """POST is refused as elsewhere."""
    answer = await client.post("/")
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")


async def test_a_new_build_is_seen_without_a_restart(client: httpx.AsyncClient, dist: Path) -> None:
    """A developer builds while the services run."""
    await client.get("/")
    write(dist, b"<!doctype html><title>newer</title>")
    os.utime(dist / "index.html", ns=(1, 1))
    assert b"newer" in (await client.get("/")).content


async def test_without_a_build_the_start_page_says_how_to_make_one(dist: Path) -> None:
    """And how the last try ended, as text; the services are there as usual."""
    app = start_page.create_app([("parking", "CityLoop parking")], lambda base: [f"curl {base}/<x>"], build=Build(dist / "none"))
    (dist / pages.FAILURE).write_text("npm ci: no <network>")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as http:
        told = (await http.get("/")).text
    assert "make web" in told
    assert "npm ci: no &lt;network&gt;" in told
    assert "curl http://city/&lt;x&gt;" in told
    assert '<a href="/parking/v1/docs">' in told


async def test_the_start_page_stays_at_its_own_address(client: httpx.AsyncClient) -> None:
    """With the lines to paste, and a way to the pages."""
    page = await client.get("/start")
    assert "curl http://city/&lt;x&gt;" in page.text
    assert '<a href="/">' in page.text
    assert "make web" not in page.text
    assert (await client.get("/start.css")).headers["content-type"].startswith("text/css")


def test_a_checkout_has_its_own_build() -> None:
    """Elsewhere the build lies in the package."""
    assert pages.find_build().folder.parts[-2:] == ("web", "dist")


async def test_in_an_api_replica_pages_keep_their_policy(at_edge: Edge, dist: Path) -> None:
    """The edge adds what every answer has, once, and leaves the policy of a page to the page; without a build it is a problem."""
    app = at_edge.app()
    app.include_router(pages.router(Build(dist)))
    async with client_of(app) as http:
        page, api = await http.get("/"), await http.get("/nothing/at/all")
    assert page.headers.get_list("x-content-type-options") == ["nosniff"]
    assert page.headers.get_list("content-security-policy") == [pages.CSP]
    assert "script-src" not in api.headers["content-security-policy"]
    bare = at_edge.app()
    bare.include_router(pages.router(Build(dist / "none")))
    async with client_of(bare) as http:
        assert (await http.get("/")).headers["content-type"] == "application/problem+json"


def test_one_service_serves_the_pages() -> None:
    """Where each service has its own process, `/` is one's."""
    assert [service.name for service in installed_services() if service.serves_pages] == ["parking"]
