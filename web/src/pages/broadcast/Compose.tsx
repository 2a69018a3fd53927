import { useEffect, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { BroadcastName, BroadcastOrder, BroadcastSource } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { beginVoice, putBroadcast } from '../../state/broadcast';
import { act, Button, confirmOrder, Field } from '../../ui/basic';
import { useRead } from '../../ui/useRead';
import { Targets } from './Targets';

const KINDS = ['text', 'sound', 'live'] as const;
const MOST_TEXT = 1000;

/** A new broadcast: what is said on the left, who hears it on the right. */
export function Compose({ draft }: { draft: BroadcastOrder | null }) {
  const { t } = useSpeech();
  const s = draft?.source;
  const [kind, setKind] = useState<BroadcastSource['kind']>(s?.kind ?? 'text');
  const [text, setText] = useState(s?.kind === 'text' ? s.text : '');
  const [speed, setSpeed] = useState(String(s?.kind === 'text' ? s.words_per_minute ?? '' : ''));
  const [sound, setSound] = useState(s?.kind === 'sound' ? s.sound : '');
  const [name, setName] = useState(draft?.name ?? '');
  const [rounds, setRounds] = useState(draft?.rounds ?? 2);
  const [chime, setChime] = useState(draft?.chime ?? true);
  const [targets, setTargets] = useState<readonly BroadcastName[]>(draft?.targets ?? []);
  const [busy, setBusy] = useState(false);
  const { value: sounds, again } = useRead(() => api.broadcastSounds(), []);
  const { hear, stop, playing } = usePreview();
  const file = useRef<HTMLInputElement>(null);
  const source: BroadcastSource = kind === 'text' ? { kind, text: text.trim(), ...(Number(speed) ? { words_per_minute: Number(speed) } : {}) } : kind === 'sound' ? { kind, sound } : { kind };
  const said = kind === 'text' ? text.trim() : kind === 'sound' ? sounds?.items.find((x) => x.id === sound)?.name ?? '' : ' ';
  // So that the history can be read: the first sentence, where nobody gave a title.
  const titled = name.trim() || (kind === 'live' ? t('bc.kind.live') : said.split(/[。！？；.!?;\n]/)[0]!.trim().slice(0, 24));
  const upload = async (f: File) => {
    const added = await act(api.addBroadcastSound(f.name.replace(/\.wav$/i, '').slice(0, 64), f));
    if (added) { setSound(added.id); void again(); }
  };
  const remove = async () => {
    const x = sounds?.items.find((y) => y.id === sound);
    if (x && await confirmOrder(t('bc.sound.delete.ask'), t('bc.sound.delete.text', { name: x.name }), t('delete'))) { await act(api.deleteBroadcastSound(x.id)); setSound(''); void again(); }
  };
  const send = async () => {
    const words = kind === 'live' ? t('bc.send.live', { n: targets.length }) : t('bc.send.text', { n: targets.length, rounds, what: said });
    if (!(await confirmOrder(t('bc.send.ask'), words, t('bc.send')))) return;
    stop();
    setBusy(true);
    const b = await act(api.startBroadcast({ name: titled, source, targets: [...targets], rounds: kind === 'live' ? 1 : rounds, pause: 2, chime }));
    setBusy(false);
    if (!b) return;
    putBroadcast(b);
    go(`/confer/broadcast/${b.id}`);
    if (kind === 'live') void beginVoice(b.id);
  };
  return (
    <main className="centre bc-compose" data-testid="broadcast-compose">
      <div className="bc-cols">
        <section aria-label={t('bc.say')}>
          <h2>{t('bc.say')}</h2>
          <div className="segments" role="group">{KINDS.map((k) => <Button key={k} testId={`broadcast-kind-${k}`} pressed={kind === k} onClick={() => setKind(k)}>{t(`bc.kind.${k}`)}</Button>)}</div>
          {kind === 'text' && <Field label={t('bc.text')} hint={t('bc.text.hint', { n: text.length })}><textarea rows={8} maxLength={MOST_TEXT} value={text} data-testid="broadcast-say" onChange={(e) => setText(e.target.value)} /></Field>}
          {kind === 'sound' && (
            <div className="bc-sounds">
              <Field label={t('bc.sound')}><select value={sound} data-testid="broadcast-sound" onChange={(e) => setSound(e.target.value)}><option value="">{sounds?.items.length === 0 ? t('bc.sound.none') : '–'}</option>{sounds?.items.map((x) => <option key={x.id} value={x.id}>{x.name} ({x.seconds.toFixed(0)} s)</option>)}</select></Field>
              <Button icon="plus" onClick={() => file.current?.click()}>{t('bc.sound.add')}</Button>
              {sound && <Button look="quiet" icon="trash" title={t('bc.sound.delete')} aria-label={t('bc.sound.delete')} onClick={() => void remove()} />}
              <input ref={file} type="file" accept=".wav,audio/wav" hidden data-testid="broadcast-file" onChange={(e) => { const f = e.target.files?.[0]; if (f) void upload(f); e.target.value = ''; }} />
            </div>
          )}
          {kind === 'live' && <p className="bc-note">{t('bc.live.note')}</p>}
          {kind !== 'live' && <div className="bc-how">
            <Field label={t('bc.rounds')}><input type="number" className="num" min={1} max={10} value={rounds} data-testid="broadcast-rounds" onChange={(e) => setRounds(Math.max(1, Math.min(10, Math.trunc(Number(e.target.value)) || 1)))} /></Field>
            {kind === 'text' && <Field label={t('bc.speed')}><input type="number" className="num" min={60} max={400} placeholder="150" value={speed} data-testid="broadcast-speed" onChange={(e) => setSpeed(e.target.value)} /></Field>}
            <label className="check bc-chime"><input type="checkbox" checked={chime} data-testid="broadcast-chime" onChange={(e) => setChime(e.target.checked)} />{t('bc.chime')}</label>
            <Button icon={playing ? 'pause' : 'play'} testId="broadcast-preview" disabled={!said} onClick={() => (playing ? stop() : void hear(source, chime))}>{t(playing ? 'bc.preview.stop' : 'bc.preview')}</Button>
          </div>}
          <Field label={t('bc.name')} hint={t('bc.name.hint')}><input maxLength={64} value={name} data-testid="broadcast-name" onChange={(e) => setName(e.target.value)} /></Field>
        </section>
        <Targets chosen={targets} onChange={setTargets} />
      </div>
      <footer className="bc-send"><span className="num">{t('bc.chosen', { n: targets.length })}</span><Button look="main" icon="megaphone" className="list-big" testId="broadcast-send" disabled={busy || !said || targets.length === 0} onClick={() => void send()}>{t('bc.send')}</Button></footer>
    </main>
  );
}

/** Plays what it will be like at this console. */
function usePreview() {
  const [playing, setPlaying] = useState(false);
  const audio = useRef<HTMLAudioElement | null>(null);
  const stop = () => { const a = audio.current; audio.current = null; if (a) { a.pause(); URL.revokeObjectURL(a.src); } setPlaying(false); };
  useEffect(() => stop, []);
  const hear = async (source: BroadcastSource, chime: boolean) => {
    const blob = await act(api.previewBroadcast(source, chime));
    if (!blob) return;
    stop();
    const a = new Audio(URL.createObjectURL(blob));
    audio.current = a;
    a.onended = stop;
    setPlaying(true);
    await a.play().catch(() => stop());
  };
  return { hear, stop, playing };
}
