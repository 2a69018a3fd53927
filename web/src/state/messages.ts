// Threads in which something was written since this user last looked. When that was is kept in this browser.
import { api } from '../api/client';
import type { Message } from '../api/types';
import { connection, epoch, onEvent } from './live';
import { session } from './session';
import { createStore } from './store';

export const unreadThreads = createStore<ReadonlySet<string>>(new Set());

const MOST = 500;
const key = () => `skybridge.messagesSeen.${session.get().account?.name ?? ''}`;
type Seen = Record<string, string>;
function read(): Seen {
  try { return (JSON.parse(localStorage.getItem(key()) ?? '{}') as Seen) ?? {}; } catch { return {}; }
}

/** Whether a message is news: somebody else wrote it, after what was seen of its thread; one who never looked has a day of news. Pure, tested. */
export function isNews(m: Pick<Message, 'at' | 'sender' | 'thread'>, seen: Seen, own: string, now: number): boolean {
  if (m.sender === own) return false;
  const from = seen[m.thread] ? Date.parse(seen[m.thread]!) : now - 86_400_000;
  return Date.parse(m.at) > from;
}

/** Keeps the newest marks only. Pure, tested. */
export function mark(seen: Seen, thread: string, at: string): Seen {
  const next = { ...seen, [thread]: at };
  const entries = Object.entries(next);
  return entries.length <= MOST ? next : Object.fromEntries(entries.sort((a, b) => b[1].localeCompare(a[1])).slice(0, MOST));
}

const open = new Set<string>();
/** A thread stands open: what comes is seen at once. */
export function lookAtThread(thread: string): () => void {
  open.add(thread);
  return () => { open.delete(thread); };
}

/** The newest message of a thread was shown. */
export function threadSeen(thread: string, at: string) {
  const seen = read();
  if (!seen[thread] || Date.parse(seen[thread]!) < Date.parse(at)) {
    try { localStorage.setItem(key(), JSON.stringify(mark(seen, thread, at))); } catch { /* storage forbidden */ }
  }
  unreadThreads.set((s) => { if (!s.has(thread)) return s; const n = new Set(s); n.delete(thread); return n; });
}

const own = () => `account:${session.get().account?.name ?? ''}`;
function count() {
  api.threads().then((p) => {
    const seen = read();
    unreadThreads.set(new Set(p.items.filter((x) => !open.has(x.thread) && isNews(x.last, seen, own(), Date.now())).map((x) => x.thread)));
  }, () => { /* asked again after the next connect */ });
}

onEvent((e) => {
  if (e.type !== 'message' || open.has(e.message.thread) || !isNews(e.message, read(), own(), Date.now())) return;
  unreadThreads.set((s) => (s.has(e.message.thread) ? s : new Set([...s, e.message.thread])));
});
epoch.subscribe(() => { if (connection.get().state !== 'lost') count(); });
