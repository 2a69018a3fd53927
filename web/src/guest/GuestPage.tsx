import { useCallback, useEffect, useRef, useState } from 'react';
import { asApiError } from '../api/client';
import { Button } from '../ui/basic';
import { Icon } from '../ui/Icon';
import { line, listen, type Guest, type GuestText, type Invitation } from './line';
import { Door } from './Door';
import { GuestRoom } from './GuestRoom';
import { useLocal } from './local';
import { firstLang, keepLang, say, type Lang, type Word } from './words';

/** A reload comes back to the same session; another link begins anew. */
const KEPT = 'skybridge.guest';
const kept = () => { try { return sessionStorage.getItem(KEPT); } catch { return null; } };
const keep = (token: string | null) => { try { if (token) sessionStorage.setItem(KEPT, token); else sessionStorage.removeItem(KEPT); } catch { /* storage forbidden */ } };

type Step =
  | { at: 'reading' }
  | { at: 'door'; invitation: Invitation }
  | { at: 'in'; guest: Guest; ready: boolean }
  | { at: 'end'; words: Word | { zh: string; en: string }; again: boolean };

const ENDS: Partial<Record<Guest['stage'], Word>> = { refused: 'refused', late: 'late', full: 'full', locked: 'locked', removed: 'removed' };
const AGAIN = new Set(['late', 'full', 'locked', 'left']);

export function GuestPage({ token }: { token: string }) {
  const [lang, setLang] = useState<Lang>(firstLang);
  const t = useCallback((w: Word, v?: Record<string, string>) => say(lang, w, v), [lang]);
  const [step, setStep] = useState<Step>({ at: 'reading' });
  const [online, setOnline] = useState(true);
  const [texts, setTexts] = useState<GuestText[]>([]);
  const local = useLocal();
  const inside = step.at === 'in';
  useEffect(() => { document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en'; keepLang(lang); }, [lang]);

  const read = useCallback(async () => {
    setStep({ at: 'reading' });
    if (kept() === token) {
      try { setStep({ at: 'in', guest: await line.show(), ready: false }); return; } catch { keep(null); }
    }
    for (;;) {
      try { setStep({ at: 'door', invitation: await line.look(token) }); return; } catch (e) {
        const error = asApiError(e);
        if (error.status !== 0 && error.status < 500) { setStep({ at: 'end', words: error, again: error.status === 429 }); return; }
        await new Promise((r) => setTimeout(r, 2_000));
      }
    }
  }, [token]);
  useEffect(() => { void read(); }, [read]);

  const finish = useCallback((words: Word) => { keep(null); local.close(); setStep({ at: 'end', words, again: AGAIN.has(words) }); }, [local]);
  const end = useRef(finish);
  end.current = finish;
  useEffect(() => {
    if (!inside) return;
    setTexts([]);
    return listen((told) => {
      if (told.type === 'over') end.current('over');
      else if (told.type === 'text') setTexts((l) => (l.some((x) => x.id === told.text.id) ? l : [...l, told.text].slice(-200)));
      else {
        const why = ENDS[told.guest.stage];
        if (why) end.current(why); else setStep((s) => (s.at === 'in' ? { ...s, guest: told.guest } : s));
      }
    }, setOnline);
  }, [inside]);

  const enter = async (name: string) => {
    const guest = await line.enter(token, name);
    keep(token);
    setStep({ at: 'in', guest, ready: true });
  };
  const leave = () => { void line.leave().catch(() => {}); finish('left'); };

  const title = step.at === 'door' ? step.invitation.conference : step.at === 'in' ? step.guest.conference : '';
  useEffect(() => { document.title = title || 'Skybridge'; }, [title]);
  return (
    <div className={`guest ${step.at === 'in' && step.guest.stage !== 'waiting' && step.ready ? 'guest-in' : ''}`} data-testid="guest" data-step={step.at === 'in' ? step.guest.stage : step.at}>
      <header className="guest-head">
        <h1>{title}</h1>
        {inside && !online && <span className="warn-text" role="status">{t('offline')}</span>}
        <Button look="quiet" testId="guest-language" onClick={() => setLang(lang === 'zh' ? 'en' : 'zh')}>{lang === 'zh' ? 'English' : '中文'}</Button>
      </header>
      {step.at === 'door' && <Door t={t} lang={lang} invitation={step.invitation} local={local} onEnter={enter} />}
      {step.at === 'in' && (step.guest.stage === 'waiting' || !step.ready
        ? <Door t={t} lang={lang} guest={step.guest} local={local} onReady={() => setStep({ ...step, ready: true })} onLeave={leave} ready={step.ready} />
        : <GuestRoom t={t} guest={step.guest} local={local} texts={texts} setTexts={setTexts} onLeave={leave} />)}
      {step.at === 'end' && (
        <main className="guest-end" role="status" data-testid="guest-end" data-why={typeof step.words === 'string' ? step.words : 'error'}>
          <Icon name={step.words === 'left' ? 'check' : 'info'} />
          <p>{typeof step.words === 'string' ? t(step.words) : step.words[lang]}</p>
          {step.again && <Button look="main" testId="guest-again" onClick={() => void read()}>{t('again')}</Button>}
        </main>
      )}
    </div>
  );
}
