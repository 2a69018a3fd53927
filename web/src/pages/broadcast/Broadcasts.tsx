import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Broadcast, BroadcastOrder } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { merged, toldBroadcasts } from '../../state/broadcast';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { Button, Empty, ErrorLine } from '../../ui/basic';
import { dateTime } from '../../ui/format';
import { useRead } from '../../ui/useRead';
import { Board } from './Board';
import { Compose } from './Compose';
import '../../styles/broadcast.css';

const SHAPE = { running: '◐', done: '●', stopped: '○', interrupted: '▲' } as const;
const CLASS = { running: 's-starting', done: 's-live', stopped: 's-offline', interrupted: 's-failed' } as const;

/** Emergency broadcast: what was said before, one in full, or a new one. */
export default function Broadcasts({ id }: { id: string }) {
  const { t } = useSpeech();
  const operator = useStore(session, isOperator);
  const told = useStore(toldBroadcasts);
  const { value, error } = useRead(() => api.broadcasts(), []);
  // What a new one begins with: an old one, or nobody.
  const [draft, setDraft] = useState<BroadcastOrder | null>(null);
  const known = new Map((value?.items ?? []).map((b) => [b.id, b] as const));
  for (const b of told.values()) known.set(b.id, merged(known.get(b.id), b, []));
  const list = [...known.values()].sort((a, b) => b.started_at.localeCompare(a.started_at));
  const open = id === 'new' ? '' : id;
  const compose = !open && operator;
  const use = (order: BroadcastOrder) => { setDraft(order); go('/confer/broadcast/new'); };
  return (
    <div className="page confer-board bc" data-testid="broadcasts">
      <aside className="side side-left">
        <div className="side-head"><h2>{t('bc.side')}</h2><Button icon="left" look="quiet" title={t('bc.back')} aria-label={t('bc.back')} testId="broadcast-back" onClick={() => go('/confer')} />{operator && <Button icon="plus" testId="broadcast-new" pressed={compose} onClick={() => { setDraft(null); go('/confer/broadcast'); }}>{t('bc.new')}</Button>}</div>
        {error && <div className="pad"><ErrorLine error={error} /></div>}
        {value && list.length === 0 && <Empty title={t('bc.history.none')} />}
        <ul className="conf-list">{list.map((b) => { const of = Object.values(b.counts).reduce((s, n) => s + n, 0); return (
          <li key={b.id}><button type="button" aria-current={b.id === open ? 'true' : undefined} data-testid={`broadcast-${b.id}`} data-state={b.state} onClick={() => go(`/confer/broadcast/${b.id}`)}>
            <b>{b.name}</b>
            <span className="num"><span>{dateTime(b.started_at)}</span></span>
            <span className="conf-flags"><span className={b.state === 'done' && (b.counts.said ?? 0) < of ? 's-stalled' : CLASS[b.state]}><span className="shape" aria-hidden>{b.state === 'done' && (b.counts.said ?? 0) < of ? '▲' : SHAPE[b.state]}</span>{t(`bc.state.${b.state}`)}</span><span className="num">{t('bc.of', { n: b.counts.said ?? 0, of })}</span></span>
          </button></li>
        ); })}</ul>
      </aside>
      {compose ? <Compose key={draft ? JSON.stringify(draft) : 'new'} draft={draft} /> : open ? <One key={open} id={open} onUse={use} /> : <main className="centre"><Empty title={t('bc.history')} /></main>}
    </div>
  );
}

function One({ id, onUse }: { id: string; onUse: (order: BroadcastOrder) => void }) {
  const { t } = useSpeech();
  const told = useStore(toldBroadcasts, (m) => m.get(id));
  const { value, error, again } = useRead(() => api.broadcast(id), [id]);
  const [read, setRead] = useState<Broadcast | null>(null);
  useEffect(() => { if (value) setRead(value); }, [value]);
  // Of one that ended before the page was opened the news may hold a part only.
  const ended = told?.state;
  useEffect(() => { if (ended && ended !== 'running') void again(); }, [ended, again]);
  const b = read && told ? merged(read, told, []) : read ?? (told?.targets ? told : null);
  if (!b) return <main className="centre">{error ? <Empty title={t('bc.missing')} /> : <p className="hint pad">{t('loading')}</p>}</main>;
  return <Board b={b} onUse={onUse} />;
}
