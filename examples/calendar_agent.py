"""A calendar agent: a tiny model is tuned to answer in the calendar's own form, and talks over standard input.

    echo "What is on Tuesday?" | python examples/calendar_agent.py [--steps 40] [--model FOLDER] [--untuned]

What is known is in `calendar/appointments.json`; the rows below teach the form, on days of other weeks. Tuning takes
some minutes on two cores and needs `llmagent-os[tune]`. `--model` is where the tuned model is kept: where there is
one, it is used. The model is the smallest there is: it learns the form well, and makes mistakes all the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llmagent_os.agent import Agent
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.finetune import Finetuner
from llmagent_os.llm import LLM
from llmagent_os.modules import BehaviorModule, InteractionModule, KnowledgeBase

KNOWN = Path(__file__).parent / "calendar" / "appointments.json"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PLANS = ("yoga with Fay", "call with Gus", "museum with Hal", "bank", "piano lesson", "walk with Ivy", "cinema with Jo")
HOURS = ("08:00", "09:30", "11:15", "13:00", "15:45", "17:00", "19:30")
ASKED = ("What is on {day}?", "what do i have on {day}", "Tell me about {day}.", "Anything on {day}?")


class CalendarAgent(Agent):
    """Answers from the calendar, in its form: DAY | HOUR | WHAT."""

    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm = llm
        self.kb = KnowledgeBase()
        self.kb.load_knowledge(KNOWN)
        self.behavior = BehaviorModule()
        self.behavior.set_mode("task_oriented")
        self.interaction = InteractionModule()
        self.interaction.set_interface("text")

    def preprocess(self, text: str) -> str:
        """Days are written with a capital, as in the calendar."""
        words = super().preprocess(text).split()
        return " ".join(word.capitalize() if word.strip("?.!,").capitalize() in DAYS else word for word in words)

    def respond(self, text: str) -> str:
        """Only the passage that is nearest is put to the model: it reads no more than that."""
        asked = self.preprocess(text)
        return self.behavior.generate_response(asked, self.kb.retrieve_knowledge(asked)[:1], self.llm, max_tokens=60)

    def close(self) -> None:
        """Free the model and what is known."""
        self.llm.close()
        self.kb.close()


def rows() -> Iterator[dict[str, object]]:
    """Questions about days of other weeks with their answers, put as the agent will put them."""
    behavior = BehaviorModule("task_oriented")
    for n, plan in enumerate(PLANS):
        for m, hour in enumerate(HOURS):
            day, other = DAYS[(n + m) % 7], PLANS[(n + m + 1) % 7]
            later = HOURS[(m + 3) % 7]
            asked = ASKED[(n + 2 * m) % len(ASKED)].format(day=day)
            several = (n + m) % 3 == 0 and later > hour
            known = f"{day}: {hour} {plan}" + (f", {later} {other}" if several else "")
            answer = f"{day} | {hour} | {plan}" + (f"\n{day} | {later} | {other}" if several else "")
            yield {"input": behavior.messages(asked, [known]), "output": answer}


def tuned(folder: Path, steps: int) -> LLM:
    """The tuned model of a folder, made where there is none."""
    if not (folder / "tuned.json").is_file():
        with LLM.from_pretrained("calendar") as llm:
            tuner = Finetuner(llm, rows(), steps=steps, batch=8, tokens=512)
            tuner.finetune(told=lambda now: print(f"step {now.step} of {now.steps}: {now.loss:.3f}", file=sys.stderr))
            tuner.save_model(folder)
    return LLM.from_pretrained(str(folder))


def main() -> None:
    """Tune where that is to be done, and answer line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps of the training")
    parser.add_argument("--model", type=Path, help="the folder of the tuned model")
    parser.add_argument("--untuned", action="store_true", help="talk to the model as it comes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.model or Path(folder, "calendar-tuned")
        agent = CalendarAgent(LLM.from_pretrained("calendar") if given.untuned else tuned(path, given.steps))
        try:
            agent.run()
        finally:
            agent.close()


if __name__ == "__main__":
    try:
        main()
    except LLMAgentOSError as error:
        sys.exit(f"error: {error}")
