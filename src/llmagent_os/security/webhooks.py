"""Who calls a webhook: whether what came is signed with the secret, and under which id it counts once."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from hashlib import sha256

TOLERANCE = 300.0  # seconds that the clocks of both sides may differ, in the form that tells the time
_PREFIX = "whsec_"


def signed(form: str, secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """The id of a message that is signed as it should be: the same for what is sent again; None where it is not.

    `standard` is Standard Webhooks: `webhook-signature: v1,BASE64` over `ID.TIMESTAMP.BODY`, with both in headers.
    `github` is `X-Hub-Signature-256: sha256=HEX` over the body alone, so the same body is the same message.
    """
    if not secret:
        return None
    if form == "github":
        made = "sha256=" + hmac.new(secret.encode(), body, sha256).hexdigest()
        return _id(body) if _same(headers.get("x-hub-signature-256", ""), made) else None
    identifier, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not identifier or not at.isdecimal() or len(at) > 12 or abs(int(at) - now) > TOLERANCE:
        return None
    content = f"{identifier}.{at}.".encode() + body
    made = "v1," + base64.b64encode(hmac.new(_key(secret), content, sha256).digest()).decode()
    told = headers.get("webhook-signature", "").split(" ")
    return _id(identifier.encode()) if any(_same(each, made) for each in told) else None


def _same(told: str, made: str) -> bool:
    return hmac.compare_digest(told.encode(), made.encode())


def _id(content: bytes) -> str:
    return f"hook-{sha256(content).hexdigest()}"


def _key(secret: str) -> bytes:
    """The key that a secret is: after `whsec_` in base64, else its own letters."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
