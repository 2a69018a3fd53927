// The own talk key in a conference where one talks at a time.
import { api } from '../api/client';
import type { FloorNotice } from '../api/types';
import { onEvent } from './live';
import { mine } from './mine';
import { createStore } from './store';

export interface OwnFloor { held: boolean; notice: FloorNotice | null }
const NONE: OwnFloor = { held: false, notice: null };
export const ownFloor = createStore<OwnFloor>(NONE);

const order = (what: 'press' | 'release', emergency = false) => {
  const m = mine.get();
  return m?.id ? api.floor(m.conference, m.id, { do: what, emergency }) : Promise.reject(new Error('not a member'));
};

export function press(emergency = false) {
  ownFloor.set({ held: true, notice: null });
  order('press', emergency).catch(() => { if (ownFloor.get().held) ownFloor.set({ held: true, notice: { is: 'denied', cause: 255 } }); });
}
export function release() {
  if (!ownFloor.get().held) return;
  ownFloor.set(NONE);
  order('release').catch(() => { /* the silence ends it */ });
}

onEvent((e) => {
  if (e.type === 'floor_notice' && e.member === mine.get()?.id && ownFloor.get().held) ownFloor.set({ held: true, notice: e.notice });
});
mine.subscribe(() => { if (!mine.get()) ownFloor.set(NONE); });
