// The time line's arithmetic, apart from its drawing. Times in ms since the epoch.
export interface Span { from: number; to: number }

export const DAY = 86_400_000;
export const MIN_SPAN = 60_000;
export function dayOf(iso: string): Span { // local midnight to local midnight: 23 or 25 h where clocks change
  const [y, m, d] = iso.split('-').map(Number) as [number, number, number];
  return { from: new Date(y, m - 1, d).getTime(), to: new Date(y, m - 1, d + 1).getTime() };
}
export const toX = (t: number, view: Span, width: number) => ((t - view.from) / (view.to - view.from)) * width;
export const toTime = (x: number, view: Span, width: number) => view.from + (x / width) * (view.to - view.from);

export function clampView(view: Span, day: Span): Span {
  const span = Math.min(Math.max(view.to - view.from, MIN_SPAN), day.to - day.from);
  const from = Math.min(Math.max(view.from, day.from), day.to - span);
  return { from, to: from + span };
}
/** factor < 1 zooms in; the time under the pointer stays under it. */
export function zoom(view: Span, day: Span, at: number, factor: number): Span {
  const span = Math.min(Math.max((view.to - view.from) * factor, MIN_SPAN), day.to - day.from);
  const share = (at - view.from) / (view.to - view.from);
  return clampView({ from: at - share * span, to: at - share * span + span }, day);
}
export const pan = (view: Span, day: Span, by: number) => clampView({ from: view.from + by, to: view.to + by }, day);

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600].map((s) => s * 1000);
export function ticks(view: Span, day: Span, width: number, minGap: number): { at: number[]; step: number } {
  const want = ((view.to - view.from) * minGap) / Math.max(1, width);
  const step = STEPS.find((s) => s >= want) ?? STEPS[STEPS.length - 1]!;
  const at: number[] = [];
  for (let t = day.from + Math.ceil((view.from - day.from) / step) * step; t <= view.to; t += step) at.push(t);
  return { at, step };
}

export interface Bar { id: string; stream: string; name: string; from: number; to: number; state: string }
export interface Row { stream: string; name: string; bars: Bar[] }
export function rowsByStream(bars: readonly Bar[]): Row[] {
  const rows = new Map<string, Row>();
  for (const b of bars) {
    let r = rows.get(b.stream);
    if (!r) { r = { stream: b.stream, name: b.name, bars: [] }; rows.set(b.stream, r); }
    r.bars.push(b);
  }
  for (const r of rows.values()) r.bars.sort((a, b) => a.from - b.from);
  return [...rows.values()].sort((a, b) => a.name.localeCompare(b.name));
}
/** The recording at this moment, else the next one of the row, else none. */
export function barAt(row: Row, t: number): { bar: Bar; at: number } | null {
  for (const bar of row.bars) { if (t < bar.to) return { bar, at: Math.max(t, bar.from) }; }
  return null;
}
