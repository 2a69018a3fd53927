import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { CallList, CallListSettings, CallRun, ListEntryState } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { conferences, epoch, onEvent, serverNow } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, Dialog, Empty, ErrorLine, Field, useNow } from '../../ui/basic';
import { clock, duration, since } from '../../ui/format';
import { useRead } from '../../ui/useRead';
import { entriesOf, newerRun, textOf } from './lists';

const CLASS: Record<ListEntryState, string> = { waiting: 's-idle', calling: 's-starting', ringing: 's-starting', answered: 's-live', left: 's-offline', failed: 's-failed', stopped: 's-offline' };
const SHAPE: Record<ListEntryState, string> = { waiting: '○', calling: '◐', ringing: '◐', answered: '●', left: '✕', failed: '▲', stopped: '○' };
const NEW: CallListSettings = { name: '', mode: 'all', conference: null, retries: 1, ring_time: 30, pause: 10, entries: [] };

/** One press calls all of a list into a conference; who answered is seen at once. */
export default function Lists() {
  const { t, pick, lang } = useSpeech();
  const { value, error, again } = useRead(() => api.callLists(), []);
  // What was told of runs on this connection.
  const [told, setTold] = useState<ReadonlyMap<string, CallRun>>(new Map());
  const mark = useStore(epoch);
  const [open, setOpen] = useState<string | null>(null);
  const [edit, setEdit] = useState<CallList | 'new' | null>(null);
  const operator = useStore(session, isOperator);
  const rooms = useStore(conferences);
  useNow();
  const tell = (id: string, run: CallRun) => setTold((all) => new Map(all).set(id, newerRun(all.get(id) ?? null, run) ?? run));
  useEffect(() => { setTold(new Map()); return onEvent((e) => { if (e.type === 'call_list') tell(e.list, e.run); }); }, [mark]);
  const items = value?.items.map((l) => ({ ...l, run: newerRun(l.run, told.get(l.id) ?? null) })) ?? null;
  const list = items?.find((l) => l.id === open) ?? items?.find((l) => l.run?.state === 'running') ?? items?.[0] ?? null;
  const start = async (l: CallList) => { if (await confirmOrder(t('lists.start.ask'), t('lists.start.text', { name: l.name, n: l.entries.length }), t('lists.start'))) { const run = await act(api.startCallList(l.id)); if (run) tell(l.id, run); else void again(); } };
  const stop = async (l: CallList) => { await act(api.stopCallList(l.id)); void again(); };
  const remove = async (l: CallList) => { if (await confirmOrder(t('lists.delete.ask'), t('lists.delete.text', { name: l.name }), t('delete'))) { await act(api.deleteCallList(l.id)); void again(); } };
  const running = list?.run?.state === 'running';
  const counts = (l: CallList) => ({ n: l.run?.entries.filter((e) => e.state === 'answered').length ?? 0, of: l.run?.entries.length ?? l.entries.length });
  return (
    <section className="lists" aria-label={t('calls.tab.lists')}>
      <div className="call-head"><h2>{t('calls.tab.lists')}</h2><span className="bar-note">{t('lists.note')}</span>{operator && <Button icon="plus" testId="list-add" onClick={() => setEdit('new')}>{t('lists.add')}</Button>}</div>
      {error && <div className="pad"><ErrorLine error={error} /></div>}
      {!items && !error && <p className="hint pad">{t('loading')}</p>}
      {items && items.length === 0 && <Empty title={t('lists.none')} next={t('lists.none.next')} />}
      {list && <div className="lists-in">
        <ul className="conf-list">{items!.map((l) => <li key={l.id}><button type="button" aria-current={l.id === list.id ? 'true' : undefined} data-testid={`list-${l.id}`} onClick={() => setOpen(l.id)}><b>{l.name}</b><span className="num">{l.run ? <span className={l.run.state === 'running' ? 's-starting' : ''}>{t(`lists.run.${l.run.state}`)} {t('lists.answered', counts(l))}</span> : t('lists.count', { n: l.entries.length })}</span></button></li>)}</ul>
        <div className="list-room" data-testid="list-open" data-list={list.id} data-run={list.run?.state ?? ''}>
          <header><h3>{list.name}</h3><span className="bar-note">{t(`lists.mode.${list.mode}`)} · {list.conference ? t('lists.into', { name: rooms.get(list.conference)?.name ?? list.conference }) : t('lists.into.new')}</span>
            {operator && <span className="row-tools"><Button look="quiet" icon="edit" testId="list-edit" disabled={running} onClick={() => setEdit(list)}>{t('edit')}</Button><Button look="quiet" icon="trash" testId="list-delete" disabled={running} onClick={() => void remove(list)}>{t('delete')}</Button></span>}</header>
          <div className="list-go">
            {running ? <Button look="danger" icon="hangup" className="list-big" testId="list-stop" disabled={!operator} onClick={() => void stop(list)}>{t('lists.stop')}</Button>
              : <Button look="main" icon="phone" className="list-big" testId="list-start" disabled={!operator || list.entries.length === 0} onClick={() => void start(list)}>{t('lists.start')}</Button>}
            {list.run && <p className="list-sum"><b className="num" data-testid="list-answered">{t('lists.answered', counts(list))}</b><span className="num">{t('lists.run.by', { name: list.run.started_by, at: clock(list.run.started_at) })}{running && ` · ${duration(since(list.run.started_at, serverNow()), lang)}`}</span></p>}
            {list.run?.conference && rooms.has(list.run.conference) && <Button icon="video" testId="list-conference" onClick={() => go(`/confer/${encodeURIComponent(list.run!.conference)}`)}>{t('lists.conference')}</Button>}
          </div>
          <div className="table-box"><table className="table" data-testid="list-entries"><thead><tr><th>{t('calls.state')}</th><th>{t('phones.user')}</th><th>{t('phones.name')}</th><th className="num">{t('lists.tries')}</th><th>{t('lists.why')}</th></tr></thead>
            <tbody>{(list.run?.entries ?? list.entries.map((e) => ({ ...e, state: 'waiting' as const, tries: 0, zh: '', en: '', code: null }))).map((e, i) => <tr key={`${i} ${e.number}`} data-row={e.number} data-state={e.state}><td><span className={list.run ? CLASS[e.state] : 's-idle'}><span className="shape" aria-hidden>{SHAPE[e.state]}</span>{list.run ? t(`lists.entry.${e.state}`) : '–'}</span></td><td className="num"><b>{e.number}</b></td><td>{e.name}</td><td className="num">{e.tries || '–'}</td><td className="wrap">{e.zh || e.en ? pick(e) : ''}</td></tr>)}</tbody></table></div>
        </div>
      </div>}
      {edit && <Edit of={edit === 'new' ? null : edit} onClose={() => setEdit(null)} done={(id) => { setOpen(id); void again(); }} />}
    </section>
  );
}

function Edit({ of, onClose, done }: { of: CallList | null; onClose: () => void; done: (id: string) => void }) {
  const { t } = useSpeech();
  const rooms = [...useStore(conferences).values()];
  const [l, set] = useState<CallListSettings>(of ? { name: of.name, mode: of.mode, conference: of.conference, retries: of.retries, ring_time: of.ring_time, pause: of.pause, entries: of.entries } : NEW);
  const [text, setText] = useState(textOf(l.entries));
  const { value } = useRead(() => api.directory({ limit: 1000 }), []);
  const names = new Map((value?.items ?? []).map((e) => [e.number, e.name]));
  const read = entriesOf(text, names);
  const number = (key: 'retries' | 'ring_time' | 'pause', min: number, max: number) => <Field label={t(`lists.${key}`)}><input type="number" className="num" min={min} max={max} required value={l[key]} data-testid={`list-${key}`} onChange={(e) => set({ ...l, [key]: Math.trunc(Number(e.target.value)) })} /></Field>;
  const save = () => void act(async () => { const body = { ...l, name: l.name.trim(), entries: read.entries }; const x = of ? await api.putCallList(of.id, body) : await api.addCallList(body); done(x.id); onClose(); });
  return (
    <Dialog title={of ? t('lists.edit', { name: of.name }) : t('lists.add')} onClose={onClose} wide>
      <form onSubmit={(e) => { e.preventDefault(); save(); }}>
        <div className="two"><Field label={t('phones.name')}><input autoFocus required maxLength={64} value={l.name} data-testid="list-name" onChange={(e) => set({ ...l, name: e.target.value })} /></Field>
          <Field label={t('lists.conferenceOf')}><select value={l.conference ?? ''} data-testid="list-conference-of" onChange={(e) => set({ ...l, conference: e.target.value || null })}><option value="">{t('lists.into.new')}</option>{rooms.map((r) => <option key={r.id} value={r.id}>{r.name}</option>)}</select></Field></div>
        <Field label={t('lists.entries')} hint={t('lists.entries.hint')}><textarea rows={8} className="num" value={text} data-testid="list-text" onChange={(e) => setText(e.target.value)} /></Field>
        <p className={read.bad.length ? 'warn-text' : 'hint'} role="status">{read.bad.length ? t('lists.bad', { lines: read.bad.slice(0, 5).join(', ') }) : t('lists.count', { n: read.entries.length })}</p>
        <div className="two"><Field label={t('lists.mode')}><select value={l.mode} data-testid="list-mode" onChange={(e) => set({ ...l, mode: e.target.value as CallListSettings['mode'] })}><option value="all">{t('lists.mode.all')}</option><option value="in_order">{t('lists.mode.in_order')}</option></select></Field>{number('retries', 0, 10)}</div>
        <div className="two">{number('ring_time', 5, 120)}{number('pause', 0, 600)}</div>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="list-save" disabled={!l.name.trim() || read.entries.length === 0 || read.bad.length > 0}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
