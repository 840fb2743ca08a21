/** A conversation with an agent: its turns as the server keeps them, and the one that is being answered. */
import { ask, events, pause, query, Refused } from './api';
import type { Question } from './inbox.svelte';

export interface Called {
  seq?: number;
  tool: string;
  arguments?: unknown;
  result?: string;
  cut?: boolean;
  outcome?: string;
  seconds?: number;
  error?: string | null;
  origins?: string[];
  labels?: string[];
}

export interface Part {
  type: string;
  text?: string;
  blob?: string;
  name?: string;
  mime?: string;
}

export interface Citation {
  number: number;
  source: string;
  title: string;
  begin: number;
  end: number;
  text: string;
}

export interface Reply {
  text: string;
  parts: Part[];
  finish?: string;
  model?: string;
  usage?: { input_tokens: number; output_tokens: number; cached_tokens: number; money: number };
  citations?: Citation[];
  stopped?: string;
}

export interface Turn {
  turn: number;
  seq: number;
  at: number;
  said: string[];
  task: string | null;
  from: string;
  origins: string[];
  calls: Called[];
  reply: Reply | null;
  error: string | null;
  rewind: boolean;
  seconds: number;
  speed: number;
  first: number;
}

interface Told {
  pid: number | null;
  status: string | null;
  turns: Turn[];
  earlier: number | null;
}

/** What is being answered now. */
export interface Live {
  task: string;
  said: string;
  text: string;
  calls: Called[];
  questions: Question[];
  note: string;
  began: number;
  broken: boolean;
}

const STUBBORN = 1500; // milliseconds between two tries to hear the rest of an answer
const KEPT = 400; // turns that are held at most

export class Talk {
  turns = $state<Turn[]>([]);
  earlier = $state<number | null>(null);
  pid = $state<number | null>(null);
  status = $state<string | null>(null);
  live = $state<Live | null>(null);
  trouble = $state('');
  loaded = $state(false);
  private leaving = new AbortController();

  constructor(
    readonly agent: string,
    readonly session: string,
  ) {}

  private get path() {
    return `/v1/agents/${encodeURIComponent(this.agent)}/sessions/${encodeURIComponent(this.session)}`;
  }

  /** Leave: nothing is listened to any more; what is worked on goes on. */
  leave(): void {
    this.leaving.abort();
  }

  /** Read the newest turns; one that is worked on is listened to. */
  async load(): Promise<void> {
    const told = await ask<Told>(this.path);
    [this.pid, this.status] = [told.pid, told.status];
    const first = told.turns[0]?.seq ?? Infinity;
    const before = this.turns.filter((each) => each.seq < first && told.earlier !== null);
    this.turns = kept([...before, ...told.turns]).slice(-KEPT);
    if (!before.length) this.earlier = told.earlier;
    this.loaded = true;
    const last = told.turns.at(-1);
    if (last && !last.reply && last.task && !this.live) void this.hear(last.task, last.said.join('\n'), null);
  }

  /** Read what was said before. */
  async more(): Promise<void> {
    if (this.earlier === null) return;
    const told = await ask<Told>(`${this.path}?${query({ before: this.earlier })}`);
    this.turns = kept([...told.turns, ...this.turns]);
    this.earlier = told.earlier;
  }

  async say(text: string): Promise<void> {
    await this.hear(crypto.randomUUID(), text, { text, session: this.session, stream: true, calls: true });
  }

  /** Take the last message and its answer back; returns what it was. */
  async rewind(): Promise<string> {
    const path = `/v1/agents/${encodeURIComponent(this.agent)}/messages`;
    const told = await ask<{ reply: { rewound: { text: string } } | null }>(path, {
      body: { body: { rewind: true }, session: this.session },
    });
    if (!told.reply) throw new Refused(409, `${this.agent} is still at work; stop it first`);
    await this.load();
    return told.reply.rewound.text;
  }

  /** Stop the answer that is being made. */
  async stop(): Promise<void> {
    if (!this.live) return;
    await ask(`/v1/tasks/${this.live.task}`, { method: 'DELETE' }).catch((error: unknown) => {
      if (!(error instanceof Refused) || ![404, 409].includes(error.status)) throw error;
    });
  }

  /** Send a message, or hear one that was sent before, until there is its reply, whatever breaks on the way. */
  private async hear(task: string, said: string, body: object | null): Promise<void> {
    this.trouble = '';
    this.live = { task, said, text: '', calls: [], questions: [], note: '', began: Date.now() / 1000, broken: false };
    try {
      for (let first = true; !this.leaving.signal.aborted && !(await this.attempt(task, body, first)); first = false) await pause(STUBBORN);
    } finally {
      if (!this.leaving.signal.aborted) {
        await this.load().catch(() => {});
        this.live = null;
      }
    }
  }

  private async attempt(task: string, body: object | null, first: boolean): Promise<boolean> {
    try {
      return body ? await this.stream(task, body) : await this.wait(task, first ? 0 : 2); // first how it stands, then its end
    } catch (error) {
      if (this.leaving.signal.aborted) return true;
      const again = !(error instanceof Refused) || [0, 401, 502, 503].includes(error.status);
      if (!again) this.trouble = (error as Error).message;
      else if (this.live) Object.assign(this.live, { broken: true, note: '', text: '', calls: [], questions: [] });
      return !again;
    }
  }

  private async stream(task: string, body: object): Promise<boolean> {
    const path = `/v1/agents/${encodeURIComponent(this.agent)}/messages`;
    const headers = { 'Idempotency-Key': task }; // the same task, however often it is sent
    for await (const batch of events(path, { body, headers, signal: this.leaving.signal })) {
      if (this.live?.broken) this.live.broken = false;
      let text = '';
      for (const each of batch) {
        if (each.name === 'chunk') text += JSON.parse(each.data).text;
        else if (each.name && this.take(each.name, JSON.parse(each.data))) return true;
      }
      if (this.live && text) {
        this.live.text += text;
        this.live.note = '';
      }
    }
    throw new Refused(0, 'the answer broke off');
  }

  /** Take an event; true for the last one. */
  private take(name: string, data: Record<string, any>): boolean {
    const live = this.live!;
    if (name === 'calling') live.calls.push({ tool: data.tool, arguments: data.arguments });
    else if (name === 'reading') live.note = `${data.read} / ${data.of}`;
    else if (name === 'waiting') live.note = data.text;
    else if (name === 'question') live.questions.push(data as Question);
    else if (name === 'answered') live.questions = live.questions.filter((each) => each.id !== data.id);
    else if (name === 'error') this.trouble = data.error.message;
    if (name === 'reply') live.text = data.text;
    return name === 'reply' || name === 'error';
  }

  private async wait(task: string, seconds: number): Promise<boolean> {
    const path = `/v1/tasks/${encodeURIComponent(task)}?${query({ wait: seconds })}`;
    const told = await ask<{ done: boolean; questions: Question[]; waiting: string | null }>(path, {
      signal: this.leaving.signal,
    });
    if (this.live) Object.assign(this.live, { questions: told.questions, note: told.waiting ?? '', broken: false });
    return told.done;
  }
}

/** Turns that still count: a rewind takes back itself and the one before it. */
function kept(turns: Turn[]): Turn[] {
  const found: Turn[] = [];
  for (const each of turns) {
    if (each.rewind) found.pop();
    else found.push(each);
  }
  return found;
}
