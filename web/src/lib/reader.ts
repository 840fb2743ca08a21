/** The one stream of events that a browser has: it goes on after the last event it saw, whatever breaks. */
import { events, pause, Refused } from './api';

/** A finished call, without what was said. */
export interface Row {
  n: number;
  pid: number;
  seq: number;
  turn: number;
  name: string;
  outcome: string;
  principal: string;
  origins: string[];
  decision: Record<string, unknown>;
  input_tokens: number;
  output_tokens: number;
  money: number;
  started: number;
  seconds: number;
  waited: number;
}

/** `live`; `broken`: it is tried again; `out`: nobody is logged in. */
export type State = 'connecting' | 'live' | 'broken' | 'out';
export type News = { kind: 'state'; state: State; last: number } | { kind: 'rows'; rows: Row[] };

const BEAT = 10; // seconds without an event after which the server shows that it is there
const SILENCE = 25_000; // milliseconds of silence after which the connection counts as broken
const SOONEST = 300;
const LATEST = 4000; // milliseconds between two tries

export class Reader {
  private last = 0;
  private state: State = 'connecting';
  private woken = () => {};
  private stopped = false;

  constructor(private readonly tell: (news: News) => void) {}

  get now(): News {
    return { kind: 'state', state: this.state, last: this.last };
  }

  /** Try again at once: somebody has logged in, or wants to know. */
  again(): void {
    this.woken();
  }

  stop(): void {
    this.stopped = true;
    this.woken();
  }

  async run(): Promise<void> {
    let wait = SOONEST;
    while (!this.stopped) {
      try {
        await this.follow();
        wait = SOONEST;
      } catch (error) {
        const status = error instanceof Refused ? error.status : 0;
        if (status === 400) this.last = 0; // another journal than before: from now on
        this.set(status === 401 || status === 403 ? 'out' : 'broken');
      }
      const asleep = this.state === 'out' ? LATEST * 5 : wait;
      await Promise.race([pause(asleep), new Promise<void>((resolve) => (this.woken = resolve))]);
      wait = Math.min(wait * 2, LATEST);
    }
  }

  private async follow(): Promise<void> {
    const stopping = new AbortController();
    const late = () => stopping.abort();
    let timer = setTimeout(late, SILENCE);
    const headers: Record<string, string> = this.last ? { 'Last-Event-ID': String(this.last) } : {};
    try {
      for await (const found of events(`/v1/events?heartbeat=${BEAT}`, { headers, signal: stopping.signal })) {
        clearTimeout(timer);
        timer = setTimeout(late, SILENCE);
        const rows = [];
        for (const each of found) {
          if (each.id) this.last = Number(each.id);
          if (each.data) rows.push(JSON.parse(each.data) as Row);
        }
        this.set('live');
        if (rows.length) this.tell({ kind: 'rows', rows });
      }
    } finally {
      clearTimeout(timer);
    }
    this.set('broken');
  }

  private set(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.tell(this.now);
  }
}
