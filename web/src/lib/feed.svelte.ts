/** The events of the system, and how the connection to it is. */
import { Reader, type News, type Row, type State } from './reader';

const policy = (
  globalThis as unknown as {
    trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } };
  }
).trustedTypes?.createPolicy('llmagent-os', {
  createScriptURL(url: string) {
    if (url !== WORKER) throw new TypeError(`${url} is no script of ours`);
    return url;
  },
});
const WORKER = '/desktop/feed.js';

export const link = $state<{ state: State }>({ state: 'connecting' });

const listeners = new Set<(rows: Row[]) => void>();
const mended = new Set<() => void>();
let wake = () => {};

function take(news: News): void {
  if (news.kind === 'rows') {
    listeners.forEach((each) => each(news.rows));
  } else {
    const before = link.state;
    link.state = news.state;
    if (news.state === 'live' && before !== 'live') mended.forEach((each) => each());
  }
}

/** Begin to listen: through the worker that all tabs share, or by ourselves where a browser has none. */
export function listen(): void {
  if (typeof SharedWorker === 'undefined') {
    const reader = new Reader(take);
    wake = () => reader.again();
    void reader.run();
    return;
  }
  const url = policy ? policy.createScriptURL(WORKER) : WORKER;
  const worker = new SharedWorker(url, { name: 'llmagent-os', type: 'module' });
  worker.port.onmessage = (event: MessageEvent<News>) => take(event.data);
  worker.port.start();
  wake = () => worker.port.postMessage('again');
  addEventListener('pagehide', () => worker.port.postMessage('bye'));
  addEventListener('pageshow', (event) => event.persisted && location.reload());
}

/** Somebody has logged in, or wants to know: try at once. */
export const again = () => wake();

/**
 * Call `look` now, when the connection comes back, and soon after events that `meant` says it is about; at most once in
 * `every` milliseconds, and at least once in `beat`: what waits or runs makes no event. Returns what ends it. Nothing is
 * asked while nobody looks at the page, or the connection is broken.
 */
export function follow(
  look: () => Promise<unknown>,
  meant: (row: Row) => boolean = () => true,
  every = 600,
  beat = 3000,
): () => void {
  let due = false;
  let busy = false;
  let ended = false;
  let timer = 0;
  const run = async () => {
    if (busy || ended || !due || document.hidden || link.state === 'out') return;
    due = false;
    busy = true;
    try {
      await look();
    } catch {
      /* the connection says so by itself */
    }
    timer = window.setTimeout(() => {
      busy = false;
      void run();
    }, every);
  };
  const want = () => {
    due = true;
    void run();
  };
  const heard = (rows: Row[]) => rows.some(meant) && want();
  listeners.add(heard);
  mended.add(want);
  document.addEventListener('visibilitychange', want);
  const beating = setInterval(() => link.state === 'live' && want(), beat);
  want();
  return () => {
    ended = true;
    clearTimeout(timer);
    clearInterval(beating);
    listeners.delete(heard);
    mended.delete(want);
    document.removeEventListener('visibilitychange', want);
  };
}
