import { useState } from 'react';
import { api } from '../../api/client';
import type { BroadcastList, BroadcastName, Channel } from '../../api/types';
import { useSpeech } from '../../i18n';
import { canHearTalk } from '../../state/talk';
import { act, Button, confirmOrder, Dialog, Empty, Field } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { useRead } from '../../ui/useRead';
import { ChannelTree } from '../watch/ChannelTree';

const MOST = 500;

/** Who is to hear it: phones, loudspeakers, lists, numbers. */
export function Targets({ chosen, onChange }: { chosen: readonly BroadcastName[]; onChange: (all: readonly BroadcastName[]) => void }) {
  const { t } = useSpeech();
  const [numbers, setNumbers] = useState('');
  const [dialog, setDialog] = useState<'tree' | 'phones' | 'save' | null>(null);
  const { value: lists, again } = useRead(() => api.broadcastLists(), []);
  const has = (to: string) => chosen.some((x) => x.to === to);
  const add = (more: readonly BroadcastName[]) => {
    const all = new Map(chosen.map((x) => [x.to, x] as const));
    for (const x of more) if (!all.has(x.to) && all.size < MOST) all.set(x.to, x);
    onChange([...all.values()]);
  };
  const toggle = (x: BroadcastName) => (has(x.to) ? onChange(chosen.filter((y) => y.to !== x.to)) : add([x]));
  const typed = numbers.split(/[\s,，;；、]+/).map((n) => n.replace(/[^0-9*#+A-Za-z]/g, '')).filter(Boolean);
  const remove = async (l: BroadcastList) => { if (await confirmOrder(t('bc.list.delete.ask'), t('bc.list.delete.text', { name: l.name, n: l.targets.length }), t('delete'))) { await act(api.deleteBroadcastList(l.id)); void again(); } };
  return (
    <section className="bc-whom" aria-label={t('bc.whom')}>
      <h2>{t('bc.whom')}</h2>
      <div className="bc-ways">
        <Button icon="phone" testId="broadcast-phones" onClick={() => setDialog('phones')}>{t('bc.phones')}</Button>
        <Button icon="sound" testId="broadcast-speakers" onClick={() => setDialog('tree')}>{t('bc.cameras')}</Button>
        <form className="dial" onSubmit={(e) => { e.preventDefault(); add(typed.map((to) => ({ to, name: '' }))); setNumbers(''); }}>
          <input value={numbers} inputMode="tel" placeholder={t('bc.numbers')} aria-label={t('bc.numbers')} title={t('bc.numbers.hint')} data-testid="broadcast-numbers" onChange={(e) => setNumbers(e.target.value)} />
          <Button type="submit" icon="plus" testId="broadcast-add" disabled={typed.length === 0}>{t('bc.add')}</Button>
        </form>
      </div>
      {lists && lists.items.length > 0 && <ul className="bc-lists" aria-label={t('bc.lists')}>{lists.items.map((l) => <li key={l.id}><Button icon="plus" testId={`broadcast-list-${l.id}`} onClick={() => add(l.targets)}>{l.name} <span className="num">({l.targets.length})</span></Button><Button look="quiet" icon="trash" title={t('bc.list.delete', { name: l.name })} aria-label={t('bc.list.delete', { name: l.name })} onClick={() => void remove(l)} /></li>)}</ul>}
      {chosen.length === 0 ? <Empty title={t('bc.none.chosen')} next={t('bc.none.chosen.next')} /> : <>
        <div className="bc-chosen-head"><b className="num">{t('bc.chosen', { n: chosen.length })}</b><Button look="quiet" icon="download" testId="broadcast-list-save" onClick={() => setDialog('save')}>{t('bc.list.save')}</Button><Button look="quiet" icon="trash" onClick={() => onChange([])}>{t('bc.clear')}</Button></div>
        <ul className="bc-chosen" data-testid="broadcast-chosen">{chosen.map((x) => <li key={x.to} data-row={x.to}><Icon name={x.to.includes(':') ? 'sound' : 'phone'} /><b>{x.name || x.to}</b>{x.name && <small className="num" title={x.to}>{x.to.split('/').at(-1)}</small>}<Button look="quiet" icon="close" title={t('bc.remove')} aria-label={`${t('bc.remove')} ${x.name || x.to}`} onClick={() => toggle(x)} /></li>)}</ul>
      </>}
      {dialog === 'tree' && (
        <Dialog title={t('bc.cameras.title')} onClose={() => setDialog(null)} wide>
          <div className="chooser"><ChannelTree label={t('tree.label')} only={(c: Channel) => c.id.startsWith('radio:') || canHearTalk(c.id)} onPick={(c) => toggle({ to: c.id, name: c.name })} /></div>
          <footer><span className="num bar-note">{t('bc.chosen', { n: chosen.length })}</span><Button look="main" testId="broadcast-speakers-done" onClick={() => setDialog(null)}>{t('bc.done')}</Button></footer>
        </Dialog>
      )}
      {dialog === 'phones' && <Phones has={has} toggle={toggle} add={add} onClose={() => setDialog(null)} />}
      {dialog === 'save' && <Save chosen={chosen} onClose={() => setDialog(null)} done={() => void again()} />}
    </section>
  );
}

function Phones({ has, toggle, add, onClose }: { has: (to: string) => boolean; toggle: (x: BroadcastName) => void; add: (all: readonly BroadcastName[]) => void; onClose: () => void }) {
  const { t } = useSpeech();
  const [query, setQuery] = useState('');
  const { value } = useRead(() => api.directory({ query: query.trim() || undefined, limit: 1000 }), [query]);
  const phones = (value?.items ?? []).filter((e) => e.kind === 'phone');
  const of = (e: { number: string; name: string }) => ({ to: e.number, name: e.name });
  return (
    <Dialog title={t('bc.phones')} onClose={onClose} wide>
      <div className="search"><Icon name="search" /><input type="search" autoFocus value={query} aria-label={t('bc.phones')} onChange={(e) => setQuery(e.target.value)} /></div>
      <ul className="bc-phones">{phones.map((e) => <li key={e.number}><label className="check"><input type="checkbox" checked={has(e.number)} data-testid={`broadcast-phone-${e.number}`} onChange={() => toggle(of(e))} /><b>{e.name || e.number}</b><small className="num">{e.number}</small>{!e.online && <small className="s-offline">{t('state.offline')}</small>}</label></li>)}</ul>
      <footer><Button testId="broadcast-phones-all" disabled={phones.length === 0} onClick={() => add(phones.map(of))}>{t('bc.phones.all')}</Button><Button look="main" testId="broadcast-phones-done" onClick={onClose}>{t('bc.done')}</Button></footer>
    </Dialog>
  );
}

function Save({ chosen, onClose, done }: { chosen: readonly BroadcastName[]; onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const [name, setName] = useState('');
  return (
    <Dialog title={t('bc.list.save')} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void act(async () => { await api.addBroadcastList({ name: name.trim(), targets: [...chosen] }); done(); onClose(); }); }}>
        <Field label={t('bc.list.name')}><input autoFocus required maxLength={64} value={name} data-testid="broadcast-list-name" onChange={(e) => setName(e.target.value)} /></Field>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="broadcast-list-done" disabled={!name.trim()}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
