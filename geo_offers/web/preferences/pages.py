"""The preference page's routes: look, save, consent, mute, take out, erase. Every answer is a page or leads to one."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import jinja2
import msgspec
from aiohttp import web
from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime

from geo_offers import clock, wire
from geo_offers.errors import Fault, Forbidden, GeoOffersError, Invalid, Malformed, TooManyRequests, Unauthenticated
from geo_offers.people.consent import BY_SIGNAL
from geo_offers.pipeline import people, signals
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.people import Standing
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.tokens import LINK, LINK_S
from geo_offers.pipeline.unbroken import unbroken
from geo_offers.places.fences import FenceId
from geo_offers.web import bodies, me
from geo_offers.web.calls import SMALL_BODY, Call, Given, Reply
from geo_offers.web.edge import AUTH, SERVICES
from geo_offers.web.preferences import form as forms
from geo_offers.web.preferences.form import Form
from geo_offers.web.preferences.words import LANGUAGES, Words, sentence

ROOT: Final = "/me"
MOST_FIELDS: Final = 2_000
RECENT: Final = 20
TEXT_VERSION: Final = "preference page 1"  # of who names no texts of their own
_FOLDER: Final = Path(__file__).parent
_HEADERS: Final = {
    # The address is the secret: it must not leave with a link that is followed, nor lie in a cache.
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
)
_STATUS: Final[Mapping[type[GeoOffersError], int]] = {Invalid: 422, Forbidden: 403, TooManyRequests: 429}

Handle = Callable[[web.Request, Services, Caller], Coroutine[Any, Any, web.StreamResponse]]


async def make_link(services: Services, given: Given) -> Reply:
    """A link to the caller's own page, good for an hour."""
    caller = given.caller
    assert caller.device is not None
    assert caller.user is not None
    now_us = clock.now_us()
    token = await services.tokens.issue(caller.workspace, caller.device, caller.user, caller.epoch, now_us, kind=LINK)
    return Reply(wire.PreferenceLink(url=f"{services.public_url}{ROOT}/{token}", expires_in=LINK_S), 201)


CALLS: Final[tuple[Call, ...]] = (
    Call(
        "POST",
        "/v1/me/link",
        "A link to the hosted preference page",
        make_link,
        ("device",),
        wire.PreferenceLink,
        status=201,
        keeps_answer=False,
        tag="me",
    ),
)


def mount(app: web.Application) -> None:
    """Add the page's own routes, which answer people, not programs."""
    one = ROOT + "/{token}"
    app.router.add_get(f"{ROOT}/preferences.css", _style)
    app.router.add_get(one, _opened(_look))
    app.router.add_post(one, _opened(_change))
    app.router.add_get(f"{one}/export", _opened(_export))
    app.router.add_get(f"{one}/erase", _opened(_ask_to_erase))
    app.router.add_post(f"{one}/erase", _opened(_erase))


def _opened(handle: Handle) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Answer under a good link only. What changes something runs to its end, whoever hangs up."""

    async def opened(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        try:
            caller = await request.app[AUTH].link(request.match_info["token"])
        except Unauthenticated:
            spoken = request.headers.get("Accept-Language", "en")[:35].partition(",")[0]
            return _page("gone.html", 401, _language(spoken), heading="gone", hint="gone_hint")
        answering = _heard(handle, request, services, caller)
        return await (answering if request.method == "GET" else unbroken(answering))

    return opened


async def _heard(handle: Handle, request: web.Request, services: Services, caller: Caller) -> web.StreamResponse:
    """A browser's `Sec-GPC: 1` is taken before anything else, as with any call of a device."""
    if signals.refuses(request.headers):
        await services.signals.hear(services.people, services.engine, caller)
    return await handle(request, services, caller)


# ------------------------------------------------------------------------------------------------ looking
async def _look(request: web.Request, services: Services, caller: Caller) -> web.Response:
    standing = await services.people.standing(caller, RECENT)
    saved = "saved" in request.query
    return await _rendered(request, services, caller, standing, forms.filled(standing.rhythm), saved=saved)


async def _rendered(
    request: web.Request,
    services: Services,
    caller: Caller,
    standing: Standing,
    form: Form,
    *,
    saved: bool = False,
    faults: Sequence[Fault] = (),
    status: int = 200,
) -> web.Response:
    workspace = await services.workspaces.read(caller.workspace)
    spoken = _language(standing.locale)
    zone = ZoneInfo(standing.time_zone or workspace.time_zone)
    policies = services.catalog.policies.get(caller.workspace)
    stores = {} if policies is None else policies.store_names
    titles = {} if policies is None else {str(one.id): _title(one.texts) for one in policies.campaigns}
    return _page(
        "page.html",
        status,
        spoken,
        form=form,
        action=request.path,
        saved=saved,
        faults={fault.pointer: fault.detail for fault in faults},
        workspace=workspace.name,
        categories=workspace.categories,
        zone=zone.key,
        places_kept=standing.rhythm.not_at is msgspec.UNSET,
        granted={said.purpose for said in standing.consents if said.granted},
        signalled=BY_SIGNAL if signals.refuses(request.headers) else (),
        named=lambda kind, muted: (stores if kind == "stores" else titles).get(muted, muted),
        recent=[_told(services, caller, spoken, zone, decision) for decision in standing.recent],
        choices=forms,
    )


def _title(texts: Mapping[str, Any]) -> str:
    return next((str(text.title) for text in texts.values()), "")


def _told(
    services: Services, caller: Caller, spoken: Locale, zone: ZoneInfo, decision: wire.Decision
) -> dict[str, Any]:
    """A decision in plain words, with what may be muted for it."""
    place = decision.transitions[0]["fence"] if decision.transitions else ""
    fence = services.catalog.index(caller.workspace).get(FenceId(place))
    return {
        "at": format_datetime(decision.at.astimezone(zone), "medium", locale=spoken),
        "place": place if fence is None else fence.name,
        "said": sentence(LANGUAGES[spoken.language], decision.reason),
        "offer": decision.outcome == "offer",
        "store": place if fence is None else (fence.store or fence.id),
        "campaign": "" if decision.campaign is None else str(decision.campaign),
    }


# ------------------------------------------------------------------------------------------------ changing
async def _change(request: web.Request, services: Services, caller: Caller) -> web.StreamResponse:
    given = _parsed(await bodies.read(request, SMALL_BODY))
    standing = await services.people.standing(caller, RECENT)
    try:
        match given.one("do"):
            case "consents":
                await _consent(request, services, caller, standing, given)
            case "mute":
                rhythm = _muting(standing.rhythm, given)
                await me.change_rhythm(services, caller, rhythm)
            case _:
                await me.change_rhythm(services, caller, forms.rhythm_of(given))
    except (Invalid, Forbidden, TooManyRequests) as error:
        faults = _faults(error, LANGUAGES[_language(standing.locale).language])
        standing = await services.people.standing(caller, RECENT)  # what is taken back is, whatever came after
        form = given if given.one("do") == "rhythm" else forms.filled(standing.rhythm)
        status = _STATUS[type(error)]
        return await _rendered(request, services, caller, standing, form, faults=faults, status=status)
    return web.Response(status=303, headers=_HEADERS | {"Location": f"{request.path}?saved#saved"})


def _faults(error: GeoOffersError, words: Words) -> Sequence[Fault]:
    """Why, by field; in the person's language where it is about their browser or their phone."""
    if isinstance(error, Invalid):
        return error.faults
    if error.faults:
        fields = [fault.pointer.strip("/").replace("/", "-") for fault in error.faults]
        here = [Fault(field, "looser", words["looser_here"]) for field in fields]
        return (Fault("", "looser", words["looser"]), *here)
    signalled = isinstance(error, Forbidden) and error.code == signals.CODE
    return (Fault("", "refused", words["gpc"] if signalled else str(error)),)


def _parsed(data: bytes) -> Form:
    try:
        return Form.of(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise Malformed("this is no form of this page") from error


async def _consent(request: web.Request, services: Services, caller: Caller, standing: Standing, given: Form) -> None:
    """Say what the ticks say, where that differs from what was said before; what is taken back comes first."""
    held = {said.purpose: said.granted for said in standing.consents}
    ticks = {purpose: given.has("consent", purpose) for purpose in _PURPOSES}
    changed = [purpose for purpose in _PURPOSES if held.get(purpose, False) is not ticks[purpose]]
    changed.sort(key=lambda purpose: ticks[purpose])
    named = (await services.workspaces.read(caller.workspace)).consent_texts
    for purpose in changed:
        granted = ticks[purpose]
        signals.refuse_grant(request.headers, [purpose] if granted else ())
        change = wire.ConsentChange(granted=granted, text_version=named.get(purpose, [TEXT_VERSION])[-1])
        await people.change_consent(
            services.people,
            services.engine,
            services.streams,
            services.changes,
            caller=caller,
            purpose=purpose,
            change=change,
            surface="page",
        )


_PURPOSES: Final[tuple[wire.PurposeName, ...]] = ("locate", "offers", "profile", "measure")


def _muting(rhythm: wire.Rhythm, given: Form) -> wire.Rhythm:
    """The rhythm with one thing more that is muted."""
    muted = msgspec.to_builtins(rhythm)
    for name in forms.MUTED:
        found = [value for value in given.all(f"more-{name}") if value]
        muted["mute"][name] = list(dict.fromkeys([*muted["mute"][name], *found]))
    try:
        return msgspec.convert(muted, wire.Rhythm)
    except msgspec.ValidationError as error:
        raise bodies.invalid(error, wire.Rhythm) from error


# ------------------------------------------------------------------------------------------------ access and erasure
async def _export(request: web.Request, services: Services, caller: Caller) -> web.StreamResponse:
    answer = web.StreamResponse(
        headers=_HEADERS
        | {"Content-Type": "application/json", "Content-Disposition": 'attachment; filename="geo-offers.json"'}
    )
    pieces = me.document(await services.people.export(caller))
    await answer.prepare(request)
    async for piece in pieces:
        await answer.write(piece)
    return answer


async def _ask_to_erase(request: web.Request, services: Services, caller: Caller) -> web.Response:
    standing = await services.people.standing(caller, 0)
    return _page("erase.html", 200, _language(standing.locale), action=request.path)


async def _erase(_request: web.Request, services: Services, caller: Caller) -> web.Response:
    spoken = _language((await services.people.standing(caller, 0)).locale)
    await me.erase_person(services, caller)
    return _page("gone.html", 200, spoken, heading="erased", hint="")


# ------------------------------------------------------------------------------------------------ pages
def _language(locale: str) -> Locale:
    """How instants are written for this locale; the page's own language where there is none of it."""
    try:
        found = Locale.parse(locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return Locale("en")
    return found if found.language in LANGUAGES else Locale("en")


def _page(template: str, status: int, spoken: Locale, **values: Any) -> web.Response:
    body = _TEMPLATES.get_template(template).render(
        words=LANGUAGES[spoken.language], lang=str(spoken).replace("_", "-"), style=f"{ROOT}/preferences.css", **values
    )
    return web.Response(status=status, text=body, content_type="text/html", headers=_HEADERS)


async def _style(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(_FOLDER / "preferences.css", headers={"Cache-Control": "max-age=3600"})
