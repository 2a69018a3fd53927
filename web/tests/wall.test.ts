import { describe, expect, it } from 'vitest';
import type { Stream } from '../src/api/types';
import { wallKey, type KeyState } from '../src/wall/keys';
import { tileMessage, type TileFacts } from '../src/wall/message';

const now = 1_000_000_000;
const facts = (x: Partial<TileFacts> = {}): TileFacts => ({ source: 's', sourceName: 'Dam', live: 's', since: null, stream: null, view: { hasPicture: true, lastPictureAt: now - 100, whep: { phase: 'connected', error: null, since: now - 9000 } }, canTake: true, now, lang: 'en', ...x });
const stream = (x: Partial<Stream>): Stream => ({ id: 's', name: 'Dam', state: 'live', viewers: 1, tracks: [], bit_rate_bps: 0, frame_rate: 0, key_interval_s: 2, since: null, fault: null, ...x });
const view = (phase: 'connected' | 'waiting' | 'connecting', lastPictureAt: number, since = now - 9000) => ({ hasPicture: lastPictureAt > 0, lastPictureAt, whep: { phase, error: null, since } });

describe('a tile', () => {
  it('says nothing while all is well', () => { expect(tileMessage(facts())).toBeNull(); });
  it('says it has no source and what to do', () => {
    const m = tileMessage(facts({ source: null }))!;
    expect(m.kind).toBe('empty'); expect(m.next).toMatch(/Drag/);
    expect(tileMessage(facts({ source: null, canTake: false }))!.next).toBe('');
  });
  it('says the age of the last picture and the fault', () => {
    const fault = { code: 'x', whose: 'device' as const, retry: true, zh: '摄像机不发关键帧', en: 'the camera sends no key frame', next_en: 'Set it to 2 s.', next_zh: '设为 2 秒。' };
    const f = facts({ stream: stream({ state: 'stalled', fault }), view: view('connected', now - 4000) });
    expect(tileMessage(f)).toEqual({ kind: 'bad', text: 'No video for 4 s: the camera sends no key frame.', next: 'Set it to 2 s.' });
    expect(tileMessage({ ...f, lang: 'zh' })!.text).toBe('已 4 秒没有画面：摄像机不发关键帧。');
  });
  it('says that an old picture is old even when the gateway thinks all is well', () => { expect(tileMessage(facts({ stream: stream({}), view: view('connected', now - 7000) }))!.text).toBe('No video for 7 s: no new pictures arrive.'); });
  it('says the leg is lost, and that it comes back by itself', () => {
    const m = tileMessage(facts({ view: view('waiting', now - 12_000) }))!;
    expect(m.text).toMatch(/^No video for 12 s: .*lost\.$/); expect(m.next).not.toBe('');
  });
  it('does not flash words up at a quick switch, but says so at a slow one', () => {
    const since = (ms: number) => new Date(now - ms).toISOString();
    expect(tileMessage(facts({ live: 'other', since: since(300) }))).toBeNull();
    expect(tileMessage(facts({ live: 'other', since: since(3000) }))!.text).toBe('Waiting 3 s for the first picture of Dam.');
  });
});

describe('the keys of the wall', () => {
  const s = (x: Partial<KeyState> = {}): KeyState => ({ tile: null, layout: 9, full: null, sound: null, hasChannel: false, canTake: true, ...x });
  it('selects by number within the layout', () => { expect(wallKey('5', false, s())).toEqual({ do: 'select', tile: 4 }); expect(wallKey('5', false, s({ layout: 4 }))).toBeNull(); });
  it('moves and stays at the edge', () => {
    expect(wallKey('ArrowRight', false, s({ tile: 4 }))).toEqual({ do: 'select', tile: 5 }); expect(wallKey('ArrowRight', false, s({ tile: 5 }))).toEqual({ do: 'select', tile: 5 });
    expect(wallKey('ArrowDown', false, s({ tile: 1, layout: 4 }))).toEqual({ do: 'select', tile: 3 }); expect(wallKey('ArrowUp', false, s())).toEqual({ do: 'select', tile: 0 });
  });
  it('hears one tile at a time', () => { expect(wallKey('m', false, s({ tile: 2, sound: 1 }))).toEqual({ do: 'sound', tile: 2 }); expect(wallKey('m', false, s({ tile: 2, sound: 2 }))).toEqual({ do: 'sound', tile: null }); });
  it('gives a viewer nothing that switches', () => { for (const k of ['u', 'r', 'Delete', 'Enter']) expect(wallKey(k, false, s({ tile: 1, hasChannel: true, canTake: false }))).toBeNull(); expect(wallKey('z', true, s({ canTake: false }))).toBeNull(); });
  it('goes back step by step', () => { expect(wallKey('Escape', false, s({ tile: 1, full: 1 }))).toEqual({ do: 'full', tile: null }); expect(wallKey('Escape', false, s({ tile: 1 }))).toEqual({ do: 'select', tile: null }); });
});
