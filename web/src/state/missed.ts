// How many calls nobody took since this user last looked. When that was is kept in this browser.
import { api } from '../api/client';
import type { Call } from '../api/types';
import { connection, epoch, onEvent } from './live';
import { session } from './session';
import { createStore } from './store';

export const missedCount = createStore(0);

const key = () => `skybridge.missedSeen.${session.get().account?.name ?? ''}`;
function seen(): string {
  try { return localStorage.getItem(key()) ?? ''; } catch { return ''; }
}

/** The instant behind the newest of these: what came until then was looked at. Pure, tested. */
export function seenUpTo(calls: readonly Pick<Call, 'began_at'>[], before: string): string {
  const newest = calls.reduce((most, c) => Math.max(most, Date.parse(c.began_at)), 0);
  return newest > 0 && newest + 1 > (Date.parse(before) || 0) ? new Date(newest + 1).toISOString() : before;
}

/** The list of missed calls was shown. */
export function missedSeen(calls: readonly Call[]) {
  const next = seenUpTo(calls, seen());
  try { if (next) localStorage.setItem(key(), next); } catch { /* storage forbidden */ }
  missedCount.set(0);
}

let looking = false;
/** The list of missed calls stands open: what comes is seen at once. */
export function lookAtMissed(on: boolean) { looking = on; }

export function countMissed() {
  // Who never looked is told of the last day only.
  const from = seen() || new Date(Date.now() - 86_400_000).toISOString();
  api.calls({ missed: 'true', from, limit: 1 }).then((p) => { if (!looking) missedCount.set(p.total); }, () => { /* asked again after the next connect */ });
}

onEvent((e) => { if (e.type === 'call' && e.call.missed && !looking) missedCount.set((n) => n + 1); });
epoch.subscribe(() => { if (connection.get().state !== 'lost') countMissed(); });
