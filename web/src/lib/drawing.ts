/** A flow as it is drawn: nodes with places, edges, layers; never changed in place, so that undoing is going back. */

export type Work = Record<string, unknown>;

export interface Box {
  id: string;
  work: Work;
  x: number;
  y: number;
}

export interface Edge {
  from: string;
  to: string;
  when?: unknown;
  value?: unknown;
  limit?: number;
}

export interface Drawing {
  boxes: Readonly<Record<string, Box>>;
  edges: readonly Edge[];
  rest: Work; // what else the flow says: result, takes, gives ...
}

export const WIDE = 168;
export const TALL = 52;
const ACROSS = WIDE + 72;
const DOWN = TALL + 26;
const SWEEPS = 8;
export const KINDS = ['agent', 'tool', 'function', 'human', 'similar'] as const;
export type Kind = (typeof KINDS)[number];

export const kind = (work: Work): Kind => KINDS.find((each) => each in work) ?? 'function';
export const empty: Drawing = { boxes: {}, edges: [], rest: {} };

interface Told {
  nodes: Record<string, Work>;
  edges?: Edge[];
  [name: string]: unknown;
}

/** A drawing of a flow's graph as the server gives it; where places are missing, all are laid out. */
export function drawn(told: Told): Drawing {
  const { nodes, edges = [], ...rest } = told;
  const boxes: Record<string, Box> = {};
  let placed = true;
  for (const [id, { at, ...work }] of Object.entries(nodes)) {
    const [x, y] = Array.isArray(at) ? (at as [number, number]) : [NaN, NaN];
    placed &&= Number.isFinite(x) && Number.isFinite(y);
    boxes[id] = { id, work, x, y };
  }
  const made = { boxes, edges, rest };
  return placed ? made : laid(made);
}

/** The graph of a drawing, for the server. */
export function told(drawing: Drawing): Told {
  const nodes = Object.fromEntries(
    Object.values(drawing.boxes).map(({ id, work, x, y }) => [id, { ...work, at: [Math.round(x), Math.round(y)] }]),
  );
  return { nodes, ...(drawing.edges.length ? { edges: [...drawing.edges] } : {}), ...drawing.rest };
}

/** The drawing with each node in the layer after those before it, ordered so that few edges cross. */
export function laid(drawing: Drawing): Drawing {
  const ids = Object.keys(drawing.boxes);
  const edges = drawing.edges.filter((each) => each.limit === undefined && drawing.boxes[each.from] && drawing.boxes[each.to]);
  const layer = layers(ids, edges);
  const rows: string[][] = [];
  for (const id of ids) (rows[layer.get(id)!] ??= []).push(id);
  const up = new Map<string, string[]>();
  const down = new Map<string, string[]>();
  let extra = 0;
  const join = (from: string, to: string) => {
    (down.get(from) ?? down.set(from, []).get(from)!).push(to);
    (up.get(to) ?? up.set(to, []).get(to)!).push(from);
  };
  for (const { from, to } of edges) {
    let last = from;
    for (let n = layer.get(from)! + 1; n < layer.get(to)!; n++) {
      const between = `\0${extra++}`; // an edge over several layers has its place in each
      rows[n]!.push(between);
      join(last, between);
      last = between;
    }
    join(last, to);
  }
  const place = new Map<string, number>();
  rows.forEach((row) => row.forEach((id, n) => place.set(id, n)));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const [order, beside] = sweep % 2 ? [[...rows].reverse(), down] : [rows, up];
    for (const row of order) {
      const middle = new Map(row.map((id) => [id, mean(beside.get(id)?.map((each) => place.get(each)!) ?? [], place.get(id)!)]));
      row.sort((a, b) => middle.get(a)! - middle.get(b)!);
      row.forEach((id, n) => place.set(id, n));
    }
  }
  const boxes = { ...drawing.boxes };
  rows.forEach((row, x) => row.forEach((id, n) => {
    const box = boxes[id];
    if (box) boxes[id] = { ...box, x: x * ACROSS, y: (n - (row.length - 1) / 2) * DOWN };
  }));
  return { ...drawing, boxes };
}

const mean = (values: number[], otherwise: number) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : otherwise);

/** The longest way to each node, counted in edges; what lies on a circle is broken off where it is met again. */
function layers(ids: string[], edges: Edge[]): Map<string, number> {
  const left = new Map(ids.map((id) => [id, 0]));
  const after = new Map<string, string[]>();
  for (const { from, to } of edges) {
    left.set(to, left.get(to)! + 1);
    (after.get(from) ?? after.set(from, []).get(from)!).push(to);
  }
  const found = new Map<string, number>();
  const todo = ids.filter((id) => !left.get(id));
  todo.forEach((id) => found.set(id, 0));
  for (let n = 0; n < todo.length; n++) {
    for (const to of after.get(todo[n]!) ?? []) {
      found.set(to, Math.max(found.get(to) ?? 0, found.get(todo[n]!)! + 1));
      left.set(to, left.get(to)! - 1);
      if (!left.get(to)) todo.push(to);
    }
  }
  for (const id of ids) if (!found.has(id) || left.get(id)) found.set(id, found.get(id) ?? 0);
  return found;
}

// -- changes, each of which gives another drawing

export function moved(drawing: Drawing, ids: Iterable<string>, dx: number, dy: number): Drawing {
  const boxes = { ...drawing.boxes };
  for (const id of ids) {
    const box = boxes[id];
    if (box) boxes[id] = { ...box, x: box.x + dx, y: box.y + dy };
  }
  return { ...drawing, boxes };
}

export function added(drawing: Drawing, x: number, y: number, work: Work = { function: 'text' }): [Drawing, string] {
  let n = Object.keys(drawing.boxes).length + 1;
  while (drawing.boxes[`step${n}`]) n++;
  const id = `step${n}`;
  while (Object.values(drawing.boxes).some((box) => Math.abs(box.x - x) < 60 && Math.abs(box.y - y) < 60)) y += 100; // where nothing is
  return [{ ...drawing, boxes: { ...drawing.boxes, [id]: { id, work, x, y } } }, id];
}

export function removed(drawing: Drawing, ids: ReadonlySet<string>): Drawing {
  const boxes = Object.fromEntries(Object.entries(drawing.boxes).filter(([id]) => !ids.has(id)));
  return { ...drawing, boxes, edges: drawing.edges.filter(({ from, to }) => !ids.has(from) && !ids.has(to)) };
}

/** With an edge more; one that would lead in a circle leads back, once. */
export function joined(drawing: Drawing, from: string, to: string): Drawing {
  if (from === to || drawing.edges.some((each) => each.from === from && each.to === to)) return drawing;
  const edge: Edge = reaches(drawing, to, from) ? { from, to, limit: 1 } : { from, to };
  return { ...drawing, edges: [...drawing.edges, edge] };
}

function reaches(drawing: Drawing, from: string, to: string): boolean {
  const seen = new Set<string>();
  const todo = [from];
  while (todo.length) {
    const id = todo.pop()!;
    if (id === to) return true;
    if (seen.has(id)) continue;
    seen.add(id);
    for (const each of drawing.edges) if (each.from === id && each.limit === undefined) todo.push(each.to);
  }
  return false;
}

export const parted = (drawing: Drawing, edge: Edge): Drawing => ({ ...drawing, edges: drawing.edges.filter((each) => each !== edge) });

export const worked = (drawing: Drawing, id: string, work: Work): Drawing => ({
  ...drawing,
  boxes: { ...drawing.boxes, [id]: { ...drawing.boxes[id]!, work } },
});

/** With another name for a node, where it stands in edges too, and in templates as `${name}` and `${name.`. */
export function renamed(drawing: Drawing, id: string, name: string): Drawing {
  const swap = (each: string) => (each === id ? name : each);
  const boxes = Object.fromEntries(
    Object.values(drawing.boxes).map((box) => {
      const text = JSON.stringify(box.work).replaceAll(`\${${id}}`, `\${${name}}`).replaceAll(`\${${id}.`, `\${${name}.`);
      return [swap(box.id), { ...box, id: swap(box.id), work: JSON.parse(text) as Work }];
    }),
  );
  const edges = drawing.edges.map((each) => ({ ...each, from: swap(each.from), to: swap(each.to) }));
  return { ...drawing, boxes, edges };
}

// -- YAML, as far as JSON's values need it

const SAFE = /^[A-Za-z_][\w /.@-]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n)$/i;
const scalar = (value: unknown): string =>
  typeof value === 'string' && SAFE.test(value) && !WORDS.test(value) && value.trim() === value ? value : JSON.stringify(value);

/** A value as YAML, in blocks. */
export function yaml(value: unknown, indent = ''): string {
  if (Array.isArray(value) && value.length) {
    if (value.every((each) => typeof each !== 'object')) return `[${value.map((each) => JSON.stringify(each)).join(', ')}]`;
    return value.map((each) => `\n${indent}- ${yaml(each, `${indent}  `).replace(/^\n\s*/, '')}`).join('');
  }
  if (value && typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length) {
    return Object.entries(value)
      .map(([key, each]) => {
        const text = yaml(each, `${indent}  `);
        return `\n${indent}${scalar(key)}:${text.startsWith('\n') ? '' : ' '}${text}`;
      })
      .join('');
  }
  return scalar(value);
}
