import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Trunk } from '../../api/types';
import { useSpeech } from '../../i18n';
import { onEvent, serverNow } from '../../state/live';
import { Empty, ErrorLine, useNow } from '../../ui/basic';
import { clock, day, dateTime, duration, since } from '../../ui/format';
import { Icon } from '../../ui/Icon';
import { useRead } from '../../ui/useRead';

const CLASS: Record<Trunk['state'], string> = { up: 's-live', connecting: 's-starting', down: 's-failed' };
const SHAPE: Record<Trunk['state'], string> = { up: '●', connecting: '◐', down: '▲' };

/** Lines to the outside: how each is, and why. Set in the configuration. */
export function Trunks() {
  const { t, pick, lang } = useSpeech();
  const { value, error, again, set } = useRead(() => api.trunks(), []);
  const [open, setOpen] = useState<string | null>(null);
  useNow(5_000);
  useEffect(() => onEvent((e) => { if (e.type === 'trunk') set((v) => (v ? { items: v.items.some((x) => x.name === e.trunk.name) ? v.items.map((x) => (x.name === e.trunk.name ? e.trunk : x)) : [...v.items, e.trunk] } : v)); }), [set]);
  // Calls and the round trip change without an event.
  useEffect(() => { const timer = setInterval(() => void again(), 5_000); return () => clearInterval(timer); }, [again]);
  const items = value?.items ?? null;
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.trunks')}</h1><span className="bar-note">{t('trunks.note')}</span></div>
      <ErrorLine error={error} />
      {items && items.length === 0 && <Empty title={t('trunks.none')} next={t('trunks.none.next')} />}
      {!items && !error && <p className="hint pad">{t('loading')}</p>}
      <div className="scroll trunks">{items?.map((x) => (
        <article key={x.name} className={`trunk trunk-${x.state}`} data-testid={`trunk-${x.name}`} data-state={x.state}>
          <header><h2>{x.name}</h2><span className={CLASS[x.state]}><span className="shape" aria-hidden>{SHAPE[x.state]}</span>{pick(x)}</span><span className="num trunk-since" title={dateTime(x.since)}>{t('trunks.since', { at: `${day(x.since)} ${clock(x.since)}`, d: duration(since(x.since, serverNow()), lang) })}</span></header>
          <dl className="numbers num">
            <div><dt>{t('trunks.calls.in')}</dt><dd>{x.calls_in}{x.max_calls_in > 0 && <small> / {x.max_calls_in}</small>}</dd></div>
            <div><dt>{t('trunks.calls.out')}</dt><dd>{x.calls_out}{x.max_calls_out > 0 && <small> / {x.max_calls_out}</small>}</dd></div>
            <div><dt>{t('trunks.rtt')}</dt><dd>{x.rtt_ms === null ? '–' : `${Math.round(x.rtt_ms)} ms`}</dd></div>
            <div><dt>{t('trunks.registration')}</dt><dd className="trunk-word">{t(!x.registering ? 'trunks.registration.none' : x.registered ? 'trunks.registration.yes' : 'trunks.registration.no')}</dd></div>
            <div><dt>{t('trunks.server')}</dt><dd className="trunk-word">{x.server ?? '–'}</dd></div>
          </dl>
          {x.last_error && <p className="warn-text trunk-error"><Icon name="warn" /><span><span className="num">{dateTime(x.last_error.at)}</span> {pick(x.last_error)}</span></p>}
          {x.servers.length > 1 && <><button type="button" className="link" aria-expanded={open === x.name} onClick={() => setOpen(open === x.name ? null : x.name)}>{t('trunks.servers', { n: x.servers.length })}</button>
            {open === x.name && <ul className="plain-list rows">{x.servers.map((s) => <li key={`${s.address} ${s.transport}`}><span className={s.state === 'up' ? 's-live' : s.state === 'down' ? 's-failed' : 's-idle'}>{s.state === 'up' ? '●' : s.state === 'down' ? '▲' : '○'} {t(`trunks.server.${s.state}`)}</span><span className="num">{s.address} <span className="tag">{s.transport.toUpperCase()}</span></span><span className="num">{s.rtt_ms === null ? '–' : `${Math.round(s.rtt_ms)} ms`}</span></li>)}</ul>}</>}
        </article>))}</div>
    </>
  );
}
