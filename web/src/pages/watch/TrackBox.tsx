import { useEffect, useMemo, useState } from 'react';
import { api } from '../../api/client';
import type { Position, Track } from '../../api/types';
import { useSpeech } from '../../i18n';
import { onEvent, serverNow } from '../../state/live';
import { duration, clock } from '../../ui/format';
import { useNow } from '../../ui/basic';

const HOURS = [1, 6, 24] as const;
const W = 300, H = 180, EDGE = 14;
const NICE = [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000];

/** Metres on a plane around the first point: right for the ways of a body camera or a car, not for a voyage. */
export function plot(points: readonly { longitude: number; latitude: number }[]) {
  const first = points[0];
  if (!first) return null;
  const east = Math.cos((first.latitude * Math.PI) / 180) * 111_320;
  const flat = points.map((p) => ({ x: (p.longitude - first.longitude) * east, y: (p.latitude - first.latitude) * 111_320 }));
  const xs = flat.map((p) => p.x), ys = flat.map((p) => p.y);
  const minX = Math.min(...xs), maxX = Math.max(...xs), minY = Math.min(...ys), maxY = Math.max(...ys);
  const perMetre = Math.min((W - 2 * EDGE) / Math.max(20, maxX - minX), (H - 2 * EDGE) / Math.max(20, maxY - minY));
  const cx = (minX + maxX) / 2, cy = (minY + maxY) / 2;
  const at = flat.map((p) => ({ x: W / 2 + (p.x - cx) * perMetre, y: H / 2 - (p.y - cy) * perMetre }));
  const bar = [...NICE].reverse().find((m) => m * perMetre <= W / 3) ?? NICE[0]!;
  return { at, bar, barPx: bar * perMetre };
}

/** Where the channel is and was; nothing for one that never told. */
export function TrackBox({ channel }: { channel: string }) {
  const { t, lang } = useSpeech();
  const [hours, setHours] = useState<number>(1);
  const [track, set] = useState<Track | null>(null);
  const [live, setLive] = useState<Position | null>(null);
  useNow();
  useEffect(() => { set(null); setLive(null); }, [channel]);
  useEffect(() => {
    let off = false;
    let timer: ReturnType<typeof setTimeout>;
    const read = () => {
      if (document.visibilityState === 'hidden') { timer = setTimeout(read, 5_000); return; }
      const to = serverNow();
      api.track(channel, { from: new Date(to - hours * 3_600_000).toISOString(), to: new Date(to + 60_000).toISOString() })
        .then((x) => { if (!off) set(x); }, () => {}).finally(() => { if (!off) timer = setTimeout(read, 10_000); });
    };
    read();
    return () => { off = true; clearTimeout(timer); };
  }, [channel, hours]);
  const subject = track?.subject ?? channel;
  useEffect(() => onEvent((e) => { if (e.type === 'positions') { const p = e.items.find((x) => x.channel === subject); if (p) setLive(p); } }), [subject]);

  const last = live && (!track?.last || live.at > track.last.at) ? live : track?.last ?? null;
  const points = useMemo(() => { const items = track?.items ?? []; const end = items[items.length - 1]; return live && (!end || live.at > end.at) ? [...items, live] : items; }, [track, live]);
  const drawn = useMemo(() => (points.length > 1 ? plot(points) : null), [points]);
  if (!last) return null;
  const age = (serverNow() - Date.parse(last.at)) / 1000;
  const end = drawn?.at[drawn.at.length - 1];
  return (
    <section className="track" data-testid="track" data-points={points.length}>
      <h3>{t('track.title')}</h3>
      <dl className="facts num">
        <dt>{t('track.place')}</dt><dd data-testid="track-place">{last.longitude.toFixed(6)}, {last.latitude.toFixed(6)}</dd>
        <dt>{t('track.when')}</dt><dd>{clock(last.at)} · {t('track.ago', { d: duration(Math.max(0, age), lang) })}</dd>
        {last.speed_kmh !== null && <><dt>{t('track.speed')}</dt><dd>{last.speed_kmh.toFixed(1)} km/h{last.direction !== null ? ` · ${Math.round(last.direction)}°` : ''}</dd></>}
        {last.altitude_m !== null && <><dt>{t('track.altitude')}</dt><dd>{Math.round(last.altitude_m)} m</dd></>}
      </dl>
      <div className="segments" role="group" aria-label={t('track.range')}>{HOURS.map((h) => <button key={h} type="button" className="btn btn-plain" aria-pressed={hours === h} onClick={() => setHours(h)}>{h} h</button>)}</div>
      {drawn && end ? (
        <svg className="track-plot" viewBox={`0 0 ${W} ${H}`} role="img" aria-label={t('track.title')} data-testid="track-plot">
          <polyline points={drawn.at.map((p) => `${p.x.toFixed(1)},${p.y.toFixed(1)}`).join(' ')} />
          <circle className="track-from" cx={drawn.at[0]!.x} cy={drawn.at[0]!.y} r="3" />
          <circle className="track-now" cx={end.x} cy={end.y} r="5" />
          <path className="track-bar" d={`M${EDGE} ${H - 6}h${drawn.barPx.toFixed(1)}`} /><text x={EDGE} y={H - 10}>{drawn.bar >= 1000 ? `${drawn.bar / 1000} km` : `${drawn.bar} m`}</text>
          <text x={W - EDGE} y="14" textAnchor="end">N ↑</text>
        </svg>
      ) : <p className="hint">{t('track.short')}</p>}
      {track?.cut && <p className="hint">{t('track.cut')}</p>}
    </section>
  );
}
