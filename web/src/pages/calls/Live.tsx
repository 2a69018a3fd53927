import { useEffect } from 'react';
import { api } from '../../api/client';
import type { LiveCall } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { onEvent, serverNow } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, ErrorLine, useNow } from '../../ui/basic';
import { clock, duration, since } from '../../ui/format';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';
import { InsertButtons } from './Insert';
import { Legs } from './Legs';

/** How often the figures of the running calls are read, ms; that a call begins or ends is told by an event. */
const EVERY = 2_000;

export const party = (number: string, name: string) => <><b className="num">{number}</b>{name && name !== number && <small> {name}</small>}</>;
export const STATE_CLASS: Record<LiveCall['state'], string> = { calling: 's-starting', ringing: 's-starting', talking: 's-live', held: 's-stalled' };
const SHAPE: Record<LiveCall['state'], string> = { calling: '◐', ringing: '◐', talking: '●', held: '▲' };

export function Live() {
  const { t, lang } = useSpeech();
  const { value, error, again } = useRead(() => api.liveCalls(), []);
  const canAct = useStore(session, isOperator);
  useNow();
  useEffect(() => { const timer = setInterval(() => void again(), EVERY); return () => clearInterval(timer); }, [again]);
  useEffect(() => onEvent((e) => { if (e.type === 'calls') void again(); }), [again]);
  const release = async (c: LiveCall) => {
    if (!(await confirmOrder(t('calls.release.ask'), t('calls.release.text', { a: c.caller, b: c.callee }), t('calls.release')))) return;
    await act(api.hangUpCall(c.id));
    void again();
  };
  return (
    <section className="desk-live" aria-label={t('calls.live')}>
      <h2 className="call-head">{t('calls.live')} <span className="bar-note num">{value?.items.length ?? ''}</span></h2>
      <ErrorLine error={error} />
      <Table testId="calls-live" rows={value?.items ?? null} id={(c) => c.id} empty={t('calls.live.none')} next={t('calls.live.none.next')} columns={[
        { key: 'state', title: t('calls.state'), width: '7rem', cell: (c) => <span className={STATE_CLASS[c.state]} data-state={c.state}><span className="shape" aria-hidden>{SHAPE[c.state]}</span>{t(`calls.state.${c.state}` as Key)}</span> },
        { key: 'from', title: t('calls.caller'), cell: (c) => party(c.caller, c.caller_name) },
        { key: 'to', title: t('calls.callee'), cell: (c) => <>{party(c.callee, c.callee_name)}{c.dialled !== c.callee && <small> {t('calls.dialled', { n: c.dialled })}</small>}</> },
        { key: 'since', title: t('calls.since'), num: true, width: '8.5rem', cell: (c) => <>{duration(since(c.answered_at ?? c.began_at, serverNow()), lang)}<small>{clock(c.answered_at ?? c.began_at)}</small></> },
        { key: 'legs', title: t('calls.quality'), wrap: true, cell: (c) => <Legs legs={c.legs} /> },
        { key: 'x', title: '', width: '1%', cell: (c) => <span className="row-tools"><InsertButtons call={c} disabled={!canAct} /><Button icon="hangup" testId={`call-${c.id}-release`} disabled={!canAct} onClick={() => void release(c)}>{t('calls.release')}</Button></span> },
      ]} />
    </section>
  );
}
