"""Bad input over HTTP and in files: a clear problem or a report by row, never a 500, and nothing half-written."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import NEAR, SAMPLE, Town
from tests.e2e.processes import command, token
from tests.e2e.wrong_bodies import ON_SERVERS_TOO, open_place, prepared, soon, valid_requests, wrong

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-bad-input"), pytest.mark.timeout(400)]
SERVICES = ("parking", "charging", "waste")
BESIDE = ON_SERVERS_TOO
V1 = "/parking/v1"
VALID = valid_requests()


def _is_a_clear_answer(answer: httpx.Response, what: str) -> None:
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", what
        problem = answer.json()
        assert problem["type"].startswith("urn:cityloop:problem:"), what
        assert problem["title"], what
        assert problem["status"] == answer.status_code, what


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("service, number", [pytest.param(each.service, number, id=each.name) for number, each in enumerate(VALID)])
async def test_every_value_may_be_wrong(service: str, number: int, town: Town, client: httpx.AsyncClient) -> None:
    """One value after the other is missing, of another type, absurd or unstorable: a clear answer, and no row of a refused request."""
    valid = valid_requests()[number]
    ids = await prepared(valid, town, client)
    first = await valid.send(town, client, valid.body, 0, ids)
    assert first.status_code == valid.status, first.text  # nothing is wrong with it: what is refused below is so for the one value
    made = {True: 0, False: 0}
    for turn, (what, body) in enumerate(wrong(valid), 1):
        answer = await valid.send(town, client, body, turn, ids)
        _is_a_clear_answer(answer, f"{valid.name} {what}")
        made[answer.status_code < 300] += 1
        if service == "parking" and valid.role == "citizen":
            own = await client.get(f"{V1}/reservations", headers=valid.bearer(town, turn))
            assert len(own.json()["reservations"]) == (answer.status_code == 201), what
    assert made[False] > made[True]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_body_has_its_turn(service: str, town: Town, client: httpx.AsyncClient) -> None:
    """No operation that takes a body is without one here: whoever adds it adds a valid request to `wrong_bodies`."""
    document = (await client.get(f"{town.url_of(service)}/{service}/v1/openapi.json")).json()
    take_one = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        if not path.startswith("/charging/tcec/")  # signed envelopes, refused in the standard's words: tests/contract/test_charging_tcec.py
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    assert take_one == {(each.method, each.path) for each in VALID if each.service == service}


PATHS = ("%00", "a%00b", "%ff%fe", "..%2f..%2fetc", "x" * 5000, "%F0%9D%92%B3", "%20", "-", "null", "1e999", "'; DROP TABLE place; --")


@pytest.mark.parametrize("service", SERVICES)
async def test_an_id_may_be_anything(service: str, town: Town, client: httpx.AsyncClient) -> None:
    """An id that nothing has, or that no database can hold, is unknown, invalid or nobody's; in every path of the service's document."""
    document = (await client.get(f"{town.url_of(service)}/{service}/v1/openapi.json")).json()
    bodies = {(each.method, each.path): each.body for each in valid_requests() if each.service == service}
    asked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = re.findall(r"{(\w+)}", path)
            role = operation.get("x-roles", [""])[-1]
            who = town.bearer(role, operator="wrong") if role else {}
            for part in PATHS if names else ():
                where = town.url_of(service) + path.format_map(dict.fromkeys(names, part))
                answer = await client.request(method.upper(), where, headers=who, json=bodies.get((method.upper(), path)))
                _is_a_clear_answer(answer, where)
                assert answer.status_code in {400, 403, 404, 422}, (method, where, answer.text)
                asked += 1
    assert asked > len(PATHS)


QUERIES = (
    "", "near=", "near=1", "near=a,b", "near=nan,nan", "near=inf,0", "near=1e400,0", "near=200,95", "near=109.7,39.5&radius_m=-1",
    "near=109.7,39.5&radius_m=1e9", "near=109.7,39.5&radius_m=", "near=109.7,39.5&limit=0", "near=109.7,39.5&limit=99999999999999999999",
    "near=109.7,39.5&limit=%D9%A3", "near=109.7,39.5&datum=", "near=109.7,39.5&datum=mars", "near=%00", "near=%ff", "near=" + "1" * 3000,
)  # fmt: skip


async def test_a_search_may_ask_anything(client: httpx.AsyncClient) -> None:
    """What is no point, no radius, no number or no datum is refused with a pointer to it."""
    for query in QUERIES:
        answer = await client.get(f"{V1}/places?{query}")
        _is_a_clear_answer(answer, query)
        assert answer.status_code in {400, 422}, (query, answer.text[:200])


async def test_lists_and_headers_may_say_anything(town: Town, client: httpx.AsyncClient) -> None:
    """Cursors, limits, keys, preconditions and stream positions that mean nothing."""
    me, operator = town.bearer("citizen"), town.bearer("lot_operator", operator="wrong")
    for query in ("limit=0", "limit=-1", "limit=201", "limit=a", "limit=1e3", "cursor=%00", "cursor=" + "x" * 65):
        answer = await client.get(f"{V1}/reservations?{query}", headers=me)
        _is_a_clear_answer(answer, query)
        assert answer.status_code in {400, 422}, query
    for key in ("", "k" * 201, "é"):
        body = valid_requests()[3].body
        answer = await client.post(f"{V1}/reservations", json=body, headers=_raw(me, key))
        _is_a_clear_answer(answer, key)
    await open_place(town, client)
    for tag in ("1", '"0"', '"x"', '"99999999999999999999"', 'W/"1"', "*", '"1","2"', '"-1"'):
        answer = await client.put(f"{V1}/places/wrong-1", json=valid_requests()[0].body, headers={**operator, "if-match": tag})
        _is_a_clear_answer(answer, tag)
        assert answer.status_code in {412, 428}, (tag, answer.text)


def _raw(headers: Mapping[str, str], key: str) -> list[tuple[bytes, bytes]]:
    return [*((name.encode(), value.encode()) for name, value in headers.items()), (b"idempotency-key", key.encode())]


@pytest.mark.parametrize(
    "position, datum, slug",
    [
        ({"lon": 109.78, "lat": 39.56}, None, "datum-missing"),
        ({"lon": 109.78, "lat": 39.56}, "mars", "datum-unknown"),
        ({"lon": 109.78, "lat": 39.56}, "twd97", "place-invalid|out-of-bounds"),
        ({"lon": 39.56, "lat": 109.78}, "wgs84", "out-of-bounds"),
        ({"lon": 0.0, "lat": 0.0}, "wgs84", "place-invalid|out-of-bounds"),
        ({"lon": 121.5, "lat": 25.0}, "gcj02", "place-invalid|out-of-bounds"),
    ],
)
async def test_a_position_names_its_datum_and_lies_in_the_city(
    position: dict[str, float], datum: str | None, slug: str, town: Town, client: httpx.AsyncClient
) -> None:
    """Coordinates without a datum, in an unknown one, or outside the city's bounds are refused by name."""
    body = {"name": "a", "position": position, "pools": [], **({} if datum is None else {"datum": datum})}
    answer = await client.put(f"{V1}/places/wrong-9", json=body, headers=town.bearer("lot_operator", operator="wrong"))
    assert answer.status_code == 422
    assert answer.json()["type"].removeprefix("urn:cityloop:problem:") in slug.split("|")
    assert (await client.get(f"{V1}/places/wrong-9")).status_code == 404


async def test_bodies_have_a_limit_and_a_form(town: Town, client: httpx.AsyncClient) -> None:
    """Too long, announced or not; not JSON, half JSON, deep JSON, another media type."""
    operator = {**town.bearer("lot_operator", operator="wrong"), "content-type": "application/json"}
    where = f"{V1}/observations"

    async def unannounced() -> Any:
        for _ in range(40):
            yield b" " * 65536

    for content, status in (
        (b" " * (1024 * 1024 + 1), 413),
        (unannounced(), 413),
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b'{"observations": NaN}', 422),
    ):
        answer = await client.post(where, content=content, headers=operator)
        _is_a_clear_answer(answer, str(content)[:30])
        assert answer.status_code in {status, 400, 422}, (str(content)[:30], answer.text)
        if status == 413:
            assert answer.status_code == 413
    form = await client.post(where, content=b"a=1", headers={**operator, "content-type": "application/x-www-form-urlencoded"})
    assert form.status_code in {415, 422}
    _is_a_clear_answer(form, "form")


async def test_tokens_may_be_anything(town: Town, client: httpx.AsyncClient, tmp_path: Path) -> None:
    """No token, none that can be read, another's signature, changed claims, an expired one, no signature: 401 each."""
    good = town.bearer("citizen")["authorization"].removeprefix("Bearer ")
    head, claims, signature = good.split(".")
    forged = token({"CITYLOOP_VAR": str(tmp_path)}, "city_admin")
    expired = token(town.settings, "citizen", ttl=timedelta(hours=-1))
    unsigned = "eyJhbGciOiJub25lIn0." + claims + "."
    for given in (
        "", "Bearer", "Basic YTpi", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 9000, f"Bearer {forged}", f"Bearer {expired}",
        f"Bearer {unsigned}", f"Bearer {head}.{claims[:-4]}AAAA.{signature}", f"Bearer {head}.{claims}.{signature[:-4]}AAAA",
        f"Bearer {head}..",
    ):  # fmt: skip
        answer = await client.get(f"{V1}/reservations", headers={"authorization": given})
        _is_a_clear_answer(answer, given[:40])
        assert answer.status_code == 401, (given[:40], answer.text)
        assert answer.headers["www-authenticate"].startswith("Bearer"), given[:40]
    assert (await client.get(f"{V1}/reservations")).status_code == 401
    assert (await client.get(f"{V1}/reservations", headers={"authorization": f"Bearer {good}"})).status_code == 200


async def test_counts_that_cannot_be_are_refused_and_the_others_kept(town: Town, client: httpx.AsyncClient) -> None:
    """In a batch every row has its own verdict: future, foreign, absurd and impossible ones harm nobody else."""
    operator = town.bearer("lot_operator", operator=town.sample_operator)

    def row(place: str = SAMPLE, at: float = 0, **count: int) -> dict[str, object]:
        return {"place_id": place, "observed_at": soon(at), "source": "batch", "counts": [{"category": "ev", **count}]}

    rows = [
        row(occupied=4), row(at=1, occupied=5), row("no-such", occupied=1), row(occupied=5000), row(free=29), row(occupied=1, free=1),
        row(), row("wrong-1", occupied=1),
    ]  # fmt: skip
    answer = await client.post(f"{V1}/observations", json={"observations": rows}, headers=operator)
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["accepted"], report["rejected"]) == (1, 7)
    outcomes = [each["outcome"] for each in report["rows"]]
    assert outcomes == ["current", "quarantined", *["rejected"] * 6]
    assert all(each["reason"] for each in report["rows"][1:])
    alone = await client.post(f"{V1}/places/{SAMPLE}/observations", json=_without_place(rows[1]), headers=operator)
    assert alone.status_code == 422
    assert alone.json()["type"] == "urn:cityloop:problem:observation-from-the-future"


def _without_place(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "place_id"}


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "text": (b"id;name\n1;x\n", "not JSON"),
    "binary": (bytes(range(256)) * 40, "not JSON"),
    "cut": (b'{"data":{"park":[{"id":"001","tw97x":30', "not JSON"),
    "another document": (b'{"type":"FeatureCollection","features":[]}', "no list `data.park`"),
    "a list": (b"[1,2,3]", "no list `data.park`"),
    "no object": (b'{"data":{"park":{"id":1}}}', "no list `data.park`"),
    "foreign rows": (b'{"data":{"park":[{"fid":1},{"fid":2}]}}', "no row has id"),
    "deep": (b"[" * 200_000, "not JSON"),
}


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_is_no_import_stores_nothing(name: str, town: Town, tmp_path: Path) -> None:
    """Unreadable files and foreign JSON end the import with one line that says why."""
    content, said = FILES[name]
    file = tmp_path / "file.json"
    file.write_bytes(content)
    done = await _import(town, file)
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


async def test_files_that_are_not_there_and_data_that_contradict(town: Town, tmp_path: Path) -> None:
    """No such file, a folder, an unknown datum, a datum that contradicts the format, an unknown format."""
    file = tmp_path / "file.json"
    file.write_bytes(b'{"data":{"park":[]}}')
    for arguments in (
        [str(tmp_path / "none"), "--format", "taipei"],
        [str(tmp_path), "--format", "taipei"],
        [str(file), "--format", "taipei", "--datum", "mars"],
        [str(file), "--format", "taipei", "--datum", "gcj02"],
        [str(file), "--format", "osaka"],
        [str(file), "--format", "taipei", "--operator", "../x"],
    ):
        done = await asyncio.to_thread(command, town.settings, tmp_path, "parking", "import", *arguments)
        assert done.returncode in {1, 2}, arguments
        assert done.stderr.strip(), arguments
        assert "Traceback" not in done.stderr, done.stderr


async def test_rows_that_cannot_be_are_listed_and_the_others_kept(town: Town, client: httpx.AsyncClient, tmp_path: Path) -> None:
    """Of a file with rows that are wrong in many ways the right ones are stored, the others listed with the reason."""
    good = {"id": f"g{tmp_path.name}"[:40], "name": "好", "tw97x": 304000, "tw97y": 2770000, "totalcar": 5}
    wrong: list[object] = [
        None, 7, "row", [], {}, {**good, "id": ""}, {**good, "id": "a/b"}, {**good, "id": "a\x00"}, {**good, "id": "n", "name": ""},
        {**good, "id": "n", "name": "a\x00b"}, {**good, "id": "n", "name": "x" * 300}, {**good, "id": "n", "name": {"a": 1}},
        {**good, "id": "n", "tw97x": "east"}, {**good, "id": "n", "tw97x": 1e308}, {**good, "id": "n", "tw97x": None},
        {**good, "id": "n", "tw97y": 0}, {**good, "id": "n", "totalcar": -1}, {**good, "id": "n", "totalcar": 10**20},
        {**good, "id": "n", "totalcar": "many"}, {**good, "id": "n", "totalcar": 1.5}, {**good, "id": "n", "ChargingStation": -3}, good,
    ]  # fmt: skip
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"data": {"park": [good, *wrong]}}))
    done = await _import(town, file, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["read"] == len(wrong) + 1
    assert report["accepted"] == 1
    assert [each["row"] for each in report["rejected"]] == list(range(2, len(wrong) + 2))
    assert all(each["reason"] for each in report["rejected"])
    assert (await client.get(f"{V1}/places/taipei-{good['id']}")).status_code == 200
    again = json.loads((await _import(town, file, "--json")).stdout)
    assert (again["accepted"], again["unchanged"]) == (0, 1)


async def _import(town: Town, file: Path, *more: str) -> Any:
    return await asyncio.to_thread(command, town.settings, file.parent, "parking", "import", str(file), "--format", "taipei", *more)


async def test_it_still_answers_after_all_that(town: Town, client: httpx.AsyncClient) -> None:
    """The same city, as healthy as before."""
    assert (await client.get("/healthz/ready")).status_code == 200
    places = (await client.get(f"{V1}/places", params=NEAR)).json()["places"]
    assert any(each["id"] == SAMPLE for each in places)
