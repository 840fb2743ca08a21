"""What comes out of a sandbox is read in time that grows with its length: it is read beside everybody's work."""

from __future__ import annotations

import pytest

from llmagent_os.tools.sandbox.traffic import LIMIT, Odd, is_http, request, server_name

BLANKS = b" " * LIMIT
HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"


def test_a_field_of_blanks_is_read_at_once() -> None:
    """One that no field ends with took hours."""
    with pytest.raises(Odd, match="no request"):
        request(HEAD + b"A:" + BLANKS + b"\x01\r\n\r\n")
    assert request(HEAD + b"A:" + BLANKS + b"\r\n\r\n").fields == (b"A:" + BLANKS,)


def test_values_stand_between_blanks_that_are_none_of_them() -> None:
    found = request(HEAD + b"Content-Length: \t 3 \t\r\nConnection:  a b , c\t\r\nC: 1\r\nD: 2\r\n\r\n")
    assert (found.length, found.fields) == (3, (b"D: 2",))


def test_a_first_line_of_blanks_is_looked_at_once() -> None:
    assert not is_http(b"CONNECT" + b" " * 5_000_000 + b"x")  # which took days
    assert is_http(b"CONNECT" + b" " * 5_000_000 + b"x HTTP/1.1")


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (b"GET / HTTP/1.1", True), (b"\r\n\tGET \t/", True), (b"OPTIONS *", True), (b"get HTTP://x", True),
        (b"GET  HTTP/1.1", True), (b"GET HTTP/1.1", True), (b"GET x\tHTTP/1.0", True), (b"GET x  y", False),
        (b"SSH-2.0-x", False), (b"A b", False), (b"\x16\x03", False), (b"", False),
    ],
)  # fmt: skip
def test_what_some_server_would_take_for_a_request(words: bytes, held: bool) -> None:
    assert is_http(words) is held


def test_a_first_message_of_tls_comes_in_so_many_records_at_most() -> None:
    """Of records without anything in them sixteen thousand bytes hold three thousand, looked at with each byte anew."""
    body = bytes(2 + 32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    message = b"\1" + len(body).to_bytes(3) + body

    def sent(empty: int) -> bytes:
        return b"\x16\3\1\0\0" * empty + b"\x16\3\1" + len(message).to_bytes(2) + message

    assert server_name(sent(0)) is None and server_name(sent(63)) is None
    with pytest.raises(Odd, match="no whole first message"):
        server_name(sent(64))
