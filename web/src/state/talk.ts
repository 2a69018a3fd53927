// Who talks to which cameras, and the own talk: from the press of the button to its release.
import { api, asApiError, type ApiError } from '../api/client';
import type { Talk, TalkTarget } from '../api/types';
import { TalkLeg } from '../media/talkLeg';
import { connection, onEvent, put, drop, type Map_ } from './live';
import { createStore, type Store } from './store';

export type TalkPhase = 'microphone' | 'calling' | 'on_air' | 'refused';
/** The own talk while the button is held. `view` is what the gateway says of it. */
export interface OwnTalk { channels: readonly string[]; phase: TalkPhase; id: string; view: Talk | null }

export const talks: Store<Map_<Talk>> = createStore<Map_<Talk>>(new Map());
/** Level and packets of what left, by channel; only while a loudspeaker is on air. */
export const talkLevels = createStore<Map_<readonly [number, number]>>(new Map());
export const ownTalk = createStore<OwnTalk | null>(null);
/** Why the last own talk failed; until the next press. */
export const talkError = createStore<{ channels: readonly string[]; error: ApiError | null; targets: readonly TalkTarget[] } | null>(null);
/** Channels chosen for a talk to many, with the names that they were chosen by. */
export const talkGroup = createStore<ReadonlyMap<string, string>>(new Map());
export const MOST_IN_GROUP = 32;

export function toggleGroup(channel: string, name = channel) {
  talkGroup.set((s) => { const n = new Map(s); if (!n.delete(channel) && n.size < MOST_IN_GROUP) n.set(channel, name); return n; });
}
export const same = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((x) => b.includes(x));

/** One camera on air is enough to speak; all refused is a refusal. Pure, tested. */
export function phaseOf(v: Pick<Talk, 'microphone'> & { targets: readonly Pick<TalkTarget, 'state'>[] }): TalkPhase {
  if (v.targets.every((x) => x.state === 'failed' || x.state === 'ended')) return 'refused';
  if (!v.microphone) return 'calling';
  return v.targets.some((x) => x.state === 'on_air') ? 'on_air' : 'calling';
}

const KEEP_MICROPHONE_MS = 30_000;
let kept: MediaStream | null = null;
let letGo: ReturnType<typeof setTimeout> | undefined;
export async function microphone(): Promise<MediaStream> {
  clearTimeout(letGo);
  if (kept?.getAudioTracks()[0]?.readyState === 'live') return kept;
  if (!navigator.mediaDevices?.getUserMedia) throw mediaError('insecure');
  try {
    kept = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
  } catch (e) { throw mediaError((e as DOMException).name); }
  return kept;
}
/** Opened again within half a minute it costs nothing; longer it is not held open. */
export function release() {
  for (const t of kept?.getAudioTracks() ?? []) t.enabled = false;
  clearTimeout(letGo);
  letGo = setTimeout(() => { for (const t of kept?.getTracks() ?? []) t.stop(); kept = null; }, KEEP_MICROPHONE_MS);
}
class MicrophoneError extends Error { readonly zh: string; readonly en: string; constructor(zh: string, en: string) { super(en); this.zh = zh; this.en = en; } }
function mediaError(name: string): MicrophoneError {
  if (name === 'insecure') return new MicrophoneError('此页面不是安全连接，浏览器不允许使用话筒。请用 https 打开。', 'This page is not secure, so the browser gives no microphone. Open it by https.');
  if (name === 'NotAllowedError') return new MicrophoneError('浏览器没有获准使用话筒。请在地址栏允许话筒。', 'The browser may not use the microphone. Allow it in the address bar.');
  return new MicrophoneError('没有可用的话筒。请检查话筒是否接好。', 'There is no microphone. Check that one is connected.');
}

const backAudio = typeof Audio === 'undefined' ? null : new Audio();
let run = 0;
let leg: TalkLeg | null = null;

/** The button is pressed. */
export async function beginTalk(channels: readonly string[]) {
  if (ownTalk.get() || channels.length === 0) return;
  const my = ++run;
  talkError.set(null);
  ownTalk.set({ channels, phase: 'microphone', id: '', view: null });
  const own = new TalkLeg();
  leg = own;
  try {
    const mic = await microphone();
    if (my !== run) { if (!ownTalk.get()) release(); return; }
    for (const t of mic.getAudioTracks()) t.enabled = true;
    ownTalk.set({ channels, phase: 'calling', id: '', view: null });
    const back = (s: MediaStream) => { if (backAudio) { backAudio.srcObject = s; backAudio.autoplay = true; void backAudio.play().catch(() => {}); } };
    // Taken up as soon as it is known: who lets go while the microphone's leg is still being made ends it all the same.
    const begun = api.beginTalk(channels).then((talk) => {
      if (my !== run) { api.endTalk(talk.id, true).catch(() => { /* it ended by itself */ }); return talk; }
      // The event may have been quicker than the answer, and know more.
      const view = talks.get().get(talk.id) ?? talk;
      ownTalk.set({ channels, phase: phaseOf(view), id: talk.id, view });
      return talk;
    });
    const [talk, sdp] = await Promise.all([begun, own.offer(mic, back, () => { if (my === run) endTalk(); })]);
    if (my === run) await own.answer(talk.id, sdp);
  } catch (e) {
    if (my !== run) return;
    const error = e instanceof MicrophoneError ? Object.assign(asApiError(e), { zh: e.zh, en: e.en }) : asApiError(e);
    talkError.set({ channels, error, targets: [] });
    endTalk();
  }
}

/** The button is released. */
export function endTalk() {
  const o = ownTalk.get();
  run++;
  leg?.close(); leg = null;
  if (backAudio) backAudio.srcObject = null;
  release();
  if (!o) return;
  if (o.id) api.endTalk(o.id, true).catch(() => { /* it ended by itself */ });
  const failed = o.view?.targets.filter((x) => x.state === 'failed') ?? [];
  if (failed.length && !talkError.get()) talkError.set({ channels: o.channels, error: null, targets: failed });
  ownTalk.set(null);
}

onEvent((e) => {
  const o = ownTalk.get();
  if (e.type === 'talk') {
    put(talks, e.talk.id, e.talk);
    if (o && o.id === e.talk.id) ownTalk.set({ ...o, view: e.talk, phase: phaseOf(e.talk) });
  } else if (e.type === 'talk_ended') {
    drop(talks, e.id);
    if (o && o.id === e.id) { ownTalk.set({ ...o, view: e.talk }); endTalk(); }
  } else if (e.type === 'talk_levels') talkLevels.set(new Map(Object.entries(e.levels)));
});
connection.subscribe(() => {
  if (connection.get().state !== 'open') return;
  api.talks().then((l) => {
    talks.set(new Map(l.items.map((x) => [x.id, x] as const)));
    const o = ownTalk.get();
    if (o?.id && !l.items.some((x) => x.id === o.id)) endTalk();
  }).catch(() => { /* read again at the next connect */ });
});
if (typeof window !== 'undefined') window.addEventListener('pagehide', () => endTalk());

/** Who else talks to this channel now. */
export function talkerOf(all: Map_<Talk>, channel: string | null, ownId: string): string | null {
  if (!channel) return null;
  for (const x of all.values()) if (x.id !== ownId && x.targets.some((y) => y.channel === channel && y.state === 'on_air')) return x.by;
  return null;
}
/** How long a camera's echo may last behind the last word. */
export const ECHO_MS = 1_000;
/** Somebody talks to this camera, and it is one that hears its own loudspeaker. */
export function spokenTo(all: Map_<Talk>, channel: string | null): boolean {
  if (!channel) return false;
  for (const x of all.values()) if (x.targets.some((y) => y.channel === channel && y.state === 'on_air' && y.half_duplex)) return true;
  return false;
}
/** Talking is for loudspeakers of cameras. */
export const canHearTalk = (id: string | null): id is string => !!id && id.startsWith('gb28181:') && !id.startsWith('gb28181:talk/');
