import { useState } from 'react';
import { api } from '../../api/client';
import type { Broadcast, BroadcastOrder, BroadcastTarget, BroadcastTargetState } from '../../api/types';
import { useSpeech } from '../../i18n';
import { missed, OPEN, ownVoice, progress, speakNow } from '../../state/broadcast';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder } from '../../ui/basic';
import { clock, dateTime, duration } from '../../ui/format';
import { useHold } from '../../ui/hold';
import { Icon } from '../../ui/Icon';

const SHAPE: Record<BroadcastTargetState, string> = { waiting: '○', calling: '◐', ringing: '◐', speaking: '◐', said: '●', partly: '◒', no_answer: '▲', failed: '▲', stopped: '○', interrupted: '▲' };
const CLASS: Record<BroadcastTargetState, string> = { waiting: 's-idle', calling: 's-starting', ringing: 's-starting', speaking: 's-talking', said: 's-live', partly: 's-stalled', no_answer: 's-failed', failed: 's-failed', stopped: 's-offline', interrupted: 's-failed' };
const ORDER: BroadcastTargetState[] = ['said', 'speaking', 'ringing', 'calling', 'waiting', 'partly', 'no_answer', 'failed', 'interrupted', 'stopped'];

/** One broadcast: who has heard it, who has not, and why. */
export function Board({ b, onUse }: { b: Broadcast; onUse: (order: BroadcastOrder) => void }) {
  const { t, pick, lang } = useSpeech();
  const operator = useStore(session, isOperator);
  const [only, setOnly] = useState<BroadcastTargetState | null>(null);
  const all = b.targets ?? [];
  const runs = b.state === 'running';
  const live = b.source.kind === 'live';
  const counts = new Map<BroadcastTargetState, number>();
  for (const x of all) counts.set(x.state, (counts.get(x.state) ?? 0) + 1);
  const shown = only && counts.has(only) ? all.filter((x) => x.state === only) : all;
  const left = missed(b);
  const done = progress(b);
  const order = (targets: readonly BroadcastTarget[]): BroadcastOrder => ({ name: b.name, source: b.source, rounds: b.rounds, pause: b.pause, chime: b.chime, targets: targets.map((x) => ({ to: x.to, name: x.name })) });
  const stop = async () => { if (!live || await confirmOrder(t('bc.stop'), b.name, t('bc.stop'))) await act(api.stopBroadcast(b.id)); };
  return (
    <main className="centre bc-board" data-testid="broadcast-board" data-state={b.state}>
      <div className="bar">
        <h1 className="bar-title">{b.name}</h1>
        <span className="bar-note num">{t('bc.by', { name: b.by, at: dateTime(b.started_at) })}{b.stopped_by ? ` · ${t('bc.stoppedBy', { name: b.stopped_by })}` : ''}{b.seconds > 0 ? ` · ${t('bc.length', { d: duration(Math.round(b.seconds), lang), n: b.rounds })}` : ''}</span>
        {!runs && operator && <Button icon="undo" testId="broadcast-copy" onClick={() => onUse(order(all))}>{t('bc.copy')}</Button>}
        {!runs && operator && left.length > 0 && <Button look="main" icon="megaphone" testId="broadcast-again" onClick={() => onUse(order(left))}>{t('bc.again', { n: left.length })}</Button>}
        {runs && operator && <Button look="danger" icon="close" testId="broadcast-stop" onClick={() => void stop()}>{t('bc.stop')}</Button>}
      </div>
      {b.source.kind === 'text' && <p className="bc-text" data-testid="broadcast-text">{b.source.text}</p>}
      {live && runs && <Voice b={b} />}
      {!live && <div className="bc-progress" role="progressbar" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(done * 100)} aria-label={t(`bc.state.${b.state}`)} data-testid="broadcast-progress"><span style={{ transform: `scaleX(${done})`, '--said': (b.counts.said ?? 0) / Math.max(1, b.targets?.length ?? 0) } as React.CSSProperties} /></div>}
      <div className="bc-counts" role="group" aria-label={t('calls.state')}>
        <Button look="quiet" pressed={!only} onClick={() => setOnly(null)}>{t('bc.all')} <b className="num">{all.length}</b></Button>
        {ORDER.filter((s) => counts.has(s)).map((s) => <Button key={s} look="quiet" testId={`broadcast-count-${s}`} pressed={only === s} onClick={() => setOnly(only === s ? null : s)}><span className={CLASS[s]}><span className="shape" aria-hidden>{SHAPE[s]}</span>{t(`bc.t.${s}`)} <b className="num">{counts.get(s)}</b></span></Button>)}
      </div>
      <div className="table-box"><table className="table" data-testid="broadcast-targets">
        <thead><tr><th>{t('calls.state')}</th><th>{t('bc.target')}</th><th>{t('phones.user')}</th><th>{t('bc.heard')}</th><th className="num">{t('lists.tries')}</th><th>{t('bc.why')}</th></tr></thead>
        <tbody>{shown.map((x) => (
          <tr key={x.n} data-row={x.to} data-state={x.state}>
            <td><span className={CLASS[x.state]}><span className="shape" aria-hidden>{SHAPE[x.state]}</span>{t(`bc.t.${x.state}`)}</span></td>
            <td><b>{x.name}</b></td><td className="num bc-to">{x.to.includes(':') ? <small title={x.to}>{x.to.split('/').at(-1)}</small> : x.to}</td>
            <td>{live ? '–' : <Heard x={x} rounds={b.rounds} />}</td>
            <td className="num">{x.tries || '–'}</td>
            <td className="wrap">{x.zh || x.en ? <>{pick(x)}{!OPEN.has(x.state) && (x.next_zh || x.next_en) ? <small className="bc-next">{lang === 'zh' ? x.next_zh : x.next_en}</small> : null}</> : x.state === 'said' ? <span className="hint num">{clock(x.changed_at)}</span> : ''}</td>
          </tr>
        ))}</tbody></table></div>
    </main>
  );
}

/** How often it was heard: a bar with a stroke for each time. */
function Heard({ x, rounds }: { x: BroadcastTarget; rounds: number }) {
  const { t } = useSpeech();
  const now = x.state === 'speaking' ? x.position : x.heard;
  return <span className="bc-heard" title={t('bc.heard.times', { n: now.toFixed(1) })}><span className="bc-bar" style={{ '--parts': rounds } as React.CSSProperties}><span style={{ transform: `scaleX(${Math.min(1, now / rounds)})` }} /></span><span className="num">{Number.isInteger(now) ? now : now.toFixed(1)} / {rounds}</span></span>;
}

/** The button of a live voice, at the console that ordered it. */
function Voice({ b }: { b: Broadcast }) {
  const { t, pick } = useSpeech();
  const own = useStore(ownVoice, (o) => (o?.id === b.id ? o : null));
  const hold = useHold<HTMLButtonElement>(() => speakNow(true), () => speakNow(false));
  const all = b.targets ?? [];
  const n = all.filter((x) => x.state === 'speaking').length;
  return (
    <div className="bc-voice">
      {own ? <button type="button" className={`btn talk-btn bc-talk ${own.phase === 'talking' ? 'talk-on_air' : ''}`} data-testid="broadcast-talk" data-phase={own.phase} disabled={own.phase === 'microphone'} {...hold}><Icon name="mic" /><span>{t(own.phase === 'microphone' ? 'bc.talk.wait' : own.phase === 'talking' ? 'bc.talking' : 'bc.talk')}</span></button>
        : <span className="hint">{t('bc.talk.other', { name: b.by })}</span>}
      <b className={`num ${n > 0 ? 's-live' : 's-idle'}`} data-testid="broadcast-reached">{t('bc.reached', { n, of: all.length })}</b>
      {own?.error && <p className="warn-text" role="alert">{pick(own.error)}</p>}
    </div>
  );
}
