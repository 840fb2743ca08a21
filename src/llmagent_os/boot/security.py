"""What of security is there only where it is configured, and its libraries are installed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config import Config
from ..core import extras
from ..core.errors import MissingExtra
from ..core.places import allowed
from ..core.ports import Approver, Facts, Witnessed
from ..core.records import DEFAULT
from ..plugins import Plugins
from ..security.masking import Masking
from ..security.pins import Pin
from ..security.review import Review
from ..security.vault import SPACE as VAULT
from ..security.vault import Vault, key_file
from ..stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from ..security.audit import Audit

log = logging.getLogger(__name__)


def open_audit(config: Config, writer: Witnessed) -> Audit | None:
    """The audit log over what a system writes into its journal; None where what signs it is not installed."""
    try:
        audit = extras.imported("llmagent_os.security.audit", "security", "the audit log")
    except MissingExtra as error:
        log.warning("there is no audit log: %s", error.message)
        return None
    store, folder = SQLiteStore(config.data / "journal.db"), config.data / "audit"
    opened: Audit = audit.Audit(store, folder, writer=writer, pin=Pin(config.data))
    return opened


def open_vault(config: Config, facts: Facts) -> Vault | None:
    """Where masked values are kept; None where nothing is to be masked, or what encrypts them is not installed."""
    if not config.masking.on:
        return None
    try:
        vault = Vault(key_file(config.data / "vault.key"), facts)
        vault.check(DEFAULT)
        return vault
    except MissingExtra as error:
        if facts.list(VAULT + DEFAULT, limit=1):
            raise  # what is known to be masked would leave
        log.warning("values are not masked before they go to remote models: %s", error.message)
        return None


def reviewing(config: Config, registry: Plugins, vault: Vault | None, approver: Approver) -> Review | None:
    """What looks at answers before anybody gets them, where that is configured."""
    if config.review is None:
        return None
    return Review(config.review, vault, approver, registry.sequence("classifiers"), registry.sequence("judges"))


def masking(
    config: Config, registry: Plugins, vault: Vault | None, remote: Callable[[str], bool],
    window: Callable[[str], int] = lambda model: 0,
) -> Masking | None:  # fmt: skip
    """What hides values from models that are somebody else's (`remote` says so by name), where there is a vault."""
    if vault is None:
        return None
    exposed = config.masking.tools
    return Masking(vault, remote, lambda tool: allowed(tool, exposed), registry.sequence("recognisers"), window)
