import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { AgentState, Queue, QueueOrder, QueueSettings } from '../../api/types';
import { useSpeech } from '../../i18n';
import { onEvent, serverNow } from '../../state/live';
import { isAdmin, isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, Dialog, Empty, ErrorLine, Field, useNow } from '../../ui/basic';
import { duration, since } from '../../ui/format';
import { useRead } from '../../ui/useRead';
import { Numbers } from '../admin/Numbers';
import { party } from './Live';
import { dialable } from './words';

const AGENT_CLASS: Record<AgentState, string> = { idle: 's-live', ringing: 's-starting', busy: 's-talking', wrap_up: 's-stalled', offline: 's-offline', signed_out: 's-offline' };
const AGENT_SHAPE: Record<AgentState, string> = { idle: '●', ringing: '◐', busy: '◆', wrap_up: '▲', offline: '✕', signed_out: '○' };
const ORDERS: QueueOrder[] = ['all', 'turn', 'idle'];
const NEW: QueueSettings & { number: string } = { number: '', name: '', members: [], order: 'idle', most_waiting: 20, longest_wait: 300, overflow: null, ring_time: 20, wrap_up: 10, announce_every: 30 };

/** Who waits, and who takes it. */
export default function Queues() {
  const { t, lang } = useSpeech();
  const { value, error, again, set } = useRead(() => api.queues(), []);
  const [edit, setEdit] = useState<Queue | 'new' | null>(null);
  const admin = useStore(session, isAdmin);
  const operator = useStore(session, isOperator);
  useNow();
  useEffect(() => onEvent((e) => { if (e.type === 'queues') set({ items: e.items }); }), [set]);
  const items = value?.items ?? null;
  const remove = async (q: Queue) => { if (await confirmOrder(t('queues.delete.ask'), t('queues.delete.text', { name: q.name, n: q.number }), t('delete'))) { await act(api.deleteQueue(q.number)); void again(); } };
  return (
    <section className="queues" aria-label={t('calls.tab.queues')}>
      <div className="call-head"><h2>{t('calls.tab.queues')}</h2><span className="bar-note">{t('queues.note')}</span>{admin && <Button icon="plus" look="main" testId="queue-add" onClick={() => setEdit('new')}>{t('queues.add')}</Button>}</div>
      {error && <div className="pad"><ErrorLine error={error} /></div>}
      {!items && !error && <p className="hint pad">{t('loading')}</p>}
      {items && items.length === 0 && <Empty title={t('queues.none')} next={t(admin ? 'queues.none.next' : 'queues.none.ask')} />}
      <div className="queue-list">{items?.map((q) => (
        <article key={q.number} className="queue" data-testid={`queue-${q.number}`} data-waiting={q.waiting.length}>
          <header><h3><b className="num">{q.number}</b> {q.name}</h3><span className="bar-note">{t(`queues.order.${q.order}`)}{q.overflow && ` · ${t('queues.overflow.to', { n: q.overflow })}`}</span>
            {admin && <span className="row-tools"><Button look="quiet" icon="edit" testId={`queue-${q.number}-edit`} aria-label={t('edit')} title={t('edit')} onClick={() => setEdit(q)} /><Button look="quiet" icon="trash" testId={`queue-${q.number}-delete`} aria-label={t('delete')} title={t('delete')} onClick={() => void remove(q)} /></span>}</header>
          <div className="queue-in">
            <div><h4>{t('queues.waiting')} <span className={`num queue-n ${q.waiting.length ? 's-stalled' : ''}`}>{q.waiting.length}</span></h4>
              {q.waiting.length === 0 ? <p className="hint">{t('queues.waiting.none')}</p> : <ol className="rows plain-list">{q.waiting.map((w) => { const s = since(w.since, serverNow()); return <li key={w.call} data-testid={`waiting-${w.caller}`}><span className="num">{w.position}.</span><span>{party(w.caller, w.caller_name)}</span><span className={`num ${s > q.longest_wait * 0.7 ? 's-failed' : s > 30 ? 's-stalled' : ''}`}>{t('queues.waits', { d: duration(s, lang) })}</span></li>; })}</ol>}</div>
            <div><h4>{t('queues.agents')} <span className="num queue-n">{q.agents.filter((a) => a.state === 'idle').length}/{q.agents.length}</span></h4>
              {q.agents.length === 0 ? <p className="hint">{t('queues.agents.none')}</p> : <ul className="rows plain-list">{q.agents.map((a) => <li key={a.phone} data-testid={`agent-${a.phone}`} data-state={a.state}><span className={`shape ${AGENT_CLASS[a.state]}`} aria-hidden>{AGENT_SHAPE[a.state]}</span><span>{party(a.phone, a.name)}</span><span className={AGENT_CLASS[a.state]}>{t(`agent.${a.state}`)}</span>
                <Button look="quiet" testId={`agent-${a.phone}-sign`} disabled={!operator} onClick={() => void act(api.signAgent(q.number, a.phone, a.state === 'signed_out')).then(() => again())}>{t(a.state === 'signed_out' ? 'agent.signIn' : 'agent.signOut')}</Button></li>)}</ul>}</div>
          </div>
        </article>))}</div>
      {edit && <Edit of={edit === 'new' ? null : edit} onClose={() => setEdit(null)} done={() => void again()} />}
    </section>
  );
}

function Edit({ of, onClose, done }: { of: Queue | null; onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const { value } = useRead(() => api.directory({ limit: 1000 }), []);
  const [q, set] = useState(of ? { number: of.number, name: of.name, members: of.members, order: of.order, most_waiting: of.most_waiting, longest_wait: of.longest_wait, overflow: of.overflow, ring_time: of.ring_time, wrap_up: of.wrap_up, announce_every: of.announce_every } : NEW);
  const phones = (value?.items ?? []).filter((e) => e.kind === 'phone').map((e) => ({ user: e.number, name: e.name }));
  const number = (key: 'most_waiting' | 'longest_wait' | 'ring_time' | 'wrap_up' | 'announce_every', min: number, max: number) => (
    <Field label={t(`queues.${key}`)}><input type="number" className="num" min={min} max={max} required value={q[key]} data-testid={`queue-${key}`} onChange={(e) => set({ ...q, [key]: Math.trunc(Number(e.target.value)) })} /></Field>
  );
  const save = () => void act(async () => { const { number: n, ...settings } = q; await api.putQueue(n, { ...settings, name: settings.name.trim() }); done(); onClose(); });
  return (
    <Dialog title={of ? t('queues.edit', { n: of.number }) : t('queues.add')} onClose={onClose} wide>
      <form onSubmit={(e) => { e.preventDefault(); save(); }}>
        <div className="two"><Field label={t('phones.user')} hint={t('queues.number.hint')}><input required autoFocus={!of} disabled={!!of} inputMode="tel" className="num" value={q.number} data-testid="queue-number" onChange={(e) => set({ ...q, number: dialable(e.target.value) })} /></Field>
          <Field label={t('phones.name')}><input required maxLength={64} value={q.name} data-testid="queue-name" onChange={(e) => set({ ...q, name: e.target.value })} /></Field></div>
        <Numbers label={t('queues.members')} value={q.members} phones={phones} onChange={(members) => set({ ...q, members })} testId="queue-members" />
        <div className="two"><Field label={t('queues.order')}><select value={q.order} data-testid="queue-order" onChange={(e) => set({ ...q, order: e.target.value as QueueOrder })}>{ORDERS.map((o) => <option key={o} value={o}>{t(`queues.order.${o}`)}</option>)}</select></Field>
          <Field label={t('queues.overflow')} hint={t('queues.overflow.hint')}><input className="num" inputMode="tel" value={q.overflow ?? ''} data-testid="queue-overflow" onChange={(e) => set({ ...q, overflow: dialable(e.target.value) || null })} /></Field></div>
        <div className="three">{number('most_waiting', 1, 1000)}{number('longest_wait', 10, 7200)}{number('ring_time', 5, 120)}{number('wrap_up', 0, 3600)}{number('announce_every', 0, 600)}</div>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="queue-save" disabled={!q.number || !q.name.trim() || q.members.length === 0}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
