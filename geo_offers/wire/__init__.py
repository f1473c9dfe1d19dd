"""The public contract as types: what decodes a request is what the OpenAPI document is made of.

Our own bodies refuse unknown fields. Instants are RFC 3339 text; lengths are metres, speeds metres per second,
angles degrees. Answers omit fields that have nothing to say. (`kw_only` is not inherited: msgspec wants it on each.)
"""

from geo_offers.wire.audience import *
from geo_offers.wire.audit import *
from geo_offers.wire.base import *
from geo_offers.wire.breakers import *
from geo_offers.wire.campaigns import *
from geo_offers.wire.choice import *
from geo_offers.wire.consents import *
from geo_offers.wire.credentials import *
from geo_offers.wire.decisions import *
from geo_offers.wire.events import *
from geo_offers.wire.nearby import *
from geo_offers.wire.outbox import *
from geo_offers.wire.people import *
from geo_offers.wire.pings import *
from geo_offers.wire.places import *
from geo_offers.wire.private import *
from geo_offers.wire.push import *
from geo_offers.wire.receipts import *
from geo_offers.wire.rehearsals import *
from geo_offers.wire.rights import *
from geo_offers.wire.webhooks import *
from geo_offers.wire.words import *
