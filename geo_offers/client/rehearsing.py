"""A campaign's preview, asked of a server and said in a few lines."""

from collections.abc import Iterator
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.client.api import Client
from geo_offers.client.errors import ClientError
from geo_offers.client.terminal import Say, printable, to_stderr, to_stdout


async def run_preview(
    campaign: UUID,
    days: int,
    *,
    url: str,
    key: str,
    as_json: bool = False,
    say: Say = to_stdout,
    err: Say = to_stderr,
) -> int:
    """0 once it is said; 1 where the server said no or gave no answer, with the reason in one line on `err`."""
    try:
        async with Client(url, key) as client:
            await client.knock()
            found = await client.manager.preview(campaign, days=days)
    except ClientError as error:
        err(printable(str(error)))
        return 1
    for line in [msgspec.json.encode(found).decode()] if as_json else summary(found):
        say(printable(line))
    return 0


def summary(found: wire.CampaignPreview) -> Iterator[str]:
    """Say a preview, the most important first."""
    if found.source == "synthetic":
        yield f"invented people: fewer than ten have had an entry in {found.days} days"
    offers = "offers to fewer than ten people" if found.offers is None else f"{found.offers:,} offers"
    silences = [f"{count:,} {reason.replace('_', ' ')}" for reason, count in found.silences.items()]
    silences += [f"{found.untold:,} not told"] if found.untold else []
    told = f": {', '.join(silences)}" if silences else ""
    yield f"{found.entries:,} entries → {offers}{told}"
    sample = " (a sample)" if found.sampled else ""
    yield f"{found.people:,} people in {found.days} days{sample}"
    if found.per_person is not None:
        yield f"offers of it a week: {_spread(found.per_person)}"
    if found.pressure is not None:
        yield f"offers of all campaigns a week: {_spread(found.pressure.before)}"
        yield f"                       with it: {_spread(found.pressure.after)}"
    if found.cost is not None:
        yield f"cost: {found.cost.low:,.2f} to {found.cost.high:,.2f}"
    for other in found.overlap:
        shared = f"{other.shared_people:,} people in common"
        yield f"campaign {other.campaign}: {shared}, {other.offers_taken:,} of its offers taken"


def _spread(of: wire.OffersAWeek) -> str:
    return f"p50 {of.p50:g}, p90 {of.p90:g}, most {of.max:g}"
