import { useState } from 'react';
import { api } from '../../api/client';
import type { Plan, PlanWindow } from '../../api/types';
import { useSpeech } from '../../i18n';
import { act, Button, confirmOrder, Dialog, ErrorLine, Field } from '../../ui/basic';
import { Table } from '../../ui/Table';
import { useRead } from '../../ui/useRead';
import { ChannelTree } from '../watch/ChannelTree';

type Draft = Omit<Plan, 'id'> & { id?: string };
const fresh = (stream: string, name: string): Draft => ({ stream, name, enabled: true, always: true, windows: [], keep_days: 30 });
const DAYS = [1, 2, 3, 4, 5, 6, 7];

export function Plans() {
  const { t, lang } = useSpeech();
  const { value, error, again } = useRead(() => api.plans(), []);
  const [edit, setEdit] = useState<Draft | null>(null);
  const [choosing, setChoosing] = useState(false);
  const dayName = (d: number) => new Intl.DateTimeFormat(lang === 'zh' ? 'zh-CN' : 'en', { weekday: 'short' }).format(new Date(2024, 0, d));
  const when = (p: Draft) => (p.always ? t('plans.always') : p.windows.map((w) => `${w.days.length === 7 ? t('plans.everyDay') : w.days.map(dayName).join(lang === 'zh' ? '、' : ' ')} ${w.from}–${w.to}`).join('; ') || t('plans.never'));
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.plans')}</h1><span className="bar-note">{t('plans.note')}</span><Button icon="plus" look="main" testId="plan-add" onClick={() => setChoosing(true)}>{t('plans.add')}</Button></div>
      <ErrorLine error={error} />
      <Table testId="plans" rows={value?.items ?? null} id={(p) => p.id} empty={t('plans.none')} next={t('plans.none.next')} columns={[
        { key: 'name', title: t('device.name'), cell: (p) => <b>{p.name || p.stream}</b> },
        { key: 'when', title: t('plans.when'), cell: when, wrap: true, num: true },
        { key: 'keep', title: t('plans.keep'), cell: (p) => t('plans.days', { n: p.keep_days }), num: true },
        { key: 'on', title: t('device.state'), cell: (p) => <label className="check"><input type="checkbox" checked={p.enabled} onChange={async (e) => { await act(api.putPlan({ ...p, enabled: e.target.checked })); void again(); }} />{t(p.enabled ? 'plans.on' : 'plans.off')}</label> },
        { key: 'x', title: '', width: '7rem', cell: (p) => <span className="row-tools"><Button look="quiet" icon="edit" aria-label={t('edit')} title={t('edit')} onClick={() => setEdit(p)} /><Button look="quiet" icon="trash" aria-label={t('delete')} title={t('delete')} onClick={async () => { if (await confirmOrder(t('plans.delete.ask'), t('plans.delete.text', { name: p.name || p.stream }), t('delete'))) { await act(api.deletePlan(p.id)); void again(); } }} /></span> },
      ]} />
      {choosing && <Dialog title={t('plans.choose')} onClose={() => setChoosing(false)} wide><div className="chooser"><ChannelTree label={t('tree.label')} onPick={(c) => { setChoosing(false); setEdit(fresh(c.stream || c.id, c.name)); }} /></div></Dialog>}
      {edit && <Edit plan={edit} dayName={dayName} onClose={() => setEdit(null)} done={() => { setEdit(null); void again(); }} />}
    </>
  );
}

function Edit({ plan, dayName, onClose, done }: { plan: Draft; dayName: (d: number) => string; onClose: () => void; done: () => void }) {
  const { t } = useSpeech();
  const [p, set] = useState(plan);
  const window_ = (i: number, w: Partial<PlanWindow>) => set({ ...p, windows: p.windows.map((x, k) => (k === i ? { ...x, ...w } : x)) });
  const add = () => set({ ...p, windows: [...p.windows, { days: [1, 2, 3, 4, 5], from: '08:00', to: '18:00' }] });
  const bad = !p.always && (p.windows.length === 0 || p.windows.some((w) => w.days.length === 0 || w.from === w.to));
  return (
    <Dialog title={t('plans.edit', { name: plan.name || plan.stream })} onClose={onClose} wide>
      <form onSubmit={(e) => { e.preventDefault(); void act(async () => { if (p.id) await api.putPlan(p as Plan); else await api.addPlan(p); done(); }); }}>
        <div className="checks">
          <label><input type="radio" name="when" checked={p.always} onChange={() => set({ ...p, always: true })} />{t('plans.always')}</label>
          <label><input type="radio" name="when" checked={!p.always} onChange={() => set({ ...p, always: false, windows: p.windows.length ? p.windows : [{ days: [1, 2, 3, 4, 5], from: '08:00', to: '18:00' }] })} />{t('plans.windows')}</label>
        </div>
        {!p.always && p.windows.map((w, i) => (
          <div key={i} className="plan-window">
            <span className="segments">{DAYS.map((d) => <Button key={d} pressed={w.days.includes(d)} onClick={() => window_(i, { days: w.days.includes(d) ? w.days.filter((x) => x !== d) : [...w.days, d].sort() })}>{dayName(d)}</Button>)}</span>
            <input type="time" aria-label={t('plans.from')} value={w.from} onChange={(e) => window_(i, { from: e.target.value })} /><span>–</span><input type="time" aria-label={t('plans.to')} value={w.to} onChange={(e) => window_(i, { to: e.target.value })} />
            <Button look="quiet" icon="close" aria-label={t('delete')} onClick={() => set({ ...p, windows: p.windows.filter((_, k) => k !== i) })} />
          </div>
        ))}
        {!p.always && <Button icon="plus" onClick={add}>{t('plans.window.add')}</Button>}
        <Field label={t('plans.keep')} hint={t('plans.keep.hint')}><input type="number" min={1} max={3650} value={p.keep_days} onChange={(e) => set({ ...p, keep_days: Math.max(1, Number(e.target.value)) })} /></Field>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="plan-save" disabled={bad}>{t('save')}</Button></footer>
      </form>
    </Dialog>
  );
}
