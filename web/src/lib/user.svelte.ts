/** Who is logged in, and how they like the page. */
import { ask, Refused } from './api';
import { again } from './feed.svelte';
import { go } from './route.svelte';
import { speak } from './words.svelte';

export interface Who {
  tenant: string;
  principal: string;
  scopes: string[];
  version: string;
}

export const user = $state<{ who: Who | null; known: boolean }>({ who: null, known: false });
export const may = (scope: string) => user.who?.scopes.includes(scope) ?? false;

export type Theme = 'auto' | 'light' | 'dark';
export const looks = $state<{ theme: Theme }>({ theme: (localStorage.getItem('theme') as Theme | null) ?? 'auto' });

export function dress(theme: Theme): void {
  looks.theme = theme;
  localStorage.setItem('theme', theme);
  document.documentElement.dataset.theme = theme;
}

/** Take the ticket out of the address before anything else can see it, and find out who is here. */
export async function enter(): Promise<void> {
  dress(looks.theme);
  speak(localStorage.getItem('language') ?? navigator.language);
  const ticket = /^#ticket=([\w-]+)$/.exec(location.hash)?.[1];
  if (ticket) {
    go('/', false);
    await login(`Ticket ${ticket}`).catch(() => {});
  }
  await look();
}

export async function look(): Promise<void> {
  try {
    user.who = await ask<Who>('/v1/login');
  } catch (error) {
    if (!(error instanceof Refused) || error.status === 0) return; // nobody answers: what is shown stays
    user.who = null;
  }
  user.known = true;
}

/** Log in with `Bearer KEY` or `Ticket TICKET`; throws Refused. */
export async function login(authorization: string): Promise<void> {
  await ask('/v1/login', { method: 'POST', headers: { Authorization: authorization } });
  await look();
  again();
}

export async function logout(): Promise<void> {
  await ask('/v1/login', { method: 'DELETE' });
  user.who = null;
  again();
}
