import pytest

from geo_offers.offers.risk import HIGH_LIABILITY, NEW_AUTHOR_DAYS, WIDE_REACH, Facts, assess

KNOWN = {"by_owner": True, "author_days": NEW_AUTHOR_DAYS}


def test_text_alone_by_an_owner_is_no_risk_however_far_it_reaches_and_however_new_the_key():
    found = assess(Facts(by_owner=True, reach=WIDE_REACH, overlaps=3))
    assert (found.score, found.reasons, found.approvers) == (0, (), 0)


@pytest.mark.parametrize(
    ("facts", "score", "approvers"),
    [
        ({"by_owner": False, "author_days": 99}, 1, 1),
        ({"by_owner": False}, 2, 1),
        ({**KNOWN, "special": True}, 2, 1),
        ({**KNOWN, "special": True, "reach": WIDE_REACH}, 3, 1),
        ({**KNOWN, "news": True}, 5, 2),
        ({**KNOWN, "sensitive_place": True}, 5, 2),
        ({**KNOWN, "sensitive_date": True}, 2, 1),
        ({**KNOWN, "discount_percent": 10, "liability": 500}, 2, 1),
        ({**KNOWN, "discount_percent": 10}, 3, 1),
        ({**KNOWN, "discount_percent": 30}, 5, 2),
        ({**KNOWN, "discount_percent": 30, "liability": HIGH_LIABILITY}, 6, 2),
        ({**KNOWN, "liability": 1, "overlaps": 1}, 2, 1),
        ({**KNOWN, "liability": 0}, 0, 0),
    ],
)
def test_each_fact_adds_its_points_and_points_ask_for_approvers(facts, score, approvers):
    found = assess(Facts(**facts))
    assert (found.score, found.approvers) == (score, approvers)
    assert (len(found.reasons) > 0) == (score > 0)


def test_a_new_key_counts_until_its_day():
    assert assess(Facts(by_owner=True, liability=1, author_days=NEW_AUTHOR_DAYS - 0.1)).score == 2
    assert assess(Facts(by_owner=True, liability=1, author_days=NEW_AUTHOR_DAYS)).score == 1
