// How the desk calls: from the own telephone, or by dialling somebody into a conference. Kept in this browser.
import { api } from '../api/client';
import { translate } from '../i18n';
import { go } from '../route';
import { act } from '../ui/basic';
import { conferences, say } from './live';
import { dial, ownPhone } from './phone';
import { createStore } from './store';

/** `own`, or the id of a conference. */
export type Via = 'own' | string;
const STORE = 'skybridge.callVia';
const stored = (): Via => { try { return localStorage.getItem(STORE) ?? 'own'; } catch { return 'own'; } };
export const callVia = createStore<Via>(typeof localStorage === 'undefined' ? 'own' : stored());
export function setVia(v: Via) {
  try { localStorage.setItem(STORE, v); } catch { /* storage forbidden */ }
  callVia.set(v);
}

export interface Way { by: 'own' }
export interface IntoConference { by: 'conference'; id: string; name: string }
/** What a call would do now: the wish where it can be had, else what can. Pure, tested. */
export function wayOf(via: Via, phoneReady: boolean, rooms: readonly { id: string; name: string }[]): Way | IntoConference | null {
  const room = rooms.find((r) => r.id === via);
  if (room) return { by: 'conference', id: room.id, name: room.name };
  if (phoneReady) return { by: 'own' };
  return rooms.length === 1 ? { by: 'conference', id: rooms[0]!.id, name: rooms[0]!.name } : null;
}

/** Calls a number the way that is chosen. False: it could not. */
export async function callNumber(number: string): Promise<boolean> {
  if (!number) return false;
  const way = wayOf(callVia.get(), ownPhone.get().status === 'ready', [...conferences.get().values()]);
  if (!way) return false;
  if (way.by === 'own') return dial(number);
  const room = [...conferences.get().values()].find((c) => c.number === number);
  if (room) { go(`/confer/${encodeURIComponent(room.id)}`); return true; }
  const done = await act(api.addMember(way.id, { dial: number }));
  if (!done) return false;
  const told = (l: 'zh' | 'en') => translate(l, 'desk.dialling', { n: number, name: way.name });
  say('info', { zh: told('zh'), en: told('en') });
  return true;
}
