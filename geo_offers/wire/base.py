"""What all of the contract shares: forms of text, names, pages, problems."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

# Digits are named: \d takes those of every script. `$` alone would let a line break through.
LOCALE: Final = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$(?!\n)"
TIME_OF_DAY: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)"
END_OF_INTERVAL: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$(?!\n)"
LINK: Final = r"^https://"
FIELD_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)"
SHA256: Final = r"^[0-9a-f]{64}$(?!\n)"
WORD: Final = r"^[a-z][a-z0-9_]{0,31}$(?!\n)"
APPLE_ID: Final = r"^[A-Z0-9]{10}$(?!\n)"
BUNDLE: Final = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,154}$(?!\n)"
GOOGLE_PROJECT: Final = r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$(?!\n)"
GOOGLE_KEY: Final = r"^[0-9a-f]{1,64}$(?!\n)"
GOOGLE_MAIL: Final = r"^[A-Za-z0-9._-]{1,64}@[A-Za-z0-9.-]{1,190}$(?!\n)"
PUSH_SUBJECT: Final = (
    r"^(mailto:[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,190}|https://[A-Za-z0-9.-]{1,190}(/[!-~]{0,200})?)$(?!\n)"
)
EVENT_NAMES: Final = r"^[a-z_]{1,32}(,[a-z_]{1,32}){0,19}$(?!\n)"

FORMS: Final[Mapping[str, str]] = {
    LOCALE: "a locale, such as en or pt-BR",
    TIME_OF_DAY: "a time of day as HH:MM, 00:00 to 23:59",
    END_OF_INTERVAL: "a time of day as HH:MM, 00:00 to 24:00",
    LINK: "an address that begins with https://",
    FIELD_NAME: "a name of letters, digits and underscores that begins with no digit",
    SHA256: "a SHA-256 in 64 hexadecimal digits",
    WORD: "a word of small letters, digits and _, such as basket_left",
    APPLE_ID: "the ten capital letters and digits that Apple names it by",
    BUNDLE: "a bundle id, such as com.example.shop",
    GOOGLE_PROJECT: "the id of a project, as Google's file has it",
    GOOGLE_KEY: "the id of a key in small hexadecimal digits, as Google's file has it",
    GOOGLE_MAIL: "the address of a service account, as Google's file has it",
    PUSH_SUBJECT: "mailto: and an address, or an https:// address, at which a push service reaches whoever sends",
    EVENT_NAMES: "names of events with commas between, such as decision,delivery",
}
"""What a text that has to match a pattern is, in words."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Locale = Annotated[str, Meta(pattern=LOCALE, max_length=35)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
TimeOfDay = Annotated[str, Meta(pattern=TIME_OF_DAY, max_length=5)]
EndOfInterval = Annotated[str, Meta(pattern=END_OF_INTERVAL, max_length=5)]
PurposeName = Literal["locate", "offers", "profile", "measure"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TransitionName = Literal["enter", "dwell", "exit", "cross"]
TextVersion = Annotated[str, Meta(min_length=1, max_length=64)]


class Request(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A body of ours: unknown fields are refused."""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we answer with."""


class Page(Struct, frozen=True, kw_only=True):
    """One page of a list; `next` is the cursor of the page after, null at the end."""

    next: str | None = None


class ProblemFault(Answer, frozen=True, kw_only=True):
    pointer: str
    code: str
    detail: str


class ListQuery(Request, frozen=True, kw_only=True):
    """Where a page begins, and how long it is at most (more than 1,000 is taken as 1,000)."""

    cursor: Annotated[str, Meta(max_length=2048)] | None = None
    limit: Annotated[int, Meta(ge=1)] = 100


class SeenQuery(Request, frozen=True, kw_only=True):
    """The version that whoever approves has seen: of any other, 409. Left out, it is the newest."""

    version: Annotated[int, Meta(ge=1)] | None = None


class Problem(Answer, rename={"kind": "type"}, frozen=True, kw_only=True):
    """RFC 9457; `code` is stable, `detail` is for people."""

    kind: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemFault] = []


def feature_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a GeoJSON Feature with such properties."""
    return {
        "type": "object",
        "required": ["type", "geometry", "properties"],
        "properties": {
            "type": {"const": "Feature"},
            "id": {"type": "string"},
            "geometry": {"type": "object"},
            "properties": properties,
        },
    }
