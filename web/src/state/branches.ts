// Branches of large trees: read page by page when a line is opened, read anew when their device has changed.
import { api } from '../api/client';
import type { Channel, Device, TreeNode } from '../api/types';
import { epoch, onEvent } from './live';
import { createStore } from './store';

export const BRANCH = 500;
export interface Branch { total: number; items: TreeNode[]; stale: boolean }
/** By `key(device, parent)`. */
export const branches = createStore<ReadonlyMap<string, Branch>>(new Map());
export const key = (device: string, parent: string) => `${device}\n${parent}`;
/** For the hits of a search in one device. */
export const searchKey = (device: string, query: string) => `${device}\n?${query}`;

const loading = new Set<string>();
const failed = new Map<string, number>();

async function load(k: string, ask: (offset: number, limit: number) => Promise<{ total: number; items: TreeNode[] }>, upTo: number, fresh: boolean) {
  if (loading.has(k) || (failed.get(k) ?? 0) > Date.now()) return;
  loading.add(k);
  try {
    let items = fresh ? [] : branches.get().get(k)?.items ?? [];
    let total = 0;
    do {
      const page = await ask(items.length, BRANCH);
      items = [...items, ...page.items];
      total = page.total;
      if (page.items.length === 0) break;
    } while (items.length < Math.min(upTo, total));
    branches.set((m) => new Map(m).set(k, { total, items, stale: false }));
    failed.delete(k);
  } catch { failed.set(k, Date.now() + 3_000); } finally { loading.delete(k); }
}

/** Reads a branch that is missing or stale, or further lines of it. */
export function want(device: string, parent: string, query: string, more: boolean) {
  const k = query ? searchKey(device, query) : key(device, parent);
  const now = branches.get().get(k);
  if (now && !now.stale && !(more && now.items.length < now.total)) return;
  const ask = (offset: number, limit: number) => api.tree(device, query ? { query, offset, limit } : { parent, offset, limit });
  const fresh = !now || now.stale;
  void load(k, ask, fresh ? Math.max(now?.items.length ?? 0, 1) : now.items.length + 1, fresh);
}

export const channelOf = (d: Device, n: TreeNode): Channel => ({ id: n.channel, device: d.id, name: n.name, kind: 'video', online: n.online, ptz: n.ptz, stream: n.channel, parent: null });

let timer: ReturnType<typeof setTimeout> | undefined;
const dirty = new Set<string>();
function spoil() {
  timer = undefined;
  branches.set((m) => { const n = new Map(m); for (const [k, b] of m) if (dirty.has(k.slice(0, k.indexOf('\n')))) n.set(k, { ...b, stale: true }); return n; });
  dirty.clear();
}
onEvent((e) => {
  if (e.type !== 'device' && e.type !== 'device_removed') return;
  dirty.add(e.type === 'device' ? e.device.id : e.id);
  timer ??= setTimeout(spoil, 2_000);
});
epoch.subscribe(() => branches.set((m) => new Map([...m].map(([k, b]) => [k, { ...b, stale: true }]))));
