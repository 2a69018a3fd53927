import { describe, expect, it } from 'vitest';
import { barAt, clampView, DAY, MIN_SPAN, pan, rowsByStream, ticks, toTime, toX, zoom } from '../src/pages/replay/timeline';

const day = { from: 0, to: DAY };
describe('the time line', () => {
  it('maps there and back', () => { expect(toX(DAY / 2, day, 1000)).toBe(500); expect(toTime(500, day, 1000)).toBe(DAY / 2); });
  it('zooms about the pointer and stays within the day', () => {
    const v = zoom(day, day, DAY / 4, 0.5);
    expect(toX(DAY / 4, v, 1000)).toBeCloseTo(250); expect(v.to - v.from).toBe(DAY / 2);
    expect(zoom(v, day, 0, 100)).toEqual(day); expect(zoom(day, day, DAY, 1e-9).to - zoom(day, day, DAY, 1e-9).from).toBe(MIN_SPAN);
  });
  it('does not pan out of the day', () => { expect(pan({ from: 0, to: 1e6 }, day, -5e5)).toEqual({ from: 0, to: 1e6 }); expect(clampView({ from: DAY, to: DAY + 1e6 }, day).to).toBe(DAY); });
  it('keeps its marks apart', () => { for (const w of [300, 1000, 3000]) { const { at, step } = ticks(day, day, w, 60); expect((step / DAY) * w).toBeGreaterThanOrEqual(Math.min(60, w / 4)); expect(at.length).toBeLessThan(60); } });
  it('finds what to play', () => {
    const bar = (id: string, from: number, to: number) => ({ id, stream: 's', name: 'n', from, to, state: 'whole' });
    const [row] = rowsByStream([bar('b', 300, 400), bar('a', 100, 200)]);
    expect(barAt(row!, 150)).toMatchObject({ bar: { id: 'a' }, at: 150 }); expect(barAt(row!, 250)).toMatchObject({ bar: { id: 'b' }, at: 300 }); expect(barAt(row!, 500)).toBeNull();
  });
});
