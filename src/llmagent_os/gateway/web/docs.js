// The page `/docs`: what `/openapi.json` says, readable and to be tried out, without anything from elsewhere.
import { ask, element, prose, table } from "/web/web.js";

const DEPTH = 6; // levels of a schema that are written out
let all = {};

/** A schema as an example of what it describes. */
function example(schema, depth = 0) {
  if (!schema || depth > DEPTH) return null;
  if (schema.$ref) return example(all.components.schemas[schema.$ref.split("/").pop()], depth + 1);
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.enum) return schema.enum[0];
  const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (options) return example(options.find((each) => each.type !== "null"), depth);
  if (schema.properties) {
    const needed = new Set(schema.required ?? []);
    const shown = Object.entries(schema.properties).filter(([name]) => needed.has(name) || !needed.size);
    return Object.fromEntries(shown.map(([name, each]) => [name, example(each, depth + 1)]));
  }
  if (schema.type === "array") return [example(schema.items, depth + 1)].filter((each) => each !== null);
  return { string: "", integer: 0, number: 0, boolean: false, object: {} }[schema.type] ?? null;
}

/** A type in a word or two. */
function kind(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map(kind).join(" | ");
  return schema.type === "array" ? `list of ${kind(schema.items)}` : schema.type ?? "any";
}

/** The fields of a body, by the schema that describes it. */
function fields(schema) {
  const named = schema?.$ref ? all.components.schemas[schema.$ref.split("/").pop()] : schema;
  const rows = Object.entries(named?.properties ?? {}).map(([name, each]) => [
    name, kind(each), (named.required ?? []).includes(name) ? "required" : JSON.stringify(each.default ?? null), each.description,
  ]);
  return table(["field", "type", "without it", "what it says"], rows, "any JSON object");
}

/** What an operation does, in a sentence. */
function first(one) {
  return (one.description ?? one.summary ?? "").split(/[.;]\s/)[0].replaceAll("\n", " ");
}

function operation(path, verb, one) {
  const places = (one.parameters ?? []).filter((each) => ["path", "query"].includes(each.in));
  const schema = one.requestBody?.content?.["application/json"]?.schema;
  const inputs = Object.fromEntries(places.map((each) => [each.name, element("input", { "aria-label": each.name, placeholder: each.name })]));
  const body = schema ? element("textarea", { "aria-label": "body", spellcheck: "false" }) : null;
  if (body) body.value = JSON.stringify(example(schema), null, 2);
  const output = element("pre", { hidden: "" });
  const send = element("button", {}, "Send");
  send.addEventListener("click", async () => {
    const filled = path.replace(/{(\w+)(:path)?}/g, (_, name) => encodeURIComponent(inputs[name]?.value ?? ""));
    const query = new URLSearchParams(places.filter((p) => p.in === "query" && inputs[p.name].value).map((p) => [p.name, inputs[p.name].value]));
    output.hidden = false;
    output.textContent = "...";
    try {
      const found = await ask(`${filled}${query.size ? `?${query}` : ""}`, verb.toUpperCase(), body?.value);
      output.textContent = typeof found === "string" ? found : JSON.stringify(found, null, 2);
    } catch (error) {
      output.textContent = `${error.status ?? ""} ${error.message}`;
    }
  });
  const rows = places.map((each) => [each.name, each.in, kind(each.schema), each.required ? "required" : "", inputs[each.name]]);
  return element(
    "details", {},
    element("summary", {}, element("span", { class: "verb" }, verb.toUpperCase()), element("code", {}, path), " ", ...prose(first(one))),
    one.description ? element("p", {}, ...prose(one.description)) : null,
    rows.length ? table(["parameter", "in", "type", "", "value"], rows, "") : null,
    schema ? fields(schema) : null, body, element("p", {}, send), output,
  );
}

function show(found) {
  all = found;
  const groups = new Map();
  for (const [path, verbs] of Object.entries(found.paths)) {
    for (const [verb, one] of Object.entries(verbs)) {
      const tag = one.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(path, verb, one)]);
    }
  }
  document.getElementById("about").textContent = `version ${found.info.version}`;
  const sections = [...groups].sort(([a], [b]) => a.localeCompare(b)).map(([tag, made]) => element("section", {}, element("h2", {}, tag), ...made));
  document.getElementById("paths").replaceChildren(element("p", {}, ...prose(found.info.description)), ...sections);
}

ask("/openapi.json").then(show, (error) => {
  const login = error.status === 401 ? element("a", { href: "/" }, "Log in first.") : "";
  document.getElementById("about").replaceChildren(error.status === 401 ? "" : error.message, login);
});
