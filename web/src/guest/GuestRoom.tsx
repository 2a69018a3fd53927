import { useEffect, useRef, useState } from 'react';
import { asApiError } from '../api/client';
import { WhepViewer } from '../media/whep';
import { WhipMember, type WhipState } from '../media/whip';
import { testHandle } from '../testHandle';
import { Button } from '../ui/basic';
import { clock } from '../ui/format';
import { Icon } from '../ui/Icon';
import { Own } from './Door';
import { line, sight, voice, type Guest, type GuestText } from './line';
import type { Local } from './local';
import type { Word } from './words';

type T = (w: Word, v?: Record<string, string>) => string;

/** In the conference: its main picture and mix, the own microphone, hand and texts. */
export function GuestRoom({ t, guest, local, texts, setTexts, onLeave }: { t: T; guest: Guest; local: Local; texts: GuestText[]; setTexts: (f: (l: GuestText[]) => GuestText[]) => void; onLeave: () => void }) {
  const [state, setState] = useState<WhipState['phase']>('joining');
  const [off, setOff] = useState(false);
  const [writing, setWriting] = useState(false);
  const [seen, setSeen] = useState(0);
  const [problem, setProblem] = useState('');
  const stream = local.stream;
  useEffect(() => {
    if (!stream) return;
    const mix = new Audio();
    const member = new WhipMember('', '', stream, {
      mix: (s) => { mix.srcObject = s; mix.autoplay = true; void mix.play().catch(() => {}); },
      state: (s) => { setState(s.phase); if (s.phase === 'off' && s.error) setProblem(document.documentElement.lang === 'en' ? s.error.en : s.error.zh); },
    }, voice);
    testHandle.setMember(() => ({ pc: member.pc, id: member.id }));
    member.join();
    const bye = () => member.leave();
    window.addEventListener('pagehide', bye);
    return () => { window.removeEventListener('pagehide', bye); member.leave(); mix.srcObject = null; };
  }, [stream]);
  const joined = guest.stage === 'joined';
  useEffect(() => { if (joined) line.texts().then((l) => setTexts((now) => { const have = new Set(l.map((x) => x.id)); return [...l, ...now.filter((x) => !have.has(x.id))]; }), () => {}); }, [joined, setTexts]);
  useEffect(() => { if (writing) setSeen(texts.length); }, [writing, texts]);

  const order = (what: Parameters<typeof line.change>[0]) => line.change(what).then(() => setProblem(''), (e: unknown) => { const x = asApiError(e); setProblem(document.documentElement.lang === 'en' ? x.en : x.zh); });
  // The own microphone shuts here first.
  const mute = (m: boolean) => { for (const x of stream?.getAudioTracks() ?? []) x.enabled = !m; setOff(m); void order({ muted: m }); };
  const muted = off || !!guest.muted;
  const floor = guest.floor;
  const press = (down: boolean) => void order({ floor: down ? 'press' : 'release' });
  return (
    <>
      <main className="guest-room">
        <MainPicture t={t} on={guest.picture && joined} />
        <Own stream={stream} t={t} small />
        <p className={`guest-state ${state === 'connected' ? 's-live' : 's-stalled'}`} role="status" data-testid="guest-state" data-phase={state}>
          <span className="shape" aria-hidden>{state === 'connected' ? '●' : '◐'}</span>{state === 'connected' ? t(guest.muted_by_operator ? 'muted.operator' : muted ? 'muted' : 'connected') : t(state === 'joining' ? 'connecting' : 'lost')}
        </p>
        {problem && <p className="warn-text" role="alert">{problem}</p>}
        {floor && guest.role !== 'listener' && (
          <button type="button" className={`btn guest-talk ${floor.own ? 'guest-talk-own' : ''}`} data-testid="guest-talk" data-own={floor.own} disabled={!joined}
            onPointerDown={(e) => { e.currentTarget.setPointerCapture(e.pointerId); press(true); }} onPointerUp={() => press(false)} onPointerCancel={() => press(false)} onContextMenu={(e) => e.preventDefault()}>
            <Icon name="mic" />{t(floor.own ? 'talk.own' : floor.queued ? 'talk.queued' : floor.taken ? 'talk.taken' : 'talk')}
          </button>
        )}
      </main>
      <aside className={`guest-texts ${writing ? 'guest-texts-open' : ''}`} aria-label={t('texts')}><Texts t={t} texts={texts} onSent={(x) => setTexts((l) => (l.some((y) => y.id === x.id) ? l : [...l, x]))} /></aside>
      <nav className="guest-bar">
        {guest.role !== 'listener' && <Button look={muted ? 'plain' : 'main'} icon={muted ? 'micOff' : 'mic'} pressed={muted} testId="guest-mute" disabled={guest.muted_by_operator} onClick={() => mute(!muted)}>{t(muted ? 'unmute' : 'mute')}</Button>}
        <Button icon="hand" pressed={guest.hand} testId="guest-hand" disabled={!joined} onClick={() => void order({ hand: !guest.hand })}>{t(guest.hand ? 'hand.down' : 'hand')}</Button>
        <Button icon="message" pressed={writing} testId="guest-texts-toggle" className="guest-texts-toggle" onClick={() => setWriting(!writing)}>{t('texts')}{!writing && texts.length > seen ? ' ●' : ''}</Button>
        <Button look="danger" icon="hangup" testId="guest-leave" onClick={onLeave}>{t('leave')}</Button>
      </nav>
    </>
  );
}

function MainPicture({ t, on }: { t: T; on: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!on) { setShown(false); return; }
    const viewer: WhepViewer = new WhepViewer('', {
      tracks: (media) => { const v = video.current; if (v) { v.srcObject = media; v.requestVideoFrameCallback?.(() => { setShown(true); viewer.sawFirstFrame(); }); void v.play().catch(() => {}); } },
      state: () => {},
    }, { audio: false, video: true }, sight);
    viewer.start();
    return () => viewer.stop();
  }, [on]);
  return <div className="guest-picture"><video ref={video} muted playsInline autoPlay data-testid="guest-picture" hidden={!shown} />{!shown && <span className="hint">{t(on ? 'connecting' : 'picture.none')}</span>}</div>;
}

function Texts({ t, texts, onSent }: { t: T; texts: GuestText[]; onSent: (x: GuestText) => void }) {
  const [text, setText] = useState('');
  const [problem, setProblem] = useState('');
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => { if (list.current) list.current.scrollTop = list.current.scrollHeight; }, [texts]);
  const send = async () => {
    const words = text.trim();
    if (!words) return;
    try { onSent(await line.write(words)); setText(''); setProblem(''); } catch (e) { const x = asApiError(e); setProblem(document.documentElement.lang === 'en' ? x.en : x.zh); }
  };
  return (
    <>
      <h2>{t('texts')}</h2>
      {texts.length === 0 ? <p className="hint guest-none">{t('texts.none')}</p> : (
        <ol ref={list} data-testid="guest-text-list">{texts.map((x) => <li key={x.id} className={x.own ? 'guest-own-text' : ''}><header><b>{x.name}</b><time className="num">{clock(x.at)}</time></header><p className="wrap">{x.text}</p>{x.file && <p className="hint"><Icon name="file" /> {t('file', { n: x.file })}</p>}</li>)}</ol>
      )}
      {problem && <p className="warn-text" role="alert">{problem}</p>}
      <form onSubmit={(e) => { e.preventDefault(); void send(); }}><input value={text} maxLength={1000} placeholder={t('write')} aria-label={t('write')} data-testid="guest-text" onChange={(e) => setText(e.target.value)} /><Button type="submit" look="main" icon="send" aria-label={t('send')} testId="guest-send" disabled={!text.trim()} /></form>
    </>
  );
}
