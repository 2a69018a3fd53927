import { useEffect, useRef } from 'react';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { conferences } from '../../state/live';
import { ownFloor, press, release } from '../../state/floor';
import { mine, setMuted } from '../../state/mine';
import { useStore } from '../../state/store';
import { Button } from '../../ui/basic';
import { typing } from '../../wall/keys';

/** In the top bar on every page: in which conference this console is, and whether it is heard. Space talks while held. */
export function MineChip() {
  const { t } = useSpeech();
  const m = useStore(mine);
  const name = useStore(conferences, (c) => (m ? c.get(m.conference)?.name ?? '' : ''));
  const held = useRef(false);
  useEffect(() => {
    if (!m) return;
    const down = (e: KeyboardEvent) => {
      if (e.code !== 'Space' || typing(e) || e.repeat || (e.target as HTMLElement).tagName === 'BUTTON') return;
      e.preventDefault();
      if (conferences.get().get(mine.get()?.conference ?? '')?.floor) { held.current = true; press(); return; }
      if (mine.get()?.muted) { held.current = true; setMuted(false); }
    };
    const up = (e: Event) => { if (held.current && (!(e instanceof KeyboardEvent) || e.code === 'Space')) { held.current = false; if (ownFloor.get().held) release(); else setMuted(true); } };
    window.addEventListener('keydown', down); window.addEventListener('keyup', up); window.addEventListener('blur', up);
    return () => { window.removeEventListener('keydown', down); window.removeEventListener('keyup', up); window.removeEventListener('blur', up); };
  }, [!!m]);
  if (!m) return null;
  return (
    <span className="mine" data-testid="mine" data-phase={m.state.phase}>
      <button type="button" className="mine-name" onClick={() => go(`/confer/${m.conference}`)}>{t(m.state.phase === 'connected' ? 'mine.in' : m.state.phase === 'joining' ? 'mine.joining' : 'mine.lost', { name })}</button>
      <Button icon={m.muted ? 'micOff' : 'mic'} look={m.muted ? 'plain' : 'main'} testId="mine-mute" pressed={m.muted} title={`${t(m.muted ? 'mine.unmute' : 'mine.mute')} (Space)`} onClick={() => setMuted(!m.muted)}>{t(m.muted ? 'mine.muted' : 'mine.talking')}</Button>
    </span>
  );
}
