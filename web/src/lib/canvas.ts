/** Draws a flow, only what is in sight and only as much of it as can be read, and finds what lies at a place. */
import { kind, TALL, WIDE, type Box, type Drawing, type Edge } from './drawing';
import { visible } from './show';

export interface View {
  x: number;
  y: number;
  zoom: number;
}

export interface Look {
  chosen: ReadonlySet<string>;
  states: Readonly<Record<string, string>>;
  faulty: ReadonlySet<string>;
  wire: { from: string; x: number; y: number } | null;
  frame: { x: number; y: number; toX: number; toY: number } | null;
}

const CELL = 512;
const READABLE = 0.45; // zoom below which no text is drawn
const SHAPED = 0.16; // and below which boxes are plain

/** Which boxes lie in which cell of a grid. */
export class Grid {
  private readonly cells = new Map<string, Box[]>();

  constructor(boxes: Iterable<Box>) {
    for (const box of boxes) {
      for (const key of keys(box.x, box.y, box.x + WIDE, box.y + TALL)) {
        const cell = this.cells.get(key);
        if (cell) cell.push(box);
        else this.cells.set(key, [box]);
      }
    }
  }

  within(left: number, top: number, right: number, bottom: number): Set<Box> {
    const found = new Set<Box>();
    for (const key of keys(left, top, right, bottom))
      for (const box of this.cells.get(key) ?? [])
        if (box.x < right && box.x + WIDE > left && box.y < bottom && box.y + TALL > top) found.add(box);
    return found;
  }

  at(x: number, y: number): Box | undefined {
    return [...this.within(x, y, x + 0.01, y + 0.01)].pop();
  }
}

function* keys(left: number, top: number, right: number, bottom: number): Generator<string> {
  for (let x = Math.floor(left / CELL); x <= Math.floor(right / CELL); x++)
    for (let y = Math.floor(top / CELL); y <= Math.floor(bottom / CELL); y++) yield `${x},${y}`;
}

export type Colours = Record<'paper' | 'card' | 'line' | 'ink' | 'dim' | 'accent' | 'good' | 'bad' | 'held' | 'soft', string>;

/** The page's colours now; `light-dark()` is resolved by the browser. */
export function colours(element: HTMLElement): Colours {
  const probe = document.createElement('i');
  element.append(probe);
  const names = ['paper', 'card', 'line', 'ink', 'dim', 'accent', 'good', 'bad', 'held', 'soft'] as const;
  const found = Object.fromEntries(
    names.map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    }),
  );
  probe.remove();
  return found as Colours;
}

const STATES: Record<string, keyof Colours> = { running: 'accent', waiting: 'dim', asks: 'held', done: 'good', failed: 'bad', undone: 'held' };

export function paint(
  context: CanvasRenderingContext2D, wide: number, tall: number, drawing: Drawing, grid: Grid, view: View, look: Look, colour: Colours,
): void {
  const ratio = devicePixelRatio;
  const { zoom } = view;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = colour.paper;
  context.fillRect(0, 0, wide, tall);
  context.setTransform(ratio * zoom, 0, 0, ratio * zoom, ratio * view.x, ratio * view.y);
  const [left, top, right, bottom] = [-view.x / zoom, -view.y / zoom, (wide - view.x) / zoom, (tall - view.y) / zoom];

  context.lineWidth = Math.min(1.5, 0.8 / zoom);
  context.strokeStyle = colour.dim;
  context.beginPath();
  const marked: Edge[] = [];
  for (const edge of drawing.edges) {
    const a = drawing.boxes[edge.from];
    const b = drawing.boxes[edge.to];
    if (!a || !b) continue;
    if (Math.max(a.x + WIDE, b.x + WIDE) < left || Math.min(a.x, b.x) > right || Math.max(a.y, b.y) + TALL < top || Math.min(a.y, b.y) > bottom) continue;
    if (edge.limit !== undefined || edge.when !== undefined || look.chosen.has(edge.from) || look.chosen.has(edge.to)) marked.push(edge);
    else line(context, a.x + WIDE, a.y + TALL / 2, b.x, b.y + TALL / 2, zoom > SHAPED);
  }
  context.stroke();
  for (const edge of marked) special(context, drawing, edge, look, colour, zoom);

  for (const box of grid.within(left, top, right, bottom)) node(context, box, look, colour, zoom);
  if (look.wire) {
    const from = drawing.boxes[look.wire.from]!;
    context.strokeStyle = colour.accent;
    context.beginPath();
    line(context, from.x + WIDE, from.y + TALL / 2, look.wire.x, look.wire.y, true);
    context.stroke();
  }
  if (look.frame) {
    const { x, y, toX, toY } = look.frame;
    context.strokeStyle = colour.accent;
    context.strokeRect(Math.min(x, toX), Math.min(y, toY), Math.abs(toX - x), Math.abs(toY - y));
  }
}

function line(context: CanvasRenderingContext2D, x: number, y: number, toX: number, toY: number, curved: boolean): void {
  const bend = Math.max(36, Math.abs(toX - x) / 2);
  context.moveTo(x, y);
  if (curved) context.bezierCurveTo(x + bend, y, toX - bend, toY, toX, toY);
  else context.lineTo(toX, toY);
}

function special(context: CanvasRenderingContext2D, drawing: Drawing, edge: Edge, look: Look, colour: Colours, zoom: number): void {
  const a = drawing.boxes[edge.from]!;
  const b = drawing.boxes[edge.to]!;
  const chosen = look.chosen.has(edge.from) || look.chosen.has(edge.to);
  context.strokeStyle = chosen ? colour.accent : edge.limit !== undefined ? colour.held : colour.dim;
  context.setLineDash(edge.limit !== undefined ? [6, 5] : []);
  context.beginPath();
  line(context, a.x + WIDE, a.y + TALL / 2, b.x, b.y + TALL / 2, true);
  context.stroke();
  context.setLineDash([]);
  const label = edge.limit !== undefined ? `≤ ${edge.limit}` : edge.when === undefined ? '' : edge.when === 'else' ? 'else' : JSON.stringify(edge.when);
  if (!label || zoom < READABLE) return;
  context.font = '11px system-ui';
  context.fillStyle = colour.dim;
  context.textAlign = 'center';
  context.fillText(visible(label.slice(0, 28)), (a.x + WIDE + b.x) / 2, (a.y + b.y + TALL) / 2 - 5);
}

function node(context: CanvasRenderingContext2D, box: Box, look: Look, colour: Colours, zoom: number): void {
  const state = look.states[box.id];
  const chosen = look.chosen.has(box.id);
  context.fillStyle = chosen ? colour.soft : colour.card;
  context.strokeStyle = look.faulty.has(box.id) ? colour.bad : chosen ? colour.accent : state ? colour[STATES[state] ?? 'line'] : colour.line;
  context.lineWidth = chosen || state || look.faulty.has(box.id) ? Math.max(2, 1.5 / zoom) : Math.max(1, 0.8 / zoom);
  if (zoom < SHAPED) {
    context.fillStyle = context.strokeStyle;
    context.fillRect(box.x, box.y, WIDE, TALL);
    return;
  }
  context.beginPath();
  context.roundRect(box.x, box.y, WIDE, TALL, 9);
  context.fill();
  context.stroke();
  if (zoom < READABLE) return;
  const what = kind(box.work);
  context.textAlign = 'left';
  context.fillStyle = colour.ink;
  context.font = '600 13px system-ui';
  context.fillText(short(box.id, 20), box.x + 12, box.y + 22, WIDE - 24);
  context.fillStyle = colour.dim;
  context.font = '12px system-ui';
  context.fillText(short(`${what} ${String(box.work[what] ?? '')}`, 27), box.x + 12, box.y + 40, WIDE - 24);
  context.fillStyle = state ? colour[STATES[state] ?? 'dim'] : colour.dim;
  context.beginPath();
  context.arc(box.x + WIDE, box.y + TALL / 2, 4.5, 0, 7);
  context.fill();
}

function short(text: string, most: number): string {
  const shown = visible(text);
  return shown.length > most ? `${shown.slice(0, most - 1)}…` : shown;
}
