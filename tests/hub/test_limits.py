import pytest

from telepresence.hub import limits
from telepresence.hub.limits import AddressLimits, TokenBucket, address_key, origin_allowed


def test_a_bucket_allows_a_burst_and_then_its_rate():
    bucket = TokenBucket(3, per_s=2, updated=10)
    assert [bucket.take(10) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.4), bucket.take(10.5), bucket.take(10.6)] == [False, True, False]


def test_a_bucket_never_holds_more_than_its_burst():
    bucket = TokenBucket(2, per_s=100)
    assert [bucket.take(1e6) for _ in range(3)] == [True, True, False]


def test_a_clock_that_steps_back_gives_nothing():
    bucket = TokenBucket(1, per_s=1, updated=10)
    assert bucket.take(10)
    assert not bucket.take(5)
    assert not bucket.take(10.5)
    assert bucket.take(11)


def test_connections_are_counted_per_address():
    addresses = AddressLimits(connections=2)
    assert [addresses.connect("a") for _ in range(3)] == [True, True, False]
    assert addresses.connect("b")
    addresses.disconnect("a")
    assert addresses.connect("a")


def test_join_attempts_are_counted_per_address():
    addresses = AddressLimits(joins_burst=2, joins_per_s=1)
    assert [addresses.may_join("a", 0) for _ in range(3)] == [True, True, False]
    assert addresses.may_join("b", 0)
    assert addresses.may_join("a", 1)


def test_a_flood_of_addresses_does_not_let_those_off_that_have_used_up_their_attempts(monkeypatch):
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 4)
    addresses = AddressLimits(joins_burst=2, joins_per_s=0.001)
    assert [addresses.may_join("a", 0) for _ in range(3)] == [True, True, False]
    for i in range(100):
        addresses.may_join(f"b{i}", 0)
        assert len(addresses._buckets) <= 4
    assert not addresses.may_join("a", 1)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
        (None, ""),
    ],
)
def test_an_ipv6_network_counts_as_one_address(host, key):
    assert address_key(host) == key


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "127.0.0.1:8765", True),
        ("http://127.0.0.1:8765", "127.0.0.1:8765", True),
        ("http://localhost:8765", "LOCALHOST:8765", True),
        ("http://[::1]:8765", "[::1]:8765", True),
        ("https://call.example.org", "call.example.org", True),
        ("https://call.example.org", "127.0.0.1:8765", True),
        ("http://call.example.org", "call.example.org", False),
        ("http://127.0.0.1:8080", "127.0.0.1:8765", False),
        ("http://localhost:8765", "127.0.0.1:8765", False),
        ("http://rebound.example.net:8765", "rebound.example.net:8765", False),
        ("http://127.0.0.1.example.net", "127.0.0.1.example.net", False),
        ("null", "127.0.0.1:8765", False),
        ("", "", False),
        ("http://127.0.0.1:8765", None, False),
        ("file://127.0.0.1:8765", "127.0.0.1:8765", False),
        ("http://[", "[", False),
    ],
)
def test_pages_of_other_origins_stay_out(origin, host, allowed):
    assert origin_allowed(origin, host, ("https://call.example.org",)) is allowed
