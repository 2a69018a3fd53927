import { useState } from 'react';
import { api } from '../../api/client';
import { useSpeech } from '../../i18n';
import { Button, ErrorLine } from '../../ui/basic';
import { day, dateTime, zone } from '../../ui/format';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';

const PAGE = 100;
export function Audit() {
  const { t } = useSpeech();
  const [from, setFrom] = useState(day(Date.now() - 6 * 86_400_000));
  const [to, setTo] = useState(day(Date.now()));
  const [account, setAccount] = useState('');
  const [offset, setOffset] = useState(0);
  const iso = (d: string, plus: number) => { const [y, m, n] = d.split('-').map(Number) as [number, number, number]; return new Date(y, m - 1, n + plus).toISOString(); };
  const { value, error } = useRead(() => api.audit({ from: from ? iso(from, 0) : undefined, to: to ? iso(to, 1) : undefined, account: account.trim() || undefined, offset, limit: PAGE }), [from, to, account, offset]);
  const first = (f: (v: string) => void) => (e: { target: { value: string } }) => { setOffset(0); f(e.target.value); };
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.audit')}</h1><span className="bar-note num">{value ? t('audit.count', { n: value.total }) : t('loading')} · {zone()}</span>
        <label className="inline">{t('audit.from')}<input type="date" value={from} onChange={first(setFrom)} /></label><label className="inline">{t('audit.to')}<input type="date" value={to} onChange={first(setTo)} /></label>
        <label className="inline">{t('audit.account')}<input value={account} size={10} data-testid="audit-account" onChange={first(setAccount)} /></label></div>
      <ErrorLine error={error} />
      <Table testId="audit" rows={value?.items ?? null} id={(a) => `${a.at}${a.account}${a.verb}${a.object}`} empty={t('audit.none')} next={t('audit.none.next')} columns={[
        { key: 'at', title: t('audit.at'), cell: (a) => dateTime(a.at), num: true, width: '11rem' }, { key: 'who', title: t('audit.account'), cell: (a) => <b>{a.account}</b> },
        { key: 'addr', title: t('device.address'), cell: (a) => a.address, num: true }, { key: 'verb', title: t('audit.verb'), cell: (a) => a.verb }, { key: 'obj', title: t('audit.object'), cell: (a) => a.object, wrap: true, num: true },
        { key: 'detail', title: t('audit.detail'), cell: (a) => (a.detail === null || a.detail === undefined ? '' : typeof a.detail === 'string' ? a.detail : JSON.stringify(a.detail)), wrap: true },
        { key: 'out', title: t('audit.outcome'), cell: (a) => <span className={a.outcome === 'ok' ? '' : 'warn-text'}>{a.outcome}</span> },
      ]} />
      {value && value.total > PAGE && <div className="pager num"><Button icon="left" disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - PAGE))}>{t('pager.before')}</Button><span>{offset + 1}–{Math.min(value.total, offset + PAGE)} / {value.total}</span><Button disabled={offset + PAGE >= value.total} onClick={() => setOffset(offset + PAGE)}>{t('pager.after')}</Button></div>}
    </>
  );
}
