import { useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent } from 'react';
import { useSpeech } from '../../i18n';
import { clock } from '../../ui/format';
import { pan, ticks, toTime, toX, zoom, type Row, type Span } from './timeline';

interface Props { day: Span; rows: Row[]; playing: string | null; at: number | null; now: number; view: Span; setView: (v: Span) => void; seek: (row: Row, t: number) => void }
const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** 24 hours on a canvas: wheel zooms, drag moves, click seeks; + and − zoom, arrows step, Home and End go to the ends. */
export function TimeLine({ day, rows, playing, at, now, view, setView, seek }: Props) {
  const { t } = useSpeech();
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ w: 800, rem: 14 });
  const [hover, setHover] = useState<number | null>(null);
  const drag = useRef<{ x: number; view: Span; moved: boolean } | null>(null);
  const g = useMemo(() => ({ label: Math.round(size.rem * 11), row: Math.round(size.rem * 2.1), head: Math.round(size.rem * 2.2) }), [size.rem]);
  const w = Math.max(50, size.w - g.label);
  const shown = rows.length || 1;
  const h = g.head + shown * g.row + 6;

  useLayoutEffect(() => {
    const el = box.current!;
    const look = () => setSize({ w: el.clientWidth, rem: parseFloat(getComputedStyle(document.documentElement).fontSize) || 14 });
    look();
    const o = new ResizeObserver(look);
    o.observe(el);
    return () => o.disconnect();
  }, []);

  useEffect(() => {
    const c = canvas.current!;
    const dpr = window.devicePixelRatio || 1;
    c.width = Math.round(size.w * dpr); c.height = Math.round(h * dpr);
    c.style.height = `${h}px`;
    const x = c.getContext('2d')!;
    x.scale(dpr, dpr);
    const col = { text: css('--text'), dim: css('--dim'), line: css('--line'), bar: css('--bar'), accent: css('--accent'), warn: css('--warn'), live: css('--live'), lane: css('--panel2') };
    x.clearRect(0, 0, size.w, h);
    x.font = `${Math.round(size.rem * 0.86)}px ${getComputedStyle(document.body).fontFamily}`;
    x.textBaseline = 'middle';
    const { at: marks, step } = ticks(view, day, w, size.rem * (4.6));
    for (const m of marks) {
      const px = Math.round(g.label + toX(m, view, w)) + 0.5;
      x.strokeStyle = col.line; x.beginPath(); x.moveTo(px, g.head - 5); x.lineTo(px, h); x.stroke();
      const s = clock(m);
      const label = step < 60_000 ? s : s.slice(0, 5);
      x.fillStyle = col.dim; x.textAlign = px > size.w - size.rem * 2 ? 'right' : px < g.label + size.rem * 1.5 ? 'left' : 'center';
      x.fillText(m === day.to ? '24:00' : label, Math.min(px, size.w), g.head / 2 - 1);
    }
    rows.forEach((r, i) => {
      const y = g.head + i * g.row;
      x.fillStyle = col.lane; x.fillRect(g.label, y + 3, w, g.row - 6);
      for (const b of r.bars) {
        const a = Math.max(g.label, g.label + toX(b.from, view, w)), e = Math.min(size.w, g.label + toX(b.to, view, w));
        if (e < g.label || a > size.w) continue;
        x.fillStyle = b.id === playing ? col.accent : col.bar;
        x.fillRect(a, y + 5, Math.max(2, e - a), g.row - 10);
        if (b.state === 'damaged' || b.state === 'repaired') { x.fillStyle = col.warn; x.fillRect(a, y + g.row - 7, Math.max(2, e - a), 2); }
        if (b.state === 'recording') { x.fillStyle = col.live; x.fillRect(Math.max(a, e - 3), y + 3, 3, g.row - 6); }
      }
      x.fillStyle = r.bars.some((b) => b.id === playing) ? col.text : col.dim; x.textAlign = 'left';
      let name = r.name;
      while (name.length > 2 && x.measureText(name).width > g.label - size.rem) name = `${name.slice(0, -2)}…`;
      x.fillText(name, 2, y + g.row / 2);
    });
    const stroke = (time: number, color: string, width: number, label?: string) => {
      const px = g.label + toX(time, view, w);
      if (px < g.label - 1 || px > size.w + 1) return;
      x.strokeStyle = color; x.lineWidth = width; x.beginPath(); x.moveTo(px, g.head - 6); x.lineTo(px, h); x.stroke(); x.lineWidth = 1;
      if (!label) return;
      const tw = x.measureText(label).width + 10;
      const lx = Math.min(Math.max(g.label, px - tw / 2), size.w - tw);
      x.fillStyle = color; x.fillRect(lx, 1, tw, g.head - 8);
      x.fillStyle = css('--bg'); x.textAlign = 'left'; x.fillText(label, lx + 5, (g.head - 8) / 2 + 1.5);
    };
    if (now > view.from && now < view.to) stroke(now, col.live, 1);
    if (hover !== null) stroke(hover, col.dim, 1, clock(hover));
    if (at !== null) stroke(at, col.text, 2, clock(at));
  }, [size, view, rows, playing, at, hover, day, now, w, h, g]);

  const timeAt = (clientX: number) => { const r = canvas.current!.getBoundingClientRect(); return toTime(clientX - r.left - g.label, view, w); };
  const rowAt = (clientY: number) => { const r = canvas.current!.getBoundingClientRect(); return rows[Math.floor((clientY - r.top - g.head) / g.row)] ?? (rows.length === 1 ? rows[0] : rows.find((x) => x.bars.some((b) => b.id === playing))); };
  // React's wheel listener is passive; this one must hold the page still.
  const live = useRef({ view, day, timeAt, setView });
  live.current = { view, day, timeAt, setView };
  useEffect(() => {
    const c = canvas.current!;
    const wheel = (e: WheelEvent) => {
      const l = live.current;
      e.preventDefault();
      if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) l.setView(pan(l.view, l.day, ((l.view.to - l.view.from) * (e.deltaX || e.deltaY)) / 1000));
      else l.setView(zoom(l.view, l.day, l.timeAt(e.clientX), e.deltaY > 0 ? 1.25 : 0.8));
    };
    c.addEventListener('wheel', wheel, { passive: false });
    return () => c.removeEventListener('wheel', wheel);
  }, []);
  const key = (e: KeyboardEvent) => {
    const centre = at !== null && at > view.from && at < view.to ? at : (view.from + view.to) / 2;
    const row = rows.find((r) => r.bars.some((b) => b.id === playing)) ?? rows[0];
    const step = (view.to - view.from) / 60;
    switch (e.key) {
      case '+': case '=': setView(zoom(view, day, centre, 0.5)); break;
      case '-': setView(zoom(view, day, centre, 2)); break;
      case 'ArrowLeft': if (row && at !== null) seek(row, at - step); else setView(pan(view, day, -step * 6)); break;
      case 'ArrowRight': if (row && at !== null) seek(row, at + step); else setView(pan(view, day, step * 6)); break;
      case 'Home': if (row?.bars[0]) seek(row, row.bars[0].from); break;
      case 'End': { const b = row?.bars[row.bars.length - 1]; if (row && b) seek(row, b.to - 2000); break; }
      case 'Enter': if (row && at === null) seek(row, view.from); break;
      default: return;
    }
    e.preventDefault(); e.stopPropagation();
  };
  return (
    <div className="timeline" ref={box} data-testid="timeline" tabIndex={0} role="slider" aria-label={t('replay.timeline')} aria-valuetext={at !== null ? clock(at) : ''} aria-valuenow={at ?? view.from} aria-valuemin={day.from} aria-valuemax={day.to} onKeyDown={key}>
      <canvas ref={canvas}
        onPointerDown={(e) => { if (e.button === 0) { drag.current = { x: e.clientX, view, moved: false }; e.currentTarget.setPointerCapture(e.pointerId); } }}
        onPointerMove={(e) => {
          const d = drag.current;
          const x = e.clientX - e.currentTarget.getBoundingClientRect().left;
          setHover(x >= g.label ? timeAt(e.clientX) : null);
          if (!d) return;
          if (Math.abs(e.clientX - d.x) > 4) d.moved = true;
          if (d.moved) setView(pan(d.view, day, (-(e.clientX - d.x) / w) * (d.view.to - d.view.from)));
        }}
        onPointerUp={(e) => { const d = drag.current; drag.current = null; if (d && !d.moved) { const r = rowAt(e.clientY); if (r) seek(r, timeAt(e.clientX)); } }}
        onPointerCancel={() => { drag.current = null; }} onPointerLeave={() => setHover(null)} />
    </div>
  );
}
