import { api } from '../../api/client';
import type { Conference, Floor } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { ownFloor, press, release } from '../../state/floor';
import { serverNow } from '../../state/live';
import { mine } from '../../state/mine';
import { useStore } from '../../state/store';
import { act, Button, useNow } from '../../ui/basic';
import { since } from '../../ui/format';
import { useHold } from '../../ui/hold';
import { Icon } from '../../ui/Icon';

const DENIED: Record<number, Key> = { 3: 'floor.denied.only', 4: 'floor.denied.wait', 5: 'floor.denied.listen', 7: 'floor.denied.full' };

/** Where one talks at a time: who is on air, who waits, and the talk key. */
export function FloorBar({ c, floor, canSteer }: { c: Conference; floor: Floor; canSteer: boolean }) {
  const { t } = useSpeech();
  useNow();
  const here = useStore(mine, (m) => (m?.conference === c.id && m.state.phase === 'connected' ? m.id : null));
  const name = (id: string) => c.members.find((m) => m.id === id)?.name ?? '';
  const taken = floor.taken;
  return (
    <section className={`floor ${taken?.emergency ? 'floor-emergency' : ''}`} data-testid="floor" data-taken={taken?.member ?? ''} data-emergency={!!taken?.emergency} aria-label={t('floor.title')}>
      <div className="floor-who" role="status">
        {taken ? (
          <>
            <Icon name={taken.link} title={t(`link.${taken.link}`)} />
            <b data-testid="floor-talker">{taken.name}</b>{taken.number && taken.number !== taken.name && <span className="num">{taken.number}</span>}
            <span className="num">{t('floor.for', { n: Math.max(0, Math.floor(since(taken.since, serverNow()))) })}</span>
            {taken.emergency && <span className="tag floor-tag"><Icon name="warn" />{t('floor.emergency')}</span>}
            {taken.stopped && <span className="tag">{t('floor.stopped')}</span>}
          </>
        ) : <span className="floor-idle">{t('floor.idle')}</span>}
        {floor.queue.length > 0 && <span className="floor-queue" data-testid="floor-queue">{t('floor.queue')} {floor.queue.map((id, i) => <span key={id} className="tag num">{i + 1} {name(id)}</span>)}</span>}
        {taken && canSteer && <Button look="quiet" icon="micOff" testId="floor-revoke" title={t('floor.revoke.title')} onClick={() => void act(api.revokeFloor(c.id))}>{t('floor.revoke')}</Button>}
      </div>
      {here ? <Keys mineId={here} floor={floor} /> : <p className="hint">{t('floor.join')}</p>}
    </section>
  );
}

function Keys({ mineId, floor }: { mineId: string; floor: Floor }) {
  const { t } = useSpeech();
  const own = useStore(ownFloor);
  const hold = useHold<HTMLButtonElement>(() => press(), release);
  const alarm = useHold<HTMLButtonElement>(() => press(true), release);
  const onAir = floor.taken?.member === mineId;
  const n = own.notice;
  const phase = onAir ? (floor.taken?.stopped ? 'stopped' : 'on_air') : !own.held ? 'off' : n?.is === 'denied' || n?.is === 'revoked' ? 'refused' : n?.is === 'queued' ? 'queued' : 'asking';
  const words = phase === 'on_air' ? t('floor.talk') : phase === 'stopped' ? t('floor.stop') : phase === 'queued' && n?.is === 'queued' ? t('floor.place', { n: n.place, of: n.of })
    : phase === 'refused' ? t(n?.is === 'revoked' ? 'floor.revoked' : n?.is === 'denied' ? DENIED[n.cause] ?? 'floor.denied' : 'floor.denied') : t(phase === 'asking' ? 'floor.asking' : 'floor.hold');
  return (
    <div className="floor-keys">
      <button type="button" className={`btn talk-btn floor-key talk-${phase === 'stopped' ? 'refused' : phase}`} data-testid="floor-press" data-phase={phase} aria-pressed={own.held} title={t('floor.key.title')} {...hold}><Icon name={phase === 'refused' ? 'micOff' : 'mic'} /><span>{words}</span></button>
      <button type="button" className="btn btn-danger floor-alarm" data-testid="floor-alarm" title={t('floor.alarm.title')} {...alarm}><Icon name="warn" /><span>{t('floor.alarm')}</span></button>
    </div>
  );
}
