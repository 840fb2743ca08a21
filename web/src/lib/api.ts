/** Asking the server: JSON in and out, its own words as errors, and streams of events. */

export type Json = unknown;

/** What the server answered instead; `status` 0 means that nobody answered. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly kind = '',
  ) {
    super(message);
  }
}

export interface Options {
  method?: string;
  body?: Json;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

async function reach(path: string, options: Options): Promise<Response> {
  const headers = { ...options.headers };
  const init: RequestInit = { method: options.method ?? (options.body === undefined ? 'GET' : 'POST'), headers };
  if (options.body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(options.body);
  }
  if (options.signal) init.signal = options.signal;
  try {
    return await fetch(path, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refused(0, 'the system does not answer');
  }
}

async function refusal(answer: Response): Promise<Refused> {
  const text = await answer.text().catch(() => '');
  try {
    const told = JSON.parse(text).error;
    return new Refused(answer.status, String(told.message), String(told.type));
  } catch {
    return new Refused(answer.status, text || answer.statusText);
  }
}

/** Ask for JSON; throws Refused. */
export async function ask<T>(path: string, options: Options = {}): Promise<T> {
  const answer = await reach(path, options);
  if (!answer.ok && !(path === '/health' && answer.status === 503)) throw await refusal(answer);
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as T;
}

export interface ServerEvent {
  id: string;
  name: string;
  data: string;
}

/** The events of an answer as they come, also the comments (with no name): they show that somebody is there. */
export async function* events(path: string, options: Options = {}): AsyncGenerator<ServerEvent[]> {
  const answer = await reach(path, options);
  if (!answer.ok) throw await refusal(answer);
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let kept = '';
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      if (options.signal?.aborted) throw error;
      throw new Refused(0, 'the connection broke');
    });
    if (done) return;
    const parts = (kept + value).split('\n\n');
    kept = parts.pop()!;
    if (parts.length) yield parts.map(parsed);
  }
}

function parsed(part: string): ServerEvent {
  const found = { id: '', name: '', data: '' };
  for (const line of part.split('\n')) {
    if (line.startsWith('data: ')) found.data += line.slice(6);
    else if (line.startsWith('event: ')) found.name = line.slice(7);
    else if (line.startsWith('id: ')) found.id = line.slice(4);
  }
  return found;
}

export const query = (values: Record<string, string | number | boolean | undefined>) =>
  new URLSearchParams(
    Object.entries(values)
      .filter(([, value]) => value !== undefined && value !== '')
      .map(([key, value]) => [key, String(value)]),
  ).toString();

export const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
