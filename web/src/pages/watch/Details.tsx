import type { Wall } from '../../api/types';
import { api } from '../../api/client';
import { useSpeech } from '../../i18n';
import { jobOf, jobs, serverNow, streams } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { useChannel } from '../../state/tree';
import { act, Button, Empty, useNow } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { bitRate, bytes, dateTime, duration, since } from '../../ui/format';
import { select, selection, setQuality, take, toggleRecord } from '../../wall/actions';
import { canHearTalk, talkGroup, toggleGroup } from '../../state/talk';
import { TalkButton } from '../../ui/TalkButton';
import { stateKey, stateShape } from './ChannelTree';
import { CameraButton, Pictures } from './Pictures';
import { CaptureButton } from './CaptureButton';
import { PtzPad } from './PtzPad';
import { TrackBox } from './TrackBox';
import { TraceList } from './TraceList';

/** The right side: what is selected, and why there is (no) picture. */
export function Details({ wall }: { wall: Wall | null }) {
  const { t, pick, lang } = useSpeech();
  const sel = useStore(selection);
  const canTake = useStore(session, isOperator);
  const tile = sel.tile !== null ? wall?.tiles.find((x) => x.n === sel.tile) : undefined;
  const id = sel.channel ?? tile?.source ?? null;
  const found = useChannel(id);
  const stream = useStore(streams, (m) => (id ? m.get(id) : undefined));
  const job = useStore(jobs, (m) => jobOf(m, id));
  const grouped = useStore(talkGroup, (s) => !!id && s.has(id));
  useNow();

  if (!id) {
    return sel.tile !== null
      ? <Empty title={t('details.emptyTile', { n: sel.tile + 1 })} next={t(canTake ? 'details.emptyTile.next' : 'details.emptyTile.viewer')} />
      : <Empty title={t('details.none')} next={t('details.none.next')} />;
  }
  const c = found?.channel;
  const d = found?.device;
  const name = c?.name || stream?.name || tile?.source_name || id;
  const state = stream?.state ?? 'idle';
  const shown = c && d && (!c.online || !d.online) && state !== 'live' ? 'offline' : state;
  const video = stream?.tracks.find((x) => x.width || /26[45]|vp8|av1/i.test(x.codec));
  const audio = stream?.tracks.filter((x) => x !== video).map((x) => x.codec).join(', ');
  return (
    <div className="details" data-testid="details" data-stream={id}>
      <header>
        <p className="over">{sel.channel ? t('details.channel') : t('details.tile', { n: (tile?.n ?? 0) + 1 })}{d && d.name !== name ? `  ·  ${d.name}` : ''}</p>
        <h2>{name}</h2>
        <p className={`state s-${shown}`}><span className="shape" aria-hidden>{stateShape[shown]}</span>{t(stateKey(shown))}
          {stream?.since && shown !== 'idle' && <small>{t('details.for', { d: duration(since(stream.since, serverNow()), lang) })}</small>}</p>
      </header>
      {shown === 'offline' && d?.offline_reason && <p className="hint warn-text">{pick(d.offline_reason)}</p>}
      <div className="actions">
        <Button icon={undefined} testId="record-toggle" pressed={!!job} className={job ? 'rec-on' : ''} disabled={!canTake} title={t('rec.title')} onClick={() => void toggleRecord(id)}><span className="rec-dot" aria-hidden />{job ? t('rec.stop') : t('rec.start')}</Button>
        {c && <CameraButton channel={c.id} />}
        {c && <Button icon="key" disabled={!canTake} title={t('details.keyFrame.title')} onClick={() => void act(api.keyFrame(c.id))}>{t('details.keyFrame')}</Button>}
        {tile && !sel.channel && <Button icon={sel.sound === tile.n ? 'sound' : 'soundOff'} testId="tile-sound" pressed={sel.sound === tile.n} title="M" onClick={() => select({ sound: sel.sound === tile.n ? null : tile.n })}>{t(sel.sound === tile.n ? 'tile.soundOff' : 'tile.soundOn')}</Button>}
        {tile && !sel.channel && wall && tile.source && tile.has_sub && (
          <span className="segments" role="group" aria-label={t('live.quality')}>
            {(['auto', 'main', 'sub'] as const).map((q) => <Button key={q} testId={`quality-${q}`} pressed={(tile.quality ?? 'auto') === q} disabled={!canTake} title={t(`live.quality.${q}.title`)} onClick={() => void setQuality(wall.id, tile.n, tile.source!, q)}>{t(`live.quality.${q}`)}</Button>)}
          </span>
        )}
        {tile && !sel.channel && wall && <Button look="quiet" icon="close" testId="tile-clear" disabled={!canTake} title="Del" onClick={() => void take(wall.id, tile.n, null)}>{t('tile.clear')}</Button>}
        {sel.channel && sel.tile !== null && wall && <Button look="main" testId="take" disabled={!canTake} title="Enter" onClick={() => { void take(wall.id, sel.tile!, id, name); select({ channel: null }); }}>{t('details.take', { n: sel.tile + 1 })}</Button>}
      </div>
      {job && <p className={`rec-line ${job.state === 'failed' ? 'warn-text' : ''}`} data-testid="record-state"><span className="rec-dot" aria-hidden /><b>{t(`job.${job.state}`)}</b> <span className="num">{duration(since(job.since, serverNow()), lang)} · {bytes(job.bytes)}</span>{job.fault ? ` ${pick(job.fault)}` : ''}</p>}
      {stream && (video || audio) && (
        <dl className="facts num">
          {video && <><dt>{t('facts.video')}</dt><dd>{video.codec}{video.width ? ` ${video.width}×${video.height}` : ''}{stream.frame_rate > 0 ? `, ${Math.round(stream.frame_rate)} fps` : ''}</dd></>}
          {audio && <><dt>{t('facts.audio')}</dt><dd>{audio}</dd></>}
          <dt>{t('facts.rate')}</dt><dd>{stream.bit_rate_bps > 0 ? bitRate(stream.bit_rate_bps) : '–'}</dd>
          {stream.key_interval_s > 0 && <><dt>{t('facts.key')}</dt><dd>{t('facts.key.every', { s: stream.key_interval_s.toFixed(1) })}</dd></>}
          <dt>{t('facts.viewers')}</dt><dd>{stream.viewers}</dd>
        </dl>
      )}
      {canTake && canHearTalk(id) && (
        <section className="talk-section"><h3>{t('talk.section')}</h3><TalkButton channels={[id]} key={id} />
          <Button look="quiet" testId="talk-group-toggle" pressed={grouped} onClick={() => toggleGroup(id, name)}>{t(grouped ? 'talk.group.out' : 'talk.group.in')}</Button></section>
      )}
      {c?.ptz && canTake && <PtzPad channel={c.id} key={c.id} />}
      <section><h3>{t(shown === 'live' ? 'trace.title.live' : 'trace.title')}</h3><TraceList stream={id} />{canTake && id.startsWith('gb28181:') && <CaptureButton stream={id} key={id} />}</section>
      {c && <Pictures channel={c.id} key={`pictures ${c.id}`} />}
      {c && <TrackBox channel={c.id} key={`track-${c.id}`} />}
      {d && (
        <details className="more"><summary><Icon name="right" />{t('details.device')}</summary>
          <dl className="facts num">
            <dt>{t('device.id')}</dt><dd className="wrap">{id}</dd>
            <dt>{t('device.model')}</dt><dd>{[d.manufacturer, d.model, d.firmware].filter(Boolean).join(' ') || '–'}</dd>
            <dt>{t('device.address')}</dt><dd>{d.address ?? '–'} {d.transport ?? ''}</dd>
            <dt>{t('device.registered')}</dt><dd>{dateTime(d.registered_at)}</dd>
            <dt>{t('device.seen')}</dt><dd>{dateTime(d.last_seen_at)}</dd>
          </dl>
        </details>
      )}
    </div>
  );
}
