import { useEffect, useRef, useState } from 'react';
import { useSpeech, type Key } from '../i18n';
import { KEYS } from '../pages/calls/DialPad';
import { dialable } from '../pages/calls/words';
import { alive, answer, dial, foremost, hangUp, hold, join, lines, MOST_LINES, mute, press, transfer, type Line } from '../state/phone';
import { useStore } from '../state/store';
import { Button, useNow } from '../ui/basic';
import { duration } from '../ui/format';
import { ring } from './ring';

const CLASS: Record<Line['state'], string> = { calling: 's-starting', ringing: 's-starting', connecting: 's-starting', talking: 's-live', held: 's-stalled', ended: 's-offline' };

/** The own telephone's calls, above every page. Alt+Enter answers, Alt+Backspace ends. */
export function PhoneOverlay() {
  const { t } = useSpeech();
  const list = useStore(lines);
  const rings = list.some((l) => l.state === 'ringing'), busy = list.some((l) => l.state === 'talking' || l.state === 'connecting');
  const back = list.some((l) => l.state === 'calling' && l.rings);
  useEffect(() => { ring(rings ? (busy ? 'waiting' : 'in') : back ? 'back' : null); }, [rings, busy, back]);
  useEffect(() => () => ring(null), []);
  const caller = list.find((l) => l.state === 'ringing');
  useEffect(() => {
    if (!caller) return;
    const before = document.title;
    const call = `☎ ${caller.number} ${caller.name}`;
    const flash = setInterval(() => { document.title = document.title === call ? before : call; }, 900);
    return () => { clearInterval(flash); document.title = before; };
  }, [caller?.id]); // eslint-disable-line react-hooks/exhaustive-deps
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (!e.altKey || e.ctrlKey || e.metaKey) return;
      const l = foremost(lines.get());
      if (!l) return;
      if (e.key === 'Enter' && l.state === 'ringing') { e.preventDefault(); void answer(l.id); } else if (e.key === 'Backspace') { e.preventDefault(); hangUp(l.id); }
    };
    window.addEventListener('keydown', key, true);
    return () => window.removeEventListener('keydown', key, true);
  }, []);
  if (list.length === 0) return null;
  return <section className="phone-over" aria-label={t('phone.calls')} data-testid="phone-overlay">{list.map((l) => <Card key={l.id} l={l} others={list.filter((x) => x.id !== l.id && (x.state === 'talking' || x.state === 'held'))} full={list.filter(alive).length >= MOST_LINES} />)}</section>;
}

function Card({ l, others, full }: { l: Line; others: readonly Line[]; full: boolean }) {
  const { t, pick, lang } = useSpeech();
  const now = useNow();
  const [open, setOpen] = useState<'keys' | 'transfer' | null>(null);
  const [pressed, setPressed] = useState('');
  const stands = l.state === 'talking' || l.state === 'held';
  useEffect(() => { if (!stands) setOpen(null); }, [stands]);
  const send = (k: string) => { press(l.id, k); setPressed((p) => (p + k).slice(-16)); };
  return (
    <article className={`phone-card ${l.state === 'ringing' ? 'phone-rings' : ''} ${l.state === 'ended' ? 'phone-ended' : ''}`} data-testid="phone-call" data-state={l.state} data-number={l.number} data-direction={l.direction} data-muted={l.muted} role={l.state === 'ringing' ? 'alertdialog' : undefined} aria-label={`${t(`phone.state.${l.state === 'calling' && l.rings ? 'rings' : l.state}`)} ${l.number} ${l.name}`}>
      <header>
        <span className={`phone-state ${CLASS[l.state]}`} role="status">{t(`phone.state.${l.state === 'calling' && l.rings ? 'rings' : l.state}` as Key)}</span>
        {l.answeredAt && l.state !== 'ended' && <span className="num phone-time">{duration((now - l.answeredAt) / 1000, lang)}</span>}
      </header>
      <p className="phone-who"><b className="num">{l.number || t('phone.unknown')}</b>{l.name && l.name !== l.number && <span>{l.name}</span>}</p>
      {l.words && <p className="phone-words" data-testid="phone-words">{pick(l.words)}</p>}
      {l.state === 'ringing' && <div className="phone-acts"><Button look="main" icon="phone" testId="phone-answer" title="Alt+Enter" onClick={() => void answer(l.id)}>{t('phone.answer')}</Button><Button look="danger" icon="hangup" testId="phone-decline" title="Alt+Backspace" onClick={() => hangUp(l.id)}>{t('phone.decline')}</Button></div>}
      {stands && (
        <div className="phone-tools">
          <Button icon={l.muted ? 'micOff' : 'mic'} pressed={l.muted} testId="phone-mute" onClick={() => mute(l.id, !l.muted)}>{t(l.muted ? 'phone.unmute' : 'phone.mute')}</Button>
          <Button icon={l.state === 'held' ? 'play' : 'pause'} pressed={l.state === 'held'} testId="phone-hold" onClick={() => void hold(l.id, l.state !== 'held')}>{t(l.state === 'held' ? 'phone.resume' : 'phone.hold')}</Button>
          <Button icon="transfer" className="phone-wide" pressed={open === 'transfer'} testId="phone-transfer" onClick={() => setOpen(open === 'transfer' ? null : 'transfer')}>{t('phone.transfer')}</Button>
        </div>
      )}
      {open === 'keys' && stands && <div className="phone-pad"><output className="num" data-testid="phone-pressed">{pressed || ' '}</output><div className="pad-keys">{KEYS.map((k) => <button key={k} type="button" className="btn pad-key num" data-testid={`phone-key-${k}`} onClick={() => send(k)}>{k}</button>)}</div></div>}
      {open === 'transfer' && stands && <Transfer l={l} others={others} full={full} />}
      {/* Where "answer" was stands what does no harm: a double click must not hang up. */}
      {(stands || l.state === 'calling' || l.state === 'connecting') && <div className="phone-acts">{stands ? <Button icon="keypad" pressed={open === 'keys'} testId="phone-keys" onClick={() => setOpen(open === 'keys' ? null : 'keys')}>{t('phone.keys')}</Button> : <span />}<Button look="danger" icon="hangup" testId="phone-hangup" title="Alt+Backspace" onClick={() => hangUp(l.id)}>{t(stands ? 'phone.hangUp' : 'phone.giveUp')}</Button></div>}
    </article>
  );
}

/** To a number at once, or to whom one has asked first in another call. */
function Transfer({ l, others, full }: { l: Line; others: readonly Line[]; full: boolean }) {
  const { t } = useSpeech();
  const [number, setNumber] = useState('');
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const ask = async () => { if (await dial(number)) setNumber(''); };
  return (
    <form className="phone-transfer" onSubmit={(e) => { e.preventDefault(); if (number) transfer(l.id, number); }}>
      <input ref={field} className="num" value={number} inputMode="tel" placeholder={t('phone.transfer.to')} aria-label={t('phone.transfer.to')} data-testid="phone-transfer-to" onChange={(e) => setNumber(dialable(e.target.value))} />
      <Button type="submit" look="main" testId="phone-transfer-now" disabled={!number}>{t('phone.transfer.now')}</Button>
      <Button testId="phone-transfer-ask" disabled={!number || full} title={t('phone.transfer.ask.title')} onClick={() => void ask()}>{t('phone.transfer.ask')}</Button>
      {others.map((o) => <Button key={o.id} testId={`phone-join-${o.number}`} className="phone-join" onClick={() => join(l.id, o.id)}>{t('phone.transfer.join', { n: o.number })}</Button>)}
    </form>
  );
}
