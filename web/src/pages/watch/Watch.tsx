import { useEffect, useRef, useState } from 'react';
import type { Channel, Layout } from '../../api/types';
import { useSpeech } from '../../i18n';
import { connection, walls } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { Button, Dialog, Empty } from '../../ui/basic';
import { select, selection, setLayout, take, toggleRecord, undo } from '../../wall/actions';
import { typing, wallKey } from '../../wall/keys';
import { WallGrid } from '../../wall/WallGrid';
import { ChannelTree } from './ChannelTree';
import { canHearTalk, beginTalk, endTalk } from '../../state/talk';
import { Details } from './Details';
import { TalkGroup } from './TalkGroup';

const LAYOUTS: Layout[] = [1, 4, 9];

export function Watch() {
  const { t } = useSpeech();
  const all = useStore(walls);
  const [wallId, setWallId] = useState('1');
  const wall = all.get(wallId) ?? [...all.values()][0];
  const sel = useStore(selection);
  const canTake = useStore(session, isOperator);
  const conn = useStore(connection);
  const [help, setHelp] = useState(false);
  const search = useRef<HTMLInputElement>(null);
  const now = useRef({ wall, sel, canTake });
  now.current = { wall, sel, canTake };

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const { wall: w, sel: s, canTake: ok } = now.current;
      if (!w || typing(e) || e.altKey || e.metaKey) return;
      const onButton = (e.target as HTMLElement).tagName === 'BUTTON';
      if (onButton && (e.key === 'Enter' || e.key === ' ')) return;
      const d = wallKey(e.key, e.ctrlKey, { tile: s.tile, layout: w.layout, full: s.full, sound: s.sound, hasChannel: !!s.channel, canTake: ok });
      if (!d) return;
      e.preventDefault();
      switch (d.do) {
        case 'select': select({ tile: d.tile, channel: null }); break;
        case 'full': select({ full: d.tile }); break;
        case 'sound': select({ sound: d.tile }); break;
        case 'clear': void take(w.id, d.tile, null); break;
        case 'take': if (s.channel) void take(w.id, d.tile, s.channel); break;
        case 'undo': if (w.can_undo) void undo(w.id); break;
        case 'record': { const src = s.channel ?? (s.tile !== null ? w.tiles.find((x) => x.n === s.tile)?.source : null); if (src) void toggleRecord(src); break; }
        case 'search': search.current?.focus(); break;
        case 'help': setHelp(true); break;
      }
    };
    // Space talks while held, to what is selected.
    let space = false;
    const talkKey = (e: KeyboardEvent) => {
      const { wall: w, sel: s, canTake: ok } = now.current;
      if (e.key !== ' ' || typing(e) || (e.target as HTMLElement).tagName === 'BUTTON' || e.ctrlKey || e.altKey || e.metaKey) return;
      const to = s.channel ?? (s.tile !== null ? w?.tiles.find((x) => x.n === s.tile)?.source ?? null : null);
      if (!ok || !canHearTalk(to)) return;
      e.preventDefault();
      if (!e.repeat && !space) { space = true; void beginTalk([to]); }
    };
    const talkOff = (e?: KeyboardEvent) => { if (space && (!e || e.key === ' ')) { space = false; endTalk(); } };
    const blur = () => talkOff();
    window.addEventListener('keydown', talkKey); window.addEventListener('keyup', talkOff); window.addEventListener('blur', blur);
    window.addEventListener('keydown', onKey);
    return () => { window.removeEventListener('keydown', onKey); window.removeEventListener('keydown', talkKey); window.removeEventListener('keyup', talkOff); window.removeEventListener('blur', blur); talkOff(); };
  }, []);

  const pickChannel = (c: Channel) => {
    const { wall: w, sel: s, canTake: ok } = now.current;
    if (w && s.tile !== null && ok && c.kind === 'video') void take(w.id, s.tile, c.stream || c.id, c.name);
    else select({ channel: c.stream || c.id });
  };

  return (
    <div className="page watch">
      <aside className="side side-left"><ChannelTree label={t('tree.label')} onPick={pickChannel} onInfo={(c) => select({ channel: c.stream || c.id })} wall={wall?.id} picked={sel.channel} searchRef={search} /><TalkGroup /></aside>
      <main className="centre">
        <div className="bar">
          {all.size > 1 ? <select value={wall?.id} aria-label={t('wall.which')} onChange={(e) => { setWallId(e.target.value); select({ tile: null, full: null, sound: null }); }}>{[...all.values()].map((w) => <option key={w.id} value={w.id}>{w.name || t('wall.name', { n: w.id })}</option>)}</select>
            : <h1 className="bar-title">{wall ? wall.name || t('wall.name', { n: wall.id }) : t('nav.watch')}</h1>}
          <span className="bar-note">{sel.tile !== null ? t(canTake ? 'wall.tileSelected' : 'wall.tileSelected.viewer', { n: sel.tile + 1 }) : t(canTake ? 'wall.hint' : 'wall.hint.viewer')}</span>
          {wall?.by && <span className="bar-by">{t('wall.by', { name: wall.by })}</span>}
          <span className="segments" role="group" aria-label={t('wall.layout')}>
            {LAYOUTS.map((n) => <Button key={n} testId={`layout-${n}`} pressed={wall?.layout === n} disabled={!wall || !canTake} title={t('wall.layoutN', { n })} onClick={() => wall && void setLayout(wall, n)}>{n}</Button>)}
          </span>
          <Button icon="undo" testId="wall-undo" disabled={!wall?.can_undo || !canTake} title={`${t('wall.undo')} (U)`} onClick={() => wall && void undo(wall.id)}>{t('wall.undo')}</Button>
          <Button look="quiet" testId="keys" title={t('keys.title')} aria-label={t('keys.title')} onClick={() => setHelp(true)}>?</Button>
        </div>
        {wall ? <WallGrid wall={wall} mode="console" canTake={canTake} />
          : conn.state === 'open' ? <Empty title={t('wall.none')} next={t('wall.none.next')} /> : <Empty title={t('wall.reading')} />}
      </main>
      <aside className="side side-right"><Details wall={wall ?? null} /></aside>
      {help && <Keys onClose={() => setHelp(false)} />}
    </div>
  );
}

const KEY_ROWS = [['1 … 9', 'keys.number'], ['← ↑ ↓ →', 'keys.arrows'], ['Enter', 'keys.enter'], ['F', 'keys.f'], ['M', 'keys.m'], ['R', 'keys.r'], ['Space', 'talk.key'], ['U / Ctrl Z', 'keys.u'], ['Del', 'keys.del'], ['/', 'keys.search'], ['Esc', 'keys.esc'], ['?', 'keys.help']] as const;
const CONFER_ROWS = [['M', 'keys.confer.m'], ['Space', 'keys.confer.space']] as const;
const PTZ_ROWS = [['← ↑ ↓ →', 'keys.ptz.arrows'], ['+ / −', 'keys.ptz.zoom'], ['[ / ]', 'keys.ptz.focus'], [', / .', 'keys.ptz.iris']] as const;
export function Keys({ onClose }: { onClose: () => void }) {
  const { t } = useSpeech();
  const table = (rows: readonly (readonly [string, Parameters<typeof t>[0]])[]) => <dl className="keys">{rows.map(([k, v]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{t(v)}</dd></div>)}</dl>;
  return (
    <Dialog title={t('keys.title')} onClose={onClose} wide>
      <div className="keys-cols">
        <section><h3>{t('nav.watch')}</h3>{table(KEY_ROWS)}</section>
        <section><h3>{t('ptz.title')}</h3>{table(PTZ_ROWS)}<h3>{t('nav.confer')}</h3>{table(CONFER_ROWS)}</section>
      </div>
    </Dialog>
  );
}
