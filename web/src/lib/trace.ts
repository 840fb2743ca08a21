/** A trace as rows in the order of a tree, and a scale of time in which idle stretches are short. */

export interface Span {
  n: number;
  pid: number;
  seq: number;
  turn: number;
  name: string;
  outcome: string;
  started: number;
  seconds: number;
  waited: number;
  input: number;
  output: number;
  money: number;
  doubted: boolean;
  about: string;
}

export interface Below {
  pid: number;
  parent: number;
  name: string | null;
  status: string;
}

export interface Told {
  fields: (keyof Span)[];
  spans: unknown[][];
  more: boolean;
  processes: Below[];
}

export const spans = (told: Told): Span[] =>
  told.spans.map((values) => Object.fromEntries(told.fields.map((field, n) => [field, values[n]])) as unknown as Span);

export interface Line {
  depth: number;
  process?: Below & { began: number; ended: number; calls: number; failed: number };
  span?: Span;
}

export interface Wanted {
  text: string;
  failed: boolean;
  quiet: boolean; // without what only says that a turn ended or how long a prompt is
  folded: ReadonlySet<number>;
}

const QUIET = new Set(['idle', 'measure', 'receive', 'exit']);
export const bad = (span: Span) => span.outcome !== 'ok';

/** The lines of a trace: each process, its calls as they began, and where it made another one that one. */
export function lines(all: Span[], processes: Below[], root: number, wanted: Wanted): Line[] {
  const mine = new Map<number, Span[]>();
  for (const span of all) {
    const list = mine.get(span.pid);
    if (list) list.push(span);
    else mine.set(span.pid, [span]);
  }
  const children = new Map<number, Below[]>();
  for (const each of processes) {
    if (each.pid === root) continue;
    children.set(each.parent, [...(children.get(each.parent) ?? []), each]);
  }
  const text = wanted.text.toLowerCase();
  const fits = (span: Span) =>
    (!wanted.failed || bad(span)) &&
    (!wanted.quiet || !QUIET.has(span.name)) &&
    (!text || span.name.includes(text) || span.about.toLowerCase().includes(text));
  const narrowed = Boolean(text || wanted.failed);
  const made: Line[] = [];
  const seen = new Set<number>();

  const enter = (process: Below, depth: number): void => {
    if (seen.has(process.pid)) return;
    seen.add(process.pid);
    const calls = (mine.get(process.pid) ?? []).sort((a, b) => a.started - b.started || a.seq - b.seq);
    const place = made.length;
    const began = calls[0]?.started ?? 0;
    const ended = calls.reduce((latest, each) => Math.max(latest, each.started + each.seconds), began);
    made.push({ depth, process: { ...process, began, ended, calls: calls.length, failed: calls.filter(bad).length } });
    if (!wanted.folded.has(process.pid)) {
      const inside = [...(children.get(process.pid) ?? [])];
      for (const span of calls) {
        while (inside.length && (mine.get(inside[0]!.pid)?.[0]?.started ?? Infinity) < span.started) enter(inside.shift()!, depth + 1);
        if (fits(span)) made.push({ depth: depth + 1, span });
      }
      inside.forEach((each) => enter(each, depth + 1));
    }
    if (narrowed && made.length === place + 1) made.pop();
  };
  enter(processes.find((each) => each.pid === root) ?? { pid: root, parent: 0, name: null, status: '' }, 0);
  return made;
}

/** Where a moment stands between 0 and 1, when nothing happens for long only a little. */
export interface Scale {
  at: (moment: number) => number;
  gaps: { at: number; seconds: number }[];
  busy: number;
}

const GAP = 0.015; // of the whole width, for each idle stretch

export function scale(all: Span[]): Scale {
  const sorted = all.filter((each) => each.name !== 'idle').sort((a, b) => a.started - b.started);
  const parts: [number, number][] = [];
  for (const { started, seconds } of sorted) {
    const last = parts.at(-1);
    if (last && started <= last[1]) last[1] = Math.max(last[1], started + seconds);
    else parts.push([started, started + seconds]);
  }
  const total = parts.reduce((sum, [from, until]) => sum + until - from, 0) || 1e-6;
  const merged: [number, number][] = [];
  for (const part of parts) {
    const last = merged.at(-1);
    if (last && part[0] - last[1] < Math.max(total * 0.05, 0.001)) last[1] = part[1];
    else merged.push([...part]);
  }
  const busy = merged.reduce((sum, [from, until]) => sum + until - from, 0) || 1e-6;
  const idle = Math.min(0.5, GAP * Math.max(0, merged.length - 1));
  const each = merged.length > 1 ? idle / (merged.length - 1) : 0;
  const starts: number[] = [];
  let x = 0;
  for (const [from, until] of merged) {
    starts.push(x);
    x += ((until - from) / busy) * (1 - idle) + each;
  }
  const at = (moment: number): number => {
    let low = 0;
    let high = merged.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (merged[middle]![0] <= moment) low = middle;
      else high = middle - 1;
    }
    const part = merged[low];
    if (!part) return 0;
    const inside = Math.min(Math.max(moment, part[0]), part[1]) - part[0];
    return starts[low]! + (inside / busy) * (1 - idle);
  };
  const gaps = merged.slice(1).map(([from], n) => ({ at: starts[n + 1]! - each, seconds: from - merged[n]![1] }));
  return { at, gaps, busy };
}
