// The own talk key in a conference where one talks at a time.
import { api } from '../api/client';
import type { FloorNotice } from '../api/types';
import { onEvent } from './live';
import { mine, setMuted } from './mine';
import { createStore } from './store';

export interface OwnFloor { held: boolean; notice: FloorNotice | null }
const NONE: OwnFloor = { held: false, notice: null };
export const ownFloor = createStore<OwnFloor>(NONE);

const order = (what: 'press' | 'release', emergency = false) => {
  const m = mine.get();
  return m?.id ? api.floor(m.conference, m.id, { do: what, emergency }) : Promise.reject(new Error('not a member'));
};

// A microphone that its owner muted is opened while the key is held, and shut again behind it.
let opened = false;

export function press(emergency = false) {
  if (mine.get()?.own) { opened = true; setMuted(false); }
  ownFloor.set({ held: true, notice: null });
  order('press', emergency).catch(() => { if (ownFloor.get().held) ownFloor.set({ held: true, notice: { is: 'denied', cause: 255 } }); });
}
export function release() {
  if (!ownFloor.get().held) return;
  ownFloor.set(NONE);
  if (opened) { opened = false; setMuted(true); }
  order('release').catch(() => { /* the silence ends it */ });
}

onEvent((e) => {
  if (e.type === 'floor_notice' && e.member === mine.get()?.id && ownFloor.get().held) ownFloor.set({ held: true, notice: e.notice });
});
mine.subscribe(() => { if (!mine.get()) { opened = false; ownFloor.set(NONE); } });
