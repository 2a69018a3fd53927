import { useEffect, useRef, useState, type ReactNode } from 'react';
import { language, setLanguage, useSpeech, type Key } from '../i18n';
import { ChangePassword } from '../pages/SignIn';
import { go, type Route } from '../route';
import { connection, notices, serverNow, system } from '../state/live';
import { alarmSums } from '../state/alarms';
import { unreadThreads } from '../state/messages';
import { missedCount } from '../state/missed';
import { PhoneOverlay } from '../phone/PhoneOverlay';
import { isAdmin, session, signOut } from '../state/session';
import { useStore } from '../state/store';
import { MineChip } from '../pages/confer/MineChip';
import { Button, Dialog, ProblemLine, useNow } from './basic';
import { bytes, clock, day, duration, zone } from './format';
import { Icon } from './Icon';

const PAGES: [Route['page'], Key][] = [['watch', 'nav.watch'], ['alarms', 'nav.alarms'], ['confer', 'nav.confer'], ['messages', 'nav.messages'], ['calls', 'nav.calls'], ['replay', 'nav.replay'], ['admin', 'nav.admin']];

export function Shell({ page, children }: { page: Route['page']; children: ReactNode }) {
  const { t, lang } = useSpeech();
  const site = useStore(session, (s) => s.site);
  const admin = useStore(session, isAdmin);
  const name = (site && (lang === 'zh' ? site.name_zh || site.name_en : site.name_en || site.name_zh)) || 'Skybridge';
  return (
    <div className="shell">
      <header className="top">
        <span className="brand" data-testid="brand" title={site ? `${name} · ${site.version}` : ''}><img src="/icon.svg" alt="" /><span>{name}</span></span>
        <nav aria-label={t('nav')}>
          {PAGES.filter(([p]) => p !== 'admin' || admin).map(([p, k]) => <a key={p} href={`/${p}`} data-testid={`nav-${p}`} aria-current={p === page ? 'page' : undefined} onClick={(e) => { if (e.ctrlKey || e.metaKey) return; e.preventDefault(); go(`/${p}`); }}>{t(k)}{p === 'alarms' && <Badge />}{p === 'messages' && <NewsBadge />}{p === 'calls' && <MissedBadge />}</a>)}
        </nav>
        <MineChip />
        <span className="top-gap" />
        <Resources />
        <ConnectionWords />
        <Clock />
        <LanguageSwitch />
        <User />
      </header>
      {children}
      <PhoneOverlay />
      <ProblemLine />
      <Strip />
    </div>
  );
}

function Badge() {
  const { t } = useSpeech();
  const { open, gravest } = useStore(alarmSums);
  return open > 0 ? <span className={`nav-badge num ${gravest > 0 ? 'grave' : ''}`} data-testid="alarm-badge" title={t('alarm.sums', { open, gravest })}>{open > 999 ? '999+' : open}</span> : null;
}

function NewsBadge() {
  const { t } = useSpeech();
  const n = useStore(unreadThreads, (s) => s.size);
  return n > 0 ? <span className="nav-badge num" data-testid="messages-badge" title={t('msg.badge', { n })}>{n > 99 ? '99+' : n}</span> : null;
}

function MissedBadge() {
  const { t } = useSpeech();
  const n = useStore(missedCount);
  return n > 0 ? <span className="nav-badge num" data-testid="missed-badge" title={t('calls.missed.badge', { n })}>{n > 99 ? '99+' : n}</span> : null;
}

function Clock() {
  const [, tick] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const beat = () => { tick((n) => n + 1); timer = setTimeout(beat, 1000 - (serverNow() % 1000) + 5); };
    beat();
    return () => clearTimeout(timer);
  }, []);
  const now = serverNow();
  return <time className="clock num" title={day(now)} data-testid="clock"><b>{clock(now)}</b> <small>{zone()}</small></time>;
}

function ConnectionWords() {
  const { t, lang } = useSpeech();
  const c = useStore(connection);
  const now = useNow();
  const age = (now - c.since) / 1000;
  const lost = c.state !== 'open' && (c.everOpen || age > 2);
  return (
    <span className={`conn ${c.state === 'open' ? 's-live' : lost ? 's-stalled' : 's-idle'}`} role="status" data-testid="connection" data-state={c.state}>
      <span className="shape" aria-hidden>{c.state === 'open' ? '●' : lost ? '▲' : '◐'}</span>
      {c.state === 'open' ? t('conn.open') : lost ? t('conn.lost', { d: duration(age, lang) }) : t('conn.connecting')}
    </span>
  );
}

function Resources() {
  const { t } = useSpeech();
  const s = useStore(system);
  if (!s) return null;
  const free = s.disk_total_bytes > 0 ? s.disk_free_bytes / s.disk_total_bytes : 1;
  return (
    <dl className="res num" data-testid="resources">
      <div className={s.cpu_percent > 85 ? 's-stalled' : ''}><dt>{t('res.cpu')}</dt><dd>{Math.round(s.cpu_percent)}%</dd></div>
      <div className={free < 0.1 ? 's-stalled' : ''}><dt>{t('res.disk')}</dt><dd>{bytes(s.disk_free_bytes)}</dd></div>
      <div><dt>{t('res.devices')}</dt><dd>{s.devices_online}/{s.devices_total}</dd></div>
      <div><dt>{t('res.streams')}</dt><dd>{s.streams_live}</dd></div>
      <div className="res-wide"><dt>{t('res.viewers')}</dt><dd>{s.viewers}</dd></div>
      {s.recordings_running > 0 && <div className="res-wide"><dt>{t('res.recording')}</dt><dd>{s.recordings_running}</dd></div>}
    </dl>
  );
}

export function LanguageSwitch() {
  const lang = useStore(language);
  return <button type="button" className="btn btn-quiet lang" data-testid="language" data-language={lang} lang={lang === 'zh' ? 'en' : 'zh-CN'} title={lang === 'zh' ? 'English' : '中文'} onClick={() => setLanguage(lang === 'zh' ? 'en' : 'zh')}>{lang === 'zh' ? 'English' : '中文'}</button>;
}

function User() {
  const { t } = useSpeech();
  const account = useStore(session, (s) => s.account);
  const [open, setOpen] = useState(false);
  const [password, setPassword] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const away = (e: Event) => { if (!box.current?.contains(e.target as Node)) setOpen(false); };
    const esc = (e: KeyboardEvent) => { if (e.key === 'Escape') { e.stopPropagation(); setOpen(false); } };
    document.addEventListener('pointerdown', away); document.addEventListener('keydown', esc, true);
    return () => { document.removeEventListener('pointerdown', away); document.removeEventListener('keydown', esc, true); };
  }, [open]);
  if (!account) return null;
  return (
    <div className="user" ref={box}>
      <Button look="quiet" icon="user" testId="user" aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)}>{account.name}</Button>
      {open && (
        <div className="menu" role="menu">
          <p className="hint">{t(`role.${account.role}`)}</p>
          <Button look="quiet" icon="lock" role="menuitem" onClick={() => { setOpen(false); setPassword(true); }}>{t('password.change')}</Button>
          <Button look="quiet" icon="close" role="menuitem" testId="sign-out" onClick={() => void signOut()}>{t('signOut')}</Button>
        </div>
      )}
      {password && <Dialog title={t('password.change')} onClose={() => setPassword(false)}><ChangePassword onClose={() => setPassword(false)} /></Dialog>}
    </div>
  );
}

const MARK = { info: '·', warning: '▲', alarm: '■' } as const;
function Strip() {
  const { t, pick } = useSpeech();
  const list = useStore(notices);
  const [open, setOpen] = useState(false);
  const last = list.slice(-4).reverse();
  return (
    <footer className="strip" data-testid="strip">
      <button type="button" className="strip-line" aria-expanded={open} title={t('strip.all')} onClick={() => setOpen(!open)}>
        {last.length === 0 ? <span className="strip-none">{t('strip.none')}</span>
          : last.map((n) => <span key={n.key} className={`notice n-${n.severity}`}><span aria-hidden>{MARK[n.severity]}</span><time className="num">{clock(n.at)}</time>{n.severity === 'alarm' && <b>{t('strip.alarm')}</b>}{pick(n)}</span>)}
        <span className="strip-more">{t(open ? 'strip.less' : 'strip.more')}<Icon name={open ? 'down' : 'up'} /></span>
      </button>
      {open && <ol className="strip-all">{[...list].reverse().map((n) => <li key={n.key} className={`notice n-${n.severity}`}><span aria-hidden>{MARK[n.severity]}</span><time className="num">{day(n.at)} {clock(n.at)}</time><b>{t(`strip.${n.severity}`)}</b>{pick(n)}</li>)}</ol>}
    </footer>
  );
}
