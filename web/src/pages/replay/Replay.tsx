import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import type { Channel, Recording } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { epoch, onEvent, serverNow } from '../../state/live';
import { isAdmin, isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { useChannel } from '../../state/tree';
import { act, Button, confirmOrder, Empty, ErrorLine, useNow } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { bytes, clock, day as dayText, duration, zone } from '../../ui/format';
import { typing } from '../../wall/keys';
import { ChannelTree } from '../watch/ChannelTree';
import { Calendar } from './Calendar';
import { DevicePicture, DeviceTransport, useShown } from './DeviceStage';
import { FetchForm, FetchList } from './FetchPanel';
import { TimeLine } from './TimeLine';
import { fetchRange, isLane, laneOf } from './devrec';
import { barAt, dayOf, rowsByStream, zoom, type Bar, type Row, type Span } from './timeline';
import { useDevRec } from './useDevRec';
import { useReplay } from './useReplay';

const RATES = [0.5, 1, 2, 4, 8];
const onlyVideo = (c: Channel) => c.kind === 'video';

export default function Replay({ query }: { query: string }) {
  const { t, lang } = useSpeech();
  const q = useMemo(() => new URLSearchParams(query), [query]);
  const stream = q.get('stream');
  const day = /^\d{4}-\d\d-\d\d$/.test(q.get('day') ?? '') ? q.get('day')! : dayText(Date.now());
  const url = (s: string | null, d: string) => go(`/replay?${new URLSearchParams({ ...(s ? { stream: s } : {}), day: d })}`, true);
  const span = useMemo(() => dayOf(day), [day]);
  const [view, setView] = useState<Span>(span);
  const [list, setList] = useState<Recording[] | null>(null);
  const [total, setTotal] = useState(0);
  const [error, setError] = useState<ApiError | null>(null);
  const mark = useStore(epoch);
  const admin = useStore(session, isAdmin);
  const found = useChannel(stream);
  const now = useNow(5_000);
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => setView(span), [span]);

  const read = useCallback(async () => {
    try {
      const all: Recording[] = [];
      let sum = 0;
      do { // a day of one wall is a few hundred pieces at most
        const p = await api.recordings({ stream: stream ?? undefined, from: new Date(span.from).toISOString(), to: new Date(span.to).toISOString(), offset: all.length, limit: 500 });
        all.push(...p.items); sum = p.total;
        if (p.items.length === 0) break;
      } while (all.length < sum && all.length < 5_000);
      setList(all.sort((a, b) => a.from.localeCompare(b.from))); setTotal(sum); setError(null);
    } catch (e) { setError(asApiError(e)); }
  }, [stream, span]);
  useEffect(() => setList(null), [read]);
  useEffect(() => { void read(); }, [mark, read]);
  useEffect(() => onEvent((e) => {
    if (e.type !== 'recording') return;
    const r = e.recording;
    const end = r.to ? Date.parse(r.to) : serverNow();
    if ((stream && r.stream !== stream) || Date.parse(r.from) >= span.to || end <= span.from) return;
    setList((l) => (l ? [...l.filter((x) => x.id !== r.id), r].sort((a, b) => a.from.localeCompare(b.from)) : l));
  }), [stream, span]);

  const bars = useMemo<Bar[]>(() => (list ?? []).map((r) => ({ id: r.id, stream: r.cause === 'device' ? `${r.stream}#copy` : r.stream, name: r.cause === 'device' ? t('devrec.copy', { name: r.name || r.stream }) : r.name || r.stream, from: Date.parse(r.from), to: r.state === 'recording' || !r.to ? now : Date.parse(r.to), state: r.state })), [list, now, t]);
  const rows = useMemo(() => rowsByStream(bars), [bars]);
  const dev = useDevRec(stream, span);
  const shown = useShown(dev.playback);
  const lane = useMemo(() => (stream && dev.lane.phase === 'there' ? laneOf(stream, t('devrec.lane'), dev.lane.items) : null), [stream, dev.lane, t]);
  const allRows = useMemo(() => (lane ? [...rows, lane] : rows), [rows, lane]);
  const [fetching, setFetching] = useState(false);
  const operator = useStore(session, isOperator);
  useEffect(() => setFetching(false), [stream, span]);
  const next = useCallback((r: Recording) => {
    const row = rows.find((x) => x.bars.some((b) => b.id === r.id));
    const i = row?.bars.findIndex((b) => b.id === r.id) ?? -1;
    const b = i >= 0 ? row!.bars[i + 1] : undefined;
    const rec = b && list?.find((x) => x.id === b.id);
    if (rec) void replayOpen.current(rec, 0);
  }, [rows, list]);
  const replay = useReplay(video, next);
  const replayOpen = useRef(replay.open);
  replayOpen.current = replay.open;

  const seek = (row: Row, at: number) => {
    const hit = barAt(row, at);
    if (isLane(row)) { if (hit) { replay.close(); void dev.play(hit.at); } return; }
    dev.close();
    const rec = hit && list?.find((r) => r.id === hit.bar.id);
    if (hit && rec) void replay.open(rec, Math.max(0, (hit.at - hit.bar.from) / 1000));
  };
  const at = dev.playback ? shown : replay.recording ? Date.parse(replay.recording.from) + replay.offset * 1000 : null;
  const playingBar = dev.playback && lane && at !== null ? lane.bars.find((b) => at >= b.from && at < b.to)?.id ?? null : replay.recording?.id ?? null;

  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (typing(e) || e.ctrlKey || e.metaKey || e.altKey || (e.target as HTMLElement).tagName === 'BUTTON') return;
      if (e.key === ' ' || e.key === 'k') { e.preventDefault(); replay.toggle(); } else if (e.key === 'ArrowLeft') replay.step(-5); else if (e.key === 'ArrowRight') replay.step(5); else if (e.key === ',') replay.step(-0.04); else if (e.key === '.') replay.step(0.04);
    };
    window.addEventListener('keydown', key);
    return () => window.removeEventListener('keydown', key);
  }, [replay.toggle, replay.step]);

  const remove = async (r: Recording) => {
    if (!(await confirmOrder(t('replay.delete.ask'), t('replay.delete.text', { name: r.name || r.stream, from: `${dayText(r.from)} ${clock(r.from)}`, d: duration(r.duration_s, lang) }), t('replay.delete')))) return;
    await act(async () => { await api.deleteRecording(r.id); setList((l) => l?.filter((x) => x.id !== r.id) ?? null); if (replay.recording?.id === r.id) replay.close(); });
  };

  return (
    <div className="page replay">
      <aside className="side side-left">
        <Calendar stream={stream} day={day} onDay={(d) => url(stream, d)} />
        <div className="side-head"><Button look={stream ? 'plain' : 'main'} pressed={!stream} testId="replay-all" onClick={() => url(null, day)}>{t('replay.all')}</Button></div>
        <ChannelTree label={t('replay.source')} only={onlyVideo} picked={stream} onPick={(c) => url(c.stream || c.id, day)} />
      </aside>
      <main className="centre">
        <div className="bar">
          <h1 className="bar-title">{stream ? found?.channel.name ?? list?.[0]?.name ?? stream : t('replay.all')}</h1>
          <span className="bar-note num">{day} · {zone(new Date(span.from))} · {list ? t('replay.count', { n: total }) : t('loading')}</span>
          {stream && stream.startsWith('gb28181:') && <span className="devrec-bar">
            {dev.lane.phase === 'there' && <span className="bar-note" data-testid="devrec-count">{dev.lane.items.length ? t('devrec.count', { n: dev.lane.items.length }) : t('devrec.none')}{dev.lane.complete ? '' : ` ${t('devrec.partial')}`}</span>}
            {dev.lane.phase === 'asking' && <span className="bar-note" role="status">{t('devrec.asking')}</span>}
            <Button icon="refresh" testId="devrec-ask" disabled={dev.lane.phase === 'asking'} onClick={() => void dev.ask(dev.lane.phase === 'there')}>{t(dev.lane.phase === 'there' ? 'devrec.again' : 'devrec.ask')}</Button>
            {operator && dev.lane.items.length > 0 && <Button icon="download" testId="devrec-fetch" pressed={fetching} onClick={() => setFetching(!fetching)}>{t('devrec.fetch')}</Button>}
          </span>}
        </div>
        {dev.lane.error && <div className="pad" data-testid="devrec-error"><ErrorLine error={dev.lane.error} /></div>}
        <div className="replay-stage">
          <div className="replay-fit">
            <video ref={video} data-testid="replay-video" playsInline onClick={replay.toggle} className={replay.recording ? '' : 'off'} />
            {dev.playback && <DevicePicture key={dev.playback.id} playback={dev.playback} />}
            {dev.opening && <div className="tile-message tile-message-wait" role="status"><Icon name="wait" /><span>{t('devrec.opening')}</span></div>}
            {!replay.recording && !dev.playback && !dev.opening && (error ? <div className="pad"><ErrorLine error={error} /><Button icon="refresh" onClick={() => void read()}>{t('again')}</Button></div>
              : list && list.length === 0 && !lane?.bars.length ? <Empty title={t('replay.none', { day })} next={t(stream?.startsWith('gb28181:') && dev.lane.phase === 'none' ? 'replay.none.ask' : 'replay.none.next')} /> : <Empty title={list ? t('replay.pick') : t('loading')} next={list ? t(list.length === 0 && lane ? 'replay.pick.device' : 'replay.pick.next') : undefined} />)}
            {replay.trouble && <div className="tile-message tile-message-bad" role="alert"><Icon name="warn" /><span>{t('replay.cannot')} {t('replay.cannot.next')}</span></div>}
            {replay.recording && replay.loading && !replay.trouble && <div className="tile-message tile-message-wait" role="status"><Icon name="wait" /><span>{t('replay.loading')}</span></div>}
          </div>
        </div>
        <div className="transport">
          {dev.playback ? <DeviceTransport playback={dev.playback} shown={shown} order={dev.order} close={dev.close} /> : <>
          <Button icon={replay.playing ? 'pause' : 'play'} look="main" testId="replay-play" disabled={!replay.recording} title={`${t(replay.playing ? 'replay.pause' : 'replay.play')} (Space)`} onClick={replay.toggle}>{t(replay.playing ? 'replay.pause' : 'replay.play')}</Button>
          <span className="transport-time num" data-testid="replay-time">{at !== null ? `${dayText(at)} ${clock(at)}` : '--:--:--'}</span>
          <span className="segments" role="group" aria-label={t('replay.speed')}>{RATES.map((n) => <Button key={n} pressed={replay.rate === n} testId={`replay-speed-${n}`} onClick={() => replay.setRate(n)}>{n}×</Button>)}</span>
          </>}
          <span className="top-gap" />
          <Button icon="minus" title={t('replay.zoomOut')} aria-label={t('replay.zoomOut')} onClick={() => setView(zoom(view, span, at ?? (view.from + view.to) / 2, 2))} />
          <Button icon="plus" title={t('replay.zoomIn')} aria-label={t('replay.zoomIn')} onClick={() => setView(zoom(view, span, at ?? (view.from + view.to) / 2, 0.5))} />
          <Button testId="replay-whole-day" onClick={() => setView(span)}>{t('replay.wholeDay')}</Button>
          {replay.recording && <a className="btn btn-plain" data-testid="replay-download" href={api.mp4Url(replay.recording.id, true)} download><Icon name="download" /><span>{t('replay.download')}</span></a>}
        </div>
        <div className="timeline-box"><TimeLine day={span} rows={allRows} playing={playingBar} at={at} now={now} view={view} setView={setView} seek={seek} /></div>
      </main>
      <aside className="side side-right rec-list">
        {fetching && stream && lane && <FetchForm stream={stream} range={fetchRange(view, span, lane.bars)} onDone={() => setFetching(false)} />}
        <FetchList />
        <div className="side-head"><h2>{t('replay.list')}</h2></div>
        {list && list.length === 0 && <p className="hint pad">{t('replay.list.none')}</p>}
        <ul>{(list ?? []).map((r) => (
          <li key={r.id} className={r.id === replay.recording?.id ? 'on' : ''} data-testid={`recording-${r.id}`} data-state={r.state}>
            <button type="button" onClick={() => { dev.close(); void replay.open(r, 0); }}>
              <b>{r.name || r.stream}</b>
              <span className="num">{clock(r.from)} – {r.state === 'recording' || !r.to ? t('replay.now') : clock(r.to)}</span>
              <span className="num">{duration(r.state === 'recording' ? (now - Date.parse(r.from)) / 1000 : r.duration_s, lang)} · {bytes(r.bytes)} · {t(`cause.${r.cause}`)} · <em className={r.state === 'damaged' ? 'warn-text' : r.state === 'recording' ? 's-live' : ''}>{t(`recstate.${r.state}`)}</em>{!r.has_video ? ` · ${t('replay.soundOnly')}` : !r.has_audio ? ` · ${t('replay.noSound')}` : ''}</span>
            </button>
            <a className="btn btn-quiet btn-icon" href={api.mp4Url(r.id, true)} download title={t('replay.download')} aria-label={t('replay.download')}><Icon name="download" /></a>
            {admin && r.state !== 'recording' && <Button look="quiet" icon="trash" title={t('replay.delete')} aria-label={t('replay.delete')} onClick={() => void remove(r)} />}
          </li>
        ))}</ul>
      </aside>
    </div>
  );
}
