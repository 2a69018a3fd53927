import { describe, expect, it } from 'vitest';
import type { Playback } from '../src/api/types';
import { fetchRange, fromInput, laneOf, isLane, shownAt, toInput } from '../src/pages/replay/devrec';

const at = (s: number) => new Date(1_792_598_400_000 + s * 1000).toISOString();
const playback = (p: Partial<Playback>): Playback => ({ id: 'p', channel: 'c', stream: 's', owner: 'o', from: at(0), to: at(600), phase: 'playing', position: at(100), at: at(0), speed: 1, fault: null, ...p });

describe('recordings of a device', () => {
  it('make a lane in order of time', () => {
    const row = laneOf('gb28181:a/b', 'In the device', [{ from: at(50), to: at(60), kind: 'time', bytes: null, name: '' }, { from: at(0), to: at(20), kind: 'time', bytes: null, name: '' }]);
    expect(row.bars.map((b) => b.from)).toEqual([Date.parse(at(0)), Date.parse(at(50))]);
    expect(isLane(row)).toBe(true);
    expect(isLane({ stream: 'gb28181:a/b' })).toBe(false);
  });
  it('show the moment that plays: on with the clock at its speed, still when paused, never beyond the stretch', () => {
    const now = Date.parse(at(0)) + 400;
    expect(shownAt(playback({}), now)).toBe(Date.parse(at(100)) + 400);
    expect(shownAt(playback({ speed: 2 }), now)).toBe(Date.parse(at(100)) + 800);
    expect(shownAt(playback({ speed: -1 }), now)).toBe(Date.parse(at(100)) - 400);
    expect(shownAt(playback({ phase: 'paused' }), now)).toBe(Date.parse(at(100)));
    expect(shownAt(playback({ position: at(599.9) }), now)).toBe(Date.parse(at(600)));
    expect(shownAt(playback({}), Date.parse(at(500)))).toBe(Date.parse(at(103)));
  });
  it('offer the range in view in whole seconds', () => {
    const bars = laneOf('s', 'n', [{ from: at(10), to: at(100), kind: '', bytes: null, name: '' }]).bars;
    const day = { from: Date.parse(at(0)), to: Date.parse(at(3600)) };
    expect(fetchRange(day, day, bars)).toEqual({ from: Date.parse(at(10)), to: Date.parse(at(100)) });
    expect(fetchRange({ from: Date.parse(at(20)) + 250, to: Date.parse(at(30)) + 250 }, day, bars)).toEqual({ from: Date.parse(at(20)), to: Date.parse(at(31)) });
    expect(fromInput(toInput(Date.parse(at(77))))).toBe(Date.parse(at(77)));
  });
});
