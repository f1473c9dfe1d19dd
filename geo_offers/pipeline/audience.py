"""What a turn finds out of a person for the campaigns that concern them, and no more than those ask for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from geo_offers.offers.campaigns import Campaign, Concerned
from geo_offers.offers.texts import Value
from geo_offers.people import profile
from geo_offers.people.counters import Stays, counted
from geo_offers.people.journey import Journey
from geo_offers.people.profile import Account
from geo_offers.people.segments import NOTHING_KNOWN, Facts


@dataclass(frozen=True, slots=True)
class Needs:
    """What the campaigns of a workspace ask of people.

    counting: those that ask for counters of visits. spoken: attributes that stand in their texts.
    """

    people: bool
    spoken: frozenset[str]
    counting: Concerned

    @classmethod
    def by(cls, campaigns: Sequence[Campaign]) -> Self:
        return cls(
            any(campaign.audience.clauses or campaign.ask is not None for campaign in campaigns),
            frozenset(one.attribute for campaign in campaigns for one in campaign.fields if one.attribute is not None),
            Concerned.by([campaign for campaign in campaigns if campaign.audience.counts]),
        )


def words(needs: Needs, account: Account) -> Mapping[str, Value]:
    """The person's attributes that stand in texts, as far as words can be made of them; none without a profile."""
    if not needs.spoken or account.attributes is None:
        return {}
    known = ((name, account.attributes.get(name)) for name in needs.spoken)
    return {
        name: value for name, value in known if isinstance(value, str | int | float) and not isinstance(value, bool)
    }


def facts(needs: Needs, journey: Journey, account: Account, platform: str, stays: Iterable[Stays]) -> Facts:
    """What is known of a person, nothing where no campaign asks."""
    if not needs.people:
        return NOTHING_KNOWN
    if account.attributes is None:
        return Facts(platform=platform, created_us=account.created_us)
    values = profile.known(account.attributes, journey.attributes)
    standing = journey.standing(values, named=account.named, created_us=account.created_us)
    return Facts(
        profiled=True,
        attributes=values,
        answered=profile.answered(values, journey.attributes),
        refused=account.refused,
        stage=standing.stage,
        reason=standing.reason,
        platform=platform,
        created_us=account.created_us,
        visits=counted(stays),
    )
