/**
 * Markdown as DOM nodes. No text ever becomes markup: nodes are made one by one, out of a fixed set of elements.
 * Nothing is loaded: pictures are told in words, links say where they lead and are followed by a person alone.
 */
import { plain } from './show';

const LONG = 20_000; // characters of a block beyond which it is cut, until somebody wants it whole
const DEEPEST = 6;

function make(name: string, className = '', ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** The blocks of a text: fences stay whole, otherwise an empty line parts. */
export function blocks(text: string): string[] {
  const found: string[] = [];
  let block: string[] = [];
  let fence = '';
  const close = () => {
    if (block.length) found.push(block.join('\n'));
    block = [];
  };
  for (const line of text.split('\n')) {
    const mark = /^\s{0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? '';
    if (fence) {
      block.push(line);
      if (mark.startsWith(fence) && line.trim() === mark) {
        fence = '';
        close();
      }
    } else if (mark) {
      close();
      fence = mark;
      block.push(line);
    } else if (!line.trim()) {
      close();
    } else if (/^#{1,6}\s/.test(line) || /^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      close();
      found.push(line);
    } else {
      block.push(line);
    }
  }
  close();
  return found;
}

const INLINE =
  /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|(!?)\[([^\]\n]{0,500})\]\(<?([^\s()<>]{1,2000})>?(?:\s+"[^"\n]*")?\)|\*\*(?=\S)([\s\S]{1,2000}?\S)\*\*|(?<![\w*])[*_](?=\S)([^*_\n]{1,1000}?)(?<=\S)[*_](?![\w*])|~~(?=\S)([^~\n]{1,1000})~~|(https?:\/\/[^\s<>"')\]]{1,2000})/;

function inline(text: string, depth = 0): (Node | string)[] {
  const found: (Node | string)[] = [];
  let rest = text;
  while (rest) {
    const match = depth < DEEPEST ? INLINE.exec(rest) : null;
    if (!match) {
      found.push(plain(rest));
      break;
    }
    if (match.index) found.push(plain(rest.slice(0, match.index)));
    found.push(span(match, depth));
    rest = rest.slice(match.index + match[0].length);
  }
  return found;
}

function span(match: RegExpExecArray, depth: number): Node {
  const [whole, , code, picture, label, target, strong, weak, gone, address] = match;
  if (code !== undefined) return make('code', '', plain(code.trim() || code));
  if (target !== undefined && picture) return make('span', 'absent', plain(`[picture not loaded: ${label} ${target}]`));
  if (target !== undefined) return anchor(target, inline(label || target, depth + 1), whole);
  if (strong !== undefined) return make('strong', '', ...inline(strong, depth + 1));
  if (weak !== undefined) return make('em', '', ...inline(weak, depth + 1));
  if (gone !== undefined) return make('s', '', ...inline(gone, depth + 1));
  return anchor(address!, [plain(address!)], whole);
}

/** A link that a person may follow: to the web or by mail, and it says where. */
function anchor(target: string, children: (Node | string)[], whole: string): Node {
  let url: URL;
  try {
    url = new URL(target);
  } catch {
    return make('span', '', plain(whole));
  }
  if (!['https:', 'http:', 'mailto:'].includes(url.protocol)) return make('span', 'absent', plain(whole));
  const made = make('a', '', ...children) as HTMLAnchorElement;
  made.href = url.href;
  made.target = '_blank';
  made.rel = 'noopener noreferrer nofollow';
  made.title = url.href;
  const said = made.textContent ?? '';
  const where = url.hostname || url.pathname;
  return said.includes(where) ? made : make('span', '', made, make('small', 'where', ` (${plain(where)})`));
}

function fence(lines: string[]): HTMLElement {
  const language = lines[0]!.replace(/^\s*[`~]+/, '').trim().slice(0, 30);
  const closed = lines.length > 1 && /^\s*(`{3,}|~{3,})\s*$/.test(lines.at(-1)!);
  const body = lines.slice(1, closed ? -1 : undefined).join('\n');
  const copy = make('button', 'copy', 'Copy') as HTMLButtonElement;
  copy.type = 'button';
  copy.addEventListener('click', () => {
    void navigator.clipboard.writeText(body).then(() => (copy.textContent = '✓'));
  });
  const pre = make('pre', '', make('code', '', plain(body)));
  pre.tabIndex = 0;
  return make('div', 'fence', make('div', 'fence-head', make('span', '', plain(language)), copy), pre);
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

function list(lines: string[], depth = 0): HTMLElement {
  const first = ITEM.exec(lines[0]!)!;
  const indent = first[1]!.length;
  const made = make(/\d/.test(first[2]!) ? 'ol' : 'ul') as HTMLOListElement;
  if (made.tagName === 'OL') made.start = parseInt(first[2]!, 10);
  for (let n = 0; n < lines.length; ) {
    const item = ITEM.exec(lines[n]!)!;
    const text = [item[3]!];
    const inner: string[] = [];
    for (n++; n < lines.length; n++) {
      const next = ITEM.exec(lines[n]!);
      if (next && next[1]!.length <= indent + 1) break;
      if (next || inner.length) inner.push(lines[n]!);
      else text.push(lines[n]!.trim());
    }
    const li = make('li', '', ...inline(text.join('\n')));
    if (inner.length) li.append(depth < DEEPEST && ITEM.test(inner[0]!) ? list(inner, depth + 1) : make('p', '', ...inline(inner.join('\n'))));
    made.append(li);
  }
  return made;
}

const cells = (line: string) => line.trim().replace(/^\|/, '').replace(/\|$/, '').split('|').map((each) => each.trim());

function table(lines: string[]): HTMLElement {
  const row = (line: string, kind: string) => make('tr', '', ...cells(line).map((each) => make(kind, '', ...inline(each))));
  const body = make('tbody', '', ...lines.slice(2).map((line) => row(line, 'td')));
  const box = make('div', 'scrolls', make('table', '', make('thead', '', row(lines[0]!, 'th')), body));
  box.tabIndex = 0;
  return box;
}

/** One block as an element. */
export function block(text: string): HTMLElement {
  if (text.length > LONG) return cut(text);
  const lines = text.split('\n');
  const [first] = lines as [string];
  if (/^\s{0,3}(`{3,}|~{3,})/.test(first)) return fence(lines);
  const head = /^(#{1,6})\s+(.*?)\s*#*$/.exec(first);
  if (head && lines.length === 1) return make(`h${Math.min(head[1]!.length + 2, 6)}`, '', ...inline(head[2]!));
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(first) && lines.length === 1) return make('hr');
  if (lines.length > 1 && first.includes('|') && /^[\s|:-]+$/.test(lines[1]!) && lines[1]!.includes('-')) return table(lines);
  if (lines.every((line) => /^\s{0,3}>/.test(line)))
    return make('blockquote', '', ...inline(lines.map((line) => line.replace(/^\s{0,3}>\s?/, '')).join('\n')));
  const begins = lines.findIndex((line) => ITEM.test(line));
  if (begins === 0) return list(lines);
  if (begins > 0) {
    const before = make('p', '', ...inline(lines.slice(0, begins).join('\n')));
    return make('div', '', before, list(lines.slice(begins)));
  }
  return make('p', '', ...inline(text));
}

function cut(text: string): HTMLElement {
  const shown = make('pre', 'long', plain(text.slice(0, LONG)));
  const more = make('button', 'more', `… ${(text.length - LONG).toLocaleString()} more characters: show`) as HTMLButtonElement;
  more.type = 'button';
  more.addEventListener('click', () => {
    shown.textContent = plain(text);
    more.remove();
  });
  shown.tabIndex = 0;
  return make('div', '', shown, more);
}

/** Keeps an element showing a text that grows: only blocks that changed are made again. */
export function markdown(element: HTMLElement): (text: string) => void {
  let shown: string[] = [];
  return (text) => {
    const wanted = blocks(text);
    let same = 0;
    while (same < shown.length && same < wanted.length && shown[same] === wanted[same]) same++;
    while (element.childNodes.length > same) element.lastChild!.remove();
    for (const each of wanted.slice(same)) element.append(block(each));
    shown = wanted;
  };
}
