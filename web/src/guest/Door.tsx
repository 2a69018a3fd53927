import { useEffect, useRef, useState } from 'react';
import { asApiError, type ApiError } from '../api/client';
import { levelToBar, meter } from '../media/levels';
import { Button, Field, useNow } from '../ui/basic';
import { Icon } from '../ui/Icon';
import type { Guest, Invitation } from './line';
import type { Local } from './local';
import type { Lang, Word } from './words';

type T = (w: Word, v?: Record<string, string>) => string;

/** In front of the conference: own picture and sound, the name, and the wait in the lobby. */
export function Door({ t, lang, invitation, guest, local, ready, onEnter, onReady, onLeave }: {
  t: T; lang: Lang; invitation?: Invitation; guest?: Guest; local: Local; ready?: boolean; onEnter?: (name: string) => Promise<void>; onReady?: () => void; onLeave?: () => void;
}) {
  const may = (invitation ?? guest)!.camera;
  const role = (invitation ?? guest)!.role;
  const [name, setName] = useState('');
  const [camera, setCamera] = useState(may);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const waiting = guest?.stage === 'waiting';
  const go = async () => {
    setBusy(true);
    setError(null);
    try { if (local.stream ?? (await local.open(camera))) { if (guest) onReady?.(); else await onEnter?.(name.trim()); } } catch (e) { setError(asApiError(e)); }
    setBusy(false);
  };
  return (
    <main className="guest-door">
      {invitation && <p className="guest-invited">{lang === 'zh' ? invitation.site_zh : invitation.site_en} · {t('invited')} <b>{invitation.conference}</b></p>}
      {role === 'listener' && <p className="hint">{t('listener')}</p>}
      <Own stream={local.stream} t={t} />
      {local.problem && <p className="warn-text" role="alert" data-testid="guest-problem"><Icon name="warn" /> {t(local.problem)}</p>}
      {waiting && ready ? <Waiting t={t} /> : (
        <form onSubmit={(e) => { e.preventDefault(); void go(); }}>
          {!guest && <Field label={t('name')} hint={t('name.hint')}><input required maxLength={40} autoComplete="name" value={name} data-testid="guest-name" onChange={(e) => setName(e.target.value)} /></Field>}
          {may ? <label className="check"><input type="checkbox" checked={camera} data-testid="guest-camera" onChange={(e) => { setCamera(e.target.checked); if (local.stream) void local.open(e.target.checked); }} />{t('camera')}</label> : <p className="hint">{t('camera.no')}</p>}
          {error && <p className="error-line" role="alert" data-testid="guest-error"><Icon name="warn" /><span>{error[lang]}</span></p>}
          <div className="guest-row">
            {!local.stream && <Button icon="video" testId="guest-preview" onClick={() => void local.open(camera)}>{t('preview')}</Button>}
            <Button type="submit" look="main" testId="guest-join" disabled={busy || (!guest && !name.trim())}>{t(guest ? 'rejoin' : 'join')}</Button>
          </div>
        </form>
      )}
      {guest && <Button look="danger" icon="hangup" testId="guest-leave" onClick={onLeave}>{t('leave')}</Button>}
    </main>
  );
}

function Waiting({ t }: { t: T }) {
  const [since] = useState(() => Date.now());
  const s = Math.max(0, Math.floor((useNow() - since) / 1000));
  return <p className="guest-wait" role="status" data-testid="guest-waiting"><span className="guest-pulse" aria-hidden /><b>{t('waiting')}</b><span className="num">{t('waiting.for', { t: `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}` })}</span></p>;
}

/** Seen and heard here before anyone else. */
export function Own({ stream, t, small }: { stream: MediaStream | null; t: T; small?: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  const bar = useRef<HTMLSpanElement>(null);
  const picture = !!stream?.getVideoTracks().length;
  useEffect(() => { if (video.current) { video.current.srcObject = stream; void video.current.play().catch(() => {}); } }, [stream, picture]);
  useEffect(() => (stream ? meter(stream, (db) => { if (bar.current) bar.current.style.transform = `scaleX(${levelToBar(db)})`; }) : undefined), [stream]);
  if (!stream && small) return null;
  return (
    <div className={`guest-own ${small ? 'guest-own-small' : ''} ${picture ? '' : 'guest-own-none'}`} data-testid="guest-own">
      {picture ? <video ref={video} muted playsInline /> : <span className="guest-own-icon"><Icon name={stream ? 'mic' : 'user'} /></span>}
      {stream && <div className="guest-meter" role="img" aria-label={t('level')}><span ref={bar} /></div>}
    </div>
  );
}
