import { useEffect } from 'react';
import { useSpeech } from '../i18n';
import { connection, serverNow, walls } from '../state/live';
import { openSession, session } from '../state/session';
import { useStore } from '../state/store';
import { useNow } from '../ui/basic';
import { clock, duration } from '../ui/format';
import { WallGrid } from '../wall/WallGrid';
import { SignIn } from './SignIn';

/** The big screen: no controls, follows what the operator takes, comes back by itself after any break. */
export function WallPage({ id }: { id: string }) {
  const { t, lang } = useSpeech();
  const s = useStore(session);
  const conn = useStore(connection);
  const wall = useStore(walls, (m) => m.get(id));
  const now = useNow();

  // Keeps the screen lit where the browser may.
  useEffect(() => {
    let lock: { release: () => Promise<void> } | null = null;
    const ask = () => { if (document.visibilityState === 'visible') navigator.wakeLock?.request('screen').then((l) => { lock = l; }).catch(() => {}); };
    ask();
    document.addEventListener('visibilitychange', ask);
    return () => { document.removeEventListener('visibilitychange', ask); void lock?.release().catch(() => {}); };
  }, []);
  // Another tab of this computer may sign in again: look now and then.
  useEffect(() => {
    if (s.phase !== 'out') return;
    const timer = setInterval(() => void openSession(), 15_000);
    return () => clearInterval(timer);
  }, [s.phase]);

  // With a picture once shown, the last one stays and says what is missing; the form only where nothing was ever shown.
  if (s.phase === 'out' && !wall) return <SignIn />;
  const lost = conn.state !== 'open' && conn.everOpen ? t('wallPage.lost', { d: duration((now - conn.since) / 1000, lang) })
    : s.phase === 'out' ? t('wallPage.signedOut')
    : s.phase === 'waiting' || (conn.state !== 'open' && now - conn.since > 3000) ? t('waiting.text', { d: duration((now - Math.min(s.since, conn.since)) / 1000, lang) }) : '';
  return (
    <div className="screen" data-testid="wall-page">
      {wall ? <WallGrid wall={wall} mode="screen" canTake={false} /> : conn.state === 'open' ? <div className="screen-words">{t('wallPage.none', { n: id })}</div> : null}
      {lost && <div className="screen-lost" role="status">{lost}<span className="num">{clock(serverNow())}</span></div>}
    </div>
  );
}
