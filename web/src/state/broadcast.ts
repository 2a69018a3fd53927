// The broadcasts as they are told, and the own live voice: from its order to its end.
import { api, asApiError, type ApiError } from '../api/client';
import type { Broadcast, BroadcastTarget, BroadcastTargetState } from '../api/types';
import { TalkLeg } from '../media/talkLeg';
import { onEvent } from './live';
import { createStore } from './store';
import { microphone, release } from './talk';

export const OPEN: ReadonlySet<BroadcastTargetState> = new Set(['waiting', 'calling', 'ringing', 'speaking']);

/** Of two views of a broadcast, and of news of its targets, what is newest: an answer may come after the news of what happened since. Pure, tested. */
export function merged(old: Broadcast | undefined, now: Broadcast, targets: readonly BroadcastTarget[]): Broadcast {
  const all = new Map<number, BroadcastTarget>();
  for (const t of [...(old?.targets ?? []), ...(now.targets ?? []), ...targets]) if (!(t.changed_at < (all.get(t.n)?.changed_at ?? ''))) all.set(t.n, t);
  const head = old?.ended_at && !now.ended_at ? old : now;
  return { ...head, targets: all.size ? [...all.values()].sort((a, b) => a.n - b.n) : undefined };
}

/** Who has not heard it in whole: to whom it is said again. Pure, tested. */
export const missed = (b: Broadcast) => (b.targets ?? []).filter((t) => !OPEN.has(t.state) && t.state !== 'said' && t.heard < 1);

/** How much of it is done, 0 to 1, over all targets: who has a result counts whole, who is spoken to by how far it is. Pure, tested. */
export function progress(b: Broadcast): number {
  const all = b.targets ?? [];
  if (all.length === 0) return 0;
  const part = (t: BroadcastTarget) => (!OPEN.has(t.state) ? 1 : t.state === 'speaking' && b.rounds > 0 ? Math.min(1, t.position / b.rounds) : 0);
  return all.reduce((sum, t) => sum + part(t), 0) / all.length;
}

/** What was told since the page was opened, by id. */
export const toldBroadcasts = createStore<ReadonlyMap<string, Broadcast>>(new Map());
export const putBroadcast = (b: Broadcast, targets: readonly BroadcastTarget[] = []) => toldBroadcasts.set((m) => new Map(m).set(b.id, merged(m.get(b.id), b, targets)));
onEvent((e) => { if (e.type === 'broadcast') { putBroadcast(e.broadcast, e.targets); if (e.broadcast.state !== 'running' && ownVoice.get()?.id === e.broadcast.id) endVoice(); } });

export interface OwnVoice { id: string; phase: 'microphone' | 'ready' | 'talking'; error: ApiError | null }
export const ownVoice = createStore<OwnVoice | null>(null);
let leg: TalkLeg | null = null;
let mic: MediaStream | null = null;

/** Opens the microphone of a live broadcast: silent until the button is held. */
export async function beginVoice(id: string) {
  endVoice();
  ownVoice.set({ id, phase: 'microphone', error: null });
  const own = new TalkLeg();
  leg = own;
  try {
    mic = await microphone();
    for (const t of mic.getAudioTracks()) t.enabled = false;
    const sdp = await own.offer(mic, () => {}, () => { if (leg === own) endVoice(); });
    await own.answer(id, sdp, api.broadcastWhip);
    if (leg === own) ownVoice.set({ id, phase: 'ready', error: null });
  } catch (e) {
    if (leg !== own) return;
    const words = e as { zh?: string; en?: string };
    ownVoice.set({ id, phase: 'microphone', error: Object.assign(asApiError(e), words.zh && words.en ? { zh: words.zh, en: words.en } : {}) });
  }
}
export function speakNow(on: boolean) {
  const o = ownVoice.get();
  if (!o || o.phase === 'microphone' || !mic) return;
  for (const t of mic.getAudioTracks()) t.enabled = on;
  ownVoice.set({ ...o, phase: on ? 'talking' : 'ready' });
}
export function endVoice() {
  const had = leg;
  leg = null; mic = null;
  had?.close();
  if (had) release();
  ownVoice.set(null);
}
if (typeof window !== 'undefined') window.addEventListener('pagehide', () => endVoice());
