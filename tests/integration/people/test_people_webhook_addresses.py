"""Where a webhook may not lead: refused at save by a service that allows no network of its own."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOOK = "https://hooks.example/geo"


@pytest.mark.parametrize(
    "url",
    [
        "https://127.1/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://0x7f000001/hook",
        "https://2130706433/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/hook",
        "https://localhost/hook",
        "https://metadata.internal/hook",
        "https://user:word@hooks.example/hook",
        "http://hooks.example/hook",
        "https://hooks.example\\@127.0.0.1/hook",
    ],
)
async def test_an_address_that_leads_inward_is_refused_at_save(api, url):
    refused = await api.call("POST", "/v1/webhooks", "editor", {"url": url, "types": ["offer.sent"]})
    assert refused.status == 422
    assert refused.pointers == ["/url"]
    made = await api.good("POST", "/v1/webhooks", "editor", {"url": HOOK, "types": ["offer.sent"]})
    assert (await api.call("PATCH", f"/v1/webhooks/{made['id']}", "editor", {"url": url})).status == 422
