import { useEffect, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { Conference } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { levelToBar, meter } from '../../media/levels';
import { WhepViewer } from '../../media/whep';
import { goodbye, join, leave, mine, setMuted, setSink } from '../../state/mine';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, Field } from '../../ui/basic';
import { Icon } from '../../ui/Icon';

const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25, max: 30 } };

function mediaKey(e: unknown): Key {
  const name = e instanceof DOMException ? e.name : '';
  if (!window.isSecureContext) return 'media.insecure';
  if (name === 'NotAllowedError') return 'media.denied';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'media.none';
  return 'media.busy';
}

/** Own camera and microphone: seen and heard here before anyone else. */
export function JoinPanel({ c }: { c: Conference }) {
  const { t, pick } = useSpeech();
  const m = useStore(mine);
  const bye = useStore(goodbye);
  const operator = useStore(session, isOperator);
  const here = m?.conference === c.id;
  const user = useStore(session, (s) => s.account?.name ?? '');
  const [name, setName] = useState(user);
  const [preview, setPreview] = useState<MediaStream | null>(null);
  const [wantCamera, setWantCamera] = useState(true);
  const [muted, setStartMuted] = useState(false);
  const [problem, setProblem] = useState<Key | null>(null);
  const [devices, setDevices] = useState<MediaDeviceInfo[]>([]);
  const [mic, setMic] = useState('');
  const [cam, setCam] = useState('');
  const [sink, setSinkId] = useState('');
  const local = here ? m.member.local : preview;
  const kept = useRef<MediaStream | null>(null);
  kept.current = preview;
  useEffect(() => () => { for (const x of kept.current?.getTracks() ?? []) x.stop(); }, []);

  const list = async () => { try { setDevices(await navigator.mediaDevices.enumerateDevices()); } catch { /* none */ } };
  const open = async (micId = mic, camId = cam, camera = wantCamera): Promise<MediaStream | null> => {
    setProblem(null);
    if (!navigator.mediaDevices?.getUserMedia) { setProblem('media.insecure'); return null; }
    const audio = { ...AUDIO, ...(micId ? { deviceId: { exact: micId } } : {}) };
    const video = camera ? { ...VIDEO, ...(camId ? { deviceId: { exact: camId } } : {}) } : false;
    let s: MediaStream;
    try { s = await navigator.mediaDevices.getUserMedia({ audio, video }); } catch (e) {
      if (!camera) { setProblem(mediaKey(e)); return null; }
      try { s = await navigator.mediaDevices.getUserMedia({ audio }); setProblem('media.noCamera'); } catch (e2) { setProblem(mediaKey(e2)); return null; }
    }
    for (const x of kept.current?.getTracks() ?? []) x.stop();
    setPreview(s);
    void list();
    return s;
  };
  const choose = async (kind: 'audio' | 'video', id: string) => {
    if (kind === 'audio') setMic(id); else setCam(id);
    if (here) {
      try {
        const s = await navigator.mediaDevices.getUserMedia(kind === 'audio' ? { audio: { ...AUDIO, deviceId: { exact: id } } } : { video: { ...VIDEO, deviceId: { exact: id } } });
        const track = s.getTracks()[0]!;
        if (kind === 'audio') track.enabled = !m.own;
        await m.member.replace(kind, track);
      } catch (e) { setProblem(mediaKey(e)); }
    } else if (preview) await open(kind === 'audio' ? id : mic, kind === 'video' ? id : cam);
  };
  const enter = async () => {
    const s = preview ?? (await open());
    if (!s) return;
    kept.current = null; // the member owns it now
    setPreview(null);
    join(c.id, name.trim() || user, s, muted);
  };
  const select = (kind: MediaDeviceKind, value: string, set: (id: string) => void, label: Key) => {
    const of = devices.filter((d) => d.kind === kind && d.deviceId);
    return of.length < 2 ? null : <Field label={t(label)}><select value={value} onChange={(e) => set(e.target.value)}>{of.map((d, i) => <option key={d.deviceId} value={d.deviceId}>{d.label || `${t(label)} ${i + 1}`}</option>)}</select></Field>;
  };

  return (
    <section className="join">
      <h3>{t(here ? 'join.title.in' : 'join.title')}</h3>
      {local && <Preview stream={local} />}
      {here ? (
        <p className={`state ${m.state.phase === 'connected' ? 's-live' : 's-stalled'}`} data-testid="conference-state" data-phase={m.state.phase}><span className="shape" aria-hidden>{m.state.phase === 'connected' ? '●' : '◐'}</span>
          {m.state.phase === 'connected' ? t('join.in') : m.state.phase === 'joining' ? t('join.joining') : t('join.lost', { why: m.state.error ? pick(m.state.error) : '' })}</p>
      ) : (
        <>
          {bye && <p className="hint warn-text" role="status"><Icon name="info" /> {pick(bye)}</p>}
          <Field label={t('join.name')}><input value={name} maxLength={40} onChange={(e) => setName(e.target.value)} data-testid="conference-my-name" /></Field>
          <div className="checks">
            <label><input type="checkbox" checked={wantCamera} data-testid="conference-camera" onChange={(e) => { setWantCamera(e.target.checked); if (preview) void open(mic, cam, e.target.checked); }} />{t('join.camera')}</label>
            <label><input type="checkbox" checked={muted} data-testid="conference-start-muted" onChange={(e) => setStartMuted(e.target.checked)} />{t('join.muted')}</label>
          </div>
        </>
      )}
      {(local || here) && <>{select('audioinput', mic, (id) => void choose('audio', id), 'join.mic')}{select('videoinput', cam, (id) => void choose('video', id), 'join.cam')}{select('audiooutput', sink, (id) => { setSinkId(id); setSink(id); }, 'join.speaker')}</>}
      {problem && <p className="hint warn-text" role="alert"><Icon name="warn" /> {t(problem)}</p>}
      <div className="actions">
        {here ? (
          <>
            <Button look={m.muted ? 'plain' : 'main'} icon={m.muted ? 'micOff' : 'mic'} testId="conference-mute" pressed={m.muted} title="M" onClick={() => setMuted(!m.muted)}>{t(m.muted ? 'mine.unmute' : 'mine.mute')}</Button>
            <OwnHand c={c} id={m.id} />
            <Button look="danger" icon="hangup" testId="conference-leave" onClick={leave}>{t('join.leave')}</Button>
          </>
        ) : (
          <>
            <Button look="main" icon="mic" testId="conference-join" onClick={() => void enter()}>{t(m ? 'join.switch' : 'join.join')}</Button>
            {!preview && <Button icon="video" testId="conference-preview" onClick={() => void open()}>{t('join.preview')}</Button>}
            <Listen c={c} />
          </>
        )}
      </div>
      {here && <p className="hint">{t(m.byOperator && !operator ? 'join.hint.byOperator' : m.muted ? 'join.hint.muted' : 'join.hint')}</p>}
    </section>
  );
}

/** The own hand, and the way back from a private talk. */
function OwnHand({ c, id }: { c: Conference; id: string }) {
  const { t } = useSpeech();
  const me = c.members.find((x) => x.id === id);
  if (!me) return null;
  return (
    <>
      <Button icon="hand" testId="conference-hand" pressed={!!me.hand_at} onClick={() => void act(api.hand(c.id, id, !me.hand_at))}>{t(me.hand_at ? 'hand.down' : 'hand.up')}</Button>
      {me.whispers_to && <Button look="main" icon="whisper" testId="whisper-end" onClick={() => void act(api.side(c.id, id, me.side_room ? { room: me.side_room } : {}))}>{t('member.whisper.end')}</Button>}
    </>
  );
}

function Preview({ stream }: { stream: MediaStream }) {
  const { t } = useSpeech();
  const video = useRef<HTMLVideoElement>(null);
  const bar = useRef<HTMLSpanElement>(null);
  const hasVideo = stream.getVideoTracks().length > 0;
  const [silent, setSilent] = useState(false);
  useEffect(() => { if (video.current) { video.current.srcObject = stream; void video.current.play().catch(() => {}); } }, [stream, hasVideo]);
  useEffect(() => {
    let heard = performance.now();
    return meter(stream, (db) => {
      if (bar.current) bar.current.style.transform = `scaleX(${levelToBar(db)})`;
      const now = performance.now();
      if (db > -100) heard = now;
      setSilent(now - heard > 5_000 && stream.getAudioTracks().some((x) => x.enabled));
    });
  }, [stream]);
  return (
    <div className="preview">
      {hasVideo ? <video ref={video} muted playsInline data-testid="preview-video" /> : <p className="preview-none">{t('join.noVideo')}</p>}
      <div className="meter" role="img" aria-label={t('join.level')}><span ref={bar} /></div>
      {silent && <p className="hint warn-text">{t('join.silent')}</p>}
    </div>
  );
}

/** Hears the mix without being a member. */
function Listen({ c }: { c: Conference }) {
  const { t } = useSpeech();
  const [on, setOn] = useState(false);
  useEffect(() => {
    if (!on) return;
    const audio = new Audio();
    const v = new WhepViewer(c.mix, { tracks: (s) => { audio.srcObject = s; void audio.play().catch(() => {}); }, state: () => {} }, { audio: true, video: false });
    v.start();
    return () => { v.stop(); audio.srcObject = null; };
  }, [on, c.mix]);
  return <Button icon={on ? 'sound' : 'soundOff'} testId="conference-listen" pressed={on} onClick={() => setOn(!on)}>{t(on ? 'join.listen.stop' : 'join.listen')}</Button>;
}
