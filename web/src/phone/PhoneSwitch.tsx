import { useSpeech } from '../i18n';
import { ownPhone, setPhoneWanted, type PhoneStatus } from '../state/phone';
import { useStore } from '../state/store';
import { Button } from '../ui/basic';

const CLASS: Record<PhoneStatus, string> = { unknown: 's-idle', none: 's-offline', off: 's-offline', insecure: 's-stalled', elsewhere: 's-idle', starting: 's-starting', ready: 's-live', failed: 's-failed' };
const SHAPE: Record<PhoneStatus, string> = { unknown: '◐', none: '○', off: '○', insecure: '▲', elsewhere: '○', starting: '◐', ready: '●', failed: '▲' };

/** State of the own telephone in words, and its switch. */
export function PhoneSwitch() {
  const { t, pick } = useSpeech();
  const p = useStore(ownPhone);
  const why = p.status === 'failed' && p.error ? pick(p.error) : t(`phone.${p.status}.why`);
  return (
    <span className="phone-switch" data-testid="phone-status" data-status={p.status} data-number={p.number}>
      <span className={CLASS[p.status]} title={why}><span className="shape" aria-hidden>{SHAPE[p.status]}</span>{p.number && <b className="num">{p.number} </b>}{t(`phone.${p.status}`)}</span>
      {!['unknown', 'none', 'insecure'].includes(p.status) && <Button look="quiet" testId="phone-switch" onClick={() => setPhoneWanted(p.status === 'off')}>{t(p.status === 'off' ? 'phone.on' : 'phone.switchOff')}</Button>}
    </span>
  );
}
