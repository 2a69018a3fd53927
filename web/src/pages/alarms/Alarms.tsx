import { useCallback, useEffect, useRef, useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import type { Alarm } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { alarmSound, alarmSums, countAlarms, setAlarmSound } from '../../state/alarms';
import { epoch, onEvent, walls } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, Dialog, Empty, ErrorLine } from '../../ui/basic';
import { clock, day } from '../../ui/format';
import { VirtualList } from '../../ui/VirtualList';
import { select, selection, take } from '../../wall/actions';

const PAGE = 100;

/** To the camera's live picture: onto the selected tile, else an empty one; where there is none, only into the details. */
export function lookAt(a: Alarm, operator: boolean) {
  if (!a.channel) return;
  const wall = walls.get().get('1') ?? [...walls.get().values()][0];
  const shown = wall?.tiles.filter((x) => x.n < wall.layout) ?? [];
  const there = shown.find((x) => x.source === a.channel);
  const chosen = selection.get().tile;
  const tile = there?.n ?? (chosen !== null && shown.some((x) => x.n === chosen) ? chosen : shown.find((x) => !x.source)?.n) ?? null;
  go('/watch');
  select({ channel: a.channel, tile });
  if (wall && operator && !there && tile !== null) void take(wall.id, tile, a.channel, a.name);
}

function useAlarms(open: boolean, severity: number) {
  const [state, set] = useState<{ items: Alarm[]; total: number; loading: boolean; error: ApiError | null }>({ items: [], total: 0, loading: true, error: null });
  const mark = useStore(epoch);
  const run = useRef(0);
  const now = useRef(state);
  now.current = state;
  const load = useCallback(async (fresh: boolean) => {
    const mine = ++run.current;
    set((s) => ({ ...s, loading: true }));
    try {
      const offset = fresh ? 0 : now.current.items.length;
      const p = await api.alarms({ open: open ? 'true' : undefined, severity, offset, limit: PAGE });
      if (mine !== run.current) return;
      set((s) => { const have = new Set(fresh ? [] : s.items.map((a) => a.id)); return { items: [...(fresh ? [] : s.items), ...p.items.filter((a) => !have.has(a.id))], total: p.total, loading: false, error: null }; });
    } catch (e) { if (mine === run.current) set((s) => ({ ...s, loading: false, error: asApiError(e) })); }
  }, [open, severity]);
  useEffect(() => { void load(true); }, [load, mark]);
  // New ones come on top at once; known ones are brought up to date where they stand, and stay until the list is read anew.
  useEffect(() => onEvent((e) => {
    if (e.type !== 'alarm') return;
    const a = e.alarm;
    set((s) => {
      const at = s.items.findIndex((x) => x.id === a.id);
      if (at >= 0) { const items = [...s.items]; items[at] = a; return { ...s, items }; }
      if (a.severity > severity || (open && a.acknowledged_at)) return s;
      return { ...s, items: [a, ...s.items].slice(0, 5_000), total: s.total + 1 };
    });
  }), [open, severity]);
  const more = useCallback(() => { const s = now.current; if (!s.loading && s.items.length < s.total) void load(false); }, [load]);
  return { ...state, more, again: () => void load(true) };
}

export default function Alarms() {
  const { t, pick } = useSpeech();
  const [open, setOpen] = useState(true);
  const [severity, setSeverity] = useState(4);
  const list = useAlarms(open, severity);
  const sums = useStore(alarmSums);
  const sound = useStore(alarmSound);
  const canAct = useStore(session, isOperator);
  const [asked, ask] = useState<Alarm | null>(null);
  useEffect(() => { countAlarms(); }, []);
  return (
    <div className="page alarms">
      <div className="bar">
        <h1 className="bar-title">{t('alarm.title')}</h1>
        <span className="bar-note num" data-testid="alarm-sums">{t('alarm.sums', { open: sums.open, gravest: sums.gravest })}</span>
        <label className="check"><input type="checkbox" checked={open} data-testid="alarm-open" onChange={(e) => setOpen(e.target.checked)} />{t('alarm.onlyOpen')}</label>
        <select value={severity} aria-label={t('alarm.severity')} onChange={(e) => setSeverity(Number(e.target.value))}>
          {[4, 3, 2, 1].map((n) => <option key={n} value={n}>{t('alarm.upTo', { n })}</option>)}
        </select>
        <Button icon={sound ? 'sound' : 'soundOff'} pressed={sound} testId="alarm-sound" onClick={() => setAlarmSound(!sound)}>{t(sound ? 'alarm.soundOn' : 'alarm.soundOff')}</Button>
        <Button icon="refresh" onClick={list.again}>{t('refresh')}</Button>
      </div>
      {list.error && <div className="pad"><ErrorLine error={list.error} /></div>}
      {list.items.length === 0 && !list.loading ? <Empty title={t('alarm.none')} next={t('alarm.none.next')} />
        : <VirtualList aria-label={t('alarm.title')} data-testid="alarm-list" count={list.items.length} rowRem={3.4} onEnd={(last) => { if (last > list.items.length - 20) list.more(); }}
            row={(i) => { const a = list.items[i]!; return (
              <div className={`alarm sev-${a.severity} ${a.acknowledged_at ? 'alarm-done' : ''}`} data-testid={`alarm-${a.id}`} data-device={a.device} data-kind={a.kind} data-acknowledged={!!a.acknowledged_at} data-reset={!!a.reset_at}>
                <span className="alarm-sev num" title={t('alarm.severityN', { n: a.severity })}>{a.severity}</span>
                <span className="alarm-time num"><b>{clock(a.last_at)}</b><small>{day(a.last_at)}</small></span>
                <span className="alarm-what"><b>{pick(a)}</b>{a.count > 1 && <em className="num"> ×{a.count}</em>}<small title={a.description}>{a.description}</small></span>
                <span className="alarm-who"><b>{a.name}</b><small className="num" title={a.source}>{a.longitude !== null && a.latitude !== null ? `${a.longitude.toFixed(5)}, ${a.latitude.toFixed(5)}` : a.source}</small></span>
                <span className="alarm-done-by">{a.acknowledged_at ? <>{t('alarm.seenBy', { name: a.acknowledged_by ?? '', at: clock(a.acknowledged_at) })}<small title={a.note ?? ''}>{a.note}</small></> : a.reset_at ? t('alarm.resetBy', { name: a.reset_by ?? '', at: clock(a.reset_at) }) : ''}</span>
                <span className="alarm-acts">
                  <Button icon="video" testId={`alarm-look-${a.id}`} disabled={!a.channel} title={a.channel ? t('alarm.look.title') : t('alarm.noCamera')} onClick={() => lookAt(a, canAct)}>{t('alarm.look')}</Button>
                  {!a.acknowledged_at && <Button look="main" testId={`alarm-ack-${a.id}`} disabled={!canAct} onClick={() => ask(a)}>{t('alarm.ack')}</Button>}
                  <Button testId={`alarm-reset-${a.id}`} disabled={!canAct || !!a.reset_at} title={t('alarm.reset.title')} onClick={() => void act(api.resetAlarm(a.id))}>{t(a.reset_at ? 'alarm.wasReset' : 'alarm.reset')}</Button>
                </span>
              </div>); }} />}
      {asked && <Acknowledge alarm={asked} onClose={() => ask(null)} />}
    </div>
  );
}

function Acknowledge({ alarm, onClose }: { alarm: Alarm; onClose: () => void }) {
  const { t, pick } = useSpeech();
  const [note, setNote] = useState('');
  const send = async () => { if (await act(api.acknowledgeAlarm(alarm.id, note))) onClose(); };
  return (
    <Dialog title={t('alarm.ack')} onClose={onClose}>
      <form className="form" onSubmit={(e) => { e.preventDefault(); void send(); }}>
        <p><b>{pick(alarm)}</b> · {alarm.name}</p>
        <label className="field"><span className="field-label">{t('alarm.note')}</span><input autoFocus maxLength={500} value={note} data-testid="alarm-note" onChange={(e) => setNote(e.target.value)} /></label>
        <div className="actions"><Button look="main" testId="alarm-ack-send" onClick={() => void send()}>{t('alarm.ack')}</Button><Button onClick={onClose}>{t('cancel')}</Button></div>
      </form>
    </Dialog>
  );
}
