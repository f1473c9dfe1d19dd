"""How many connections the system lets us have: children under limits of their own."""

import subprocess
import sys

import pytest

SAY = (
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
    "from geo_offers.web.connections import most_connections;"
    "print(most_connections(), most_connections(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
)


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1_024, 1_024, (768, 1_024)),  # what the service needs itself is kept back
        (512, 1_024, (768, 1_024)),  # the soft limit is ours to raise
        (300, 300, (150, 300)),  # of little, half
    ],
)
def test_connections_are_bounded_by_the_descriptors_that_the_system_grants(soft, hard, expected):
    program = SAY.format(soft=soft, hard=hard)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    most, again, soft_now, hard_now = map(int, said.split())
    assert (most, soft_now) == expected
    assert (again, hard_now) == (most, hard)
