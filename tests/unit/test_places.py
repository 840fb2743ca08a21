"""Paths and hosts: one answer for every tool about what leads out of a workspace or into this network."""

from __future__ import annotations

import pytest

from llmagent_os.core.errors import PermissionDenied
from llmagent_os.core.places import folders, host_of, inside, named, resolved, steps
from llmagent_os.core.records import Ticket
from llmagent_os.tools.builtin_web import Web
from llmagent_os.tools.sandbox import proxy

INSIDE = [
    "127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "168.63.129.16",
    "100.64.0.1", "0.0.0.0", "224.0.0.1", "239.255.255.250",
    "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::7f00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::7f00:1",
    "2002:808:808::", "::808:808", "::ffff:0:7f00:1", "fec0::1", "feff::1", "2001:0:808:808::1", "2001:db8::1",
    "3fff::1", "5f00::1", "100::1", "2001:2::1", "2001:20::1", "3ffe::1", "4000::1", "ff0e::1",
    "::ffff:169.254.169.254", "::ffff:100.64.0.1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:a9fe:a9fe",
    "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1", "172.31.255.255",
]  # fmt: skip
OUTSIDE = [
    "8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "2606:4700::5efe:808:808",
    "172.32.0.1", "100.128.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
async def test_what_lies_inside_is_refused_by_every_way_out(address: str) -> None:
    assert inside(address)
    if "%" not in address:
        with pytest.raises(proxy.Refused):
            await proxy.resolve(address, 80, [["*"]], [])
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(PermissionDenied):
        await Web(["*"]).fetch(f"http://{host}/", Ticket("k"))


@pytest.mark.parametrize("address", OUTSIDE)
async def test_what_lies_outside_is_not(address: str) -> None:
    assert not inside(address) and not inside("example.org")
    assert await proxy.resolve(address, 80, [["*"]], []) == address


def test_a_host_has_one_name() -> None:
    assert named("Example.ORG.", 443, "https") == named("example.org") == "example.org"
    assert named("example.org", 80, "https") == "example.org:80" and named("example.org", 80) == "example.org"
    assert named("::1", 8080, "http") == "[::1]:8080"
    assert host_of("http://me:pw@Example.org:8080/x") == host_of("\\\\example.org:8080/x") == "example.org:8080"
    assert host_of("http://[::1") == ""


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a/..", "a\0b"])
def test_no_path_leads_out(path: str) -> None:
    with pytest.raises(PermissionDenied):
        steps(path)


def test_paths_are_read_before_they_are_matched() -> None:
    assert steps("./a//b/c.txt") == ["a", "b", "c.txt"]
    assert resolved("a/./b/../c") == "a/c" and resolved("a/../../x").startswith("../")


def test_a_workspace_is_two_folders_whatever_it_is_called() -> None:
    assert folders("acme/clerk@ann") == ["acme", "clerk@ann"]
    assert folders("acme/clerk@../../x") == ["acme", "clerk@..%2F..%2Fx"]
    assert folders("../..") == ["%2E%2E", "%2E%2E"]
    long = [folders(f"acme/clerk@{'ü' * 127}{last}")[1] for last in "ab"]
    assert long[0] != long[1] and max(map(len, long)) < 255
