import { beforeEach, describe, expect, it } from 'vitest';
import type { CallLeg } from '../src/api/types';
import { microphoneWords, refusedWords, transferWords } from '../src/media/phoneWords';
import { callBackNumber, dialable, gradeOf, lossOf, presenceOf, recordedOf } from '../src/pages/calls/words';
import { entriesOf, newerRun, textOf } from '../src/pages/calls/lists';
import { wayOf } from '../src/state/desk';
import { seenUpTo } from '../src/state/missed';
import { alive, foremost, putLine, type Line } from '../src/state/phone';

const leg = (mos: number | null, packets: number, lost: number) => ({ mos, packets, lost }) as CallLeg;
const line = (id: string, state: Line['state']) => ({ id, state, number: id }) as Line;

describe('the desk', () => {
  it('says the quality of a leg in a word', () => {
    expect(gradeOf(leg(4.3, 1000, 0))).toBe('good');
    expect(gradeOf(leg(3.6, 1000, 0))).toBe('fair');
    expect(gradeOf(leg(4.3, 970, 30))).toBe('fair');
    expect(gradeOf(leg(2.9, 1000, 0))).toBe('bad');
    expect(gradeOf(leg(4.3, 800, 200))).toBe('bad');
    expect(gradeOf(leg(null, 0, 0))).toBe('none');
    expect(lossOf(leg(null, 0, 0))).toBe(0);
  });
  it('says whether an outside recorder has the sound', () => {
    expect(recordedOf({}, true)).toBeNull();
    expect(recordedOf({ recorded: null }, false)).toBeNull();
    expect([recordedOf({ recorded: 0 }, true), recordedOf({ recorded: 0 }, false)]).toEqual(['none', 'none']);
    expect([recordedOf({ recorded: 9 }, true), recordedOf({ recorded: 9 }, false)]).toEqual(['now', 'done']);
  });
  it('says what a number does', () => {
    expect(presenceOf({ kind: 'phone', online: false, state: 'idle' })).toBe('offline');
    expect(presenceOf({ kind: 'phone', online: true, state: 'idle' })).toBe('idle');
    // A phone that talks is shown talking, also when its registration has just run out.
    expect(presenceOf({ kind: 'phone', online: false, state: 'talking' })).toBe('talking');
    expect(presenceOf({ kind: 'conference', online: false, state: 'idle' })).toBe('locked');
    expect([true, false].map((online) => presenceOf({ kind: 'queue', online, state: 'idle' }))).toEqual(['manned', 'unmanned']);
    expect((['idle', 'calling'] as const).map((state) => presenceOf({ kind: 'list', online: true, state }))).toEqual(['list', 'running']);
  });
  it('takes a number as it is pasted', () => {
    expect(dialable(' (010) 6552-1234 ')).toBe('01065521234');
    expect(dialable('+86 10')).toBe('+8610');
    expect(dialable('*8#')).toBe('*8#');
    expect(dialable('8001;x=<y>@z'.repeat(9)).length).toBeLessThanOrEqual(32);
  });
  it('knows whom to call back', () => {
    const c = { direction: 'between' as const, caller: '8001', callee: '8003', dialled: '8002' };
    expect(callBackNumber(c, null)).toBe('8001');
    expect(callBackNumber(c, '8002')).toBe('8001');
    expect(callBackNumber(c, '8001')).toBe('8002');
    expect(callBackNumber({ ...c, direction: 'out', caller: '9000' }, null)).toBe('8003');
  });
  it('calls from the own phone, or into a conference where that is wished or is all there is', () => {
    const a = { id: 'a', name: 'A' }, b = { id: 'b', name: 'B' };
    expect(wayOf('own', true, [a, b])).toEqual({ by: 'own' });
    expect(wayOf('b', true, [a, b])).toMatchObject({ by: 'conference', id: 'b' });
    expect(wayOf('gone', true, [a])).toEqual({ by: 'own' });
    expect(wayOf('own', false, [a])).toMatchObject({ id: 'a' });
    expect(wayOf('own', false, [a, b])).toBeNull();
    expect(wayOf('own', false, [])).toBeNull();
  });
});

describe('missed calls', () => {
  it('are seen up to the newest that was shown, never back', () => {
    const at = (s: number) => new Date(1_700_000_000_000 + s * 1000).toISOString();
    const seen = seenUpTo([{ began_at: at(5) }, { began_at: at(9) }, { began_at: at(1) }], '');
    expect(Date.parse(seen)).toBe(Date.parse(at(9)) + 1);
    expect(seenUpTo([{ began_at: at(2) }], seen)).toBe(seen);
    expect(seenUpTo([], seen)).toBe(seen);
    expect(seenUpTo([], '')).toBe('');
  });
});

describe('the own telephone', () => {
  let list: readonly Line[];
  beforeEach(() => { list = []; });
  it('keeps its calls in the order in which they came', () => {
    list = putLine(putLine(list, line('1', 'talking')), line('2', 'ringing'));
    list = putLine(list, line('1', 'held'));
    expect(list.map((l) => [l.id, l.state])).toEqual([['1', 'held'], ['2', 'ringing']]);
  });
  it('means the ringing call first, then the one that is talked', () => {
    expect(foremost([line('1', 'talking'), line('2', 'ringing')])?.id).toBe('2');
    expect(foremost([line('1', 'held'), line('2', 'talking')])?.id).toBe('2');
    expect(foremost([line('1', 'ended')])).toBeNull();
    expect([line('1', 'ended'), line('2', 'held')].filter(alive)).toHaveLength(1);
  });
  it('says why a call failed, by the word of the gateway before the code', () => {
    expect(refusedWords(480, 'SIP;cause=480;text="not_registered"').en).toBe('The phone is not registered');
    expect(refusedWords(480, undefined).en).toBe('No answer');
    expect(refusedWords(486, 'Q.850;cause=17').en).toBe('Busy');
    expect(refusedWords(404, undefined).en).toMatch(/no such number/);
    expect(refusedWords(499, undefined).en).toMatch(/499/);
    expect(transferWords(501, '8003').en).toMatch(/directly/);
    expect(transferWords(486, '8003').en).toMatch(/8003.*Busy.*goes on/);
    expect(microphoneWords(Object.assign(new Error('x'), { name: 'NotAllowedError' }))?.en).toMatch(/address bar/);
    expect(microphoneWords(new Error('x'))).toBeNull();
  });
});

describe('a call list', () => {
  it('is read as people write it', () => {
    const names = new Map([['8002', 'County office']]);
    const read = entriesOf('8001 Duty phone\n\n 8002\n8001 again\n13800138000，王 局\nno number here\n+8610', names);
    expect(read.entries).toEqual([{ number: '8001', name: 'Duty phone' }, { number: '8002', name: 'County office' }, { number: '13800138000', name: '王 局' }, { number: '+8610', name: '' }]);
    expect(read.bad).toEqual([6]);
    expect(entriesOf(textOf(read.entries), new Map()).entries).toEqual(read.entries);
  });
  it('is not taken back by an answer that comes after the news', () => {
    const run = (revision: number, started_at = '2026-05-12T08:00:00.000Z') => ({ state: 'running' as const, conference: 'c', started_at, started_by: 'wang', revision, entries: [] });
    expect(newerRun(run(3), run(0))?.revision).toBe(3);
    expect(newerRun(run(3), run(4))?.revision).toBe(4);
    expect(newerRun(run(9), run(0, '2026-05-12T09:00:00.000Z'))?.revision).toBe(0);
    expect(newerRun(null, run(1))?.revision).toBe(1);
    expect(newerRun(null, null)).toBeNull();
  });
});
