"""What the README says of settings, calls and commands is so."""

import re
from pathlib import Path

import msgspec
import pytest

from geo_offers import cli, settings
from geo_offers.settings import FOR_OTHERS, PREFIX, Settings
from geo_offers.web.application import CALLS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| `(GEO_OFFERS_[A-Z_]+)` \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)
TABLE = {name: (default.strip(), meaning.strip()) for name, default, meaning in ROW.findall(README)}


def test_every_setting_stands_in_the_table_and_nothing_else_does():
    fields = {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert set(TABLE) == fields
    assert len(ROW.findall(README)) == len(fields)


@pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
def test_a_settings_default_is_the_one_in_the_table(field):
    told, meaning = TABLE[PREFIX + field.name.upper()]
    assert meaning
    if told.startswith("`") and field.default is not None:
        assert settings.read({PREFIX + field.name.upper(): told.strip("`")}) == Settings()
    else:
        assert field.default in {None, ""}  # "none", or how it is found


def test_every_variable_that_it_names_is_known():
    known = set(TABLE) | {PREFIX + name for name in FOR_OTHERS}
    assert set(re.findall(r"GEO_OFFERS_[A-Z_]+", README)) <= known
    assert {PREFIX + name for name in FOR_OTHERS} <= set(re.findall(r"GEO_OFFERS_[A-Z_]+", README))


def test_every_path_that_it_names_is_a_call():
    templates = [re.sub(r"\{[^}]*\}", "[^/]+", call.path) for call in CALLS] + ["/v1/openapi.json"]
    for path in re.findall(r"(?<![\w.])/v1/[\w/$.-]+", README):
        assert any(re.fullmatch(template, path) for template in templates), path


def test_every_command_that_it_names_is_one():
    commands = cli.parser()._subparsers._group_actions[0].choices
    named = set(re.findall(r"(?:`|\$\(|_PORT=\d+ )geo-offers ([a-z]+)", README))
    assert {"serve", "keys", "import", "replay"} <= named <= set(commands)


def test_every_file_that_it_links_to_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        if not target.startswith("http") and target != "docs/demo.png":  # the picture is taken by the browser test
            assert (ROOT / target).exists(), target
