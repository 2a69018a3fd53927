import { useEffect } from 'react';
import { api } from '../../api/client';
import type { Ban } from '../../api/types';
import { useSpeech } from '../../i18n';
import { act, Button, confirmOrder, ErrorLine } from '../../ui/basic';
import { dateTime } from '../../ui/format';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';

/** Who is kept out, why, and until when. */
export function Bans() {
  const { t } = useSpeech();
  const { value, error, again } = useRead(() => api.bans(), []);
  useEffect(() => { const timer = setInterval(() => void again(), 5_000); return () => clearInterval(timer); }, [again]);
  const who = (b: Ban) => [b.account, b.address].filter(Boolean).join(' · ');
  const lift = async (b: Ban) => {
    if (!(await confirmOrder(t('bans.lift.ask'), t('bans.lift.text', { who: who(b) }), t('bans.lift')))) return;
    await act(api.liftBan(b));
    void again();
  };
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.bans')}</h1><span className="bar-note">{t('bans.note')}</span></div>
      <ErrorLine error={error} />
      <Table testId="bans" rows={value?.items ?? null} id={(b) => `${b.account ?? ''} ${b.address ?? ''}`} empty={t('bans.none')} next={t('bans.none.next')} columns={[
        { key: 'who', title: t('bans.who'), num: true, cell: (b) => <b>{who(b)}</b> },
        { key: 'why', title: t('bans.why'), cell: (b) => t(`bans.reason.${b.reason}`) },
        { key: 'times', title: t('bans.times'), num: true, cell: (b) => b.times },
        { key: 'since', title: t('bans.since'), num: true, cell: (b) => dateTime(b.since) },
        { key: 'until', title: t('bans.until'), num: true, cell: (b) => dateTime(b.until) },
        { key: 'dropped', title: t('bans.dropped'), num: true, cell: (b) => b.dropped },
        { key: 'x', title: '', width: '1%', cell: (b) => <Button testId={`ban-${b.address ?? b.account}-lift`} onClick={() => void lift(b)}>{t('bans.lift')}</Button> },
      ]} />
    </>
  );
}
