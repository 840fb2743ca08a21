"""Keys, tokens, scopes and rates over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from llmagent_os.config import Config, Oidc
from llmagent_os.gateway.app import FAST
from llmagent_os.gateway.auth import ROUTES
from llmagent_os.gateway.rest import rest_app
from llmagent_os.gateway.server import running
from llmagent_os.security.identity import SCOPES, Keys, Limiter
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.server import serving

CHAT = {"model": "scripted", "messages": user("hi")}


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


def bearer(key: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {key}"}}


async def mint(api: Gate, by: str | None = None, **wanted: Any) -> dict[str, Any]:
    status, made = await api.post("/v1/keys", wanted, **(bearer(by) if by else {}))
    assert status == 201, made
    return made


# -- routes and scopes


async def test_every_route_has_a_scope(api: Gate) -> None:
    app = rest_app()
    served = {f"POST {path}" for path in FAST}
    for route in flat(app.routes):
        served |= {f"{method} {route.path}" for method in route.methods if method != "HEAD"}
    assert served == ROUTES.keys()
    assert {route.replace(":path", "") for route in served} >= {
        f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods
    }
    assert set(ROUTES.values()) - {"", "*"} <= SCOPES


def flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Routes, those of included routers among them."""
    for route in routes:
        included = getattr(route, "original_router", None)
        yield from [route] if included is None else flat(included.routes)


async def test_a_role_does_what_it_may_and_no_more(api: Gate) -> None:
    viewer = bearer((await mint(api, roles=["viewer"]))["key"])
    assert (await api.get("/v1/agents", **viewer))[0] == 200
    assert (await api.get("/v1/processes", **viewer))[0] == 200
    for path, body in (
        ("/v1/chat/completions", CHAT),
        ("/v1/agents", {"name": "x", "model": "scripted"}),
        ("/v1/agents/assistant/messages", {"text": "hi"}),
        ("/v1/keys", {"scopes": ["agents:read"]}),
        ("/v1/models", {"name": "m", "engine": "scripted"}),
        ("/v1/privacy/erase", {}),
    ):
        status, answer = await api.post(path, body, **viewer)
        assert (status, "scope" in answer["error"]["message"]) == (403, True), path
    person = bearer((await mint(api, roles=["user"], tenant="acme", principal="ann"))["key"])
    assert (await api.post("/v1/chat/completions", CHAT, **person))[0] == 200
    assert (await api.get("/v1/processes", **person))[0] == (await api.get("/metrics", **person))[0] == 403
    admin = bearer((await mint(api, roles=["admin"], tenant="acme", principal="bob"))["key"])
    assert (await api.post("/v1/agents", {"name": "x", "model": "scripted"}, **admin))[0] == 201
    assert (await api.post("/v1/models", {"name": "m", "engine": "scripted"}, **admin))[0] == 403
    assert (await api.get("/v1/top", **admin))[0] == 403


# -- keys


async def test_of_a_key_only_its_hash_is_kept(api: Gate, caplog: pytest.LogCaptureFixture) -> None:
    made = await mint(api, roles=["user"], name="laptop")
    assert len(made["key"]) > 40 and made["key"].startswith("sk-")
    await api.post("/v1/chat/completions", CHAT, **bearer(made["key"]))
    _, listed = await api.get("/v1/keys")
    assert [key["name"] for key in listed["keys"]] == ["laptop"]
    assert "digest" not in listed["keys"][0] and "key" not in listed["keys"][0]
    secrets = (made["key"].encode(), api.running.key.encode())
    for file in api.system.config.data.glob("journal.db*"):
        assert not any(secret in file.read_bytes() for secret in secrets)
    assert made["key"] not in caplog.text


async def test_a_key_outlives_a_restart_and_not_its_revocation(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        made = await mint(api, roles=["user"])
    async with gate(tmp_path / "data") as api:
        assert (await api.get("/v1/agents", **bearer(made["key"])))[0] == 200
        assert (await api.ask("DELETE", f"/v1/keys/{made['id']}"))[1] == {"revoked": [made["id"]]}
        assert (await api.get("/v1/agents", **bearer(made["key"])))[0] == 401
    async with gate(tmp_path / "data") as api:
        assert (await api.get("/v1/agents", **bearer(made["key"])))[0] == 401


async def test_an_expired_key_lets_nobody_in(api: Gate) -> None:
    made = await mint(api, roles=["user"], days=2.0 / 86400)
    assert (await api.get("/v1/agents", **bearer(made["key"])))[0] == 200
    await asyncio.sleep(2.1)
    assert (await api.get("/v1/agents", **bearer(made["key"])))[0] == 401


async def test_a_key_mints_only_less_than_itself(api: Gate) -> None:
    parent = await mint(api, roles=["user"], days=1, tenant="acme", principal="ann")
    child = await mint(api, parent["key"], scopes=["chat", "keys"])
    assert (child["tenant"], child["principal"], child["parent"]) == ("acme", "ann", parent["id"])
    assert child["expires"] == parent["expires"]
    for wanted in (
        {"scopes": ["agents:write"]},
        {"roles": ["admin"]},
        {"scopes": ["chat"], "days": 2},
        {"scopes": ["chat"], "tenant": "other"},
        {"scopes": ["chat"], "principal": "bob"},
    ):
        status, answer = await api.post("/v1/keys", wanted, **bearer(parent["key"]))
        assert (status, answer["error"]["type"]) == (403, "PermissionDenied"), wanted
    assert (await api.post("/v1/keys", {"scopes": ["chatt"]}, **bearer(parent["key"])))[0] == 404
    assert (await api.post("/v1/keys", {"scopes": ["agents:read"]}, **bearer(child["key"])))[0] == 403
    assert (await api.get("/v1/agents", **bearer(child["key"])))[0] == 403
    assert (await api.post("/v1/chat/completions", CHAT, **bearer(child["key"])))[0] == 200


async def test_revoking_a_key_revokes_what_it_minted(api: Gate) -> None:
    keys = [await mint(api, roles=["user"], tenant="acme", principal="ann")]
    for _ in "ab":
        keys.append(await mint(api, keys[-1]["key"], scopes=["chat", "keys"]))
    beside = await mint(api, roles=["user"], tenant="acme", principal="ann")
    assert (await api.ask("DELETE", f"/v1/keys/{keys[0]['id']}", **bearer(keys[1]["key"])))[0] == 404  # not upwards
    assert (await api.ask("DELETE", f"/v1/keys/{beside['id']}", **bearer(keys[0]["key"])))[0] == 404
    _, gone = await api.ask("DELETE", f"/v1/keys/{keys[0]['id']}")
    assert set(gone["revoked"]) == {key["id"] for key in keys}
    for key in keys:
        assert (await api.post("/v1/chat/completions", CHAT, **bearer(key["key"])))[0] == 401
    assert (await api.post("/v1/chat/completions", CHAT, **bearer(beside["key"])))[0] == 200


async def test_a_row_of_keys_has_an_end(api: Gate) -> None:
    key, status = (await mint(api, scopes=["keys"]))["key"], 201
    for _ in range(8):
        status, made = await api.post("/v1/keys", {"scopes": ["keys"]}, **bearer(key))
        key = made.get("key", key)
    assert status == 409


# -- rates


async def test_a_key_asks_as_often_as_it_may_and_its_children_share_that(api: Gate) -> None:
    parent = await mint(api, scopes=["chat", "keys", "agents:read"], rate=6)
    child = await mint(api, parent["key"], scopes=["agents:read"], rate=600)
    found = [await api.get("/v1/agents", **bearer(child["key"])) for _ in range(7)]
    assert [status for status, _ in found[:5]] == [200] * 5  # the minting was the sixth
    assert found[-1][0] == 429 and found[-1][1]["error"]["type"] == "TooManyRequests"
    url = f"{api.running.url}/v1/chat/completions"
    async with api.session.post(url, json=CHAT, **bearer(parent["key"])) as answer:
        assert answer.status == 429 and 1 <= int(answer.headers["Retry-After"]) <= 10
        assert (await answer.json())["error"]["type"] == "rate_limit_error"
    assert (await api.get("/v1/agents"))[0] == 200  # the owner's has no limit


def test_buckets_fill_again_and_do_not_grow_for_ever() -> None:
    limiter = Limiter(most=10)
    assert [limiter.take([("a", 2)], 0.0) for _ in range(3)] == [0, 0, 30]
    assert limiter.take([("a", 2)], 30.0) == 0
    for number in range(100):
        limiter.take([(str(number), 1)], 40.0)
    assert len(limiter._buckets) == 10
    refused = [limiter.take([("x", 1), ("y", 100)], 50.0) for _ in range(3)]
    assert refused[0] == 0 and refused[1] == refused[2] == 60
    assert limiter._buckets["y"][0] == 99  # what was refused took nothing


# -- tokens

ISSUER = "https://id.example"
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ec.generate_private_key(ec.SECP256R1())


def published(*keys: tuple[str, Any]) -> str:
    found = []
    for kid, key in keys:
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        found.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
    return json.dumps({"keys": found})


def token(key: Any = PRIVATE, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
    body = {
        "iss": ISSUER, "aud": "llmagent-os", "sub": "ann", "exp": time.time() + 60, "tenant": "acme", "roles": ["user"],
        **claims,
    }  # fmt: skip
    return jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm, headers={"kid": kid})


@pytest.fixture
async def provided(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    file = tmp_path / "jwks.json"
    file.write_text(published(("one", PRIVATE)))
    oidc = Oidc(issuer=ISSUER, audience="llmagent-os", jwks=str(file), roles={"chief": "admin"}, rate=60)
    config = Config(data=tmp_path / "data", port=0, model="scripted", oidc=oidc)
    async with running(config) as system, aiohttp.ClientSession() as session:
        yield Gate(system, session)


async def test_a_token_is_let_in_as_its_claims_say(provided: Gate) -> None:
    assert (await provided.post("/v1/chat/completions", CHAT, **bearer(token())))[0] == 200
    assert (await provided.get("/v1/processes", **bearer(token())))[0] == 403
    chief = bearer(token(roles=["chief", "owner", "nobody"]))
    assert (await provided.get("/v1/processes", **chief))[0] == 200
    assert (await provided.get("/metrics", **chief))[0] == 403  # a token makes no owner
    made = await mint(provided, token(), scopes=["chat"])
    assert (made["tenant"], made["principal"]) == ("acme", "ann") and made["expires"] <= time.time() + 61


async def test_tokens_that_are_refused(provided: Gate) -> None:
    public = PRIVATE.public_key()
    now = time.time()
    header, payload, signature = token().split(".")
    forged = [
        token(iss="https://evil.example"),
        token(aud="another"),
        token(exp=now - 60),
        token(nbf=now + 600),
        token(exp=None),
        token(sub=None),
        token(aud=None),
        token(tenant=None),
        token(tenant="../x"),
        token(tenant="a/b"),
        token(kid="two"),
        token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        token(key=OTHER, algorithm="ES256"),
        jwt.encode({"iss": ISSUER, "aud": "llmagent-os", "sub": "x", "exp": now + 60, "tenant": "acme"}, None, "none"),
        hmac_signed(public),
        f"{header}.{payload}.",
        f"{header}.{payload[:-4]}AAAA.{signature}",
        "a.b.c",
    ]
    for each in forged:
        status, answer = await provided.get("/v1/agents", **bearer(each))
        assert (status, answer["error"]["type"]) == (401, "Unauthorised"), each


@pytest.mark.parametrize("claim", [5, 0, True, None, 1.5, "x\0", [5], [{}], [["admin"]], {"admin": {}}, {}])
async def test_claims_of_any_shape_are_read_or_refused(provided: Gate, claim: Any) -> None:
    status, _ = await provided.get("/v1/processes", **bearer(token(roles=claim)))
    assert status == (200 if claim == {"admin": {}} else 403)
    status, answer = await provided.post("/v1/keys", {"scopes": ["chat"]}, **bearer(token(tenant=claim)))
    if type(claim) is int:  # a number, as its digits: also in what is kept of it
        assert status == 201 and answer["tenant"] == str(claim)
    else:
        assert status == 401


def hmac_signed(public: Any) -> str:
    """The old trick: the public key's text as the secret of an HMAC."""
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": ISSUER, "aud": "llmagent-os", "sub": "x", "exp": time.time() + 60, "tenant": "acme"}
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=")
             for each in ({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims)]  # fmt: skip
    signed = b".".join(parts)
    mac = base64.urlsafe_b64encode(hmac.new(pem, signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + mac).decode()


@asynccontextmanager
async def trusting(data: Path, jwks: Any) -> AsyncIterator[tuple[Gate, AsyncExitStack]]:
    """A system that trusts a provider of keys, and the provider, which `aclose` ends."""
    app = web.Application()
    app.router.add_get("/jwks", jwks)
    async with AsyncExitStack() as provider:
        url = await provider.enter_async_context(serving(app))
        oidc = Oidc(issuer=ISSUER, audience="llmagent-os", jwks=f"{url}/jwks")
        config = Config(data=data, port=0, model="scripted", oidc=oidc)
        async with running(config) as system, aiohttp.ClientSession() as session:
            yield Gate(system, session), provider


async def test_a_provider_that_changes_its_keys(
    tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.gateway.oidc.SOONEST", 0.0)
    keys, asked = [("one", PRIVATE)], []

    async def jwks(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(text=published(*keys), content_type="application/json")

    async with trusting(tmp_path / "data", jwks) as (api, provider):
        for _ in "ab":
            assert (await api.get("/v1/agents", **bearer(token())))[0] == 200
        assert len(asked) == 1
        keys[:] = [("two", OTHER)]
        assert (await api.get("/v1/agents", **bearer(token(OTHER, "two", "ES256"))))[0] == 200
        assert (await api.get("/v1/agents", **bearer(token())))[0] == 401  # also one that was let in before
        await provider.aclose()
        assert (await api.get("/v1/agents", **bearer(token(kid="three"))))[0] == 401
        assert (await api.get("/v1/agents", **bearer(token(OTHER, "two", "ES256"))))[0] == 200


async def test_a_provider_that_is_away_holds_up_nobody_whose_key_is_known(
    tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.gateway.oidc.SOONEST", 0.0)
    asked = []

    async def jwks(request: web.Request) -> web.Response:
        asked.append(request)
        if len(asked) > 1:
            await asyncio.sleep(5)
        return web.Response(text=published(("one", PRIVATE)), content_type="application/json")

    async with trusting(tmp_path / "data", jwks) as (api, provider):
        assert (await api.get("/v1/agents", **bearer(token())))[0] == 200
        strangers = [asyncio.create_task(api.get("/v1/agents", **bearer(token(kid="x")))) for _ in "ab"]
        while len(asked) < 2:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            assert (await api.get("/v1/agents", **bearer(token())))[0] == 200
        for each in strangers:
            each.cancel()
        await provider.aclose()
        monkeypatch.setattr("llmagent_os.gateway.oidc.FRESH", 0.0)
        assert (await api.get("/v1/agents", **bearer(token())))[0] == 200
        status, answer = await api.get("/v1/agents", **bearer(token(kid="three")))
        assert status == 401 and "cannot be read" in answer["error"]["message"]


async def test_a_key_that_was_minted_before_its_role_grew_holds_what_the_role_holds_now(api: Gate) -> None:
    status, made = await api.post("/v1/keys", {"roles": ["admin"], "principal": "boss"})
    assert status == 201
    _, kept = api.system.facts.get("key", made["id"]) or (0, None)
    await api.system.facts.put("key", made["id"], kept | {"scopes": ["chat"]})
    caller = Keys(api.system.facts).find(made["key"])
    assert caller is not None and {"chat", "people", "agents:write"} <= caller.scopes and "system" not in caller.scopes
