/** Values in words. */

const HIDDEN =
  /[\p{C}\p{Zl}\p{Zp}\u00a0\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\u{16fe4}\u{1d159}\u{e0100}-\u{e01ef}]/gu;
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

const escaped = (each: string) => `\\u{${each.codePointAt(0)!.toString(16)}}`;

/** What somebody else wrote, for a decision: no character turns others around, hides them, or is not seen. */
export const visible = (text: unknown) => String(text).replace(HIDDEN, escaped);

/** What somebody else wrote, for reading: no character turns others around. */
export const plain = (text: string) => text.replace(TURNING, escaped);

export const number = (value: number) => value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });

export function money(value: number): string {
  return value === 0 ? '0' : `$${value < 0.01 ? value.toPrecision(2) : value.toFixed(2)}`;
}

export function seconds(value: number): string {
  if (value < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 1) return `${(value * 1000).toFixed(value < 0.1 ? 1 : 0)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${(value / 3600).toFixed(1)} h`;
}

export function moment(at: number): string {
  const date = new Date(at * 1000);
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return today ? time : `${date.toLocaleDateString([], { month: 'short', day: 'numeric' })} ${time}`;
}

export function bytes(value: number): string {
  return value < 1e3 ? `${value} B` : value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`;
}

/** A value on one line, cut short. */
export function brief(value: unknown, most = 160): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return visible(text.length > most ? `${text.slice(0, most)} …` : text);
}

export const pretty = (value: unknown) => (typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? ''));
