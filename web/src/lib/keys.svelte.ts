/** What can be done from anywhere, by name and by key: the command palette and the help show the same list. */

export interface Deed {
  name: string;
  keys?: string;
  run: () => void;
}

/** Deeds of the page that is shown. */
export const deeds = $state<{ page: Deed[] }>({ page: [] });
let first = '';
let timer = 0;

/** Whether somebody is typing, so that letters are letters. */
const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** The deed that a key press means: single keys, and two in a row such as `g c`. */
export function meant(event: KeyboardEvent, all: Deed[]): Deed | undefined {
  if (event.altKey || typing(event.target)) return undefined;
  const control = event.ctrlKey || event.metaKey;
  const key = control ? `ctrl ${event.key.toLowerCase()}` : event.key;
  const both = first ? `${first} ${key}` : key;
  first = '';
  clearTimeout(timer);
  const found = all.find((each) => each.keys === both) ?? all.find((each) => each.keys === key);
  if (!found && !control && all.some((each) => each.keys?.startsWith(`${key} `))) {
    first = key;
    timer = window.setTimeout(() => (first = ''), 1200);
  }
  return found;
}

/** Offer deeds for as long as a page is shown; to be returned from an effect. */
export function offer(made: Deed[]): () => void {
  deeds.page = made;
  return () => {
    if (deeds.page === made) deeds.page = [];
  };
}
