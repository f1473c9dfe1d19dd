"""The keys that the demo holds for its service, kept from run to run."""

from msgspec import Struct

from geo_offers.client import ApiError, Client
from geo_offers.demo.private import read_private, write_private
from geo_offers.demo.service import Service


class Keys(Struct, frozen=True):
    """`manager` is an owner's mk_ key, `server` an sk_ key; both of one workspace."""

    manager: str
    server: str


async def keys_of(service: Service, workspace: str) -> Keys:
    """Keys of the workspace: those kept from the last run where they still work, else new ones."""
    file = service.data_dir / "demo-keys.json"
    kept = read_private(file, Keys)
    if kept is not None and await _work(service, kept):
        return kept
    keys = Keys(
        manager=await service.create_key("manager", workspace, "--role", "owner"),
        server=await service.create_key("server", workspace),
    )
    write_private(file, keys)
    return keys


async def _work(service: Service, keys: Keys) -> bool:
    """Whether the service knows both; one that is known and may not read the workspace works all the same."""
    for key in (keys.manager, keys.server):
        async with Client(service.url, key) as client:
            try:
                await client.manager.workspace()
            except ApiError as error:
                if error.status == 401:
                    return False
                if error.status != 403:
                    raise
    return True
