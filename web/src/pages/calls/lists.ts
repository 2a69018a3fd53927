// A call list as people write it: one line each, the number first, then the name; and how its run goes. Pure, tested.
import type { CallRun } from '../../api/types';
import { dialable } from './words';

export interface Entry { number: string; name: string }
export const textOf = (entries: readonly Entry[]) => entries.map((e) => (e.name ? `${e.number} ${e.name}` : e.number)).join('\n');

/** Lines without a number are told by their place, from 1; a name that is left out is taken from the directory. The same number twice counts once. */
export function entriesOf(text: string, names: ReadonlyMap<string, string>): { entries: Entry[]; bad: number[] } {
  const entries: Entry[] = [];
  const bad: number[] = [];
  const seen = new Set<string>();
  text.split('\n').forEach((line, i) => {
    const clean = line.trim();
    if (!clean) return;
    const [first = '', ...rest] = clean.split(/[\s,，;；、\t]+/);
    const number = dialable(first);
    if (!/^[+*#]?[0-9A-Za-z*#]{2,}$/.test(number) || !/[0-9]/.test(number)) { bad.push(i + 1); return; }
    if (seen.has(number)) return;
    seen.add(number);
    entries.push({ number, name: rest.join(' ').slice(0, 64) || names.get(number) || '' });
  });
  return { entries, bad };
}

/** Of two views of a list's run the newer: an answer to a question may come after the news of what happened since. */
export function newerRun(a: CallRun | null, b: CallRun | null): CallRun | null {
  if (!a || !b) return a ?? b;
  return b.started_at > a.started_at || (b.started_at === a.started_at && b.revision > a.revision) ? b : a;
}
