import { api } from '../../api/client';
import type { Conference, Member } from '../../api/types';
import { useSpeech } from '../../i18n';
import { act, Button } from '../../ui/basic';
import { Icon } from '../../ui/Icon';

/** Raised hands, the first one first. */
export function Hands({ c, canSteer }: { c: Conference; canSteer: boolean }) {
  const { t } = useSpeech();
  const up = c.members.filter((m) => m.hand_at).sort((a, b) => a.hand_at!.localeCompare(b.hand_at!));
  if (up.length === 0) return null;
  const let_ = (m: Member) => act(async () => {
    await api.patchMember(c.id, m.id, { role: m.role === 'listener' ? 'speaker' : m.role, ...(m.muted_by === 'operator' ? { muted: false } : {}) });
    await api.hand(c.id, m.id, false);
  });
  return (
    <section className="hands" data-testid="hands" aria-label={t('hands.title')}>
      <b><Icon name="hand" /> {t('hands.title')}</b>
      {up.map((m, i) => (
        <span key={m.id} className="hands-one" data-testid={`hand-${m.id}`}>
          <span className="num">{i + 1}</span><span>{m.name}</span>
          {canSteer && <Button look="main" icon="mic" testId={`hand-${m.id}-let`} onClick={() => void let_(m)}>{t('hands.let')}</Button>}
          {canSteer && <Button look="quiet" icon="close" title={t('hands.down')} aria-label={t('hands.down')} onClick={() => void act(api.hand(c.id, m.id, false))} />}
        </span>
      ))}
    </section>
  );
}
