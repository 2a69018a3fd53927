import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Scheduled, ScheduleSettings, Template } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { onEvent, serverNow } from '../../state/live';
import { act, Button, confirmOrder, Dialog, Field } from '../../ui/basic';
import { dateTime, two } from '../../ui/format';
import { Icon } from '../../ui/Icon';
import { useRead } from '../../ui/useRead';

/** Conferences at a time, on the clock of the hall. */
export function Schedule({ templates, canSteer }: { templates: readonly Template[]; canSteer: boolean }) {
  const { t } = useSpeech();
  const { value, again, set } = useRead(() => api.schedules(), []);
  const [edit, setEdit] = useState<Scheduled | 'new' | null>(null);
  useEffect(() => onEvent((e) => { if (e.type === 'schedules') set({ items: e.items }); }), [set]);
  const items = [...(value?.items ?? [])].sort((a, b) => (a.next_at ?? '9').localeCompare(b.next_at ?? '9'));
  const remove = async (s: Scheduled) => { if (await confirmOrder(t('sch.delete.ask'), t('sch.delete.text', { name: s.name }), t('delete'))) { await act(api.deleteSchedule(s.id)); void again(); } };
  return (
    <section className="schedule" data-testid="schedule">
      <div className="bar"><h1 className="bar-title">{t('sch.list')}</h1><span className="bar-note">{items[0] ? t('sch.note', { zone: items[0].zone }) : ''}</span>{canSteer && <Button icon="plus" testId="schedule-add" onClick={() => setEdit('new')}>{t('sch.add')}</Button>}</div>
      {items.length === 0 ? <p className="hint pad">{t('sch.none')}</p> : (
        <div className="table-box"><table className="table"><thead><tr><th>{t('conf.name')}</th><th>{t('sch.at')}</th><th>{t('sch.repeat')}</th><th className="num">{t('sch.minutes')}</th><th>{t('sch.template')}</th><th>{t('sch.next')}</th><th /></tr></thead>
          <tbody>{items.map((s) => (
            <tr key={s.id} data-testid={`schedule-${s.id}`} data-open={!!s.conference}><td><b>{s.name}</b></td><td className="num">{s.at.slice(0, 16).replace('T', ' ')}</td><td>{t(`sch.repeat.${s.repeat}`)}</td><td className="num">{s.minutes}</td><td>{templates.find((x) => x.id === s.template)?.name ?? '–'}</td>
              <td>{s.conference ? <Button look="quiet" icon="video" onClick={() => go(`/confer/${encodeURIComponent(s.conference!)}`)}>{t('sch.open')}</Button> : s.next_at ? <span className="num">{dateTime(s.next_at)}</span> : <span className="s-offline"><Icon name="check" /> {t('sch.over')}</span>}</td>
              <td>{canSteer && <span className="row-tools"><Button look="quiet" icon="edit" aria-label={t('edit')} title={t('edit')} onClick={() => setEdit(s)} /><Button look="quiet" icon="trash" aria-label={t('delete')} title={t('delete')} testId={`schedule-${s.id}-delete`} onClick={() => void remove(s)} /></span>}</td></tr>
          ))}</tbody></table></div>
      )}
      {edit && <Edit of={edit === 'new' ? null : edit} templates={templates} onClose={() => setEdit(null)} done={() => void again()} />}
    </section>
  );
}

function soon(): string {
  const d = new Date(serverNow() + 3_600_000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:00`;
}

function Edit({ of, templates, onClose, done }: { of: Scheduled | null; templates: readonly Template[]; onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const [s, set] = useState<ScheduleSettings>(of ? { name: of.name, template: of.template, at: of.at.slice(0, 16), minutes: of.minutes, repeat: of.repeat, open_before: of.open_before } : { name: '', template: null, at: soon(), minutes: 60, repeat: 'none', open_before: 10 });
  const save = () => void act(async () => { const body = { ...s, name: s.name.trim() }; await (of ? api.putSchedule(of.id, body) : api.addSchedule(body)); done(); onClose(); });
  const number = (key: 'minutes' | 'open_before', min: number, max: number, label: 'sch.minutes' | 'sch.before') => <Field label={t(label)}><input type="number" required min={min} max={max} value={s[key]} data-testid={`schedule-${key}`} onChange={(e) => set({ ...s, [key]: Math.trunc(Number(e.target.value)) })} /></Field>;
  return (
    <Dialog title={t(of ? 'sch.edit' : 'sch.add')} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); save(); }}>
        <Field label={t('conf.name')}><input autoFocus required maxLength={64} value={s.name} data-testid="schedule-name" onChange={(e) => set({ ...s, name: e.target.value })} /></Field>
        <Field label={t('sch.template')}><select value={s.template ?? ''} data-testid="schedule-template" onChange={(e) => set({ ...s, template: e.target.value || null, name: s.name || templates.find((x) => x.id === e.target.value)?.name || '' })}><option value="">{t('sch.template.none')}</option>{templates.map((x) => <option key={x.id} value={x.id}>{x.name}</option>)}</select></Field>
        <div className="two"><Field label={t('sch.at')}><input type="datetime-local" required step={1} value={s.at} data-testid="schedule-at" onChange={(e) => set({ ...s, at: e.target.value })} /></Field>
          <Field label={t('sch.repeat')}><select value={s.repeat} data-testid="schedule-repeat" onChange={(e) => set({ ...s, repeat: e.target.value as ScheduleSettings['repeat'] })}>{(['none', 'daily', 'weekly'] as const).map((r) => <option key={r} value={r}>{t(`sch.repeat.${r}`)}</option>)}</select></Field></div>
        <div className="two">{number('minutes', 5, 1440, 'sch.minutes')}{number('open_before', 0, 720, 'sch.before')}</div>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="schedule-save" disabled={!s.name.trim()}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
