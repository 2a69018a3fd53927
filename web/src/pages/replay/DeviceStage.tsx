// The picture of a playback from a device, and the buttons that steer it.
import { useEffect, useState } from 'react';
import type { Playback } from '../../api/types';
import { useSpeech } from '../../i18n';
import { serverNow } from '../../state/live';
import { useStore } from '../../state/store';
import { testHandle } from '../../testHandle';
import { Button, FaultBox } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { clockMs, day as dayText } from '../../ui/format';
import { PictureHost, usePicture } from '../../wall/Picture';
import { DEVICE_RATES, shownAt } from './devrec';

/** What runs as the gateway's clock does, redrawn ten times a second. */
export function useShown(p: Playback | null): number | null {
  const [, draw] = useState(0);
  const playing = p?.phase === 'playing';
  useEffect(() => {
    if (!playing) return;
    const t = setInterval(() => draw((n) => n + 1), 100);
    return () => clearInterval(t);
  }, [playing]);
  return p ? shownAt(p, serverNow()) : null;
}

export function DevicePicture({ playback }: { playback: Playback }) {
  const { t } = useSpeech();
  const { host, player } = usePicture(playback.stream, { keepAwake: true });
  const view = useStore(player.view);
  useEffect(() => testHandle.add(100, player), [player]);
  const wait = playback.phase === 'starting' || (!view.hasPicture && playback.phase === 'playing');
  return (
    <div className="devrec-picture" data-testid="devrec-picture" data-phase={playback.phase}>
      <PictureHost host={host} />
      {wait && <div className="tile-message tile-message-wait" role="status"><Icon name="wait" /><span>{t('devrec.starting')}</span></div>}
      {playback.phase === 'ended' && <div className="tile-message" role="status"><span>{t('devrec.ended')}</span></div>}
      {playback.phase === 'failed' && playback.fault && <div className="tile-message tile-message-bad"><FaultBox fault={playback.fault} /></div>}
    </div>
  );
}

interface Bar { playback: Playback; shown: number | null; order: (o: { action: string; speed?: number }) => Promise<void>; close: () => void }
export function DeviceTransport({ playback, shown, order, close }: Bar) {
  const { t } = useSpeech();
  const going = playback.phase === 'playing' || playback.phase === 'starting';
  return (
    <>
      <Button icon={going ? 'pause' : 'play'} look="main" testId="devrec-toggle" onClick={() => void order({ action: going ? 'pause' : 'resume' })}>{t(going ? 'replay.pause' : 'replay.play')}</Button>
      <span className="transport-time num" data-testid="devrec-time" data-at={shown ?? ''}>{shown !== null ? `${dayText(shown)} ${clockMs(shown)}` : '--:--:--'}</span>
      <span className="segments" role="group" aria-label={t('replay.speed')}>{DEVICE_RATES.map((n) => <Button key={n} pressed={playback.speed === n} testId={`devrec-speed-${n}`} title={n < 0 ? t('devrec.backwards') : undefined} onClick={() => void order({ action: 'speed', speed: n })}>{n < 0 ? `◀ ${-n}×` : `${n}×`}</Button>)}</span>
      <Button icon="close" testId="devrec-close" onClick={close}>{t('devrec.close')}</Button>
    </>
  );
}
