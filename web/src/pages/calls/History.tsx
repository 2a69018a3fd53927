import { useEffect, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { Call } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { go } from '../../route';
import { onEvent } from '../../state/live';
import { callNumber, callVia, wayOf } from '../../state/desk';
import { conferences } from '../../state/live';
import { lookAtMissed, missedCount, missedSeen } from '../../state/missed';
import { ownPhone } from '../../state/phone';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { Button, ErrorLine } from '../../ui/basic';
import { clock, day, duration } from '../../ui/format';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';
import { Legs } from './Legs';
import { party } from './Live';
import { callBackNumber } from './words';

const PAGE = 50;
const talked = (c: Call) => (c.answered_at ? (Date.parse(c.ended_at) - Date.parse(c.answered_at)) / 1000 : 0);

export function History({ missed }: { missed: boolean }) {
  const { t, lang, pick } = useSpeech();
  const [number, setNumber] = useState('');
  const [asked, ask] = useState('');
  const [direction, setDirection] = useState('');
  const [pages, setPages] = useState(1);
  const typing = useRef<ReturnType<typeof setTimeout>>(undefined);
  const unseen = useStore(missedCount);
  const phone = useStore(ownPhone);
  const way = wayOf(useStore(callVia), phone.status === 'ready', [...useStore(conferences).values()]);
  const operator = useStore(session, isOperator);
  useEffect(() => () => clearTimeout(typing.current), []);
  useEffect(() => setPages(1), [missed]);
  const { value, error, again } = useRead(() => api.calls({ missed: missed ? 'true' : undefined, number: asked || undefined, direction: direction || undefined, limit: pages * PAGE }), [missed, asked, direction, pages]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const off = onEvent((e) => { if (e.type === 'call') timer ??= setTimeout(() => { timer = undefined; void again(); }, 300); });
    return () => { off(); clearTimeout(timer); };
  }, [again]);
  useEffect(() => { lookAtMissed(missed); return () => lookAtMissed(false); }, [missed]);
  const whole = missed && !asked && !direction;
  useEffect(() => { if (whole && value) missedSeen(value.items.filter((c) => c.missed)); }, [whole, value]);
  const type = (n: string) => { setNumber(n); clearTimeout(typing.current); typing.current = setTimeout(() => { ask(n.trim()); setPages(1); }, 300); };
  const items = value?.items ?? null;
  const back = (c: Call) => callBackNumber(c, phone.number || null);
  const how = (n: string) => (!operator ? t('desk.notAllowed') : !way ? t('desk.via.none') : way.by === 'own' ? t('desk.call.own', { n }) : t('desk.call.into', { n, name: way.name }));
  return (
    <section className="call-history" aria-label={t('calls.history')}>
      <div className="call-head">
        <h2 className="sr">{t('calls.history')}</h2>
        <div className="segments" role="group" aria-label={t('calls.history')}>
          <Button pressed={!missed} testId="calls-all" onClick={() => go('/calls')}>{t('calls.history')}</Button>
          <Button pressed={missed} testId="calls-missed" onClick={() => go('/calls/missed')}>{t('calls.missed')}{unseen > 0 && <span className="nav-badge num" data-testid="missed-tab-badge">{unseen > 99 ? '99+' : unseen}</span>}</Button>
        </div>
        <select value={direction} aria-label={t('calls.what')} data-testid="calls-direction" onChange={(e) => { setDirection(e.target.value); setPages(1); }}>
          <option value="">{t('calls.direction.all')}</option>{(['between', 'in', 'out'] as const).map((d) => <option key={d} value={d}>{t(`calls.direction.${d}`)}</option>)}
        </select>
        <input className="num" value={number} placeholder={t('calls.number')} aria-label={t('calls.number')} data-testid="calls-number" onChange={(e) => type(e.target.value)} />
        <span className="bar-note num">{value ? t('calls.total', { n: value.total }) : t('loading')}</span>
        <Button icon="refresh" testId="calls-again" onClick={() => void again()}>{t('calls.again')}</Button>
      </div>
      <ErrorLine error={error} />
      <Table testId="calls" rows={items} id={(c) => c.id} empty={t(missed ? 'calls.missed.none' : 'calls.none')} next={t(missed ? 'calls.missed.none.next' : 'calls.none.next')} columns={[
        { key: 'at', title: t('calls.began'), num: true, width: '7.5rem', cell: (c) => <>{clock(c.began_at)}<small>{day(c.began_at)}</small></> },
        { key: 'what', title: t('calls.what'), width: '7rem', cell: (c) => <span className={c.missed ? 's-failed' : ''} data-missed={c.missed}>{c.missed ? `✕ ${t('calls.missed')}` : t(`calls.direction.${c.direction}` as Key)}</span> },
        { key: 'from', title: t('calls.caller'), cell: (c) => party(c.caller, c.caller_name) },
        { key: 'to', title: t('calls.callee'), cell: (c) => <>{party(c.callee, c.callee_name)}{c.dialled !== c.callee && <small> {t('calls.dialled', { n: c.dialled })}</small>}{c.queue && <small> {t('calls.queue', { n: c.queue })}</small>}</> },
        { key: 'long', title: t('calls.talked'), num: true, width: '7rem', cell: (c) => (c.answered_at ? duration(talked(c), lang) : '–') },
        { key: 'end', title: t('calls.ending'), wrap: true, cell: (c) => <span className="call-ending" title={c.code}>{pick(c)}</span> },
        { key: 'legs', title: t('calls.quality'), wrap: true, cell: (c) => <Legs legs={c.legs} brief /> },
        { key: 'x', title: '', width: '1%', cell: (c) => <Button look={c.missed ? 'plain' : 'quiet'} icon="phone" className="call-back" testId={`call-${c.id}-back`} disabled={!operator || !way || !back(c) || back(c) === phone.number} title={how(back(c))} aria-label={t('calls.back.to', { n: back(c) })} onClick={() => void callNumber(back(c))}>{t('calls.back')}</Button> },
      ]} />
      {value && items && items.length < value.total && items.length < 1000 && <div className="pad"><Button testId="calls-more" onClick={() => setPages(pages + 1)}>{t('calls.more')}</Button></div>}
    </section>
  );
}
