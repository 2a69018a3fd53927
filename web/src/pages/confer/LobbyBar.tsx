import { api } from '../../api/client';
import type { Conference } from '../../api/types';
import { useSpeech } from '../../i18n';
import { serverNow } from '../../state/live';
import { act, Button, Field, useNow } from '../../ui/basic';
import { duration, since } from '../../ui/format';
import { Icon } from '../../ui/Icon';

/** Who waits before he is let in, the first one first. */
export function LobbyBar({ c, canSteer }: { c: Conference; canSteer: boolean }) {
  const { t, lang } = useSpeech();
  useNow();
  if (c.waiting.length === 0) return null;
  const order = (admit: boolean, who?: string[]) => void act(api.lobby(c.id, admit, who));
  return (
    <section className="lobby" data-testid="lobby" aria-label={t('lobby.title')}>
      <header><b><Icon name="wait" /> {t('lobby.title')}</b><span className="num">{t('lobby.waiting', { n: c.waiting.length })}</span>
        {canSteer && c.waiting.length > 1 && <><Button look="main" icon="check" testId="lobby-admit-all" onClick={() => order(true)}>{t('lobby.admitAll')}</Button><Button look="quiet" testId="lobby-refuse-all" onClick={() => order(false)}>{t('lobby.refuseAll')}</Button></>}
      </header>
      <ul>
        {[...c.waiting].sort((a, b) => a.since.localeCompare(b.since)).map((w) => (
          <li key={w.id} data-testid={`waiting-${w.id}`} data-name={w.name}>
            <Icon name={w.kind === 'phone' ? 'phone' : 'link'} /><b>{w.name}</b>
            <span className="hint">{w.kind === 'phone' ? t('lobby.phone', { n: w.from }) : w.from || t('lobby.guest')}</span>
            <span className="hint num">{t('lobby.for', { d: duration(Math.floor(since(w.since, serverNow())), lang) })}</span>
            {canSteer && <span className="lobby-keys"><Button look="main" icon="check" testId={`admit-${w.id}`} onClick={() => order(true, [w.id])}>{t('lobby.admit')}</Button><Button look="danger" icon="close" testId={`refuse-${w.id}`} onClick={() => order(false, [w.id])}>{t('lobby.refuse')}</Button></span>}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Who has to wait. */
export function LobbyChoice({ c }: { c: Conference }) {
  const { t } = useSpeech();
  return (
    <Field label={t('lobby.mode')} hint={c.lobby === 'off' ? undefined : t('lobby.hint')}>
      <select value={c.lobby} data-testid="lobby-mode" onChange={(e) => void act(api.patchConference(c.id, { lobby: e.target.value as Conference['lobby'] }))}>
        {(['off', 'guests', 'all'] as const).map((m) => <option key={m} value={m}>{t(`lobby.${m}`)}</option>)}
      </select>
    </Field>
  );
}
