// What both pages need: to ask this system, with the cookie of who logged in, and to put text into the page.

/** Ask for JSON; throws an Error with the server's own words, whose `status` is that of the answer. */
export async function ask(path, method = "GET", body = undefined, headers = {}) {
  const sent = body === undefined ? headers : { ...headers, "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers: sent, body });
  const text = await answer.text();
  let found = null;
  try { found = text ? JSON.parse(text) : null; } catch { /* not JSON: shown as it is */ }
  if (answer.ok || path === "/health") return found ?? text;
  const error = new Error(found?.error?.message ?? (text || answer.statusText));
  error.status = answer.status;
  throw error;
}

/** An element with attributes and children. Text goes in as text, never as markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined).map((c) => c instanceof Node ? c : String(c)));
  return made;
}

/** Text with what stands in backticks as code. */
export function prose(text) {
  return text.split("`").map((part, n) => n % 2 ? element("code", {}, part) : part);
}

/** A table of rows, or a word in its stead. */
export function table(head, rows, none) {
  if (!rows.length) return element("p", { class: "muted" }, ...prose(none));
  const line = (cells, kind) => element("tr", {}, ...cells.map((cell) => element(kind, {}, cell ?? "")));
  return element("table", {}, element("thead", {}, line(head, "th")), element("tbody", {}, ...rows.map((r) => line(r, "td"))));
}
