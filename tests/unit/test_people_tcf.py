"""TC strings: the one bit that is read of them, and what is none."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from geo_offers.people.tcf import precise_location

# Published as examples by implementations of the framework; what they say was read with the package iab-tcf 0.2.2.
OPTED_IN = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA"
NOT = (
    "CO5VTlWO5VTlWH1AAAENAwCwAIAAAAAAAIAAAAoAAAAA.YAAAAAAAAAA",
    "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA",
    "COrVd1pOrVd1pACABCENAHCAAAAAAAAAAAiQAAAAAAAA",
)


def flipped(tc_string: str, bit: int) -> str:
    core = bytearray(urlsafe_b64decode(tc_string[:44]))
    core[bit // 8] ^= 0x80 >> bit % 8
    return urlsafe_b64encode(core).decode() + tc_string[44:]


def test_published_strings_say_what_they_say() -> None:
    assert precise_location(OPTED_IN)
    assert not any(precise_location(one) for one in NOT)


def test_the_first_special_feature_alone_decides() -> None:
    for tc_string in (OPTED_IN, *NOT):
        said = precise_location(tc_string)
        assert precise_location(flipped(tc_string, 140)) is not said
        assert all(precise_location(flipped(tc_string, bit)) is said for bit in range(6, 264) if bit != 140)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        OPTED_IN[:43],
        OPTED_IN + ".",
        OPTED_IN + "\n",
        OPTED_IN.replace("_", "/"),
        "\u00e9" + OPTED_IN,
        flipped(OPTED_IN, 5),  # version 3
        "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASAAAAAAAAAA",  # version 1
    ],
)
def test_what_is_no_string_of_version_two_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="TC string"):
        precise_location(wrong)
