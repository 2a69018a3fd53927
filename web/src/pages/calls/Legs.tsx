import type { CallLeg } from '../../api/types';
import { useSpeech } from '../../i18n';
import { gradeOf, GRADE_CLASS, GRADE_SHAPE, lossOf, recordedOf } from './words';

/** What was received of each phone: in a word, and the figures behind it. */
export function Legs({ legs, brief }: { legs: readonly CallLeg[]; brief?: boolean }) {
  const { t } = useSpeech();
  if (legs.length === 0) return <>–</>;
  return (
    <span className="call-legs num">
      {legs.map((l, i) => {
        const g = gradeOf(l);
        const recording = recordedOf(l, !brief);
        return (
          <span key={`${l.number}-${i}`} className="call-leg" data-leg={l.number} data-grade={g} title={t('calls.leg.title', { n: l.packets, lost: l.lost, sent: l.sent })}>
            <b>{l.number}</b><span className={GRADE_CLASS[g]}><span className="shape" aria-hidden>{GRADE_SHAPE[g]}</span>{t(`calls.grade.${g}`)}</span>
            <span>{l.turned ? t('calls.turned', { a: l.codec, b: l.turned }) : l.codec}</span>{recording && <span className={`call-recorded ${recording === 'none' ? 's-stalled' : ''}`} data-recorded={recording} title={t('calls.recorded.title', { n: l.recorded ?? 0 })}><span className="shape" aria-hidden>{recording === 'none' ? '○' : '●'}</span>{t(`calls.recorded.${recording}`)}</span>}{l.mos !== null && <span>MOS {l.mos.toFixed(1)}</span>}
            {(!brief || g === 'fair' || g === 'bad') && <small>{t('calls.loss', { p: lossOf(l).toFixed(1), j: l.jitter_ms.toFixed(1) })}</small>}
          </span>
        );
      })}
    </span>
  );
}
