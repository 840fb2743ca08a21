/** What the page says, in English and Chinese. English is the key; a word that is missing stays English. */

type Words = Record<string, string>;
export const language = $state<{ now: 'en' | 'zh'; words: Words }>({ now: 'en', words: {} });

/** Speak a language from now on; `zh` and its kin are Chinese, everything else English. */
export async function speak(wanted: string): Promise<void> {
  language.now = wanted.toLowerCase().startsWith('zh') ? 'zh' : 'en';
  document.documentElement.lang = language.now;
  language.words = language.now === 'zh' ? (await import('./zh')).words : {};
}

export function choose(wanted: 'en' | 'zh'): void {
  localStorage.setItem('language', wanted);
  void speak(wanted);
}

/** Say something; `{0}`, `{1}` ... stand for values. */
export function t(text: string, ...values: unknown[]): string {
  const said = language.words[text] ?? text;
  return values.length ? said.replace(/\{(\d)\}/g, (_, n: string) => String(values[Number(n)])) : said;
}
