import { afterEach, describe, expect, it, vi } from 'vitest';
import { api } from '../src/api/client';
import type { Talk, TalkTarget } from '../src/api/types';
import { TalkLeg } from '../src/media/talkLeg';
import { beginTalk, canHearTalk, endTalk, ownTalk, phaseOf, same, spokenTo, talkerOf, talkGroup, toggleGroup } from '../src/state/talk';

const target = (channel: string, state: TalkTarget['state']): TalkTarget => ({ channel, name: channel, state, fault: null, level_dbov: -127, sent_packets: 0, way: '', half_duplex: true, on_air_at: null });
const talk = (id: string, by: string, targets: TalkTarget[], microphone = true): Talk => ({ id, by, started_at: '', microphone, targets });

describe('talk', () => {
  it('is on air when one camera and the microphone are, refused when all cameras refused', () => {
    expect(phaseOf(talk('a', 'li', [target('1', 'calling'), target('2', 'on_air')]))).toBe('on_air');
    expect(phaseOf(talk('a', 'li', [target('1', 'on_air')], false))).toBe('calling');
    expect(phaseOf(talk('a', 'li', [target('1', 'failed'), target('2', 'calling')]))).toBe('calling');
    expect(phaseOf(talk('a', 'li', [target('1', 'failed'), target('2', 'ended')]))).toBe('refused');
  });
  it('tells who else talks', () => {
    const all = new Map([['a', talk('a', 'li', [target('1', 'on_air')])], ['b', talk('b', 'wang', [target('2', 'calling')])]]);
    expect(talkerOf(all, '1', '')).toBe('li');
    expect(talkerOf(all, '1', 'a')).toBe(null);
    expect(talkerOf(all, '2', '')).toBe(null);
    expect([spokenTo(all, '1'), spokenTo(all, '2'), spokenTo(new Map([['c', talk('c', 'li', [{ ...target('1', 'on_air'), half_duplex: false }])]]), '1')]).toEqual([true, false, false]);
  });
  it('groups, and knows what can hear', () => {
    toggleGroup('x'); toggleGroup('y', '北门 North'); toggleGroup('x');
    expect([...talkGroup.get()]).toEqual([['y', '北门 North']]);
    expect(same(['a', 'b'], ['b', 'a'])).toBe(true);
    expect(canHearTalk('gb28181:1/2')).toBe(true);
    expect(canHearTalk('phone:8001')).toBe(false);
  });
});

/** A promise that is settled from outside. */
const later = <T>() => { let yes!: (x: T) => void, no!: (e: Error) => void; const promise = new Promise<T>((a, b) => { yes = a; no = b; }); return { promise, yes, no }; };
const settled = () => new Promise((done) => setTimeout(done, 0));

describe('letting go early', () => {
  const track = { enabled: true, readyState: 'live', stop() {} };
  const press = () => {
    vi.stubGlobal('navigator', { mediaDevices: { getUserMedia: async () => ({ getAudioTracks: () => [track], getTracks: () => [track] }) } });
    const begun = later<Talk>(), offer = later<string>();
    vi.spyOn(api, 'beginTalk').mockReturnValue(begun.promise);
    vi.spyOn(TalkLeg.prototype, 'offer').mockReturnValue(offer.promise);
    const answer = vi.spyOn(TalkLeg.prototype, 'answer').mockResolvedValue();
    const ended = vi.spyOn(api, 'endTalk').mockResolvedValue(undefined as never);
    return { begun, offer, answer, ended, pressed: beginTalk(['gb28181:1/2']) };
  };
  afterEach(() => { endTalk(); vi.restoreAllMocks(); vi.unstubAllGlobals(); });
  const ids = (ended: { mock: { calls: unknown[][] } }) => ended.mock.calls.map((c) => c[0]);

  it('ends the talk that is not answered yet', async () => {
    const { begun, offer, ended, pressed } = press();
    await settled();
    endTalk();
    offer.no(new Error('closed'));
    begun.yes(talk('t', 'li', [target('1', 'calling')]));
    await pressed; await settled();
    expect(ids(ended)).toEqual(['t']);
  });
  it('ends the talk whose leg is still being made, even if that never comes', async () => {
    const { begun, answer, ended } = press();
    await settled();
    begun.yes(talk('t', 'li', [target('1', 'on_air')]));
    await settled();
    expect(ownTalk.get()?.id).toBe('t');
    endTalk();
    expect(ids(ended)).toEqual(['t']);
    expect(answer).not.toHaveBeenCalled();
  });
});
