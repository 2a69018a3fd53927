import { memo, useEffect, useRef, useState, type DragEvent } from 'react';
import type { Wall, WallTile } from '../api/types';
import { useSpeech } from '../i18n';
import { streams } from '../state/live';
import { useStore } from '../state/store';
import { Icon } from '../ui/Icon';
import { useNow } from '../ui/basic';
import { bitRate } from '../ui/format';
import { pending, pendingKey, select, selection, take } from './actions';
import { canHearTalk, ECHO_MS, ownTalk, spokenTo, talkerOf, talks } from '../state/talk';
import { TalkButton } from '../ui/TalkButton';
import { silentCodec, tileMessage, withMade } from './message';
import { PictureHost, usePicture } from './Picture';
import type { Player } from './player';
import { CameraButton } from '../pages/watch/Pictures';
import { testHandle } from '../testHandle';

export const DRAG_TYPE = 'application/x-skybridge-stream';
interface Props { wall: Wall; tile: WallTile; mode: 'console' | 'screen'; canTake: boolean }

export const Tile = memo(function Tile({ wall, tile, mode, canTake }: Props) {
  const { t } = useSpeech();
  const { host, player } = usePicture(tile.program, { keepAwake: mode === 'screen' });
  const selected = useStore(selection, (s) => s.tile === tile.n);
  const full = useStore(selection, (s) => s.full === tile.n);
  const heard = useStore(selection, (s) => s.sound === tile.n);
  const asked = useStore(pending, (m) => m.get(pendingKey(wall.id, tile.n)));
  const [over, setOver] = useState(false);
  const [hover, setHover] = useState(false);

  useEffect(() => testHandle.add(tile.n, player), [tile.n, player]);
  useEffect(() => { player.video.dataset.testid = `tile-${tile.n}-video`; }, [player, tile.n]);
  const talking = useStore(ownTalk, (o) => !!o && !!tile.source && o.channels.includes(tile.source));
  // While somebody talks to this camera, and for the time of its echo, its sound would bring his voice back.
  const hush = useStore(talks, (m) => spokenTo(m, tile.source));
  const hushed = useRef(false);
  const talker = useStore(talks, (m) => talkerOf(m, tile.source, ownTalk.get()?.id ?? ''));
  useEffect(() => {
    const set = () => { hushed.current = hush; player.video.muted = hush || !(heard && mode === 'console'); };
    if (hush || !hushed.current) { set(); return; }
    const timer = setTimeout(set, ECHO_MS);
    return () => clearTimeout(timer);
  }, [heard, player, mode, hush]);

  const source = asked ? asked.source : tile.source;
  const name = asked ? asked.name || asked.source || '' : tile.source_name || tile.source || '';
  const drop = (e: DragEvent) => {
    e.preventDefault(); setOver(false);
    const raw = e.dataTransfer.getData(DRAG_TYPE);
    if (!raw || !canTake) return;
    const d = JSON.parse(raw) as { stream: string; name: string; from?: number };
    select({ tile: tile.n, channel: null });
    void take(wall.id, tile.n, d.stream, d.name);
  };
  const cls = ['tile', selected && mode === 'console' && 'tile-selected', over && 'tile-over', full && 'tile-full', !source && 'tile-empty'].filter(Boolean).join(' ');
  const console_ = mode === 'console';
  return (
    <div className={cls} data-testid={`tile-${tile.n}`} data-source={source ?? ''} data-live={tile.live ?? ''}
      role={console_ ? 'button' : undefined} tabIndex={console_ ? (selected ? 0 : -1) : undefined}
      aria-label={t('tile.label', { n: tile.n + 1, name: name || t('tile.empty') })} aria-pressed={console_ ? selected : undefined}
      draggable={console_ && !!source} onDragStart={(e) => { if (source) { e.dataTransfer.setData(DRAG_TYPE, JSON.stringify({ stream: source, name, from: tile.n })); e.dataTransfer.effectAllowed = 'copy'; } }}
      onClick={console_ ? () => select({ tile: tile.n, channel: null }) : undefined}
      onDoubleClick={console_ ? () => select({ full: full ? null : tile.n }) : undefined}
      onDragOver={(e) => { if (canTake && e.dataTransfer.types.includes(DRAG_TYPE)) { e.preventDefault(); setOver(true); } }} onDragLeave={() => setOver(false)} onDrop={drop}
      onMouseEnter={() => setHover(true)} onMouseLeave={() => setHover(false)}>
      <PictureHost host={host} hidden={!source} />
      <span className="tile-label">{console_ && <span className="tile-n num">{tile.n + 1}</span>}{source && <span className="tile-name"><Icon name={sourceIcon(source)} /><span>{name}</span>{heard && console_ && <Icon name="sound" title={t('tile.heard')} />}<Badges tile={tile} source={source} /></span>}</span>
      <Message wall={wall} tile={tile} source={source} name={name} player={player} canTake={canTake && console_} taking={!!asked && asked.source !== tile.source} />
      {console_ && source && (hover || full) && <Stats player={player} source={source} />}
      {console_ && canTake && canHearTalk(source) && (selected || hover || full || talking) && <TalkButton channels={[source]} small testId={`tile-${tile.n}-talk`} />}
      {console_ && talker && <span className="tile-talker"><Icon name="mic" />{t('talk.other', { name: talker })}</span>}
      {console_ && source?.startsWith('gb28181:') && (hover || selected) && <span className="tile-tools"><CameraButton channel={source} small /></span>}
      {over && <span className="tile-drop">{t('tile.dropHere', { n: tile.n + 1 })}</span>}
    </div>
  );
});

export const sourceIcon = (source: string) => (source.startsWith('phone') ? 'phone' : source.startsWith('program:') || source.startsWith('mix:') ? 'browser' : 'camera');

function Message({ tile, source, name, player, canTake, taking }: { wall: Wall; tile: WallTile; source: string | null; name: string; player: Player; canTake: boolean; taking: boolean }) {
  const { lang, t } = useSpeech();
  const view = useStore(player.view);
  const id = source && source === tile.source ? tile.stream ?? source : source;
  const own = useStore(streams, (m) => (id ? m.get(id) ?? null : null));
  const made = useStore(streams, (m) => (id ? m.get(`h264:${id}`) ?? null : null));
  const stream = withMade(own, made);
  const now = useNow();
  const m = taking && source ? { kind: 'wait' as const, text: t('tile.taking', { name }), next: '' }
    : tileMessage({ source, sourceName: name, live: tile.live, since: tile.since, stream, view, canTake, now, lang });
  if (!m) return null;
  return (
    <div className={`tile-message tile-message-${m.kind}`} data-testid={`tile-${tile.n}-message`} role="status">
      {m.kind === 'bad' && <Icon name="warn" />}{m.kind === 'wait' && <Icon name="wait" />}
      <span><span>{m.text}</span>{m.next && <span className="tile-message-next"> {m.next}</span>}</span>
    </div>
  );
}

/** What of the source is not as usual: its sub-stream, sound that cannot be decoded. */
function Badges({ tile, source }: { tile: WallTile; source: string }) {
  const { t } = useSpeech();
  const id = source === tile.source ? tile.stream ?? source : source;
  const silent = useStore(streams, (m) => silentCodec(m.get(id)));
  const sub = !!tile.stream && source === tile.source && tile.stream !== source;
  return (
    <>
      {sub && <small data-testid={`tile-${tile.n}-sub`}>{t('live.sub.badge')}</small>}
      {silent && <small className="warn-text" data-testid={`tile-${tile.n}-silent`}>{t('live.silent', { codec: silent })}</small>}
    </>
  );
}

function Stats({ player, source }: { player: Player; source: string }) {
  const { t } = useSpeech();
  const view = useStore(player.view);
  const stream = useStore(streams, (m) => m.get(source));
  const s = view.stats;
  const video = stream?.tracks.find((x) => x.width || /26[45]|vp8|av1/i.test(x.codec));
  return (
    <div className="tile-stats num">
      {video && <span>{t('stats.source')} {video.codec} {video.width ? `${video.width}×${video.height}` : ''} {stream && stream.bit_rate_bps > 0 ? bitRate(stream.bit_rate_bps) : ''}</span>}
      {s && s.packets > 0 && <span>{t('stats.here')} {s.codec} {s.width ? `${s.width}×${s.height}` : ''} {Math.round(s.fps)} fps {bitRate(s.bitRate)} {t('stats.loss')} {s.lossPercent.toFixed(1)}%{s.rttMs !== null ? ` ${s.rttMs} ms` : ''}</span>}
      {!s && !video && <span>{t('stats.none')}</span>}
    </div>
  );
}
