"""A plugin with which an agent can be led astray: a page of the web, and money."""

from __future__ import annotations

from typing import Any

from llmagent_os import ToolKit
from llmagent_os.plugins import hookimpl


class Bank:
    """The tool `reads` returns `page`, `pay` notes in `paid` what was paid to whom."""

    def __init__(self, page: str, reads: str) -> None:
        self.paid: list[tuple[str, float]] = []
        kit = self.kit = ToolKit()

        @kit.add(name=reads, effect="read")
        def read() -> str:
            """Read the page."""
            return page

        @kit.add(meanings={"to": "recipient", "amount": "amount"})
        def pay(to: str, amount: float) -> str:
            """Pay money."""
            self.paid.append((to, amount))
            return "paid"

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self.kit)
