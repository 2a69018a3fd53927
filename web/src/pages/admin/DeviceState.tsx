import { useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import { orderTwice, orderTo, type Answers, type Order } from '../../api/control';
import type { Device } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { isAdmin, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, ErrorLine } from '../../ui/basic';
import { useRead } from '../../ui/useRead';
import { DeviceSettings } from './DeviceSettings';

const FACTS = ['edition', 'edition_header', 'edition_set', 'charset', 'signalling', 'heartbeat', 'patience_s', 'clock_offset_s', 'media_learned', 'link'] as const;

interface Seen { status: Answers['status'] | null; info: Answers['info'] | null; cards: Answers['cards'] | null; error: ApiError | null }

/** What a device is and does now, its settings, and the orders that one thinks about twice. */
export function DeviceState({ d }: { d: Device }) {
  const { t } = useSpeech();
  const admin = useStore(session, isAdmin);
  const facts = useRead(() => api.facts(d.id), [d.id, d.version, d.online]);
  const [seen, setSeen] = useState<Seen | null>(null);
  const [asking, setAsking] = useState(false);
  const [said, setSaid] = useState('');
  const to = { device: d.id };

  const ask = async () => {
    setAsking(true);
    let error: ApiError | null = null;
    const one = async <T,>(p: Promise<T>, needed: boolean) => { try { return await p; } catch (e) { if (needed) error = asApiError(e); return null; } };
    const status = await one(api.answer<'status'>(to, { ask: 'status' }), true);
    const info = await one(api.answer<'info'>(to, { ask: 'info' }), true);
    const cards = await one(api.answer<'cards'>(to, { ask: 'cards' }), false);
    setSeen({ status, info, cards, error });
    setAsking(false);
    void facts.again();
  };
  const tell = (outcome: string | false | undefined) => { if (outcome) setSaid(t(`order.${outcome}` as Key)); };
  const plain = (order: Order) => void act(async () => { tell((await orderTo(to, order)).outcome); void ask(); });
  const danger = (order: Order, what: string, text: string) => void act(async () => {
    if (!(await confirmOrder(what, text, t('danger.go')))) return;
    tell(await orderTwice(to, order, () => confirmOrder(t('danger.sure'), t('danger.sure.text', { what, name: d.name || d.id }), what)));
  });
  const name = d.name || d.id;
  const word = (v: boolean | null, yes: Key, no: Key) => (v === null ? '–' : t(v ? yes : no));
  return (
    <section className="dev-state" data-testid="device-state">
      <h3>{t('dev.facts')}</h3>
      <dl className="facts num" data-testid="device-facts">
        {FACTS.map((k) => { const f = facts.value?.items.find((x) => x.key === k); return f?.value ? <Fact key={k} k={k} v={f.value} /> : null; })}
      </dl>
      {d.online && <div className="actions">
        <Button icon="refresh" testId="device-ask" disabled={asking} onClick={() => void ask()}>{t(asking ? 'loading' : 'dev.ask')}</Button>
      </div>}
      {seen?.error && <ErrorLine error={seen.error} />}
      {seen?.status && <dl className="facts num" data-testid="device-status">
        <dt>{t('dev.status')}</dt><dd className={seen.status.ok === false ? 'warn-text' : ''}>{word(seen.status.ok, 'dev.ok', 'dev.fault')}{seen.status.reason ? ` ${seen.status.reason}` : ''}</dd>
        <dt>{t('dev.encoding')}</dt><dd>{word(seen.status.encoding, 'dev.on', 'dev.off')}</dd>
        <dt>{t('dev.recording')}</dt><dd data-testid="device-recording">{word(seen.status.recording, 'dev.on', 'dev.off')}</dd>
        <dt>{t('dev.clock')}</dt><dd>{seen.status.clock.replace('T', ' ') || '–'}</dd>
        {seen.status.duties.map((x) => <Fact key={x.id} k="duty" v={`${x.id.slice(-6)} ${t(x.duty === 'ALARM' ? 'dev.duty.alarm' : x.duty === 'ONDUTY' ? 'dev.duty.on' : 'dev.duty.off')}`} />)}
        {seen.info && <><dt>{t('dev.firmware')}</dt><dd>{seen.info.firmware || '–'}</dd></>}
      </dl>}
      {seen?.cards && <ul className="plain-list" data-testid="device-cards">{seen.cards.items.map((c) => (
        <li key={c.id}><b>{c.name || t('dev.card', { n: c.id })}</b> <span data-testid={`card-${c.id}`}>{t(cardKey(c.status))}{c.format_percent !== null ? ` ${c.format_percent}%` : ''}</span> <small className="num">{c.free_mb ?? '–'} / {c.capacity_mb ?? '–'} MB</small>
          {admin && <Button look="danger" testId={`card-format-${c.id}`} onClick={() => danger({ do: 'format_card', card: c.id }, t('danger.format', { n: c.id }), t('danger.format.text', { n: c.id, name }))}>{t('dev.format')}</Button>}</li>
      ))}</ul>}
      {said && <p className="hint" role="status" data-testid="order-outcome">{said}</p>}
      {d.online && <div className="actions">
        <Button testId="device-record-on" onClick={() => plain({ do: 'record', on: true })}>{t('dev.record.on')}</Button>
        <Button testId="device-record-off" onClick={() => plain({ do: 'record', on: false })}>{t('dev.record.off')}</Button>
        <Button testId="device-guard-on" onClick={() => plain({ do: 'guard', on: true })}>{t('dev.guard.on')}</Button>
        <Button testId="device-guard-off" onClick={() => plain({ do: 'guard', on: false })}>{t('dev.guard.off')}</Button>
        <Button testId="device-alarm-reset" onClick={() => plain({ do: 'alarm_reset' })}>{t('dev.alarm.reset')}</Button>
        <Button look="danger" testId="device-reboot" onClick={() => danger({ do: 'reboot' }, t('danger.reboot'), t('danger.reboot.text', { name }))}>{t('danger.reboot')}</Button>
      </div>}
      {admin && d.online && <DeviceSettings d={d} key={d.id} changed={() => setTimeout(() => void facts.again(), 2_000)} />}
    </section>
  );
}

const cardKey = (s: string): Key => (['ok', 'formatting', 'unformatted', 'idle', 'error'].includes(s) ? `card.${s}` as Key : 'card.other');

function Fact({ k, v }: { k: string; v: string }) {
  const { t } = useSpeech();
  return <><dt>{t(`fact.${k}` as Key)}</dt><dd data-testid={`fact-${k}`}>{v}</dd></>;
}
