"""Wrong input at the command line: one line that says what to do, 1 where it is refused, 2 where it is wrong usage."""

from pathlib import Path

import pytest

from tests.support.commands import command
from tests.support.databases import Database

AWAY = ("--url", "http://127.0.0.1:9")
POINT = '{"type": "Feature", "id": "a", "geometry": {"type": "Point", "coordinates": [8, 53]}, "properties": {}}'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("serve", "--port", "80"), "geo-offers serve: error: unrecognized arguments: --port 80"),
        (("keys", "rotate", "now"), "geo-offers keys: error: unrecognized arguments: now"),
        (("migrate", "x"), "geo-offers migrate: error: unrecognized arguments: x"),
        (("demo", "--phones", "0"), "geo-offers demo: error: argument --phones: 1 to 1000"),
        (("demo", "--phones", "many"), "geo-offers demo: error: argument --phones: 1 to 1000"),
        ((), "geo-offers: error: the following arguments are required: COMMAND"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
async def test_wrong_usage_is_told_by_the_command_itself(given: tuple[str, ...], said: str) -> None:
    ended = await command(*given)
    assert (ended.code, ended.out, ended.complaints[-1]) == (2, "", said)


async def test_serve_says_where_its_settings_are() -> None:
    ended = await command("serve", "--port", "80")
    assert ended.complaints[0] == "usage: [GEO_OFFERS_NAME=VALUE ...] geo-offers serve [-h]"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((*AWAY, "--key", "k"), "no server answers at http://127.0.0.1:9: Connection refused"),
        (
            ("--url", "http://127.0.0.1:99999", "--key", "k"),
            "the server's address must look like http://host:port, not ",
        ),
        ((*AWAY, "--key", "pk_…"), "the key is empty, or holds a character that no key has: "),
    ],
    ids=["away", "address", "key"],
)
async def test_a_server_or_key_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, given: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "file"
    file.write_text(POINT)
    ended = await command("import", file, "--set", "s", *given)
    assert (ended.code, ended.out, len(ended.complaints)) == (1, "", 1)
    assert ended.err.startswith(said)


@pytest.mark.parametrize("given", [("import", "--set", "s"), ("replay",)], ids=["import", "replay"])
async def test_a_folder_in_place_of_a_file_is_refused_in_one_line(tmp_path: Path, given: tuple[str, ...]) -> None:
    ended = await command(*given, tmp_path, *AWAY, "--key", "k")
    assert (ended.code, ended.out, ended.err) == (1, "", f"{tmp_path} cannot be read: Is a directory\n")


async def test_a_data_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    file, loop = tmp_path / "file", tmp_path / "loop"
    file.touch()
    loop.mkdir()
    (loop / "lock-host").symlink_to("lock-host")
    (loop / "lock").symlink_to("lock")
    for verb in (("serve",), ("keys", "list", "--workspace", "w")):
        ended = await command(*verb, settings={"DATA_DIR": file})
        assert (ended.code, ended.err) == (1, f"geo-offers: the data folder {file} cannot be made: File exists\n")
        ended = await command(*verb, settings={"DATA_DIR": loop})
        assert (ended.code, len(ended.complaints)) == (1, 1)
        assert ended.err.startswith(f"geo-offers: the data folder {loop} cannot be used: ")


async def test_a_workspace_without_keys_is_told_and_a_whole_key_is_revoked_by_its_id(database: Database) -> None:
    settings = {"DATABASE_URL": database.app_dsn}
    listed = await command("keys", "list", "--workspace", "w", settings=settings)
    assert (listed.code, listed.out, listed.err) == (0, "", "geo-offers: workspace 'w' has no keys\n")
    key = (await command("keys", "create", "--kind", "app", "--workspace", "w", settings=settings)).out.strip()
    assert (await command("keys", "revoke", "--workspace", "w", key, settings=settings)).code == 0
    again = await command("keys", "revoke", "--workspace", "w", key, settings=settings)
    ident, secret = key.split("_")[2:]
    assert (again.code, again.err) == (1, f"geo-offers: workspace 'w' has no good key {ident!r}\n")
    assert secret not in again.err
