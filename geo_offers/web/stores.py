"""Stores: what a geofence may belong to."""

from typing import Final
from zoneinfo import ZoneInfo

from geo_offers import wire
from geo_offers.offers import budgets
from geo_offers.offers.hours import StoreHours
from geo_offers.pipeline.choice import budget, cap_faults
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import check_zone, invalid, page_limit, path_text, refuse, refuse_unsafe


async def put_store(services: Services, given: Given) -> Reply:
    store = path_text(given, "id")
    body: wire.StoreBody = given.body
    refuse_unsafe(body)
    if body.time_zone is not None:
        check_zone(body.time_zone, "/time_zone")
    refuse(cap_faults(body.caps) + budgets.faults(budget(body.budget), "/budget"))
    _check_hours(body)
    put, created = await services.stores.put(given.caller, store, body)
    return Reply(put, 201 if created else 200)


def _check_hours(body: wire.StoreBody) -> None:
    """Invalid where the hours are not OpenStreetMap's, or the country of their holidays is not known."""
    text = body.hours if isinstance(body.hours, str) else "24/7"
    try:
        StoreHours(text, ZoneInfo("UTC"), body.holidays)
    except ValueError as error:
        raise invalid("/hours", "opening_hours", str(error)) from error
    except LookupError as error:
        raise invalid("/holidays", "country", str(error)) from error


async def get_store(services: Services, given: Given) -> Reply:
    return Reply(await services.stores.get(given.caller.workspace, path_text(given, "id")))


async def list_stores(services: Services, given: Given) -> Reply:
    return Reply(await services.stores.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def pause_store(services: Services, given: Given) -> Reply:
    """A kill switch: the next decision is silent there, and nothing that is queued is sent."""
    store = await services.stores.pause(given.caller, path_text(given, "id"), paused=True)
    await services.dispatcher.recall(given.caller.workspace, store=store.id)
    return Reply(store)


async def resume_store(services: Services, given: Given) -> Reply:
    return Reply(await services.stores.pause(given.caller, path_text(given, "id"), paused=False))


async def delete_store(services: Services, given: Given) -> Reply:
    """Geofences that name the store stay, and go on counting by its id."""
    await services.stores.delete(given.caller, path_text(given, "id"))
    return Reply(status=204)


_STORE: Final = "/v1/stores/{id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "PUT",
        _STORE,
        "Put a store; it replaces what was there",
        put_store,
        _WHO,
        wire.Store,
        status=200,
        other_statuses=(201,),
        body=wire.StoreBody,
        role="editor",
        tag="stores",
    ),
    Call("GET", _STORE, "One store", get_store, _WHO, wire.Store, tag="stores"),
    Call("DELETE", _STORE, "Delete a store", delete_store, _WHO, status=204, role="editor", tag="stores"),
    Call("POST", f"{_STORE}/pause", "Offer nothing there", pause_store, _WHO, wire.Store, role="editor", tag="stores"),
    Call("POST", f"{_STORE}/resume", "Offer there again", resume_store, _WHO, wire.Store, role="editor", tag="stores"),
    Call("GET", "/v1/stores", "Stores, by id", list_stores, _WHO, wire.StorePage, query=wire.ListQuery, tag="stores"),
)
