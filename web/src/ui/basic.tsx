import { useEffect, useRef, useState, type ButtonHTMLAttributes, type ReactNode } from 'react';
import { asApiError, type ApiError } from '../api/client';
import type { Fault, Whose } from '../api/types';
import { useSpeech, type Key } from '../i18n';
import { createStore, useStore } from '../state/store';
import { Icon, type IconName } from './Icon';

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & { icon?: IconName; look?: 'plain' | 'main' | 'quiet' | 'danger'; pressed?: boolean; testId?: string };
export function Button({ icon, look = 'plain', pressed, testId, children, className = '', ...rest }: ButtonProps) {
  return (
    <button type="button" className={`btn btn-${look} ${children ? '' : 'btn-icon'} ${className}`} aria-pressed={pressed} data-testid={testId} {...rest}>
      {icon && <Icon name={icon} />}{children && <span>{children}</span>}
    </button>
  );
}

export function Field({ label, children, hint }: { label: string; children: ReactNode; hint?: string }) {
  return <label className="field"><span className="field-label">{label}</span>{children}{hint && <span className="field-hint">{hint}</span>}</label>;
}

/** The whole second in milliseconds; redraws its component each second. */
export function useNow(everyMs = 1000): number {
  const [now, set] = useState(() => Date.now());
  useEffect(() => { const t = setInterval(() => set(Date.now()), everyMs); return () => clearInterval(t); }, [everyMs]);
  return now;
}

export const whoseKey = (w: Whose): Key => `whose.${w}`;

/** What failed, whose part it is, what to do next. */
export function FaultBox({ fault }: { fault: Fault }) {
  const { t, pick, lang } = useSpeech();
  const next = lang === 'zh' ? fault.next_zh : fault.next_en;
  const steps = fault.next ?? [];
  return (
    <div className="fault" role="status" data-code={fault.code}>
      <div className="fault-what"><Icon name="warn" /><span>{pick(fault)}</span></div>
      <dl>
        <dt>{t('fault.whose')}</dt><dd>{t(whoseKey(fault.whose))}</dd>
        {steps.length > 1
          ? <><dt>{t('fault.next')}</dt><dd><ol className="fault-steps" data-testid="fault-steps">{steps.map((s) => <li key={s.en}>{pick(s)}</li>)}</ol></dd></>
          : next && <><dt>{t('fault.next')}</dt><dd>{next}</dd></>}
        <dt>{t('fault.retry')}</dt><dd>{t(fault.retry ? 'fault.retry.yes' : 'fault.retry.no')}</dd>
      </dl>
    </div>
  );
}

export function ErrorLine({ error }: { error: ApiError | null }) {
  const { t, pick } = useSpeech();
  if (!error) return null;
  return (
    <p className="error-line" role="alert" data-testid="error" data-code={error.code}>
      <Icon name="warn" /><span>{pick(error)}{error.retryAfterS ? ` ${t('error.retryAfter', { s: error.retryAfterS })}` : ''}</span>
    </p>
  );
}

// ---- orders that failed: one line above the strip
export const problem = createStore<{ error: ApiError; key: number } | null>(null);
let problemKey = 0;
/** Runs an order; a failure is said in words. */
export async function act<T>(p: Promise<T> | (() => Promise<T>)): Promise<T | undefined> {
  try { return await (typeof p === 'function' ? p() : p); } catch (e) { problem.set({ error: asApiError(e), key: ++problemKey }); return undefined; }
}
export function ProblemLine() {
  const p = useStore(problem);
  const { t, pick } = useSpeech();
  useEffect(() => {
    if (!p) return;
    const timer = setTimeout(() => problem.set(null), 10_000);
    return () => clearTimeout(timer);
  }, [p]);
  if (!p) return null;
  return (
    <div className="problem" role="alert" data-testid="problem" data-code={p.error.code}>
      <Icon name="warn" /><b>{t(whoseKey(p.error.whose))}</b><span>{pick(p.error)}</span>
      <Button look="quiet" icon="close" aria-label={t('close')} onClick={() => problem.set(null)} />
    </div>
  );
}

// ---- dialogs
export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ReactNode; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  const { t } = useSpeech();
  useEffect(() => { const d = ref.current; if (d && !d.open) d.showModal(); }, []);
  return (
    <dialog ref={ref} className={`dialog ${wide ? 'dialog-wide' : ''}`} onCancel={(e) => { e.preventDefault(); onClose(); }} onClick={(e) => { if (e.target === ref.current) onClose(); }}
      onKeyDown={(e) => e.stopPropagation()}>
      <div className="dialog-in">
        <header><h2>{title}</h2><Button look="quiet" icon="close" aria-label={t('close')} onClick={onClose} /></header>
        {children}
      </div>
    </dialog>
  );
}

interface Asked { title: string; text: string; yes: string; done: (ok: boolean) => void }
const asked = createStore<Asked | null>(null);
/** For what cannot be undone: names the object and asks. */
export function confirmOrder(title: string, text: string, yes: string): Promise<boolean> {
  return new Promise((done) => asked.set({ title, text, yes, done: (ok) => { asked.set(null); done(ok); } }));
}
export function ConfirmHost() {
  const a = useStore(asked);
  const { t } = useSpeech();
  if (!a) return null;
  return (
    <Dialog title={a.title} onClose={() => a.done(false)}>
      <p>{a.text}</p>
      <footer><Button onClick={() => a.done(false)} autoFocus>{t('cancel')}</Button><Button look="danger" testId="confirm-yes" onClick={() => a.done(true)}>{a.yes}</Button></footer>
    </Dialog>
  );
}

export function Empty({ title, next, children }: { title: string; next?: string; children?: ReactNode }) {
  return <div className="empty"><p className="empty-title">{title}</p>{next && <p className="empty-next">{next}</p>}{children}</div>;
}
