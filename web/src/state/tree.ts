// The tree of devices and channels: read page by page from the server, searched there, kept fresh by events.
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { api, asApiError, type ApiError } from '../api/client';
import type { Channel, Device, TreeNode } from '../api/types';
import { channelOf, key, searchKey, type Branch } from './branches';
import { devices, epoch, onEvent, putDevices } from './live';
import { createStore, useStore } from './store';

const PAGE = 200;
export type TreeRow =
  | { kind: 'device'; device: Device; open: boolean }
  | { kind: 'channel'; device: Device; channel: Channel; depth: number; path?: string }
  | { kind: 'node'; device: Device; node: TreeNode; open: boolean; depth: number }
  /** Lines that are not read yet: seen, they are wanted. */
  | { kind: 'more'; device: Device; parent: string; query: string; further: boolean; depth: number };

/** What the lines of large trees are made of: the branches read so far, and what is open. */
export interface Trees { branches: ReadonlyMap<string, Branch>; opened: ReadonlySet<string>; stale?: [device: string, parent: string, query: string][] }

function treeRows(rows: TreeRow[], device: Device, trees: Trees, parent: string, query: string, depth: number, only?: (c: Channel) => boolean) {
  const branch = trees.branches.get(query ? searchKey(device.id, query) : key(device.id, parent));
  if (!branch) { rows.push({ kind: 'more', device, parent, query, further: false, depth }); return; }
  if (branch.stale) trees.stale?.push([device.id, parent, query]);
  for (const node of branch.items) {
    if (node.video) {
      const channel = channelOf(device, node);
      if (!only || only(channel)) rows.push({ kind: 'channel', device, channel, depth, path: node.path?.join(' / ') });
      continue;
    }
    if (only && node.cameras === 0) continue;
    const open = !query && node.children > 0 && trees.opened.has(key(device.id, node.id));
    rows.push({ kind: 'node', device, node, open, depth });
    if (open && depth < 34) treeRows(rows, device, trees, node.id, '', depth + 1, only);
  }
  if (branch.items.length < branch.total) rows.push({ kind: 'more', device, parent, query, further: true, depth });
}

/** A device of one channel is one row. Of a device found by a channel, only the channels that match (or all when it matched itself). */
export function rowsOf(list: readonly Device[], closed: ReadonlySet<string>, query: string, only?: (c: Channel) => boolean, trees?: Trees): TreeRow[] {
  const q = query.trim().toLowerCase();
  const rows: TreeRow[] = [];
  for (const device of list) {
    if (device.tree && trees) {
      // A device with one word of the search in its own name shows its whole tree.
      const words = q && !device.name.toLowerCase().includes(q) && !device.id.toLowerCase().includes(q) ? q : '';
      const open = words ? !closed.has(device.id) : trees.opened.has(key(device.id, ''));
      rows.push({ kind: 'device', device, open });
      if (open) treeRows(rows, device, trees, '', words, 1, only);
      continue;
    }
    let channels = only ? device.channels.filter(only) : device.channels;
    if (q && !device.name.toLowerCase().includes(q) && !device.id.toLowerCase().includes(q)) {
      const hit = channels.filter((c) => c.name.toLowerCase().includes(q) || c.id.toLowerCase().includes(q));
      if (hit.length) channels = hit;
    }
    if (device.channels.length === 1 && channels.length === 1) { rows.push({ kind: 'channel', device, channel: channels[0]!, depth: 0 }); continue; }
    if (only && channels.length === 0) continue;
    const open = !closed.has(device.id);
    rows.push({ kind: 'device', device, open });
    if (open) for (const channel of channels) rows.push({ kind: 'channel', device, channel, depth: 1 });
  }
  return rows;
}

export interface DeviceList { items: Device[]; total: number | null; loading: boolean; error: ApiError | null; more: (wantRows: number) => void; reload: () => void }

export function useDeviceList(query: string): DeviceList {
  const [state, set] = useState<{ ids: string[]; total: number | null; loading: boolean; error: ApiError | null }>({ ids: [], total: null, loading: true, error: null });
  const all = useStore(devices);
  const mark = useStore(epoch);
  const run = useRef(0);
  const now = useRef(state);
  now.current = state;

  const load = useCallback(async (from: number, upTo: number, fresh: boolean) => {
    const mine = ++run.current;
    set((s) => ({ ...s, loading: true }));
    try {
      let ids = fresh ? [] : now.current.ids;
      let total: number;
      let offset = from;
      do {
        const p = await api.devices({ query, offset, limit: PAGE });
        if (mine !== run.current) return;
        putDevices(p.items);
        const have = new Set(ids);
        ids = [...ids, ...p.items.map((d) => d.id).filter((id) => !have.has(id))];
        total = p.total;
        offset += p.items.length;
        if (p.items.length === 0) break;
      } while (offset < Math.min(upTo, total));
      set({ ids, total, loading: false, error: null });
    } catch (e) {
      if (mine === run.current) set((s) => ({ ...s, loading: false, error: asApiError(e) }));
    }
  }, [query]);

  useEffect(() => {
    const wait = setTimeout(() => void load(0, PAGE, true), query ? 180 : 0);
    return () => clearTimeout(wait);
  }, [load, query]);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) { first.current = false; return; }
    void load(0, Math.max(PAGE, now.current.ids.length), true);
  }, [mark, load]);
  useEffect(() => {
    let wait: ReturnType<typeof setTimeout> | undefined;
    const off = onEvent((e) => {
      if ((e.type === 'device' && !now.current.ids.includes(e.device.id)) || (e.type === 'device_removed' && now.current.ids.includes(e.id))) {
        clearTimeout(wait);
        wait = setTimeout(() => void load(0, Math.max(PAGE, now.current.ids.length), true), 500);
      }
    });
    return () => { off(); clearTimeout(wait); };
  }, [load]);

  const items = useMemo(() => state.ids.flatMap((id) => { const d = all.get(id); return d ? [d] : []; }), [state.ids, all]);
  const more = useCallback(() => {
    const s = now.current;
    if (!s.loading && s.total !== null && s.ids.length < s.total) void load(s.ids.length, s.ids.length + PAGE, false);
  }, [load]);
  const reload = useCallback(() => void load(0, Math.max(PAGE, now.current.ids.length), true), [load]);
  return { items, total: state.total, loading: state.loading, error: state.error, more, reload };
}

const deviceOf = (channel: string) => channel.slice(0, channel.indexOf('/') < 0 ? channel.length : channel.indexOf('/'));
function findChannel(all: ReadonlyMap<string, Device>, id: string): { channel: Channel; device: Device } | null {
  const near = all.get(deviceOf(id));
  const inside = near?.channels.find((c) => c.id === id);
  if (near && inside) return { channel: inside, device: near };
  for (const device of all.values()) { const channel = device.channels.find((c) => c.id === id); if (channel) return { channel, device }; }
  return null;
}
const askedFor = new Set<string>();
/** Channels of large devices that were asked for one by one. */
const single = createStore<ReadonlyMap<string, { channel: Channel; device: Device }>>(new Map());

/** The channel behind a stream id, read when it is not among those seen so far; null for programs and mixes. */
export function useChannel(id: string | null): { channel: Channel; device: Device } | null {
  const all = useStore(devices);
  const one = useStore(single, (m) => (id ? m.get(id) : undefined));
  const found = useMemo(() => {
    if (!id) return null;
    const device = all.get(deviceOf(id));
    return findChannel(all, id) ?? (one ? { channel: one.channel, device: device ?? one.device } : null);
  }, [all, id, one]);
  useEffect(() => {
    if (!id || found || askedFor.has(id) || /^(program|mix|conference):/.test(id)) return;
    askedFor.add(id);
    api.channel(id).then((x) => single.set((m) => new Map([...m].slice(-200)).set(id, x)), () => {}).finally(() => setTimeout(() => askedFor.delete(id), 5_000));
  }, [id, found]);
  return found;
}
