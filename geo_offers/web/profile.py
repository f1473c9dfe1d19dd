"""What is known of a person, as they or the app's own server say it."""

from typing import Final

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.pipeline import login, people
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.tokens import ACCESS_S
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import check_zone, path_text, refuse_unsafe


async def get_profile(services: Services, given: Given) -> Reply:
    return Reply(await services.profiles.read(given.caller))


async def patch_profile(services: Services, given: Given) -> Reply:
    """Answer what an offer asked for, or refuse it for good; the next decision follows it."""
    _check(given.body)
    people.take_change(services.changes, given.caller)
    assert given.caller.user is not None  # a device has its person
    return Reply(await services.profiles.patch(given.caller, given.caller.user, given.body))


async def patch_users_profile(services: Services, given: Given) -> Reply:
    """The user by our id or the app's own name."""
    _check(given.body)
    user = await services.profiles.named(given.caller.workspace, path_text(given, "user"))
    return Reply(await services.profiles.patch(given.caller, user, given.body))


async def log_in(services: Services, given: Given) -> Reply:
    """The phone of somebody unnamed becomes the named person's; one that is theirs already stays so."""
    caller, body = given.caller, given.body
    refuse_unsafe(body)
    people.take_change(services.changes, caller)
    moved = await login.log_in(
        services.log_ins, services.people, services.engine, services.streams, caller=caller, said=body
    )
    if moved.user != caller.user:
        services.live.forget(caller.workspace, str(caller.user))
    assert caller.device is not None  # a device calls
    access = await services.tokens.issue(caller.workspace, caller.device, moved.user, moved.epoch, now_us())
    return Reply(
        wire.LoggedIn(
            device=caller.device, user=moved.user, access_token=access, expires_in=ACCESS_S, merged=moved.merged
        )
    )


def _check(patch: wire.ProfilePatch) -> None:
    refuse_unsafe(patch)
    if isinstance(patch.time_zone, str):
        check_zone(patch.time_zone, "/time_zone")


_MINE: Final = "/v1/me/profile"

CALLS: Final[tuple[Call, ...]] = (
    Call("GET", _MINE, "What is known of the caller", get_profile, ("device",), wire.Profile, tag="me"),
    Call(
        "PATCH",
        _MINE,
        "Give, change, forget or refuse attributes; language and zone",
        patch_profile,
        ("device",),
        wire.Profile,
        body=wire.ProfilePatch,
        tag="me",
    ),
    Call(
        "POST",
        "/v1/me/user",
        "Name the person who has logged in on this device",
        log_in,
        ("device",),
        wire.LoggedIn,
        body=wire.LogIn,
        keeps_answer=False,
        tag="me",
    ),
    Call(
        "PATCH",
        "/v1/users/{user}/profile",
        "Change a user's profile for the app's own server",
        patch_users_profile,
        ("server",),
        wire.Profile,
        body=wire.ProfilePatch,
        tag="users",
    ),
)
