import { useEffect, useRef } from 'react';
import type { TalkTarget } from '../api/types';
import { useSpeech, type Key } from '../i18n';
import { levelToBar } from '../media/levels';
import { beginTalk, endTalk, ownTalk, same, talkError, talkerOf, talkLevels, talks } from '../state/talk';
import { useStore } from '../state/store';
import { useHold } from './hold';
import { Icon } from './Icon';

const PHASE: Record<string, Key> = { microphone: 'talk.microphone', calling: 'talk.calling', on_air: 'talk.on_air', refused: 'talk.refused' };

/** Held to talk: pointer, touch, or Space and Enter while it has the focus. */
export function TalkButton({ channels, small, testId = 'talk' }: { channels: readonly string[]; small?: boolean; testId?: string }) {
  const { t, pick } = useSpeech();
  const own = useStore(ownTalk);
  const held = own && same(own.channels, channels) ? own : null;
  const other = useStore(talks, (m) => (channels.length === 1 ? talkerOf(m, channels[0]!, own?.id ?? '') : null));
  const failed = useStore(talkError, (e) => (e && same(e.channels, channels) ? e : null));
  const hold = useHold<HTMLButtonElement>(() => void beginTalk(channels), endTalk);
  const phase = held?.phase ?? 'off';
  const words = held ? t(PHASE[held.phase]!) : other ? t('talk.other', { name: other }) : t('talk.hold');
  const reasons: readonly TalkTarget[] = held?.view?.targets.filter((x) => x.state === 'failed') ?? failed?.targets ?? [];
  return (
    <div className={`talk ${small ? 'talk-small' : ''}`} data-testid={`${testId}-box`} data-phase={phase}>
      <button type="button" className={`btn talk-btn talk-${phase}`} data-testid={testId} aria-pressed={!!held} disabled={channels.length === 0 || (!!own && !held)} title={t('talk.title')} aria-label={small ? words : undefined}
        {...hold}>
        <Icon name={phase === 'refused' ? 'micOff' : 'mic'} />{!small && <span>{words}</span>}
      </button>
      {held && <SentMeter channels={channels} testId={`${testId}-meter`} />}
      {!small && (reasons.length > 0 || failed?.error) && (
        <p className="talk-why warn-text" role="status" data-testid={`${testId}-why`} data-code={reasons[0]?.fault?.code ?? failed?.error?.code ?? ''}>
          <Icon name="warn" /><span>{failed?.error ? pick(failed.error) : reasons.map((x) => `${channels.length > 1 ? `${x.name}: ` : ''}${x.fault ? pick(x.fault) : ''}`).join(' ')}</span>
        </p>
      )}
    </div>
  );
}

/** What really left towards the devices, the quietest of them: a bar that stands still says that one hears nothing. Drawn past React. */
export function SentMeter({ channels, testId }: { channels: readonly string[]; testId?: string }) {
  const { t } = useSpeech();
  const bar = useRef<HTMLSpanElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const key = channels.join(' ');
  useEffect(() => {
    const draw = () => {
      const m = talkLevels.get();
      const there = key.split(' ').map((c) => m.get(c)).filter((x) => x !== undefined);
      const db = there.length ? Math.min(...there.map((x) => x[0])) : -127;
      if (bar.current) bar.current.style.transform = `scaleX(${levelToBar(db)})`;
      if (box.current) { box.current.dataset.db = db.toFixed(1); box.current.dataset.packets = String(there.length ? Math.min(...there.map((x) => x[1])) : 0); }
    };
    draw();
    return talkLevels.subscribe(draw);
  }, [key]);
  return <div className="meter talk-meter" ref={box} role="img" aria-label={t('talk.level')} title={t('talk.level')} data-testid={testId}><span ref={bar} /></div>;
}
