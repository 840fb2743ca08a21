"""What a page shows: as a browser would take it apart, and in a time that grows with its length whatever is in it."""

from __future__ import annotations

import time

import pytest

from llmagent_os.tools.page import text_of_page

BASE = "http://h/z/"


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("plain", "plain"),
        ("<p>a<b>b</b> &amp; c</p><p>d</p>", "ab & c\n\nd"),
        ("<title>T</title><body>x", "T\nx"),
        ("<a href='/y?a=1&amp;b=2'>link</a>", "link (http://h/y?a=1&b=2)"),
        ('<A Class="x" HREF = "y">link</A>', "link (http://h/z/y)"),
        ("<a href=y>link</a>", "link (http://h/z/y)"),
        ("<a title='href=no' href=\"y\" href='no'>link</a>", "link (http://h/z/y)"),
        ("<a title='>'>link</a>", "link"),
        ("<a name=x>no link</a>", "no link"),
        ("<a href='http://[bad'>b</a></span><svg>", "b (http://[bad)"),
        ("a<script>if (a<b) '</p>'</script>b", "ab"),
        ("a<style>p { }</STYLE >b", "ab"),
        ("a<script>never closed", "a"),
        ("a<svg><p>no<svg></svg></p></svg>b", "ab"),
        ("a<!-- x > <p> -- y -->b", "ab"),
        ("a<!-->b<!--->c<!----!>d", "abcd"),
        ("a<!-- never closed", "a"),
        ("a<!doctype html>b<?php x ?>c</>d</ e>f", "abcdf"),
        ("5 < 6 and <3 <", "5 < 6 and <3 <"),
        ("a<b never closed", "a"),
        ('<p a="b>c\'d>e">f', "f"),
        ("1<br>2<br/>3<li>4", "1\n2\n3\n4"),
        ("&#x41;&#66;&#99999999999;&#xFFFFFFFFF;&nbsp;&copy", "AB\ufffd\ufffd ©"),
        ("<p>\n\n  a \t b\n\n</p>\n\n\n<p>c</p>", "a b\n\nc"),
        ("", ""),
    ],
)
def test_a_page_says(page: str, shown: str) -> None:
    assert text_of_page(page, BASE) == shown


@pytest.mark.parametrize(
    "part",
    ["<a ", "<!--", "</", "<?", "<a x=", "<a href='", '<a href="', "<", "<div>", "<a><div>", "<svg>", "<script>",
     "<script></scrip", "<a x=\"'>", "&#", "&#1", "&amp", "=", "<a =", "<!-- --", "<a/", "</script ", "<!---", "\n",
     "<![CDATA[", "<a '>"],
)  # fmt: skip
def test_four_times_the_page_takes_about_four_times_the_time(part: str) -> None:
    def seconds(length: int) -> float:
        page = (part * length)[:length]
        before = time.process_time()
        text_of_page(page, BASE)
        return time.process_time() - before

    small = min(seconds(50_000) for _ in range(3))
    assert min(seconds(200_000) for _ in range(3)) < max(8 * small, 0.05)


@pytest.mark.parametrize("page", ["&#" + "1" * 200_000, "<!--" + "-" * 200_000, "<a href" + " " * 200_000 + "=x>y</a>"])
def test_so_does_one_long_piece(page: str) -> None:
    before = time.process_time()
    text_of_page(page, BASE)
    assert time.process_time() - before < 2
