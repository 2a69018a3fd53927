import { api, asApiError } from '../../api/client';
import type { LiveCall } from '../../api/types';
import { useSpeech } from '../../i18n';
import { microphoneWords } from '../../media/phoneWords';
import { go } from '../../route';
import { join } from '../../state/mine';
import { session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder } from '../../ui/basic';

/** Into a call that runs: its phones become members of a conference, the officer joins it here, speaking or only hearing. */
export function InsertButtons({ call, disabled }: { call: LiveCall; disabled: boolean }) {
  const { t } = useSpeech();
  const user = useStore(session, (s) => s.account?.name ?? '');
  if (call.direction !== 'between') return null;
  const enter = async (muted: boolean) => {
    const what = muted ? 'listen' : 'insert';
    if (!(await confirmOrder(t(`calls.${what}.ask`), t(`calls.${what}.text`, { a: call.caller, b: call.callee }), t(`calls.${what}`)))) return;
    await act(async () => {
      let sound: MediaStream;
      try { sound = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } }); } catch (e) { throw Object.assign(asApiError(e), microphoneWords(e) ?? {}); }
      try {
        const { conference } = await api.insertCall(call.id, { conference: null, dial: null });
        join(conference, user, sound, muted);
        go(`/confer/${encodeURIComponent(conference)}`);
      } catch (e) { for (const x of sound.getTracks()) x.stop(); throw e; }
    });
  };
  const ready = call.state === 'talking' || call.state === 'held';
  return (
    <>
      <Button look="quiet" icon="sound" testId={`call-${call.id}-listen`} disabled={disabled || !ready} title={t('calls.listen.title')} onClick={() => void enter(true)}>{t('calls.listen')}</Button>
      <Button look="quiet" icon="mic" testId={`call-${call.id}-insert`} disabled={disabled || !ready} title={t('calls.insert.title')} onClick={() => void enter(false)}>{t('calls.insert')}</Button>
    </>
  );
}
