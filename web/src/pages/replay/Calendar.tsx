import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import { useSpeech } from '../../i18n';
import { epoch } from '../../state/live';
import { useStore } from '../../state/store';
import { Button } from '../../ui/basic';
import { day as dayText, two } from '../../ui/format';

/** A month; days with recordings carry a mark and a word for those who cannot see it. */
export function Calendar({ stream, day, onDay }: { stream: string | null; day: string; onDay: (d: string) => void }) {
  const { t, lang } = useSpeech();
  const [month, setMonth] = useState(day.slice(0, 7));
  const [days, setDays] = useState<ReadonlySet<string>>(new Set());
  const mark = useStore(epoch);
  useEffect(() => setMonth(day.slice(0, 7)), [day]);
  useEffect(() => {
    let on = true;
    api.recordingDays(month, stream ?? undefined).then((r) => { if (on) setDays(new Set(r.days)); }, () => { if (on) setDays(new Set()); });
    return () => { on = false; };
  }, [month, stream, mark]);
  const [y, m] = month.split('-').map(Number) as [number, number];
  const lead = (new Date(y, m - 1, 1).getDay() + 6) % 7; // weeks begin on Monday
  const count = new Date(y, m, 0).getDate();
  const move = (by: number) => { const d = new Date(y, m - 1 + by, 1); setMonth(`${d.getFullYear()}-${two(d.getMonth() + 1)}`); };
  const names = Array.from({ length: 7 }, (_, i) => new Intl.DateTimeFormat(lang === 'zh' ? 'zh-CN' : 'en', { weekday: 'narrow' }).format(new Date(2024, 0, 1 + i)));
  const today = dayText(Date.now());
  return (
    <div className="calendar num" data-testid="calendar">
      <header><Button look="quiet" icon="left" aria-label={t('replay.month.before')} onClick={() => move(-1)} /><b>{new Intl.DateTimeFormat(lang === 'zh' ? 'zh-CN' : 'en', { year: 'numeric', month: 'long' }).format(new Date(y, m - 1, 1))}</b><Button look="quiet" icon="right" aria-label={t('replay.month.after')} onClick={() => move(1)} /></header>
      <div className="calendar-grid">
        {names.map((n, i) => <span key={i} className="calendar-name">{n}</span>)}
        {Array.from({ length: lead }, (_, i) => <span key={`x${i}`} />)}
        {Array.from({ length: count }, (_, i) => {
          const d = `${month}-${two(i + 1)}`;
          const has = days.has(d);
          return <button key={d} type="button" className={`${has ? 'has' : ''} ${d === today ? 'today' : ''}`} aria-pressed={d === day} aria-label={`${d}${has ? ` ${t('replay.day.has')}` : ''}`} data-testid={`day-${d}`} onClick={() => onDay(d)}>{i + 1}</button>;
        })}
      </div>
    </div>
  );
}
