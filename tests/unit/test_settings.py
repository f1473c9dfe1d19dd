"""Settings: typed, checked once, and refused by the variable's name."""

import base64
import os
from pathlib import Path

import pytest
import trustme

from geo_offers import settings
from geo_offers.errors import Misconfigured
from geo_offers.settings import FOR_OTHERS, Settings

URL = "http://gateway/push"


def secret(length=32):
    return "whsec_" + base64.b64encode(bytes(range(length))).decode()


def refused(**variables):
    with pytest.raises(Misconfigured) as caught:
        settings.read({f"GEO_OFFERS_{name}": value for name, value in variables.items()})
    return caught.value.detail


def test_without_variables_the_defaults_hold():
    assert settings.read({"PATH": "/bin", "GEO_OFFER_PORT": "1"}) == Settings()


def test_each_variable_is_read_as_its_type():
    read = settings.read(
        {
            "GEO_OFFERS_HOST": "::1",
            "GEO_OFFERS_PORT": "0",
            "GEO_OFFERS_DATABASE_URL": "postgresql://app@db/x",
            "GEO_OFFERS_POOL_SIZE": "20",
            "GEO_OFFERS_LOG_LANE": "true",
            "GEO_OFFERS_LEASE_S": "2.5",
            "GEO_OFFERS_DEVICE_RATE_PER_S": "0.5",
            "GEO_OFFERS_LOG_LEVEL": "debug",
            "GEO_OFFERS_WEBHOOK_URL": URL,
            "GEO_OFFERS_WEBHOOK_SECRET": secret(),
        }
    )
    assert (read.host, read.port, read.pool_size) == ("::1", 0, 20)
    assert (read.database_url, read.lease_s, read.device_rate_per_s) == ("postgresql://app@db/x", 2.5, 0.5)
    assert (read.log_lane, read.log_level) == (True, "debug")
    assert (read.webhook_url, read.webhook_secret) == (URL, secret())


def test_keys_for_credentials_are_checked_and_not_repeated():
    good = base64.b64encode(bytes(32)).decode()
    assert settings.read({"GEO_OFFERS_CREDENTIALS_KEY": f"{good} {good}"}).credentials_key == f"{good} {good}"
    for bad in (good[:-4], f"{good} known", "known!", "  "):
        said = refused(CREDENTIALS_KEY=bad)
        assert said.startswith("GEO_OFFERS_CREDENTIALS_KEY: give the base64 of 32 random bytes")
        assert "known" not in said


@pytest.mark.parametrize("name", sorted(FOR_OTHERS))
def test_what_only_the_tests_read_is_known(name):
    assert settings.read({f"GEO_OFFERS_{name}": "x"}) == Settings()


@pytest.mark.parametrize("name", ["PROT", "HOSTS", "DATABASE", "REAL_DATE", "LEASE_MS"])
def test_an_unknown_variable_is_refused_by_its_name(name):
    assert refused(**{name: "1"}) == f"there is no setting GEO_OFFERS_{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "80.5"),
        ("POOL_SIZE", "1"),
        ("POOL_SIZE", "101"),
        ("LOG_LANE", "perhaps"),
        ("LEASE_S", "0"),
        ("LEASE_S", "301"),
        ("LEASE_S", "soon"),
        ("QUEUE_POINTS", "10"),
        ("DEVICE_RATE_PER_S", "0"),
        ("DEVICE_BURST", "0.5"),
        ("LOG_LEVEL", "loud"),
        ("LOG_LEVEL", "DEBUG"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_the_variables_name(name, value):
    assert refused(**{name: value}).startswith(f"GEO_OFFERS_{name}: ")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "http", "this is a text; give a whole number"),
        ("PORT", "70000", "give a whole number of at most 65,535"),
        ("LEASE_S", "0", "give a number above 0.1"),
        ("LOG_LANE", "perhaps", "this is a text; give true or false"),
        ("LOG_LEVEL", "loud", "'loud' is not known here; use debug, error, info or warning"),
    ],
)
def test_a_value_that_does_not_fit_is_told_what_to_be(name, value, said):
    assert refused(**{name: value}) == f"GEO_OFFERS_{name}: {said}"


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "/push",
        "gateway.example/push",
        "ftp://gateway.example/push",
        "https://",
        "https:///push",
        "https://:8443/push",
        "https://user@gateway.example/push",
        "https://user:word@gateway.example/push",
        "https://:word@gateway.example/push",
        "https://gateway.example:0/push",
        "https://gateway.example:99999/push",
        "https://gateway.example:http/push",
        "https://[::1/push",
        "https://gateway example/push",
        "https://gateway.example/pu\nsh",
        " https://gateway.example/push",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_no_message_can_be_sent_to_is_refused_and_not_echoed(url):
    said = refused(WEBHOOK_URL=url, WEBHOOK_SECRET=secret())
    assert said.startswith("GEO_OFFERS_WEBHOOK_URL: give an http or https address")
    assert "\n" not in said
    assert "word" not in said


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8080/push?key=a", "https://[::1]:8443", "HTTPS://Gateway.example", "http://gateway"]
)
def test_any_address_of_the_operators_own_is_taken(url):
    given = {"GEO_OFFERS_WEBHOOK_URL": url, "GEO_OFFERS_WEBHOOK_SECRET": secret()}
    assert settings.read(given).webhook_url == url


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "whsec_",
        "whsec_AAAA",
        secret(23),
        secret(65),
        secret().removeprefix("whsec_"),
        "WHSEC_" + secret().removeprefix("whsec_"),
        "whsec_" + "\u00e4" * 40,
        secret() + "!",
        f"{secret()} {secret(8)}",
        f"{secret()},{secret(24)}",
    ],
)
def test_a_secret_that_signs_nothing_safely_is_refused_and_not_echoed(text):
    said = refused(WEBHOOK_URL=URL, WEBHOOK_SECRET=text)
    assert said.startswith("GEO_OFFERS_WEBHOOK_SECRET: give whsec_ and the base64 of 24 to 64 random bytes")
    assert secret()[6:] not in said


@pytest.mark.parametrize(
    "text",
    [secret(24), secret(64), secret(25).rstrip("="), f"{secret(24)} {secret(32)}", f" {secret()}\n{secret(40)} "],
)
def test_one_secret_or_several_with_blanks_between_are_taken(text):
    given = {"GEO_OFFERS_WEBHOOK_URL": URL, "GEO_OFFERS_WEBHOOK_SECRET": text}
    assert settings.read(given).webhook_secret == text


def test_the_gateways_address_and_its_secret_go_together():
    alone = ({"WEBHOOK_URL": URL}, {"WEBHOOK_SECRET": secret()}, {"WEBHOOK_SECRET_FILE": "/run/secret"})
    for variables in (*alone, {"WEBHOOK_URL": URL} | alone[1] | alone[2]):
        sentence = refused(**variables)
        assert "GEO_OFFERS_WEBHOOK_URL" in sentence
        assert "GEO_OFFERS_WEBHOOK_SECRET" in sentence
    assert settings.read({"GEO_OFFERS_WEBHOOK_URL": URL, "GEO_OFFERS_WEBHOOK_SECRET_FILE": "/run/secret"})


def test_origins_are_a_list_with_commas():
    assert Settings().origins == frozenset()
    read = settings.read({"GEO_OFFERS_ALLOWED_ORIGINS": " https://a.example, https://b.example:8443,, "})
    assert read.origins == {"https://a.example", "https://b.example:8443"}


def test_the_data_folder_is_absolute_wherever_it_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Settings(data_dir="here").folder == tmp_path / "here"
    assert Settings(data_dir="~/there").folder == tmp_path / "home" / "there"
    assert Settings(postgres_bin="bin").binaries == tmp_path / "bin"
    assert Settings().binaries is None


def test_an_unnamed_data_folder_is_the_systems_for_root_and_the_users_for_others(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Settings().folder == Path("/var/lib/geo-offers")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert Settings().folder.name == "geo-offers"
    assert Settings().folder != Path("/var/lib/geo-offers")


def test_an_empty_variable_is_as_good_as_none():
    assert settings.read({"GEO_OFFERS_DATABASE_URL": "", "GEO_OFFERS_PORT": ""}) == settings.read({})


@pytest.mark.parametrize("url", ["https://proxy.example", "https://10.0.0.7:2197", "https://[::1]:8443/"])
def test_what_stands_in_for_apple_is_an_https_host(url):
    assert settings.read({"GEO_OFFERS_APNS_URL": url}).apns_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy.example",
        "proxy.example",
        "https://",
        "https://proxy.example/3/device",
        "https://a@b",
        "https://b?x=1",
    ],
)
def test_any_other_address_is_no_stand_in_for_apple(url):
    assert refused(APNS_URL=url).startswith("GEO_OFFERS_APNS_URL: give an https address")


def test_authorities_are_read_at_the_start(tmp_path):
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    trustme.CA().cert_pem.write_to_path(good)
    bad.write_text("-----BEGIN CERTIFICATE-----")
    assert settings.read({"GEO_OFFERS_GATEWAY_CA": str(good)}).gateway_ca == str(good)
    for file in (bad, tmp_path / "none.pem", tmp_path):
        assert refused(GATEWAY_CA=str(file)).startswith("GEO_OFFERS_GATEWAY_CA: give a file")


@pytest.mark.parametrize("name", ["FCM_URL", "FCM_TOKEN_URL"])
def test_what_stands_in_for_google_is_an_address_with_a_host(name):
    url = "http://10.0.0.7:8080/fcm"
    assert getattr(settings.read({f"GEO_OFFERS_{name}": url}), name.lower()) == url
    for bad in ("proxy.example", "https://", "ftp://proxy.example", "https://user:word@proxy.example"):
        said = refused(**{name: bad})
        assert said.startswith(f"GEO_OFFERS_{name}: give the http or https address")
        assert "word" not in said


def test_networks_and_push_hosts_are_read_between_commas():
    read = settings.read(
        {"GEO_OFFERS_EGRESS_ALLOW": "10.0.0.0/8, fd00::/8", "GEO_OFFERS_WEBPUSH_HOSTS": "a.example, b.c"}
    )
    assert [str(network) for network in read.egress_networks] == ["10.0.0.0/8", "fd00::/8"]
    assert read.push_hosts == ("a.example", "b.c")
    assert (Settings().egress_networks, Settings().push_hosts) == ((), ())


@pytest.mark.parametrize("value", ["10.0.0.1/8", "intranet", "10.0.0.0/8;fd00::/8"])
def test_networks_that_are_none_are_refused(value):
    assert "CIDRs" in refused(EGRESS_ALLOW=value)


@pytest.mark.parametrize("value", ["https://a.example", "A.example", "*.a.example", "127.0.0.1", "a.example/x"])
def test_push_hosts_that_are_none_are_refused(value):
    assert "names of hosts" in refused(WEBPUSH_HOSTS=value)
