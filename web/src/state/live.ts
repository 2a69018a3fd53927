// What the gateway says, mirrored: read whole at connect, then kept by events.
import { api, whole } from '../api/client';
import type { Holder } from '../api/control';
import { EventSocket } from '../api/events';
import type { Conference, Device, Job, Levels, Notice, Patch, Recording, ServerEvent, Stream, SystemState, Text, Wall } from '../api/types';
import { createStore, type Store } from './store';

export interface Connection { state: 'connecting' | 'open' | 'lost'; since: number; everOpen: boolean }
export type Map_<T> = ReadonlyMap<string, T>;

export const connection = createStore<Connection>({ state: 'connecting', since: Date.now(), everOpen: false });
export const streams: Store<Map_<Stream>> = createStore<Map_<Stream>>(new Map());
export const walls: Store<Map_<Wall>> = createStore<Map_<Wall>>(new Map());
export const conferences: Store<Map_<Conference>> = createStore<Map_<Conference>>(new Map());
/** Conferences that are joined. */
export const patches = createStore<readonly Patch[]>([]);
export const jobs: Store<Map_<Job>> = createStore<Map_<Job>>(new Map());
/** Who holds which camera. */
export const leases: Store<Map_<Holder>> = createStore<Map_<Holder>>(new Map());
/** Devices seen so far (the tree loads them page by page); kept fresh by events. */
export const devices: Store<Map_<Device>> = createStore<Map_<Device>>(new Map());
export const notices = createStore<readonly (Notice & { key: number })[]>([]);
export const system = createStore<SystemState | null>(null);
export const levels = createStore<Map_<Levels>>(new Map());
/** Rises when a list that is read by pages must be read anew. */
export const epoch = createStore(0);

type Listener = (e: ServerEvent) => void;
const listeners = new Set<Listener>();
/** For the few who need the event itself (new recordings, who left and why). */
export function onEvent(f: Listener) { listeners.add(f); return () => { listeners.delete(f); }; }

let clockSkewMs = 0;
export const serverNow = () => Date.now() + clockSkewMs;

export function put<T>(store: Store<Map_<T>>, key: string, value: T) {
  store.set((m) => { const n = new Map(m); n.set(key, value); return n; });
}
export function drop<T>(store: Store<Map_<T>>, key: string) {
  store.set((m) => { if (!m.has(key)) return m; const n = new Map(m); n.delete(key); return n; });
}
export function putDevices(list: readonly Device[]) {
  devices.set((m) => { const n = new Map(m); for (const d of list) n.set(d.id, d); return n; });
}
export const putWall = (w: Wall | null) => { if (w && Array.isArray(w.tiles)) put(walls, w.id, w); };
export const putConference = (c: Conference | null) => { if (c && Array.isArray(c.members)) put(conferences, c.id, { ...c, waiting: c.waiting ?? [] }); };

let noticeKey = 0;
export function say(severity: Notice['severity'], text: Text, object: string | null = null, at = new Date(serverNow()).toISOString()) {
  notices.set((l) => [...l.slice(-199), { severity, zh: text.zh, en: text.en, object, at, key: ++noticeKey }]);
}

function changeConference(id: string, f: (c: Conference) => Conference) {
  const c = conferences.get().get(id);
  if (c) put(conferences, id, f(c));
}

/** Pure in effect: only the stores above change. Exported for the tests. */
export function apply(e: ServerEvent) {
  switch (e.type) {
    case 'hello': clockSkewMs = Math.abs(Date.parse(e.now) - Date.now()) > 500 ? Date.parse(e.now) - Date.now() : 0; break;
    case 'device': put(devices, e.device.id, whole(e.device)); break;
    case 'device_removed': drop(devices, e.id); break;
    case 'lease': if (e.holder) put(leases, e.channel, e.holder); else drop(leases, e.channel); break;
    case 'stream': put(streams, e.stream.id, e.stream); break;
    case 'wall': put(walls, e.wall.id, e.wall); break;
    case 'conference': put(conferences, e.conference.id, { ...e.conference, waiting: e.conference.waiting ?? [], members: e.conference.members ?? conferences.get().get(e.conference.id)?.members ?? [] }); break;
    case 'conference_ended': drop(conferences, e.id); break;
    case 'member': changeConference(e.conference, (c) => {
      const there = c.members.some((m) => m.id === e.member.id);
      return { ...c, members: there ? c.members.map((m) => (m.id === e.member.id ? e.member : m)) : [...c.members, e.member] };
    }); break;
    case 'member_left': changeConference(e.conference, (c) => ({ ...c, members: c.members.filter((m) => m.id !== e.member) })); break;
    case 'patches': patches.set(e.patches); break;
    case 'lobby': changeConference(e.conference, (c) => ({ ...c, waiting: e.waiting })); break;
    case 'floor': changeConference(e.conference, (c) => ({ ...c, floor: e.floor })); break;
    case 'levels': put(levels, e.conference, e.levels); break;
    case 'job': put(jobs, e.job.id, e.job); break;
    case 'job_ended': drop(jobs, e.id); break;
    case 'notice': say(e.severity, e, e.object, e.at); break;
    case 'system': system.set(e.system); break;
    case 'recording': case 'picture': case 'picture_removed': case 'snapshot': case 'device_playback': case 'device_playback_ended': case 'device_fetch': case 'device_fetch_removed': case 'lagged': break;
    case 'message': case 'message_removed': case 'calls': case 'call': case 'trunk': case 'queues': case 'call_list': case 'schedules': break;
    case 'alarm': case 'positions': case 'wish': case 'look': case 'floor_notice': case 'member_moved': break;
  }
  for (const f of [...listeners]) f(e);
}

const byId = <T extends { id: string }>(list: readonly T[]) => new Map(list.map((x) => [x.id, x] as const));

async function reread() {
  const [s, w, c, j, sys, told, held, joined] = await Promise.all([api.streams(), api.walls(), api.conferences(), api.jobs(), api.system(), api.notices(), api.leases(), api.patches()]);
  patches.set(joined.items);
  leases.set(new Map(held.items.map((x) => [x.channel, x.holder] as const)));
  streams.set(byId(s.items));
  walls.set(byId(w.items));
  conferences.set(byId(c.items.map((x) => ({ ...x, members: x.members ?? [], waiting: x.waiting ?? [] }))));
  jobs.set(byId(j.items));
  system.set(sys);
  // newest first from the gateway, newest last here; what was said here before the break stays only if the gateway has nothing
  if (told.items.length) notices.set([...told.items].reverse().map((n) => ({ ...n, key: ++noticeKey })));
  levels.set(new Map());
  epoch.set((n) => n + 1);
}

let socket: EventSocket | null = null;
export const eventLog: ServerEvent[] = [];

export function startLive() {
  if (socket) return;
  socket = new EventSocket({
    reread,
    apply: (e) => { eventLog.push(e); if (eventLog.length > 200) eventLog.shift(); apply(e); },
    // A refused socket does not say why; an ended session shows in any call (a 401 leads to the sign-in form).
    state: (state) => { if (state === 'lost') api.system().catch(() => {}); connection.set((c) => (c.state === state ? c : {
      state, everOpen: c.everOpen || state === 'open',
      // "lost for N s" counts from the loss, not from each new try
      since: state !== 'open' && c.state !== 'open' ? c.since : Date.now(),
    })); },
  });
  socket.start();
}
export function stopLive() { socket?.stop(); socket = null; connection.set({ state: 'connecting', since: Date.now(), everOpen: false }); }

/** The job that records this stream now. */
export function jobOf(all: Map_<Job>, stream: string | null): Job | null {
  if (!stream) return null;
  for (const j of all.values()) if (j.stream === stream) return j;
  return null;
}
export type { Recording };
