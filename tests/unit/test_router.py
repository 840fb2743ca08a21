"""The router over engines that die: the caller's stream goes on, and nothing is repeated or left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.core.errors import BudgetExceeded, EngineFailed, EngineUnavailable, NotFound, Unsupported
from llmagent_os.core.ports import Engine
from llmagent_os.core.records import (
    Chunk,
    GenerateRequest,
    Generation,
    Message,
    Needs,
    Route,
    Sampling,
    ToolSpec,
)
from llmagent_os.core.stream import collect
from llmagent_os.llm.script import Reply
from llmagent_os.sched.router import Average, Engines, Router
from tests.stand_ins.flaky import FlakyEngine
from tests.stand_ins.kernels import until

TEXT = "The quick brown fox jumps over the lazy dog; grüße, 世界. "


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def routed(*engines: FlakyEngine, clock: Callable[[], float] | None = None, **fields) -> Router:
    """A router with the route `r` over engines."""
    known = Engines()
    router = Router(known, clock or Clock())
    for engine in engines:
        known.add(engine.info.model, opener(engine))
    members = {"replicas": tuple(each.info.model for each in engines)}
    known.routes["r"] = Route(**{**members, "pause": 0.0, **fields})
    return router


def opener(engine: Engine):
    async def opened() -> Engine:
        return engine

    return opened


async def serve(model: str, engine: Engine, request: GenerateRequest) -> AsyncIterator[Chunk]:
    async for chunk in engine.generate(request):
        yield chunk


def ask(text: str = TEXT, model: str = "r", **fields) -> GenerateRequest:
    sampling = {
        name: fields.pop(name) for name in ("max_tokens", "temperature", "seed", "top_logprobs") if name in fields
    }
    return GenerateRequest(model, (Message("user", text),), sampling=Sampling(**sampling), **fields)


async def stream(router: Router, request: GenerateRequest, serve=serve) -> AsyncIterator[Chunk]:
    """A call on its way, as the kernel takes it along."""
    course = router.course(request)
    while (leg := await course.leg()) is not None:
        with leg:
            async with aclosing(serve(leg.model, leg.engine, leg.request)) as chunks:
                async for chunk in chunks:
                    yield leg.take(chunk)
    if course.ending is not None:
        yield course.ending


async def answer(router: Router, request: GenerateRequest) -> Generation:
    return await collect(stream(router, request))


deaths = st.lists(st.integers(0, 20), max_size=3)


@given(
    one=deaths,
    other=deaths,
    limit=st.none() | st.integers(1, 20),
    temperature=st.sampled_from([0.0, 1.0]),
    top=st.none() | st.integers(0, 2),
    without=st.sampled_from([frozenset(), frozenset({"said"})]),
)
async def test_a_stream_goes_on_where_it_broke_off(one, other, limit, temperature, top, without):
    request = ask(max_tokens=limit, temperature=temperature, top_logprobs=top)
    whole = await collect(FlakyEngine("w").generate(request))
    router = routed(FlakyEngine("a", one, without=without), FlakyEngine("b", other, without=without), retries=6)
    try:
        got = await answer(router, request)
    except Unsupported as error:
        assert without and temperature > 0 and "beginning of an answer" in error.message
        return
    except EngineUnavailable as error:  # both have failed so often that they rest
        assert "rests for" in error.message and len(one) == len(other) == 3
        return
    assert (got.text, got.logprobs) == (whole.text, whole.logprobs)
    all_made = limit == whole.usage.output_tokens  # who dies then cannot tell any more whether there was an end
    assert got.finish == whole.finish or (got.finish == "length" and all_made)
    assert got.usage.output_tokens == whole.usage.output_tokens or without


async def test_another_engine_gets_what_was_said_and_the_tokens_that_are_left():
    first, second = FlakyEngine("a", [3], input_price=1e6), FlakyEngine("b", input_price=1e6)
    router = routed(first, fallback=("b",))
    router.engines.add("b", opener(second))
    got = await answer(router, ask(max_tokens=9))
    assert got.text == TEXT[:36] and got.finish == "length"
    assert second.asked == [replace(first.asked[0], said=TEXT[:12], sampling=Sampling(max_tokens=6))]
    assert got.usage.input_tokens == 2 * -(-len(TEXT) // 4) and got.usage.money == got.usage.input_tokens


async def test_an_answer_that_had_all_its_tokens_is_ended_without_asking_again():
    first, second = FlakyEngine("a", [2]), FlakyEngine("b")
    router = routed(first, fallback=("b",))
    router.engines.add("b", opener(second))
    got = await answer(router, ask(max_tokens=2))
    assert (got.text, got.finish, got.usage.output_tokens, second.asked) == (TEXT[:8], "length", 2, [])


async def test_an_answer_given_again_that_differs_is_an_error():
    without = frozenset({"said"})
    first = FlakyEngine("a", [3], without=without)
    second = FlakyEngine("b", script=lambda request: "Something else altogether.", without=without)
    router = routed(first, fallback=("b",), retries=1)
    router.engines.add("b", opener(second))
    with pytest.raises(EngineFailed, match="gave a different answer"):
        await answer(router, ask(temperature=0))


async def test_tool_calls_are_made_once():
    tools = (ToolSpec("add"),)
    script = lambda request: Reply(calls=(("add", {"a": 1}),))  # noqa: E731
    router = routed(FlakyEngine("a", [0], script), FlakyEngine("b", [0], script))
    got = await answer(router, ask(tools=tools))
    assert [(call.name, call.arguments) for call in got.tool_calls] == [("add", {"a": 1})]


async def test_a_callers_mistake_is_not_tried_elsewhere_and_is_nobodys_failure():
    engines = [FlakyEngine(name) for name in "ab"]
    router = routed(*engines)
    for _ in range(5):
        with pytest.raises(Exception, match="tool_choice"):
            await answer(router, ask(tool_choice="required"))
    assert sum(len(each.asked) for each in engines) == 5
    assert len((await router.plan(ask())).order) == 2


async def test_an_engine_that_keeps_failing_rests_and_is_tried_out_by_one_call():
    clock = Clock()
    broken, well = FlakyEngine("a", [0] * 3), FlakyEngine("b")
    router = routed(broken, clock=clock, fallback=("b",))
    router.engines.add("b", opener(well))
    for _ in range(5):
        assert (await answer(router, ask())).text == TEXT
    assert len(broken.asked) == 3 and "a died" in dict(reasons(await router.plan(ask())))["a"]
    clock.now = 2.0
    probing = stream(router, ask(), serve)
    await anext(probing)  # answered: closed again
    assert (await router.plan(ask())).order[0].model == "a"
    await probing.aclose()


def reasons(plan) -> list[tuple[str, str]]:
    return [(each.model, text) for each, _, text in plan.reasons()]


async def test_only_one_call_tries_out_an_engine_that_failed():
    clock = Clock()
    router = routed(FlakyEngine("a"), FlakyEngine("b"), clock=clock)
    router.standings["a"].breaker.failed(0.0, "it was down", down=True)
    router.standings["b"].running = 1_000_000
    clock.now = 1.5

    async def never(model: str, engine: Engine, request: GenerateRequest) -> AsyncIterator[Chunk]:
        await asyncio.Event().wait()
        yield Chunk()

    trying = asyncio.ensure_future(collect(stream(router, ask(), never)))
    await until(lambda: router.standings["a"].running == 1)
    assert dict(reasons(await router.plan(ask())))["a"] == "one call is trying it out: it was down"
    trying.cancel()
    await asyncio.wait([trying])
    assert (await router.plan(ask())).order[0].model == "a"  # who left gave no verdict: the next one tries
    assert router.standings["a"].running == 0


async def test_a_model_asked_again_waits_a_little_and_the_retries_end():
    lone = FlakyEngine("a", [0] * 9)
    router = routed(lone, retries=2)
    with pytest.raises(EngineUnavailable, match="a died"):
        await answer(router, ask())
    assert len(lone.asked) == 3


async def test_a_plain_model_is_a_route_of_itself_without_retries():
    lone = FlakyEngine("a", [0] * 9, without=frozenset({"tools"}))
    router = routed(lone)
    for n in range(1, 6):  # to refuse it would cost more than to ask
        with pytest.raises(EngineUnavailable, match="a died"):
            await answer(router, ask(model="a"))
        assert len(lone.asked) == n
    with pytest.raises(Unsupported, match="leave it out") as caught:
        await answer(router, ask(model="a", tools=(ToolSpec("add"),)))
    assert caught.value.facts["parameter"] == "tools"
    with pytest.raises(NotFound, match="did you mean"):
        await answer(router, ask(model="aa"))


async def test_a_model_that_cannot_be_opened_is_passed_over():
    router = routed(FlakyEngine("b"), replicas=("a",), fallback=("b",))

    async def missing() -> Engine:
        raise NotFound("model 'a' is not on this machine", kind="model")

    router.engines.add("a", missing)
    assert (await answer(router, ask())).text == TEXT
    assert "not on this machine" in dict(reasons(await router.plan(ask())))["a"]


async def test_a_prompt_that_may_not_fit_is_counted_and_goes_where_there_is_room():
    small, large = FlakyEngine("a", window=20), FlakyEngine("b", window=2000)
    router = routed(small, fallback=("b",))
    router.engines.add("b", opener(large))
    assert (await answer(router, ask("short"))).text == "short"
    assert (await answer(router, ask("long " * 20))).text == "long " * 20
    assert (len(small.asked), len(large.asked)) == (1, 1)
    assert "window of 20 tokens" in dict(reasons(await router.plan(ask("long " * 20))))["a"]


async def test_a_ceiling_leaves_out_what_may_cost_more():
    dear = FlakyEngine("a", output_price=1e4)
    router = routed(dear, max_price=0.5)
    assert (await answer(router, ask(max_tokens=40))).text == TEXT
    with pytest.raises(BudgetExceeded, match=r"a: may cost \$0.6, over the ceiling of \$0.5"):
        await answer(router, ask(max_tokens=60))
    with pytest.raises(BudgetExceeded, match="over the ceiling"):
        await answer(router, ask(model="a", max_tokens=60, needs=Needs(max_price=0.1)))


async def test_a_conversation_goes_back_to_who_has_read_it():
    router = routed(*map(FlakyEngine, "abcd"))
    for n in range(20):
        system = (Message("system", f"You are agent {n}. " * 40),)
        first = replace(ask(), messages=(*system, Message("user", "one")))
        await answer(router, first)
        served = next(model for model, key in reversed(router._read))
        longer = replace(first, messages=(*first.messages, Message("assistant", "one"), Message("user", "two")))
        plan = await router.plan(longer)
        assert max(plan.candidates, key=lambda each: each.cached).model == served
        for standing in router.standings.values():  # alike in all but what they have read
            standing.first, standing.pace = Average(1.0, 0.0), Average(100.0, 0.0)
        assert (await router.plan(longer)).order[0].model == served


async def test_replicas_share_the_calls_that_come_at_once():
    script = lambda request: Reply(request.messages[0].text, pace=0.001)  # noqa: E731
    router = routed(*(FlakyEngine(name, limit=8, script=script) for name in "abc"), clock=time.monotonic)
    texts = await asyncio.gather(*(answer(router, ask(f"{n} {TEXT}")) for n in range(300)))
    assert [each.text for each in texts] == [f"{n} {TEXT}" for n in range(300)]
    served = [len(router.engines.opened(name).asked) for name in "abc"]  # type: ignore[union-attr]
    assert all(80 <= each <= 120 for each in served), served


async def test_what_was_measured_decides():
    clock = Clock()
    router = routed(FlakyEngine("a"), FlakyEngine("b"), clock=clock)

    async def timed(model: str, engine: Engine, request: GenerateRequest) -> AsyncIterator[Chunk]:
        clock.now += 4.0 if model == "a" else 0.2
        async for chunk in engine.generate(request):
            clock.now += 0.01
            yield chunk

    for n in range(30):
        await collect(stream(router, ask(f"{n} {TEXT}"), timed))
    assert (await router.plan(ask("another"))).order[0].model == "b"
    assert router.standings["b"].first.value == pytest.approx(0.2, abs=0.02)
    assert router.standings["b"].pace.value > 60
