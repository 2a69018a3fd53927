// Arithmetic of devices' own recordings, apart from drawing and asking. Times in ms since the epoch.
import type { DeviceRecording, Playback } from '../../api/types';
import type { Bar, Row, Span } from './timeline';

export const LANE = 'device:';
export const isLane = (row: { stream: string }) => row.stream.startsWith(LANE);
export const DEVICE_RATES = [-1, 0.25, 0.5, 1, 2, 4, 8];

/** The lane of a device's own recordings. */
export function laneOf(stream: string, name: string, items: readonly DeviceRecording[]): Row {
  const bars: Bar[] = items.map((r, n) => ({ id: `${LANE}${n}`, stream: `${LANE}${stream}`, name, from: Date.parse(r.from), to: Date.parse(r.to), state: 'device' }));
  return { stream: `${LANE}${stream}`, name, bars: bars.sort((a, b) => a.from - b.from) };
}

/** The moment shown now: while it plays it runs on from what the gateway told last, `now` by the gateway's clock. */
export function shownAt(p: Playback, now: number): number {
  const at = Date.parse(p.position);
  if (p.phase !== 'playing') return at;
  const ago = Math.min(Math.max(0, now - Date.parse(p.at)), 3_000);
  const on = at + ago * p.speed;
  return Math.min(Math.max(on, Date.parse(p.from)), Date.parse(p.to));
}

/** A range for "fetch": what is in view, within the day, in whole seconds, never longer than a day. */
export function fetchRange(view: Span, day: Span, bars: readonly Bar[]): Span {
  const first = bars[0], last = bars[bars.length - 1];
  let from = Math.max(view.from, day.from), to = Math.min(view.to, day.to);
  if (first && last && first.from < to && last.to > from) { from = Math.max(from, first.from); to = Math.min(to, last.to); }
  return { from: Math.floor(from / 1000) * 1000, to: Math.ceil(to / 1000) * 1000 };
}

/** `2026-11-22T08:00:05` in local time, as <input type="datetime-local" step="1"> has it. */
export function toInput(ms: number): string {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return d.toISOString().slice(0, 19);
}
export const fromInput = (s: string) => new Date(s).getTime();
