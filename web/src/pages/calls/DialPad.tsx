import { useEffect, useRef } from 'react';
import { useSpeech } from '../../i18n';
import { callNumber, callVia, setVia, wayOf } from '../../state/desk';
import { conferences } from '../../state/live';
import { ownPhone } from '../../state/phone';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { Button } from '../../ui/basic';
import { typing } from '../../wall/keys';
import { dialable } from './words';

export const KEYS = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#'] as const;

/** Number, keys, and the way of calling. Digits typed anywhere on the page come here. */
export function DialPad({ number, setNumber }: { number: string; setNumber: (n: string) => void }) {
  const { t } = useSpeech();
  const field = useRef<HTMLInputElement>(null);
  const operator = useStore(session, isOperator);
  const phone = useStore(ownPhone);
  const via = useStore(callVia);
  const rooms = [...useStore(conferences).values()];
  const way = wayOf(via, phone.status === 'ready', rooms);
  const typed = useRef(number);
  typed.current = number;
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (typing(e) || e.ctrlKey || e.metaKey || e.altKey || !/^[0-9*#+]$/.test(e.key)) return;
      e.preventDefault();
      setNumber(dialable(typed.current + e.key));
      field.current?.focus();
    };
    window.addEventListener('keydown', key);
    return () => window.removeEventListener('keydown', key);
  }, [setNumber]);
  const call = () => { void callNumber(number).then((ok) => { if (ok) setNumber(''); }); };
  return (
    <section className="pad-box" aria-label={t('desk.pad')}>
      <form onSubmit={(e) => { e.preventDefault(); if (number && way && operator) call(); }}>
        <div className="pad-number"><input ref={field} className="num" value={number} inputMode="tel" autoComplete="off" placeholder={t('desk.number')} aria-label={t('desk.number')} data-testid="pad-number"
          onChange={(e) => setNumber(dialable(e.target.value))} onKeyDown={(e) => { if (e.key === 'Escape') setNumber(''); }} />
        <Button look="quiet" icon="back" testId="pad-erase" disabled={!number} title={t('desk.erase')} aria-label={t('desk.erase')} onClick={() => setNumber(number.slice(0, -1))} /></div>
        <div className="pad-keys">{KEYS.map((k) => <button key={k} type="button" className="btn pad-key num" data-testid={`pad-${k}`} onClick={() => setNumber(dialable(number + k))}>{k}</button>)}</div>
        <label className="pad-via"><span>{t('desk.via')}</span>
          <select value={way ? (way.by === 'own' ? 'own' : way.id) : ''} data-testid="pad-via" disabled={!operator} onChange={(e) => setVia(e.target.value)}>
            {!way && <option value="">{t('desk.via.choose')}</option>}
            {phone.number && <option value="own" disabled={phone.status !== 'ready'}>{t('desk.via.own', { n: phone.number })}</option>}
            {rooms.map((r) => <option key={r.id} value={r.id}>{t('desk.via.conference', { name: r.name })}</option>)}
          </select></label>
        <Button type="submit" look="main" icon="phone" testId="pad-call" className="pad-call" disabled={!number || !way || !operator} title={operator ? (way ? '' : t('desk.via.none')) : t('desk.notAllowed')}>{t('desk.call')}</Button>
      </form>
    </section>
  );
}
