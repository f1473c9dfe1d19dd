"""Packed bodies: what cannot be unpacked is the sender's to mend, and what unpacks to too much is never held."""

import asyncio
import gzip
import json
import tracemalloc
import zlib

import pytest

from tests.faults.world import world

MIB = 2**20
GOOD = json.dumps({"pings": []}).encode()


@pytest.fixture
async def made(service):
    async with world(service.database, lambda: service.url) as one:
        yield one


async def post(made, body, *encodings):
    headers = [("Authorization", f"Bearer {made.keys['server']}"), *(("Content-Encoding", one) for one in encodings)]
    async with made.session.post(f"{made._url()}/v1/pings", data=body, headers=headers) as answer:
        assert answer.content_type == "application/problem+json"
        return answer.status, await answer.json()


async def in_pieces(body):
    for start in range(0, len(body), 1_000):
        yield body[start : start + 1_000]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"abc"),
        ("gzip", gzip.compress(GOOD) + b"and more"),
        ("gzip", gzip.compress(GOOD)[:-8] + b"no check"),
        ("deflate", b"\x78abc"),
    ],
    ids=["no gzip", "more behind it", "a wrong checksum", "no deflate"],
)
async def test_a_body_that_is_not_packed_as_it_says_is_malformed_and_no_fault_of_ours(made, caplog, encoding, body):
    status, problem = await post(made, body, encoding)
    assert (status, problem["code"]) == (400, "malformed")
    assert encoding in problem["detail"]
    assert (await post(made, in_pieces(body * 2_000), encoding))[0] == 400
    assert (await post(made, gzip.compress(GOOD), "gzip"))[0] == 422  # it is read again, and says what is wrong with it
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


@pytest.mark.parametrize("encodings", [["lzma"], ["zstd"], ["x-gzip"], ["gzip, gzip"], ["gzip", "gzip"], ["base64"]])
async def test_a_packing_that_is_not_taken_is_refused_by_its_name(made, encodings):
    status, problem = await post(made, gzip.compress(GOOD), *encodings)
    assert (status, problem["code"]) == (415, "unsupported_media_type")
    assert "gzip or deflate" in problem["detail"]


@pytest.mark.parametrize(
    ("encodings", "body"),
    [
        ([], GOOD),
        (["identity"], GOOD),
        (["gzip"], gzip.compress(GOOD)),
        (["GZIP"], gzip.compress(GOOD)),
        (["deflate"], zlib.compress(GOOD)),
    ],
    ids=["plain", "identity", "gzip", "GZIP", "deflate"],
)
async def test_a_body_is_read_plain_or_packed(made, encodings, body):
    status, problem = await post(made, body, *encodings)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/pings")


@pytest.mark.parametrize("pieces", [False, True])
async def test_a_small_body_that_unpacks_to_20_mib_is_refused_at_its_bound_and_never_held(made, pieces):
    bomb = gzip.compress(bytes(20 * MIB))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        status, problem = await post(made, in_pieces(bomb) if pieces else bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, problem["code"]) == (413, "too_large")
    assert peak - before < 8 * MIB


async def test_the_connection_of_an_unreadable_body_is_ended(service, made):
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/pings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {made.keys['server']}\r\n"
    writer.write(f"{head}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc".encode())
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")  # to its end: nothing else could be read from it
    writer.close()
