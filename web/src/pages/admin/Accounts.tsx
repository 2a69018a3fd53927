import { useState } from 'react';
import { api } from '../../api/client';
import type { Role } from '../../api/types';
import { useSpeech } from '../../i18n';
import { session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, Dialog, ErrorLine, Field } from '../../ui/basic';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';

const ROLES: Role[] = ['viewer', 'operator', 'admin'];
export function Accounts() {
  const { t } = useSpeech();
  const { value, error, again } = useRead(() => api.accounts(), []);
  const phones = useRead(() => api.phones(), []);
  const me = useStore(session, (s) => s.account?.name);
  const [adding, setAdding] = useState(false);
  const [reset, setReset] = useState<string | null>(null);
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.accounts')}</h1><span className="bar-note">{t('accounts.note')}</span><Button icon="plus" look="main" testId="account-add" onClick={() => setAdding(true)}>{t('accounts.add')}</Button></div>
      <ErrorLine error={error} />
      <Table testId="accounts" rows={value?.items ?? null} id={(a) => a.name} empty={t('accounts.none')} columns={[
        { key: 'name', title: t('signIn.name'), cell: (a) => <><b>{a.name}</b>{a.name === me && <span className="tag">{t('conf.you')}</span>}</> },
        { key: 'role', title: t('accounts.role'), cell: (a) => <select value={a.role} disabled={a.name === me} aria-label={t('accounts.role')} data-testid={`account-${a.name}-role`} onChange={async (e) => { const role = e.target.value as Role; await act(api.patchAccount(a.name, { role })); void again(); }}>{ROLES.map((r) => <option key={r} value={r}>{t(`role.${r}`)}</option>)}</select> },
        { key: 'prio', title: t('accounts.priority'), cell: (a) => <input type="number" className="num" min={0} max={255} defaultValue={a.priority ?? 0} title={t('accounts.priority.title')} aria-label={t('accounts.priority')} data-testid={`account-${a.name}-priority`} onBlur={(e) => { const priority = Math.max(0, Math.min(255, Math.trunc(Number(e.target.value)) || 0)); if (priority !== (a.priority ?? 0)) void act(api.patchAccount(a.name, { priority })).then(() => again()); }} /> },
        { key: 'phone', title: t('accounts.phone'), cell: (a) => <select className="num" value={a.phone ?? ''} title={t('accounts.phone.title')} aria-label={t('accounts.phone')} data-testid={`account-${a.name}-phone`} onChange={(e) => void act(api.patchAccount(a.name, { phone: e.target.value })).then(() => again())}><option value="">{t('accounts.phone.none')}</option>{a.phone && !phones.value?.items.some((p) => p.user === a.phone) && <option value={a.phone}>{a.phone}</option>}{phones.value?.items.map((p) => <option key={p.user} value={p.user}>{p.user} {p.name !== p.user ? p.name : ''}</option>)}</select> },
        { key: 'what', title: t('accounts.may'), wrap: true, cell: (a) => t(`role.${a.role}.may`) },
        { key: 'pw', title: t('signIn.password'), wrap: true, cell: (a) => (a.must_change_password ? t('accounts.mustChange') : t('accounts.ownPassword')) },
        { key: 'x', title: '', width: '13rem', cell: (a) => <span className="row-tools"><Button look="quiet" icon="lock" onClick={() => setReset(a.name)}>{t('accounts.reset')}</Button>{a.name !== me && <Button look="quiet" icon="trash" aria-label={t('delete')} title={t('delete')} onClick={async () => { if (await confirmOrder(t('accounts.delete.ask'), t('accounts.delete.text', { name: a.name }), t('delete'))) { await act(api.deleteAccount(a.name)); void again(); } }} />}</span> },
      ]} />
      {adding && <Edit name={null} onClose={() => setAdding(false)} done={() => void again()} />}
      {reset && <Edit name={reset} onClose={() => setReset(null)} done={() => void again()} />}
    </>
  );
}
function Edit({ name, onClose, done }: { name: string | null; onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const [a, set] = useState({ name: name ?? '', password: '', role: 'operator' as Role });
  return (
    <Dialog title={name ? t('accounts.reset.title', { name }) : t('accounts.add')} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void act(async () => { if (name) await api.patchAccount(name, { password: a.password }); else await api.addAccount(a); done(); onClose(); }); }}>
        {!name && <Field label={t('signIn.name')}><input autoFocus required autoCapitalize="off" value={a.name} data-testid="account-name" onChange={(e) => set({ ...a, name: e.target.value.trim() })} /></Field>}
        {!name && <Field label={t('accounts.role')} hint={t(`role.${a.role}.may`)}><select value={a.role} data-testid="account-role" onChange={(e) => set({ ...a, role: e.target.value as Role })}>{ROLES.map((r) => <option key={r} value={r}>{t(`role.${r}`)}</option>)}</select></Field>}
        <Field label={t('accounts.first')} hint={t('password.rule', { n: 10 })}><input type="password" autoComplete="new-password" value={a.password} data-testid="account-password" onChange={(e) => set({ ...a, password: e.target.value })} /></Field>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="account-save" disabled={!a.name || a.password.length < 10}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
