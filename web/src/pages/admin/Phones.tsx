import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Forwards, Phone } from '../../api/types';
import { useSpeech } from '../../i18n';
import { onEvent } from '../../state/live';
import { act, Button, confirmOrder, Dialog, ErrorLine, Field } from '../../ui/basic';
import { clock, dateTime } from '../../ui/format';
import { Icon } from '../../ui/Icon';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';
import { PickupGroups } from './PickupGroups';

const NOWHERE: Forwards = { busy: null, no_answer: null, offline: null };
const WHEN = ['busy', 'no_answer', 'offline'] as const;

export function Phones() {
  const { t } = useSpeech();
  const { value, error, again } = useRead(() => api.phones(), []);
  const [query, setQuery] = useState('');
  const [open, setOpen] = useState<string | null>(null);
  const [adding, setAdding] = useState(false);
  const [groups, setGroups] = useState(false);
  const [password, setPassword] = useState<Phone | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const off = onEvent((e) => { if (e.type === 'device' && e.device.kind === 'phone') timer ??= setTimeout(() => { timer = undefined; void again(); }, 300); });
    return () => { off(); clearTimeout(timer); };
  }, [again]);
  const q = query.trim().toLowerCase();
  const all = value?.items ?? null;
  const shown = all && q ? all.filter((p) => p.user.toLowerCase().includes(q) || p.name.toLowerCase().includes(q)) : all;
  const chosen = all?.find((p) => p.user === open) ?? null;
  const remove = async (p: Phone) => {
    if (!(await confirmOrder(t('phones.delete.ask'), t('phones.delete.text', { user: p.user, name: p.name }), t('delete')))) return;
    await act(async () => { await api.deletePhone(p.user); });
    void again();
  };
  const forwards = (p: Phone) => WHEN.filter((w) => p.forwards?.[w]).map((w) => `${t(`phones.forward.${w}.short`)} → ${p.forwards![w]}`).join('  ');
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.phones')}</h1><span className="bar-note">{t('phones.note')}</span>
        <div className="search"><Icon name="search" /><input type="search" value={query} placeholder={t('desk.search')} aria-label={t('desk.search')} data-testid="phones-search" onChange={(e) => setQuery(e.target.value)} /></div>
        <Button icon="user" testId="pickup-groups" onClick={() => setGroups(true)}>{t('pickup.title')}</Button>
        <Button icon="plus" look="main" testId="phone-add" onClick={() => setAdding(true)}>{t('phones.add')}</Button></div>
      <ErrorLine error={error} />
      <div className="devices">
        <div className="devices-list">
          <Table testId="phones" rows={shown} id={(p) => p.user} empty={q ? t('desk.none', { q: query }) : t('phones.none')} next={t(q ? 'desk.none.next' : 'phones.none.next')} columns={[
            { key: 'user', title: t('phones.user'), cell: (p) => <button type="button" className="link num" aria-expanded={p.user === open} data-testid={`phone-${p.user}-open`} onClick={() => setOpen(p.user === open ? null : p.user)}><b>{p.user}</b></button> },
            { key: 'name', title: t('phones.name'), cell: (p) => p.name },
            { key: 'state', title: t('device.state'), cell: (p) => <span className={p.registered ? 's-live' : 's-offline'}><span className="shape" aria-hidden>{p.registered ? '●' : '○'}</span>{t(p.registered ? 'phones.registered' : 'phones.away')}{(p.contacts?.length ?? 0) > 1 && <small> ×{p.contacts!.length}</small>}</span> },
            { key: 'contact', title: t('device.address'), cell: (p) => p.contact ?? '–', num: true },
            ...(chosen ? [] : [{ key: 'exp', title: t('device.expires'), cell: (p: Phone) => dateTime(p.expires_at), num: true }]),
            { key: 'fwd', title: t('phones.forwards'), cell: (p) => <span className="num" data-testid={`phone-${p.user}-forwards`}>{forwards(p) || '–'}</span> },
            { key: 'x', title: '', width: '4rem', cell: (p) => <span className="row-tools"><Button look="quiet" icon="edit" aria-label={t('edit')} title={t('edit')} testId={`phone-${p.user}-edit`} onClick={() => setOpen(p.user)} /><Button look="quiet" icon="trash" aria-label={t('delete')} title={t('delete')} testId={`phone-${p.user}-delete`} onClick={() => void remove(p)} /></span> },
          ]} />
        </div>
        {chosen && <Details key={chosen.user} p={chosen} all={all ?? []} onClose={() => setOpen(null)} saved={() => void again()} onPassword={() => setPassword(chosen)} />}
      </div>
      {adding && <Add onClose={() => setAdding(false)} done={() => void again()} />}
      {password && <Add of={password} onClose={() => setPassword(null)} done={() => void again()} />}
      {groups && <PickupGroups phones={all ?? []} onClose={() => setGroups(false)} />}
    </>
  );
}

/** Where the account is registered, and where its calls go. */
function Details({ p, all, onClose, saved, onPassword }: { p: Phone; all: readonly Phone[]; onClose: () => void; saved: () => void; onPassword: () => void }) {
  const { t } = useSpeech();
  const [f, set] = useState<Forwards>(p.forwards ?? NOWHERE);
  const [done, setDone] = useState(false);
  const kept = p.forwards ?? NOWHERE;
  const changed = WHEN.some((w) => (f[w] ?? '') !== (kept[w] ?? ''));
  const save = () => void act(async () => { await api.setForwards(p.user, f); setDone(true); saved(); });
  return (
    <section className="dev-more" data-testid="phone-details">
      <header><h2><span className="num">{p.user}</span> {p.name !== p.user && p.name}</h2><Button look="quiet" icon="close" aria-label={t('close')} onClick={onClose} /></header>
      <div className="actions"><Button icon="lock" testId="phone-password-new" onClick={onPassword}>{t('phones.password')}</Button></div>
      <h3>{t('phones.contacts')}</h3>
      {(p.contacts ?? []).length === 0 ? <p className="hint">{t('phones.contacts.none')}</p>
        : <ul className="contacts">{p.contacts!.map((c) => <li key={`${c.transport} ${c.address} ${c.contact}`} data-testid="phone-contact">
            <b>{c.user_agent ?? t('phones.contacts.unknown')}</b>
            <span className="num">{c.address} <span className="tag">{c.transport.toUpperCase()}</span></span>
            <small className="num wrap">{c.contact}</small>
            {(c.path?.length ?? 0) > 0 && <small className="num wrap">{t('phones.contacts.path', { path: c.path!.join(' → ') })}</small>}
            {c.reachable === false && <small className="warn-text"><Icon name="warn" /> {t('phones.contacts.silent')}</small>}
            <small className="num">{t('phones.contacts.until', { at: clock(c.expires_at) })}</small></li>)}</ul>}
      <h3>{t('phones.forwards')}</h3>
      <form className="set-form" onSubmit={(e) => { e.preventDefault(); save(); }}>
        {WHEN.map((w) => <Field key={w} label={t(`phones.forward.${w}`)}><input className="num" list="phone-numbers" inputMode="tel" value={f[w] ?? ''} placeholder={t('phones.forward.none')} data-testid={`forward-${w}`} onChange={(e) => { setDone(false); set({ ...f, [w]: e.target.value.trim() || null }); }} /></Field>)}
        <datalist id="phone-numbers">{all.filter((x) => x.user !== p.user).map((x) => <option key={x.user} value={x.user}>{x.name}</option>)}</datalist>
        <p className="hint">{t('phones.forward.hint')}</p>
        <div className="actions"><Button type="submit" look="main" testId="forward-save" disabled={!changed}>{t('save')}</Button>{done && !changed && <span className="s-live" role="status" data-testid="forward-saved"><Icon name="check" /> {t('saved')}</span>}</div>
      </form>
    </section>
  );
}

/** A new account; with `of`, a new password for one that is there. */
function Add({ of, onClose, done }: { of?: Phone; onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const [p, set] = useState({ user: of?.user ?? '', name: of?.name ?? '', password: '' });
  return (
    <Dialog title={of ? t('phones.password.of', { user: of.user }) : t('phones.add')} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void act(async () => { await api.addPhone(p); done(); onClose(); }); }}>
        {!of && <Field label={t('phones.user')} hint={t('phones.user.hint')}><input autoFocus required value={p.user} data-testid="phone-user" onChange={(e) => set({ ...p, user: e.target.value })} /></Field>}
        <Field label={t('phones.name')}><input value={p.name} data-testid="phone-name" onChange={(e) => set({ ...p, name: e.target.value })} /></Field>
        <Field label={t('signIn.password')} hint={t('phones.password.hint')}><input required type="password" autoComplete="new-password" value={p.password} data-testid="phone-password" onChange={(e) => set({ ...p, password: e.target.value })} /></Field>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="phone-save" disabled={!p.user || !p.password}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
