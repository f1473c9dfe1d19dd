"""`geo-offers import`: geofences from a GeoJSON file, through the public API."""

import argparse
from pathlib import Path
from typing import Any

from geo_offers.client.importing import Options, run_import
from geo_offers.settings import Settings


def add(commands: Any) -> None:
    command = commands.add_parser(
        "import", help="check a GeoJSON file against a set of geofences; with --apply, write it"
    )
    command.add_argument("file", type=Path, metavar="FILE", help=".geojson or .json, also gzipped")
    command.add_argument("--set", required=True, dest="set_id", metavar="S", help="the set that the fences are of")
    command.add_argument("--radius-m", type=float, metavar="N", help="radius of points that name none")
    command.add_argument("--id-property", metavar="P", help="property that names a feature without an id")
    command.add_argument("--name-property", metavar="P", help="property that holds a feature's name")
    command.add_argument("--mode", choices=["raw"], help="detection mode of all fences")
    command.add_argument("--apply", action="store_true", help="write what was found valid")
    command.add_argument("--url", required=True, metavar="U", help="the server, such as http://127.0.0.1:8080")
    command.add_argument("--key", required=True, metavar="mk_…", help="a manager key of role editor or above")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, _settings: Settings) -> int:
    options = Options(given.set_id, given.radius_m, given.id_property, given.name_property, given.mode)
    return await run_import(given.file, options, url=given.url, key=given.key, apply=given.apply)
