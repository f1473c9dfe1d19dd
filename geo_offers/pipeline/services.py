"""All that a call may use, as one value made by the composition root."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from geo_offers import hosts
from geo_offers.pipeline.breakers import Breakers
from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.credentials import GOOGLE_OAUTH, Credentials
from geo_offers.pipeline.dispatch import Dispatcher
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.events import Events, Interactions
from geo_offers.pipeline.fences import FenceMemory
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.letters import Letters
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.login import LogIns
from geo_offers.pipeline.management import (
    Campaigns,
    DecisionLog,
    Geofences,
    Imports,
    Reader,
    Segments,
    Stores,
    Workspaces,
)
from geo_offers.pipeline.nearby import Looks
from geo_offers.pipeline.notifying import Notifier, Webhooks
from geo_offers.pipeline.people import Offers, People, change_rates
from geo_offers.pipeline.private import PrivateMemory, PrivatePlaces
from geo_offers.pipeline.profiles import Profiles
from geo_offers.pipeline.rates import Buckets, call_rates
from geo_offers.pipeline.receipts import Receipts
from geo_offers.pipeline.rehearsing import Rehearsals
from geo_offers.pipeline.signals import Signals
from geo_offers.pipeline.streams import DeviceStreams
from geo_offers.pipeline.tokens import AccessTokens


@dataclass(frozen=True, slots=True)
class Services:
    engine: Engine
    catalog: Catalog
    live: LiveFeed
    figures: Figures
    tokens: AccessTokens
    dispatcher: Dispatcher
    streams: DeviceStreams
    people: People
    offers: Offers
    looks: Looks
    workspaces: Workspaces
    credentials: Credentials
    stores: Stores
    segments: Segments
    profiles: Profiles
    log_ins: LogIns
    geofences: Geofences
    fence_memory: FenceMemory
    private_places: PrivatePlaces
    private_memory: PrivateMemory
    imports: Imports
    reader: Reader
    campaigns: Campaigns
    rehearsals: Rehearsals
    decisions: DecisionLog
    letters: Letters
    breakers: Breakers
    events: Events
    interactions: Interactions
    receipts: Receipts
    webhooks: Webhooks
    notifier: Notifier
    networks: Sequence[hosts.Network] = ()  # of the operator's own, into which tenants' addresses may lead
    push_hosts: Sequence[str] = ()  # where alone browsers' subscriptions may lead; none named: to any public host
    public_url: str = ""
    fcm_token_url: str = GOOGLE_OAUTH
    changes: Buckets = field(default_factory=change_rates)
    calls: Buckets = field(default_factory=call_rates)
    signals: Signals = field(default_factory=Signals)
