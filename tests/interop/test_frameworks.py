"""Agent frameworks, unmodified, given nothing but a base URL and a key: three tools in a row, then the answer."""

from __future__ import annotations

from typing import Any

import agents
import pytest
from agno.agent import Agent as AgnoAgent
from agno.models.openai import OpenAIResponses
from agno.models.openai.like import OpenAILike
from crewai import LLM, Crew, Task
from crewai import Agent as CrewAgent
from crewai.tools import tool as crew_tool
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool as langchain_tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from openai import AsyncOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.interop.conftest import Server, Shop, both_apis
from tests.interop.scripts import TASK

pytestmark = pytest.mark.interop


def graph(server: Server, shop: Shop, api: str) -> Any:
    tools = [langchain_tool(function) for function in shop.tools]
    model = ChatOpenAI(
        model=server.model, base_url=server.base_url, api_key=server.api_key, use_responses_api=api == "responses"
    ).bind_tools(tools)

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState).add_node("ask", ask).add_node("tools", ToolNode(tools))
    built.add_edge(START, "ask").add_conditional_edges("ask", tools_condition).add_edge("tools", "ask")
    return built.compile()


@both_apis
async def test_langgraph(server: Server, shop: Shop, api: str) -> None:
    state = await graph(server, shop, api).ainvoke({"messages": [("user", TASK)]})
    shop.check(state["messages"][-1].text)


@both_apis
async def test_langgraph_streams(server: Server, shop: Shop, api: str) -> None:
    stream = graph(server, shop, api).astream({"messages": [("user", TASK)]}, stream_mode="messages")
    pieces = [piece.text async for piece, _ in stream if isinstance(piece, AIMessageChunk)]
    assert len([piece for piece in pieces if piece]) > 1
    shop.check("".join(pieces))


def agno(server: Server, shop: Shop, api: str) -> AgnoAgent:
    kind = OpenAIResponses if api == "responses" else OpenAILike
    model = kind(id=server.model, base_url=server.base_url, api_key=server.api_key)
    return AgnoAgent(model=model, tools=shop.tools, telemetry=False)


@both_apis
async def test_agno(server: Server, shop: Shop, api: str) -> None:
    shop.check((await agno(server, shop, api).arun(TASK)).content)


@both_apis
async def test_agno_streams(server: Server, shop: Shop, api: str) -> None:
    events = agno(server, shop, api).arun(TASK, stream=True)
    pieces = [event.content async for event in events if getattr(event, "content", None)]
    assert len(pieces) > 1
    shop.check("".join(map(str, pieces)))


def crew(server: Server, shop: Shop, stream: bool) -> Crew:
    model = LLM(model=f"openai/{server.model}", base_url=server.base_url, api_key=server.api_key, stream=stream)
    tools = [crew_tool(function.__name__)(function) for function in shop.tools]
    clerk = CrewAgent(role="clerk", goal="ship orders", backstory="You work in a shop.", llm=model, tools=tools)
    task = Task(description=TASK, expected_output="what it cost", agent=clerk)
    return Crew(agents=[clerk], tasks=[task])


@pytest.mark.parametrize("stream", [False, True])
def test_crewai(server: Server, shop: Shop, stream: bool) -> None:
    shop.check(crew(server, shop, stream).kickoff())


def pydantic_agent(server: Server, shop: Shop, api: str) -> PydanticAgent[None, str]:
    kind = OpenAIResponsesModel if api == "responses" else OpenAIChatModel
    model = kind(server.model, provider=OpenAIProvider(base_url=server.base_url, api_key=server.api_key))
    return PydanticAgent(model, tools=shop.tools)


@both_apis
async def test_pydantic_ai(server: Server, shop: Shop, api: str) -> None:
    shop.check((await pydantic_agent(server, shop, api).run(TASK)).output)


@both_apis
async def test_pydantic_ai_streams(server: Server, shop: Shop, api: str) -> None:
    async with pydantic_agent(server, shop, api).run_stream(TASK) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
    assert len(pieces) > 1
    shop.check("".join(pieces))


def agents_sdk(server: Server, shop: Shop, api: str) -> agents.Agent[Any]:
    kind = agents.OpenAIResponsesModel if api == "responses" else agents.OpenAIChatCompletionsModel
    client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
    tools: list[Any] = [agents.function_tool(function) for function in shop.tools]
    return agents.Agent(name="clerk", model=kind(server.model, openai_client=client), tools=tools)


@both_apis
async def test_openai_agents(server: Server, shop: Shop, api: str) -> None:
    shop.check((await agents.Runner.run(agents_sdk(server, shop, api), TASK)).final_output)


@both_apis
async def test_openai_agents_streams(server: Server, shop: Shop, api: str) -> None:
    run = agents.Runner.run_streamed(agents_sdk(server, shop, api), TASK)
    kinds = [event.data.type async for event in run.stream_events() if event.type == "raw_response_event"]
    assert kinds.count("response.output_text.delta") > 1
    shop.check(run.final_output)
