import { useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import { orderTwice, type Mirror, type Setting } from '../../api/control';
import type { Device } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { act, Button, confirmOrder, ErrorLine, Field } from '../../ui/basic';

type Of<K extends Setting['kind']> = Extract<Setting, { kind: K }>;
const MIRRORS: Mirror[] = ['none', 'horizontal', 'vertical', 'both'];

/** Names, keepalive, OSD, mirror, alarm report: read from the device, changed one block at a time, read back. */
export function DeviceSettings({ d, changed }: { d: Device; changed: () => void }) {
  const { t } = useSpeech();
  const [at, setAt] = useState(d.channels.find((c) => c.kind === 'video')?.id ?? '');
  const [own, setOwn] = useState<Setting[] | null>(null);
  const [items, setItems] = useState<Setting[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState('');
  const read = async () => {
    setBusy(true);
    try {
      setOwn((await api.answer<'settings'>({ device: d.id }, { ask: 'settings', kinds: ['basic'] })).items);
      setItems(at ? (await api.answer<'settings'>({ channel: at }, { ask: 'settings', kinds: [] })).items : []);
      setError(null);
    } catch (e) { setError(asApiError(e)); }
    setBusy(false);
  };
  const save = (s: Setting) => void act(async () => {
    const what = t(`set.${s.kind}` as Key);
    const to = s.kind === 'basic' ? { device: d.id } : { channel: at };
    if (!(await confirmOrder(t('set.ask', { what }), t('set.text', { what, name: d.name || d.id }), t('save')))) return;
    const done = await orderTwice(to, { do: 'configure', settings: [s] }, () => confirmOrder(t('danger.sure'), t('danger.sure.text', { what, name: d.name || d.id }), t('danger.go')));
    if (done) { setSaid(t(`order.${done}` as Key)); changed(); await read(); }
  });
  const find = <K extends Setting['kind']>(list: Setting[] | null, kind: K) => list?.find((s): s is Of<K> => s.kind === kind);
  const basic = find(own, 'basic'), osd = find(items, 'osd'), mirror = find(items, 'frame_mirror'), report = find(items, 'alarm_report'), plan = find(items, 'record_plan'), video = find(items, 'video_parameters');
  return (
    <div className="dev-settings" data-testid="device-settings">
      <h3>{t('set.title')}</h3>
      <div className="actions">
        {d.channels.length > 1 && <select value={at} aria-label={t('device.channels')} onChange={(e) => { setAt(e.target.value); setItems(null); }}>{d.channels.filter((c) => c.kind === 'video').map((c) => <option key={c.id} value={c.id}>{c.name || c.id}</option>)}</select>}
        <Button icon="refresh" testId="settings-read" disabled={busy} onClick={() => void read()}>{t(busy ? 'loading' : 'set.read')}</Button>
      </div>
      <ErrorLine error={error} />
      {said && <p className="hint" role="status" data-testid="settings-outcome">{said}</p>}
      {/* A form begins anew only when what it shows has changed: what is typed into one outlives the saving of another. */}
      {basic && <BasicForm key={`b${JSON.stringify(basic)}`} s={basic} save={save} />}
      {osd && <OsdForm key={`o${JSON.stringify(osd)}`} s={osd} save={save} />}
      {mirror && <Field label={t('set.frame_mirror')}><select value={mirror.mirror} data-testid="set-mirror" onChange={(e) => save({ kind: 'frame_mirror', mirror: e.target.value as Mirror })}>{MIRRORS.map((m) => <option key={m} value={m}>{t(`mirror.${m}` as Key)}</option>)}</select></Field>}
      {report && <div className="checks"><span className="field-label">{t('set.alarm_report')}</span>
        <label><input type="checkbox" checked={report.motion} data-testid="set-motion" onChange={(e) => save({ ...report, motion: e.target.checked })} />{t('set.motion')}</label>
        <label><input type="checkbox" checked={report.field} data-testid="set-field" onChange={(e) => save({ ...report, field: e.target.checked })} />{t('set.field')}</label></div>}
      {(plan || video) && <dl className="facts num">
        {video?.streams.map((s) => <Line key={s.stream} name={t('set.stream', { n: s.stream })} value={[s.format, s.resolution, s.frame_rate && `${s.frame_rate} fps`, s.bit_rate && `${s.bit_rate} kbit/s`].filter(Boolean).join(', ')} />)}
        {plan && <Line name={t('set.record_plan')} value={plan.enabled ? t('set.plan.days', { n: plan.days.length }) : t('dev.off')} />}
      </dl>}
    </div>
  );
}

const Line = ({ name, value }: { name: string; value: string }) => <><dt>{name}</dt><dd>{value}</dd></>;

function BasicForm({ s, save }: { s: Of<'basic'>; save: (s: Setting) => void }) {
  const { t } = useSpeech();
  const [v, set] = useState({ name: s.name ?? '', interval: String(s.heartbeat_interval_s ?? ''), count: String(s.heartbeat_count ?? '') });
  const number = (text: string, old: number | null | undefined) => { const n = Number(text); return text !== '' && Number.isInteger(n) && n !== old ? n : null; };
  const change: Of<'basic'> = { kind: 'basic', name: v.name.trim() && v.name.trim() !== s.name ? v.name.trim() : null, heartbeat_interval_s: number(v.interval, s.heartbeat_interval_s), heartbeat_count: number(v.count, s.heartbeat_count) };
  const changed = change.name !== null || change.heartbeat_interval_s !== null || change.heartbeat_count !== null;
  return (
    <form className="set-form" onSubmit={(e) => { e.preventDefault(); if (changed) save(change); }}>
      <Field label={t('set.name')}><input value={v.name} maxLength={64} data-testid="set-name" onChange={(e) => set({ ...v, name: e.target.value })} /></Field>
      <Field label={t('set.interval')}><input type="number" min={5} max={3600} value={v.interval} data-testid="set-interval" onChange={(e) => set({ ...v, interval: e.target.value })} /></Field>
      <Field label={t('set.count')}><input type="number" min={1} max={100} value={v.count} data-testid="set-count" onChange={(e) => set({ ...v, count: e.target.value })} /></Field>
      <Button type="submit" testId="set-basic-save" disabled={!changed}>{t('save')}</Button>
    </form>
  );
}

function OsdForm({ s, save }: { s: Of<'osd'>; save: (s: Setting) => void }) {
  const { t } = useSpeech();
  const [text, setText] = useState(s.lines.map((l) => l.text).join('\n'));
  const [time, setTime] = useState(s.time !== false);
  const lines = text.split('\n').map((l) => l.trim()).filter(Boolean).slice(0, 8);
  const next: Of<'osd'> = { ...s, time, text: lines.length > 0, lines: lines.map((l, n) => ({ text: [...l].slice(0, 32).join(''), x: s.lines[n]?.x ?? 16, y: s.lines[n]?.y ?? 16 + 40 * n })) };
  return (
    <form className="set-form" onSubmit={(e) => { e.preventDefault(); save(next); }}>
      <Field label={t('set.osd')} hint={t('set.osd.hint')}><textarea rows={3} value={text} data-testid="set-osd" onChange={(e) => setText(e.target.value)} /></Field>
      <label className="check"><input type="checkbox" checked={time} data-testid="set-osd-time" onChange={(e) => setTime(e.target.checked)} />{t('set.osd.time')}</label>
      <Button type="submit" testId="set-osd-save">{t('save')}</Button>
    </form>
  );
}
