"""Where the files outside the package lie: beside it in a checkout, inside it in an installed wheel."""

from pathlib import Path

from geo_offers.errors import Misconfigured

_PACKAGE = Path(__file__).resolve().parent.parent


def sql_folder() -> Path:
    """Find the folder `sql/`: migrations, named statements, grants."""
    return _find("sql")


def store_data_folder() -> Path:
    """Find the folder `store_data/`: the invented town."""
    return _find("store_data")


def _find(name: str) -> Path:
    for home in (_PACKAGE / "_data", _PACKAGE.parent):  # a wheel carries them in _data, which no checkout has
        folder = home / name
        if folder.is_dir():
            return folder
    raise Misconfigured(f"this installation of geo-offers lacks its folder {name}/: install it again")
