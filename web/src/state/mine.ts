// The own membership: one conference at a time; it outlives the page that joined it.
import { api } from '../api/client';
import { WhipMember, type WhipState } from '../media/whip';
import { testHandle } from '../testHandle';
import { connection, onEvent } from './live';
import { go, route } from '../route';
import { isOperator, session } from './session';
import { createStore, useStore } from './store';
import type { Conference, Text } from '../api/types';

// Two mutes: the own one shuts the microphone, the operator's comes from the gateway, which lets only an operator end it. Only the own hand opens the own mute:
// a late or stale event can never make this console heard.
export interface Mine { member: WhipMember; conference: string; state: WhipState; own: boolean; remote: boolean; muted: boolean; byOperator: boolean; id: string }
export const mine = createStore<Mine | null>(null);
/** Whether this console may steer the conference: as an operator, or because its member chairs it. */
export function useSteers(c: Conference | undefined) {
  const operator = useStore(session, isOperator);
  const own = useStore(mine, (m) => (m && m.conference === c?.id ? m.id : null));
  return operator || !!own && c?.members.find((x) => x.id === own)?.role === 'chair';
}
/** Why the own membership ended without being left by hand. */
export const goodbye = createStore<Text | null>(null);
/** Where the mix is heard. In the page for as long as the console is. */
const mixAudio = typeof Audio === 'undefined' ? null : new Audio();
export const setSink = (id: string) => { if (mixAudio && 'setSinkId' in mixAudio) void mixAudio.setSinkId(id).catch(() => {}); };

testHandle.setMember(() => { const m = mine.get(); return m ? { pc: m.member.pc, id: m.member.id } : null; });

export function join(conference: string, name: string, local: MediaStream, muted: boolean) {
  leave();
  goodbye.set(null);
  for (const t of local.getAudioTracks()) t.enabled = !muted;
  const member = new WhipMember(conference, name, local, {
    mix: (s) => { if (mixAudio) { mixAudio.srcObject = s; mixAudio.autoplay = true; void mixAudio.play().catch(() => {}); } },
    state: (state) => {
      if (state.phase === 'off') {
        if (state.error) goodbye.set(state.error);
        end(member);
        return;
      }
      mine.set((m) => (m && m.member === member ? { ...m, state, id: member.id } : m));
      const m = mine.get();
      if (m?.member === member && state.phase === 'connected' && m.own && member.id) tell(true);
    },
  });
  mine.set({ member, conference, state: member.state, own: muted, remote: false, muted, byOperator: false, id: '' });
  member.join();
}

function end(member: WhipMember) {
  for (const t of member.local.getTracks()) t.stop();
  if (mixAudio) mixAudio.srcObject = null;
  mine.set((m) => (m?.member === member ? null : m));
}
export function leave() { mine.get()?.member.leave(); }

// Others see the mute only through the gateway; the microphone itself is shut here first.
function tell(muted: boolean) {
  const m = mine.get();
  if (m?.member.id) api.patchMember(m.conference, m.member.id, { muted }).catch(() => { /* an operator's mute stays; the own one shut the microphone already */ });
}
const shut = (m: Mine, p: Partial<Pick<Mine, 'own' | 'remote' | 'byOperator'>>) => {
  const next = { ...m, ...p };
  next.muted = next.own || next.remote;
  for (const t of m.member.local.getAudioTracks()) t.enabled = !next.own;
  mine.set(next);
};
export function setMuted(muted: boolean) {
  const m = mine.get();
  if (!m || m.muted === muted) return;
  shut(m, muted ? { own: true } : { own: false }); // an operator's mute ends when the gateway says so
  tell(muted);
}

onEvent((e) => {
  const m = mine.get();
  if (!m) return;
  // An operator took this console into another conference: the sound is there already.
  if (e.type === 'member_moved' && e.member === m.member.id) {
    m.member.conference = e.to;
    mine.set({ ...m, conference: e.to });
    if (route.get().page === 'confer' && [e.from, ''].includes(route.get().arg)) go(`/confer/${encodeURIComponent(e.to)}`, true);
  }
  else if (e.type === 'member_left' && e.conference === m.conference && e.member === m.member.id && m.member.connected) { goodbye.set(e.reason); m.member.leave(); }
  else if (e.type === 'conference_ended' && e.id === m.conference) { goodbye.set({ zh: '会议已结束。', en: 'The conference has ended.' }); m.member.leave(); }
  else if (e.type === 'member' && e.conference === m.conference && e.member.id === m.member.id) {
    const byOperator = e.member.muted_by === 'operator';
    if (e.member.muted !== m.remote || byOperator !== m.byOperator) shut(m, { remote: e.member.muted, byOperator });
  }
});
connection.subscribe(() => { if (connection.get().state === 'open') mine.get()?.member.check(); });
if (typeof window !== 'undefined') window.addEventListener('pagehide', () => leave());
