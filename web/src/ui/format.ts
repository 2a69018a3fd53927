// Numbers and times as people read them. Times are absolute with the zone known; durations in words.
import type { Lang } from '../i18n';

export const two = (n: number) => String(n).padStart(2, '0');

export function duration(seconds: number, lang: Lang): string {
  const s = Math.max(0, Math.floor(seconds));
  const d = Math.floor(s / 86_400), h = Math.floor((s % 86_400) / 3600), m = Math.floor((s % 3600) / 60), r = s % 60;
  const u = lang === 'zh' ? ['天', '小时', '分', '秒'] : ['d', 'h', 'min', 's'];
  const part = (n: number, i: number) => `${n} ${u[i]}`;
  if (d) return h ? `${part(d, 0)} ${part(h, 1)}` : part(d, 0);
  if (h) return m ? `${part(h, 1)} ${part(m, 2)}` : part(h, 1);
  if (m) return r ? `${part(m, 2)} ${part(r, 3)}` : part(m, 2);
  return part(r, 3);
}
export const since = (at: string | number | null, now: number) => (at === null ? 0 : Math.max(0, (now - (typeof at === 'number' ? at : Date.parse(at))) / 1000));

const asDate = (at: string | number | Date) => (at instanceof Date ? at : new Date(at));
export function clock(at: string | number | Date): string { const d = asDate(at); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; }
export function clockMs(at: string | number | Date): string { const d = asDate(at); return `${clock(d)}.${String(d.getMilliseconds()).padStart(3, '0')}`; }
export function day(at: string | number | Date): string { const d = asDate(at); return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`; }
export const dateTime = (at: string | number | Date | null | undefined) => (at ? `${day(at)} ${clock(at)}` : '–');
export function zone(d = new Date()): string {
  const m = -d.getTimezoneOffset();
  const a = Math.abs(m);
  return `UTC${m < 0 ? '−' : '+'}${two(Math.floor(a / 60))}:${two(a % 60)}`;
}

export function bytes(n: number): string {
  const u = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  while (n >= 1000 && i < u.length - 1) { n /= 1000; i++; }
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${u[i]}`;
}
export function bitRate(bps: number): string {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}
export const percent = (n: number, digits = 0) => `${n.toFixed(digits)}%`;
