// What an operator does at the wall, and the selection.
import { api } from '../api/client';
import type { Layout, Quality, Wall } from '../api/types';
import { jobOf, jobs, put, putWall, walls } from '../state/live';
import { createStore } from '../state/store';
import { act } from '../ui/basic';

export interface Selection { tile: number | null; channel: string | null; full: number | null; sound: number | null }
export const selection = createStore<Selection>({ tile: null, channel: null, full: null, sound: null });
export const select = (s: Partial<Selection>) => selection.set((x) => ({ ...x, ...s }));
/** Orders under way, so that the tile says at once what was asked. */
export const pending = createStore<ReadonlyMap<string, { source: string | null; name: string }>>(new Map());
export const pendingKey = (wall: string, n: number) => `${wall}/${n}`;

function setPending(key: string, v: { source: string | null; name: string } | null) {
  pending.set((m) => { const x = new Map(m); if (v) x.set(key, v); else x.delete(key); return x; });
}

export async function take(wall: string, n: number, source: string | null, name = '') {
  const key = pendingKey(wall, n);
  setPending(key, { source, name });
  const w = await act(api.putTile(wall, n, source));
  if (w) putWall(w);
  setPending(key, null);
}
/** Main or sub-stream, changed under the viewer. */
export async function setQuality(wall: string, n: number, source: string, quality: Quality) {
  const w = await act(api.putTile(wall, n, source, quality));
  if (w) putWall(w);
}
export async function undo(wall: string) { putWall((await act(api.undoWall(wall))) ?? null); }

// Sources of tiles that a smaller layout hides, so that a larger one brings them back.
const beyond = new Map<string, (string | null)[]>();
export async function setLayout(w: Wall, layout: Layout) {
  if (w.layout === layout) return;
  const now = w.tiles.slice(0, Math.max(w.layout, w.tiles.length)).map((x) => x.source);
  const kept = beyond.get(w.id) ?? [];
  const all = Array.from({ length: 9 }, (_, i) => (i < now.length ? now[i]! : kept[i] ?? null));
  beyond.set(w.id, all);
  put(walls, w.id, { ...w, layout });
  const r = await act(api.putWall(w.id, layout, all.slice(0, layout)));
  if (r) putWall(r);
  else if (r === undefined) putWall(w);
  selection.set((s) => ({ ...s, tile: s.tile !== null && s.tile >= layout ? null : s.tile, full: null }));
}

export async function toggleRecord(stream: string) {
  const j = jobOf(jobs.get(), stream);
  if (j) { if ((await act(async () => { await api.stopJob(j.id); return true; })) !== undefined) jobs.set((m) => { const n = new Map(m); n.delete(j.id); return n; }); }
  else { const r = await act(api.startJob(stream)); if (r?.id) put(jobs, r.id, r); }
}
