// A guest's line to the gateway: the few calls that his session may make, and what changes for him.
import { ask, offer, type SdpAnswer } from '../api/client';
import type { Text } from '../api/types';
import { Backoff } from '../media/backoff';
import type { WhepWire } from '../media/whep';
import type { WhipWire } from '../media/whip';

export type Stage = 'waiting' | 'open' | 'joined' | 'refused' | 'late' | 'full' | 'locked' | 'removed';
export interface Guest {
  stage: Stage; name: string; conference: string; role: 'chair' | 'speaker' | 'listener'; camera: boolean; muted: boolean | null; muted_by_operator: boolean; hand: boolean; picture: boolean;
  floor: { taken: boolean; own: boolean; queued: boolean } | null;
}
export interface Invitation { conference: string; site_zh: string; site_en: string; role: 'speaker' | 'listener'; camera: boolean; expires_at: string }
export interface GuestText { id: string; at: string; name: string; text: string; file: string | null; own: boolean }

const json = async <T>(path: string, method = 'GET', body?: unknown) => (await (await ask(`guest/${path}`, { method, json: body, quiet401: true })).json()) as T;
const none = async (path: string, method: string, body?: unknown) => { await ask(`guest/${path}`, { method, json: body, quiet401: true }); };
const answer = (path: string, sdp: string, signal?: AbortSignal): Promise<SdpAnswer> => offer(`guest/${path}`, sdp, signal);

export const line = {
  look: (token: string) => json<Invitation>('link', 'POST', { token }),
  enter: (token: string, name: string) => json<Guest>('session', 'POST', { token, name }),
  show: () => json<Guest>('session'),
  leave: () => none('session', 'DELETE'),
  change: (what: { muted?: boolean; hand?: boolean; floor?: 'press' | 'release' }) => none('member', 'PATCH', what),
  texts: () => json<{ items: GuestText[] }>('texts').then((l) => l.items),
  write: (text: string) => json<GuestText>('texts', 'POST', { text }),
};

const leg = (id: string) => json<{ state: string }>(`legs/${id}`);
const end = (id: string) => { if (id) void ask(`guest/legs/${id}`, { method: 'DELETE', keepalive: true, quiet401: true }).catch(() => {}); };
const began = () => {};
export const voice: WhipWire = { offer: (sdp) => answer('whip', sdp), leg, end, began };
export const sight: WhepWire = { offer: (sdp, signal) => answer('picture', sdp, signal), leg, end, began, report: () => Promise.resolve() };

type Told = { type: 'guest'; guest: Guest } | { type: 'text'; text: GuestText } | { type: 'over' };

/** What changes, for as long as it is not closed. */
export function listen(on: (t: Told) => void, state: (open: boolean) => void): () => void {
  const backoff = new Backoff(500, 5_000);
  let closed = false, socket: WebSocket | null = null, timer: ReturnType<typeof setTimeout> | undefined;
  const open = () => {
    if (closed) return;
    socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/guest/events`);
    socket.onopen = () => { backoff.reset(); state(true); };
    socket.onmessage = (m) => { const t = JSON.parse(String(m.data)) as Told; if (t.type === 'over') closed = true; on(t); };
    socket.onclose = () => {
      if (closed) return;
      state(false);
      // A refused socket does not say why: the session may be over.
      timer = setTimeout(() => { line.show().then(open, (e: { status?: number }) => { if (e.status === 401 || e.status === 410) { closed = true; on({ type: 'over' }); } else open(); }); }, backoff.next());
    };
  };
  open();
  return () => { closed = true; clearTimeout(timer); socket?.close(); };
}
export type { Text };
