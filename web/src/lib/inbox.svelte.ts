/** What waits for a person. */
import { ask } from './api';
import type { Row } from './reader';

export interface Question {
  id: string;
  pid: number;
  agent: string;
  principal: string;
  tool: string;
  arguments: Record<string, unknown>;
  origins: Record<string, string>;
  sources: Record<string, string>;
  files: Record<string, string>;
  why: string;
  four_eyes: boolean;
  editable: boolean;
  allowed: boolean | null;
  by: string | null;
  over: string | null;
  kind: string;
  form: Record<string, unknown> | null;
  expires: number | null;
  expired: boolean;
}

const state = $state<{ waiting: Question[] }>({ waiting: [] });
const ABOUT = new Set(['approvals.answer', 'ask', 'call', 'generate', 'stop', 'fail', 'exit']);

export const inbox = {
  get waiting() {
    return state.waiting;
  },
  meant: (row: Row) => ABOUT.has(row.name),
  async look() {
    state.waiting = (await ask<{ approvals: Question[] }>('/v1/approvals')).approvals;
  },
};
