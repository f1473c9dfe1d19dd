"""Whom a campaign is for: attributes of a person's profile, rules over them, segments, stages of the journey."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from geo_offers.wire.base import WORD, Answer, Identifier, Locale, Name, Page, Request, Zone

AttributeName = Annotated[str, Meta(pattern=WORD, max_length=32)]
AttributeType = Literal["text", "number", "flag", "date", "list"]
ShortText = Annotated[str, Meta(min_length=1, max_length=200)]
Value = bool | float | ShortText | Annotated[list[ShortText], Meta(max_length=20)]
Stage = Literal["anonymous", "identified", "lead", "customer", "ambassador"]
Comparison = Literal["eq", "ne", "lt", "le", "gt", "ge"]
Platform = Literal["ios", "android", "web", "other"]
SegmentName = Identifier


# ------------------------------------------------------------------------------------------------ rules
class RuleForm(Request, tag_field="op", rename={"is_": "is", "in_": "in"}, frozen=True, kw_only=True):
    """One form of a rule, told by its `op`."""


class AllOf(RuleForm, tag="all", frozen=True, kw_only=True):
    """Every one of them holds."""

    of: "Annotated[list[Rule], Meta(min_length=1, max_length=55)]"


class AnyOf(RuleForm, tag="any", frozen=True, kw_only=True):
    """One of them holds, or more."""

    of: "Annotated[list[Rule], Meta(min_length=1, max_length=55)]"


class Not(RuleForm, tag="not", frozen=True, kw_only=True):
    """It does not hold; true also where what it asks for is not known."""

    of: "Rule"


class AttributeIs(RuleForm, tag="attribute", frozen=True, kw_only=True):
    """An attribute compared with a value. What is not known compares as false, `ne` too; `known` has no value.

    `in` has a list of values; `has` asks whether a list holds a text.
    """

    name: AttributeName
    is_: Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "has", "known"]
    value: (
        bool | float | ShortText | Annotated[list[float | ShortText], Meta(min_length=1, max_length=50)] | UnsetType
    ) = UNSET


class StageIs(RuleForm, tag="stage", frozen=True, kw_only=True):
    """The person's stage of the journey is one of these."""

    in_: Annotated[list[Stage], Meta(min_length=1, max_length=5)]


class VisitsAre(RuleForm, tag="visits", frozen=True, kw_only=True):
    """A counter of visits to the workspace's own stores, compared with a number.

    Counted are the newest 100 visits of the last 13 months. `count` counts the visit of the moment too; `days_since`
    the last visit before it, and `median_dwell_min`, minutes, are not known of who never came. `at` is where: anywhere,
    here (the store of the moment), or the store named.
    """

    counter: Literal["count", "days_since", "median_dwell_min"]
    is_: Comparison
    value: Annotated[float, Meta(ge=0, le=1_000_000)]
    at: Literal["anywhere", "here"] = "anywhere"
    store: Identifier | None = None


class AnsweredIs(RuleForm, tag="answered", frozen=True, kw_only=True):
    """How many attributes that persons answer are known."""

    is_: Comparison
    value: Annotated[int, Meta(ge=0, le=32)]


class LocaleIs(RuleForm, tag="locale", frozen=True, kw_only=True):
    """The person's locale is one of these or below one: `pt` takes pt-BR."""

    in_: Annotated[list[Locale], Meta(min_length=1, max_length=50)]


class PlatformIs(RuleForm, tag="platform", frozen=True, kw_only=True):
    """The device that arrived is one of these."""

    in_: Annotated[list[Platform], Meta(min_length=1, max_length=4)]


class AccountDays(RuleForm, tag="account_days", frozen=True, kw_only=True):
    """Days since the person first enrolled."""

    is_: Comparison
    value: Annotated[float, Meta(ge=0, le=36_600)]


class InSegment(RuleForm, tag="segment", frozen=True, kw_only=True):
    """The person is in a segment of the workspace."""

    id: SegmentName


Rule = (
    AllOf
    | AnyOf
    | Not
    | AttributeIs
    | StageIs
    | VisitsAre
    | AnsweredIs
    | LocaleIs
    | PlatformIs
    | AccountDays
    | InSegment
)


# ------------------------------------------------------------------------------------------------ the workspace's
class Attribute(Request, frozen=True, kw_only=True):
    """What a profile may hold; `by` says who gives it: the person, or the app's own server alone."""

    type: AttributeType
    by: Literal["person", "server"] = "person"


class StageRules(Request, frozen=True, kw_only=True):
    """What makes a person a lead, a customer, an ambassador; the last that holds is the stage.

    Over attributes alone, which stand in one row with the stage; named persons are identified, all others anonymous.
    """

    lead: Rule = AnsweredIs(is_="ge", value=1)
    customer: Rule = AttributeIs(name="purchases", is_="ge", value=1)
    ambassador: Rule = AllOf(
        of=[AttributeIs(name="purchases", is_="ge", value=1), AttributeIs(name="referrals", is_="ge", value=1)]
    )


class AudienceSettings(Request, frozen=True, kw_only=True):
    """The attributes of this workspace, beside `purchases` and `referrals`, which all have, and what makes a stage."""

    attributes: Annotated[dict[AttributeName, Attribute], Meta(max_length=30)] = {}
    stages: StageRules = StageRules()


class SegmentBody(Request, frozen=True, kw_only=True):
    name: Name | None = None
    rule: Rule


class Segment(SegmentBody, frozen=True, kw_only=True):
    id: str


class SegmentPage(Page, frozen=True, kw_only=True):
    items: list[Segment]


class Audience(Request, frozen=True, kw_only=True):
    """Whom a campaign is for: who is in all of the segments, of the rule, and at one of the stages."""

    segments: Annotated[list[SegmentName], Meta(max_length=5)] = []
    rule: Rule | None = None
    stages: Annotated[list[Stage], Meta(max_length=5)] = []


# ------------------------------------------------------------------------------------------------ the person's
class ProfilePatch(Request, frozen=True, kw_only=True):
    """What is named changes; an attribute of null is forgotten, one refused is never asked for again."""

    attributes: Annotated[dict[AttributeName, Value | None], Meta(max_length=32)] = {}
    refused: Annotated[list[AttributeName], Meta(max_length=32)] = []
    locale: Locale | UnsetType = UNSET
    time_zone: Zone | UnsetType = UNSET


class Profile(Answer, frozen=True, kw_only=True):
    """What is known of a person, and the stage of their journey with its reason."""

    attributes: dict[str, Value] = {}
    refused: list[str] = []
    stage: Stage | None = None
    reason: str | None = None
    since: datetime | None = None
    locale: str
    time_zone: str | None = None


class LogIn(Request, frozen=True, kw_only=True):
    """The app's own name for the person who has logged in on this device."""

    user: Identifier
    user_proof: Annotated[str, Meta(max_length=128)] | None = None


class LoggedIn(Answer, frozen=True, kw_only=True):
    """Whose device it is now; tokens from before are not good any more. `merged`: with its anonymous history."""

    device: UUID
    user: UUID
    access_token: str
    expires_in: int
    merged: bool
