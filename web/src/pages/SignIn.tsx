import { useState, type FormEvent, type ReactNode } from 'react';
import { asApiError, type ApiError } from '../api/client';
import { useSpeech } from '../i18n';
import { changePassword, session, signIn, signOut } from '../state/session';
import { useStore } from '../state/store';
import { Button, ErrorLine, Field, useNow } from '../ui/basic';
import { clock, day, duration, zone } from '../ui/format';
import { LanguageSwitch } from '../ui/Shell';

function Gate({ children }: { children: ReactNode }) {
  const { lang } = useSpeech();
  const now = useNow();
  const site = useStore(session, (s) => s.site);
  return (
    <div className="gate">
      <header className="gate-top"><span className="num">{day(now)} {clock(now)} {zone()}</span><LanguageSwitch /></header>
      <main className="gate-in"><p className="gate-brand"><img src="/icon.svg" alt="" />{site ? (lang === 'zh' ? site.name_zh : site.name_en) : 'Skybridge'}</p>{children}</main>
    </div>
  );
}

export function SignIn() {
  const { t } = useSpeech();
  const expired = useStore(session, (s) => s.expired);
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    try { await signIn(name.trim(), password); } catch (x) { setError(asApiError(x)); setPassword(''); } finally { setBusy(false); }
  };
  return (
    <Gate>
      <form onSubmit={submit} data-testid="sign-in">
        <h1>{t('signIn.title')}</h1>
        {expired && !error && <p className="hint">{t('signIn.expired')}</p>}
        <Field label={t('signIn.name')}><input autoFocus autoComplete="username" autoCapitalize="off" spellCheck={false} value={name} onChange={(e) => setName(e.target.value)} data-testid="sign-in-name" required /></Field>
        <Field label={t('signIn.password')}><input type="password" autoComplete="current-password" value={password} onChange={(e) => setPassword(e.target.value)} data-testid="sign-in-password" required /></Field>
        <ErrorLine error={error} />
        <Button type="submit" look="main" testId="sign-in-submit" disabled={busy || !name || !password}>{t(busy ? 'signIn.busy' : 'signIn.submit')}</Button>
      </form>
    </Gate>
  );
}

const LEAST = 10;
/** The first password must be changed; also reached from the user menu. */
export function ChangePassword({ onClose }: { onClose?: () => void }) {
  const { t } = useSpeech();
  const [old, setOld] = useState('');
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const differs = again !== '' && again !== next;
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    try { await changePassword(old, next); onClose?.(); } catch (x) { setError(asApiError(x)); } finally { setBusy(false); }
  };
  const form = (
    <form onSubmit={submit} data-testid="change-password">
      {!onClose && <><h1>{t('password.title')}</h1><p className="hint">{t('password.why')}</p></>}
      <Field label={t('password.old')}><input autoFocus type="password" autoComplete="current-password" value={old} onChange={(e) => setOld(e.target.value)} data-testid="password-old" /></Field>
      <Field label={t('password.new')} hint={t('password.rule', { n: LEAST })}><input type="password" autoComplete="new-password" value={next} onChange={(e) => setNext(e.target.value)} data-testid="password-new" /></Field>
      <Field label={t('password.again')} hint={differs ? t('password.differs') : undefined}><input type="password" autoComplete="new-password" value={again} onChange={(e) => setAgain(e.target.value)} data-testid="password-again" aria-invalid={differs} /></Field>
      <ErrorLine error={error} />
      <Button type="submit" look="main" testId="password-submit" disabled={busy || !old || next.length < LEAST || next !== again}>{t('password.submit')}</Button>
      {!onClose && <Button look="quiet" onClick={() => void signOut()}>{t('signOut')}</Button>}
    </form>
  );
  return onClose ? form : <Gate>{form}</Gate>;
}

/** The gateway has not answered yet: words instead of a form that could not work. */
export function Waiting() {
  const { t, lang } = useSpeech();
  const now = useNow();
  const since = useStore(session, (s) => s.since);
  return <Gate><h1>{t('waiting.title')}</h1><p className="hint">{t('waiting.text', { d: duration((now - since) / 1000, lang) })}</p></Gate>;
}
