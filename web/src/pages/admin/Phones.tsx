import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import { useSpeech } from '../../i18n';
import { onEvent } from '../../state/live';
import { act, Button, confirmOrder, Dialog, ErrorLine, Field } from '../../ui/basic';
import { dateTime } from '../../ui/format';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';

export function Phones() {
  const { t } = useSpeech();
  const { value, error, again } = useRead(() => api.phones(), []);
  const [adding, setAdding] = useState(false);
  useEffect(() => onEvent((e) => { if (e.type === 'device' && e.device.kind === 'phone') void again(); }), [again]);
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.phones')}</h1><span className="bar-note">{t('phones.note')}</span><Button icon="plus" look="main" testId="phone-add" onClick={() => setAdding(true)}>{t('phones.add')}</Button></div>
      <ErrorLine error={error} />
      <Table testId="phones" rows={value?.items ?? null} id={(p) => p.user} empty={t('phones.none')} next={t('phones.none.next')} columns={[
        { key: 'user', title: t('phones.user'), cell: (p) => <b>{p.user}</b>, num: true },
        { key: 'name', title: t('phones.name'), cell: (p) => p.name },
        { key: 'state', title: t('device.state'), cell: (p) => <span className={p.registered ? 's-live' : 's-offline'}>{p.registered ? '●' : '○'} {t(p.registered ? 'phones.registered' : 'phones.away')}</span> },
        { key: 'contact', title: t('phones.contact'), cell: (p) => p.contact ?? '–', num: true },
        { key: 'exp', title: t('device.expires'), cell: (p) => dateTime(p.expires_at), num: true },
        { key: 'x', title: '', width: '4rem', cell: (p) => <Button look="quiet" icon="trash" aria-label={t('delete')} title={t('delete')} testId={`phone-${p.user}-delete`} onClick={async () => { if (await confirmOrder(t('phones.delete.ask'), t('phones.delete.text', { user: p.user, name: p.name }), t('delete'))) { await act(async () => { await api.deletePhone(p.user); }); void again(); } }} /> },
      ]} />
      {adding && <Add onClose={() => setAdding(false)} done={() => void again()} />}
    </>
  );
}
function Add({ onClose, done }: { onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const [p, set] = useState({ user: '', name: '', password: '' });
  return (
    <Dialog title={t('phones.add')} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void act(async () => { await api.addPhone(p); done(); onClose(); }); }}>
        <Field label={t('phones.user')} hint={t('phones.user.hint')}><input autoFocus required value={p.user} data-testid="phone-user" onChange={(e) => set({ ...p, user: e.target.value })} /></Field>
        <Field label={t('phones.name')}><input value={p.name} data-testid="phone-name" onChange={(e) => set({ ...p, name: e.target.value })} /></Field>
        <Field label={t('signIn.password')}><input required type="password" autoComplete="new-password" value={p.password} data-testid="phone-password" onChange={(e) => set({ ...p, password: e.target.value })} /></Field>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="phone-save" disabled={!p.user || !p.password}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
