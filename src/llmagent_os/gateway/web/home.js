// The page at `/`: how the system is, and, for who has logged in, what runs on it.
import { ask, element, prose, table } from "/web/web.js";

const at = (id) => document.getElementById(id);
const EVERY = 3000; // milliseconds between two looks
const LATEST = 50; // processes shown

// What somebody else wrote: no character turns others around, hides them, or is not seen.
const visible = (text) => String(text).replace(
  /[\p{C}\p{Zl}\p{Zp}\u00a0\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]/gu,
  (each) => `\\u{${each.codePointAt(0).toString(16)}}`,
);

const PARTS = {
  questions: ["/v1/approvals", (found) => table(
    ["agent", "wants", "because"],
    (found.approvals ?? found).map((each) => [
      each.agent, `${each.tool} ${JSON.stringify(each.arguments)}`, each.why,
    ].map(visible)),
    "nobody waits for an answer; `llmagent-os approvals` answers in a terminal",
  )],
  processes: ["/v1/processes", (found) => table(
    ["pid", "name", "status", "turns", "tokens", "why"],
    (found.processes ?? found).filter((each) => !["done", "stopped"].includes(each.status)).slice(-LATEST).map((each) => [
      each.pid, each.name ?? each.program, each.status, each.turns,
      each.usage.input_tokens + each.usage.output_tokens, each.reason,
    ]),
    "none",
  )],
  agents: ["/v1/agents", (found) => table(
    ["name", "model", "what for"], (found.agents ?? found).map((each) => [each.name, each.model, each.description]),
    "none yet; `llmagent-os agents create` makes one",
  )],
  models: ["/v1/models", (found) => table(["name"], found.data.map((each) => [each.id]), "none")],
};

async function look() {
  try {
    const health = await ask("/health");
    const wrong = Object.entries(health.parts).filter(([, why]) => why).map(([part, why]) => `${part}: ${why}`);
    at("health").textContent = wrong.length ? wrong.join("; ") : "runs well";
    at("health").className = health.status;
  } catch {
    at("health").textContent = "does not answer";
    at("health").className = "red";
    return;
  }
  let inside = true;
  for (const [id, [path, shown]] of Object.entries(PARTS)) {
    try {
      at(id).replaceChildren(shown(await ask(path)));
    } catch (error) {
      if (error.status === 401) { inside = false; break; }
      at(id).replaceChildren(element("p", { class: "muted" }, ...prose(error.message))); // what this key may not see
    }
  }
  at("login").hidden = inside;
  at("inside").hidden = at("leave").hidden = !inside;
}

at("base").textContent = `${location.origin}/v1`;
at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("refused").textContent = "";
  try {
    await ask("/v1/login", "POST", undefined, { Authorization: `Bearer ${at("key").value.trim()}` });
    at("key").value = "";
    await look();
  } catch (error) {
    at("refused").textContent = error.message;
  }
});
at("leave").addEventListener("click", async () => { await ask("/v1/login", "DELETE"); await look(); });

const again = async () => { if (!document.hidden) await look(); setTimeout(again, EVERY); };
again();
