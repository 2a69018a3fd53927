import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { CallRun, Conference, ListEntryState, Template, TemplateMember, TemplateSettings } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { conferences, epoch, onEvent } from '../../state/live';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, Dialog, Empty, ErrorLine, Field } from '../../ui/basic';
import { clock } from '../../ui/format';
import { useRead } from '../../ui/useRead';
import { newerRun } from '../calls/lists';
import { ChannelTree } from '../watch/ChannelTree';
import { Schedule } from './Schedule';

const CLASS: Record<ListEntryState, string> = { waiting: 's-idle', calling: 's-starting', ringing: 's-starting', answered: 's-live', left: 's-offline', failed: 's-failed', stopped: 's-offline' };
const SHAPE: Record<ListEntryState, string> = { waiting: '○', calling: '◐', ringing: '◐', answered: '●', left: '✕', failed: '▲', stopped: '○' };
const NEW: TemplateSettings = { name: '', number: null, pin: null, half_duplex: false, lobby: 'off', record: false, mode: 'all', retries: 1, ring_time: 30, pause: 10, members: [] };

/** A camera or radio group: only people have roles. */
const isChannel = (m: TemplateMember) => m.number.includes(':');

/** Conferences that are made by one press, and those held at a time. */
export function Templates({ canSteer }: { canSteer: boolean }) {
  const { t, pick } = useSpeech();
  const { value, error, again } = useRead(() => api.templates(), []);
  const [told, setTold] = useState<ReadonlyMap<string, CallRun>>(new Map());
  const mark = useStore(epoch);
  const rooms = useStore(conferences);
  const [open, setOpen] = useState<string | null>(null);
  const [edit, setEdit] = useState<Template | 'new' | null>(null);
  const tell = (id: string, run: CallRun) => setTold((all) => new Map(all).set(id, newerRun(all.get(id) ?? null, run) ?? run));
  useEffect(() => { setTold(new Map()); return onEvent((e) => { if (e.type === 'call_list' && e.list.startsWith('template:')) tell(e.list.slice(9), e.run); }); }, [mark]);
  const items = value?.items.map((x) => ({ ...x, run: newerRun(x.run, told.get(x.id) ?? null) })) ?? [];
  const x = items.find((i) => i.id === open) ?? items.find((i) => i.run?.state === 'running') ?? items[0];
  const start = async (i: Template) => { if (await confirmOrder(t('tpl.start.ask'), t('tpl.start.text', { name: i.name, n: i.members.length }), t('tpl.start'))) { const run = await act(api.startTemplate(i.id)); if (run) tell(i.id, run); } };
  const call = async (i: Template, which?: number[]) => { const run = await act(api.callAgain(i.id, which)); if (run) tell(i.id, run); };
  const remove = async (i: Template) => { if (await confirmOrder(t('tpl.delete.ask'), t('tpl.delete.text', { name: i.name }), t('delete'))) { await act(api.deleteTemplate(i.id)); void again(); } };
  const stands = !!x?.run && rooms.has(x.run.conference);
  const running = x?.run?.state === 'running';
  const missing = x?.run?.entries.filter((e) => e.state !== 'answered').length ?? 0;
  return (
    <main className="centre plans" data-testid="templates">
      <div className="bar"><h1 className="bar-title">{t('tpl.list')}</h1><span className="bar-note">{t('tpl.note')}</span>{canSteer && <Button icon="plus" testId="template-add" onClick={() => setEdit('new')}>{t('tpl.add')}</Button>}</div>
      {error && <div className="pad"><ErrorLine error={error} /></div>}
      {value && items.length === 0 && <Empty title={t('tpl.none')} next={t('tpl.none.next')} />}
      {x && (
        <div className="lists-in">
          <ul className="conf-list">{items.map((i) => <li key={i.id}><button type="button" aria-current={i.id === x.id ? 'true' : undefined} data-testid={`template-${i.id}`} onClick={() => setOpen(i.id)}><b>{i.name}</b><span className="num">{i.run && rooms.has(i.run.conference) ? <span className="s-live">{t('tpl.here', { n: i.run.entries.filter((e) => e.state === 'answered').length, of: i.run.entries.length })}</span> : t('tpl.members', { n: i.members.length })}</span></button></li>)}</ul>
          <div className="list-room" data-testid="template-open" data-run={x.run?.state ?? ''}>
            <header><h3>{x.name}</h3><span className="bar-note">{[t(`lists.mode.${x.mode}`), x.number ? t('conf.number', { n: x.number }) : '', x.half_duplex ? t('tpl.half') : '', x.lobby !== 'off' ? t('lobby.title') : '', x.record ? t('tpl.record') : ''].filter(Boolean).join(' · ')}</span>
              {canSteer && <span className="row-tools"><Button look="quiet" icon="edit" testId="template-edit" disabled={running} onClick={() => setEdit(x)}>{t('edit')}</Button><Button look="quiet" icon="trash" testId="template-delete" disabled={running} onClick={() => void remove(x)}>{t('delete')}</Button></span>}</header>
            <div className="list-go">
              {running ? <Button look="danger" icon="hangup" className="list-big" testId="template-stop" disabled={!canSteer} onClick={() => void act(api.stopTemplate(x.id))}>{t('lists.stop')}</Button>
                : stands ? missing > 0 && <Button look="main" icon="phone" className="list-big" testId="template-again" disabled={!canSteer} onClick={() => void call(x)}>{t('tpl.again', { n: missing })}</Button>
                  : <Button look="main" icon="phone" className="list-big" testId="template-start" disabled={!canSteer} onClick={() => void start(x)}>{t('tpl.start')}</Button>}
              {x.run && <p className="list-sum"><b className="num" data-testid="template-here">{t('tpl.here', { n: x.run.entries.length - missing, of: x.run.entries.length })}</b><span className="num">{stands ? t('lists.run.by', { name: x.run.started_by, at: clock(x.run.started_at) }) : t('tpl.over')}</span></p>}
              {stands && <Button icon="video" testId="template-conference" onClick={() => go(`/confer/${encodeURIComponent(x.run!.conference)}`)}>{t('tpl.conference')}</Button>}
            </div>
            <div className="table-box"><table className="table"><thead><tr><th>{t('calls.state')}</th><th>{t('tpl.member.number')}</th><th>{t('tpl.member.name')}</th><th>{t('role.label')}</th><th>{t('lists.why')}</th><th /></tr></thead>
              <tbody>{x.members.map((m, i) => { const e = x.run?.entries[i]; const state = stands && e ? e.state : null; return (
                <tr key={`${i} ${m.number}`} data-row={m.number} data-state={state ?? ''}><td><span className={state ? CLASS[state] : 's-idle'}><span className="shape" aria-hidden>{state ? SHAPE[state] : '○'}</span>{state ? t(`lists.entry.${state}`) : '–'}</span></td><td className="num"><b>{m.number}</b></td><td>{m.name || e?.name}</td><td>{isChannel(m) ? '–' : t(`role.${m.role ?? 'speaker'}`)}</td><td className="wrap">{stands && e && (e.zh || e.en) ? pick(e) : ''}</td>
                  <td>{canSteer && stands && !running && state && state !== 'answered' && <Button look="quiet" icon="phone" testId={`again-${i}`} onClick={() => void call(x, [i])}>{t('tpl.again.one')}</Button>}</td></tr>); })}</tbody></table></div>
          </div>
        </div>
      )}
      <Schedule templates={items} canSteer={canSteer} />
      {edit && <Edit of={edit === 'new' ? null : edit} onClose={() => setEdit(null)} done={(id) => { setOpen(id); void again(); }} />}
    </main>
  );
}

function Edit({ of, onClose, done }: { of: Template | null; onClose: () => void; done: (id: string) => void }) {
  const { t } = useSpeech();
  const [x, set] = useState<TemplateSettings>(of ? { name: of.name, number: of.number, pin: null, half_duplex: of.half_duplex, lobby: of.lobby, record: of.record, mode: of.mode, retries: of.retries, ring_time: of.ring_time, pause: of.pause, members: of.members } : NEW);
  const [number, setNumber] = useState('');
  const [name, setName] = useState('');
  const [choosing, setChoosing] = useState(false);
  const add = (m: TemplateMember) => set((s) => (s.members.some((y) => y.number === m.number) ? s : { ...s, members: [...s.members, m] }));
  const change = (i: number, m: Partial<TemplateMember>) => set((s) => ({ ...s, members: s.members.map((y, n) => (n === i ? { ...y, ...m } : y)) }));
  const up = (i: number) => set((s) => { const m = [...s.members]; [m[i - 1], m[i]] = [m[i]!, m[i - 1]!]; return { ...s, members: m }; });
  const typed = () => { if (number.trim()) { add({ number: number.trim(), name: name.trim() }); setNumber(''); setName(''); } };
  const save = () => void act(async () => { const body = { ...x, name: x.name.trim() }; const made = of ? await api.putTemplate(of.id, body) : await api.addTemplate(body); done(made.id); onClose(); });
  const digits = (v: string) => v.replace(/\D/g, '').slice(0, 12);
  return (
    <Dialog title={of ? t('tpl.edit', { name: of.name }) : t('tpl.add')} onClose={onClose} wide>
      <form onSubmit={(e) => { e.preventDefault(); save(); }}>
        <div className="three"><Field label={t('conf.name')}><input autoFocus required maxLength={64} value={x.name} data-testid="template-name" onChange={(e) => set({ ...x, name: e.target.value })} /></Field>
          <Field label={t('tpl.number')}><input inputMode="numeric" value={x.number ?? ''} data-testid="template-number" onChange={(e) => set({ ...x, number: digits(e.target.value) || null })} /></Field>
          <Field label={t('tpl.pin')}><input inputMode="numeric" value={x.pin ?? ''} placeholder={of?.pin_set ? t('tpl.pin.kept') : ''} onChange={(e) => set({ ...x, pin: digits(e.target.value) || null })} /></Field></div>
        <div className="three"><Field label={t('lobby.mode')}><select value={x.lobby} onChange={(e) => set({ ...x, lobby: e.target.value as Conference['lobby'] })}>{(['off', 'guests', 'all'] as const).map((m) => <option key={m} value={m}>{t(`lobby.${m}`)}</option>)}</select></Field>
          <Field label={t('lists.mode')}><select value={x.mode} data-testid="template-mode" onChange={(e) => set({ ...x, mode: e.target.value as 'all' | 'in_order' })}>{(['all', 'in_order'] as const).map((m) => <option key={m} value={m}>{t(`lists.mode.${m}`)}</option>)}</select></Field>
          <Field label={t('lists.retries')}><input type="number" min={0} max={10} value={x.retries} onChange={(e) => set({ ...x, retries: Math.trunc(Number(e.target.value)) })} /></Field></div>
        <div className="checks"><label><input type="checkbox" checked={x.half_duplex} onChange={(e) => set({ ...x, half_duplex: e.target.checked })} />{t('tpl.half')}</label><label><input type="checkbox" checked={x.record} onChange={(e) => set({ ...x, record: e.target.checked })} />{t('tpl.record')}</label></div>
        <h3>{t('tpl.member')}</h3>
        <ol className="plan-members">{x.members.map((m, i) => (
          <li key={m.number}><span className="num">{i + 1}</span><b className="num wrap">{m.number}</b><input value={m.name} maxLength={64} aria-label={t('tpl.member.name')} onChange={(e) => change(i, { name: e.target.value })} />
            {isChannel(m) ? <span /> : <select value={m.role ?? 'speaker'} aria-label={t('role.label')} onChange={(e) => change(i, { role: e.target.value === 'speaker' ? undefined : (e.target.value as 'chair' | 'listener') })}>{(['chair', 'speaker', 'listener'] as const).map((r) => <option key={r} value={r}>{t(`role.${r}`)}</option>)}</select>}
            <Button look="quiet" icon="up" title={t('tpl.member.up')} aria-label={t('tpl.member.up')} disabled={i === 0} onClick={() => up(i)} /><Button look="quiet" icon="close" aria-label={t('delete')} onClick={() => set({ ...x, members: x.members.filter((_, n) => n !== i) })} /></li>
        ))}</ol>
        <div className="plan-add"><input value={number} inputMode="tel" placeholder={t('tpl.member.number')} aria-label={t('tpl.member.number')} data-testid="member-number" onChange={(e) => setNumber(e.target.value.replace(/[^0-9*#+A-Za-z@.:/-]/g, ''))} onKeyDown={(e) => { if (e.key === 'Enter') { e.preventDefault(); typed(); } }} />
          <input value={name} maxLength={64} placeholder={t('tpl.member.name')} aria-label={t('tpl.member.name')} data-testid="member-name" onChange={(e) => setName(e.target.value)} onKeyDown={(e) => { if (e.key === 'Enter') { e.preventDefault(); typed(); } }} />
          <Button icon="plus" testId="member-add" disabled={!number.trim()} onClick={typed}>{t('tpl.member.add')}</Button><Button icon="camera" testId="member-channel" onClick={() => setChoosing(!choosing)}>{t('tpl.member.channel')}</Button></div>
        {choosing && <div className="chooser"><ChannelTree label={t('tree.label')} onPick={(ch) => { add({ number: ch.id, name: ch.name }); setChoosing(false); }} /></div>}
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="template-save" disabled={!x.name.trim()}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
