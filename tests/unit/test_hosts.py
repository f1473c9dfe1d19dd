"""Row 48 at save: which hosts and addresses may be called, judged by what is written."""

from ipaddress import ip_address, ip_network

import pytest

from geo_offers import hosts
from geo_offers.hosts import is_allowed, networks, origin, url_fault

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1", "fe80::1"),
    *("fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "4000::1", "5f00::1"),
]
PUBLIC = [
    *("1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.32.0.1", "198.17.255.255", "198.20.0.0"),
    *("223.255.255.255", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "2003::1"),
]
ODD = [
    *("127.1", "127.0.1", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "2130706433", "017700000001", "0177.0.0.1"),
    *("127.0.0.01", "127.000.000.001", "1.1.1.1.1", "256.1.1.1", "93.184.216.034", "1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_not_allowed(address):
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert is_allowed(ip_address(address))


@pytest.mark.parametrize("address", [address for address in NOT_PUBLIC if "%" not in address])
def test_a_url_of_an_address_that_is_not_public_is_refused(address):
    host = f"[{address}]" if ":" in address else address
    for url in (f"https://{host}/push", f"https://{host}:8443/push", f"https://{host}"):
        assert "not public" in url_fault(url), url


@pytest.mark.parametrize("host", ODD)
def test_an_address_in_an_odd_spelling_is_refused_even_where_all_are_allowed(host):
    everything = networks("0.0.0.0/0, ::/0")
    for named in (host, f"{host}.", host.upper()):
        assert "odd way" in url_fault(f"https://{named}/push", everything), named


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://push.example/x",
            "ftp://push.example/x",
            "//push.example/x",
            "https:///x",
            "https://",
            "push.example",
        ),
        *("https://push.example:0/x", "https://push.example:65536/x", "https://push.example:x/", "https://[::1/x"),
        *("https://a@push.example/x", "https://a:b@push.example/", "https://@push.example/", "https://:@push.example/"),
        *(
            "https://127.0.0.1\\@push.example/",
            "https://push.example /",
            "https://push.example/\n",
            "https://push.exämple/",
        ),
        *("https://127。0。0。1/", "https://①②⑦.0.0.1/", "https://%31%32%37.0.0.1/", "https://a_b.example/"),
        *(
            "https://-a.example/",
            "https://a..example/",
            "https://.example/",
            "https://[::1%25lo]/",
            "https://[fe80::1%lo]/",
        ),
        "https://push.example/" + "x" * 2000,
    ],
)
def test_a_url_that_is_not_plain_https_to_a_host_is_refused(url):
    assert url_fault(url) is not None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "db", "x.internal", "x.local"])
def test_a_name_of_private_use_is_refused_where_no_network_is_allowed(host):
    assert "nobody outside" in url_fault(f"https://{host}/push")
    assert url_fault(f"https://{host}/push", networks("10.0.0.0/8")) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA-_=",
        "https://fcm.googleapis.com:443/fcm/send/x:y",
        "https://93.184.216.34/push",
        "https://[2606:4700:4700::1111]:8443/",
        "https://xn--bcher-kva.example/x",
        "https://PUSH.example./x?y=z",
    ],
)
def test_a_public_host_may_be_called(url):
    assert url_fault(url) is None


def test_what_the_operator_allows_passes_and_its_neighbours_do_not():
    allowed = networks("127.0.0.0/8, fd00::/8")
    assert is_allowed(ip_address("127.0.0.1"), allowed)
    assert is_allowed(ip_address("fd00::1"), allowed)
    assert not is_allowed(ip_address("::ffff:127.0.0.1"), allowed)
    assert not is_allowed(ip_address("10.0.0.1"), allowed)
    assert url_fault("https://127.0.0.1:8443/x", allowed) is None
    assert "not public" in url_fault("https://10.0.0.1/x", allowed)


def test_networks_are_read_between_commas_and_a_wrong_one_is_told():
    assert networks(" 10.0.0.0/8 ,, fd00::/8") == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert networks("") == ()
    for wrong in ("10.0.0.1/8", "intranet", "10/8/8"):
        with pytest.raises(ValueError):
            networks(wrong)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://Push.example/x", "https://push.example"),
        ("https://push.example:443/x", "https://push.example"),
        ("https://push.example:8443/x?y", "https://push.example:8443"),
        ("https://[2606:4700::1]:8443/x", "https://[2606:4700::1]:8443"),
        ("https://push.example:x/", None),
        ("push.example", None),
    ],
)
def test_the_origin_has_the_port_unless_it_is_the_usual_one(url, named):
    assert origin(url) == named


def test_an_ipv4_address_in_ipv6_form_stays_what_it_leads_to():
    assert hosts.is_number("::ffff:127.0.0.1")
    assert not hosts.is_number("a1.example")
