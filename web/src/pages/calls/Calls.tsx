import { useEffect, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { Call, CallLeg, LiveCall } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { serverNow } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, ErrorLine, useNow } from '../../ui/basic';
import { clock, day, duration, since } from '../../ui/format';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';

const PAGE = 50;
/** How often the running calls are read, ms. */
const EVERY = 2_000;

const party = (number: string, name: string) => <><b className="num">{number}</b>{name && name !== number && <small> {name}</small>}</>;

/** A MOS estimate in words: above 4 nobody complains, below 3 many do. */
const mosClass = (mos: number) => (mos >= 4 ? 's-live' : mos >= 3 ? 's-stalled' : 's-failed');

function Legs({ legs }: { legs: CallLeg[] }) {
  const { t } = useSpeech();
  if (legs.length === 0) return <>–</>;
  return (
    <span className="call-legs num">
      {legs.map((l) => (
        <span key={l.number} className="call-leg" title={t('calls.leg.title', { n: l.packets, lost: l.lost, sent: l.sent })}>
          <b>{l.number}</b> {l.codec}
          {l.mos !== null && <span className={mosClass(l.mos)}> MOS {l.mos.toFixed(1)}</span>}
          <small> {t('calls.loss', { p: l.packets + l.lost > 0 ? ((l.lost * 100) / (l.packets + l.lost)).toFixed(1) : '0.0', j: l.jitter_ms.toFixed(1) })}</small>
        </span>
      ))}
    </span>
  );
}

function Live() {
  const { t, lang } = useSpeech();
  const { value, error, again } = useRead(() => api.liveCalls(), []);
  const canAct = useStore(session, isOperator);
  useNow();
  useEffect(() => { const timer = setInterval(() => void again(), EVERY); return () => clearInterval(timer); }, [again]);
  const release = async (c: LiveCall) => {
    if (!(await confirmOrder(t('calls.release.ask'), t('calls.release.text', { a: c.caller, b: c.callee }), t('calls.release')))) return;
    await act(api.hangUpCall(c.id));
    void again();
  };
  return (
    <section aria-label={t('calls.live')}>
      <h2 className="call-head">{t('calls.live')} <span className="bar-note num">{value?.items.length ?? ''}</span></h2>
      <ErrorLine error={error} />
      <Table testId="calls-live" rows={value?.items ?? null} id={(c) => c.id} empty={t('calls.live.none')} next={t('calls.live.none.next')} columns={[
        { key: 'state', title: t('calls.state'), width: '8rem', cell: (c) => <span className={c.state === 'talking' ? 's-live' : c.state === 'held' ? 's-stalled' : 's-idle'}>{c.state === 'talking' ? '●' : c.state === 'held' ? '▲' : '◐'} {t(`calls.state.${c.state}` as Key)}</span> },
        { key: 'from', title: t('calls.caller'), cell: (c) => party(c.caller, c.caller_name) },
        { key: 'to', title: t('calls.callee'), cell: (c) => <>{party(c.callee, c.callee_name)}{c.dialled !== c.callee && <small> {t('calls.dialled', { n: c.dialled })}</small>}</> },
        { key: 'since', title: t('calls.since'), num: true, width: '11rem', cell: (c) => <>{clock(c.answered_at ?? c.began_at)} <small>{duration(since(c.answered_at ?? c.began_at, serverNow()), lang)}</small></> },
        { key: 'legs', title: t('calls.quality'), wrap: true, cell: (c) => <Legs legs={c.legs} /> },
        { key: 'x', title: '', width: '7rem', cell: (c) => <Button icon="hangup" testId={`call-${c.id}-release`} disabled={!canAct} onClick={() => void release(c)}>{t('calls.release')}</Button> },
      ]} />
    </section>
  );
}

function talked(c: Call): number { return c.answered_at ? (Date.parse(c.ended_at) - Date.parse(c.answered_at)) / 1000 : 0; }

function History() {
  const { t, lang, pick } = useSpeech();
  const [missed, setMissed] = useState(false);
  const [number, setNumber] = useState('');
  const [asked, ask] = useState('');
  const [pages, setPages] = useState(1);
  const typing = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(typing.current), []);
  const { value, error, again } = useRead(() => api.calls({ missed: missed ? 'true' : undefined, number: asked || undefined, limit: pages * PAGE }), [missed, asked, pages]);
  const type = (n: string) => { setNumber(n); clearTimeout(typing.current); typing.current = setTimeout(() => { ask(n.trim()); setPages(1); }, 300); };
  const items = value?.items ?? null;
  return (
    <section className="call-history" aria-label={t('calls.history')}>
      <div className="call-head">
        <h2>{t('calls.history')}</h2>
        <span className="bar-note num">{value ? t('calls.total', { n: value.total }) : ''}</span>
        <label className="check"><input type="checkbox" checked={missed} data-testid="calls-missed" onChange={(e) => { setMissed(e.target.checked); setPages(1); }} />{t('calls.onlyMissed')}</label>
        <input className="num" value={number} placeholder={t('calls.number')} aria-label={t('calls.number')} data-testid="calls-number" onChange={(e) => type(e.target.value)} />
        <Button icon="refresh" testId="calls-again" onClick={() => void again()}>{t('calls.again')}</Button>
      </div>
      <ErrorLine error={error} />
      <Table testId="calls" rows={items} id={(c) => c.id} empty={t('calls.none')} next={t('calls.none.next')} columns={[
        { key: 'what', title: t('calls.what'), width: '8rem', cell: (c) => <span className={c.missed ? 's-failed' : ''} data-missed={c.missed}>{c.missed ? `✕ ${t('calls.missed')}` : t(`calls.direction.${c.direction}` as Key)}</span> },
        { key: 'at', title: t('calls.began'), num: true, width: '11rem', cell: (c) => <>{clock(c.began_at)} <small>{day(c.began_at)}</small></> },
        { key: 'from', title: t('calls.caller'), cell: (c) => party(c.caller, c.caller_name) },
        { key: 'to', title: t('calls.callee'), cell: (c) => <>{party(c.callee, c.callee_name)}{c.dialled !== c.callee && <small> {t('calls.dialled', { n: c.dialled })}</small>}</> },
        { key: 'long', title: t('calls.talked'), num: true, width: '7rem', cell: (c) => (c.answered_at ? duration(talked(c), lang) : '–') },
        { key: 'end', title: t('calls.ending'), wrap: true, cell: (c) => <span title={c.code}>{pick(c)}</span> },
        { key: 'legs', title: t('calls.quality'), wrap: true, cell: (c) => <Legs legs={c.legs} /> },
      ]} />
      {value && items && items.length < value.total && items.length < 1000 && <div className="pad"><Button testId="calls-more" onClick={() => setPages(pages + 1)}>{t('calls.more')}</Button></div>}
    </section>
  );
}

export default function Calls() {
  const { t } = useSpeech();
  return (
    <div className="page calls">
      <div className="bar"><h1 className="bar-title">{t('nav.calls')}</h1><span className="bar-note">{t('calls.note')}</span></div>
      <Live />
      <History />
    </div>
  );
}
