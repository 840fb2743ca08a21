/** Where the page is: `#/page/part/part?name=value`. */

export interface Place {
  page: string;
  parts: string[];
  search: URLSearchParams;
  address: string;
}

export const FIRST = 'chat';

function read(): Place {
  const [path = '', search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page = '', ...parts] = path.split('/').map(decoded);
  return { page: page || FIRST, parts: parts.filter(Boolean), search: new URLSearchParams(search), address: location.hash };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** `now` is what the address says, `shown` the place of the page that is there: the same once that is loaded. */
export const place = $state<{ now: Place; shown: Place }>({ now: read(), shown: read() });
addEventListener('hashchange', () => (place.now = read()));

/** The address of a page. */
export const to = (page: string, ...parts: (string | number)[]) =>
  `#/${[page, ...parts.map((part) => encodeURIComponent(String(part)))].join('/')}`;

export const go = (address: string, keep = true) => {
  if (keep) location.hash = address;
  else {
    history.replaceState(null, '', address);
    place.now = read();
  }
};
