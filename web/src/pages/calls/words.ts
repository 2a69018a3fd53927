// What figures of a call mean to a person. Pure, tested.
import type { CallLeg, DirectoryEntry } from '../../api/types';

export type Grade = 'good' | 'fair' | 'bad' | 'none';
/** A MOS estimate in words: above 4 nobody complains, below 3 many do. A leg that has lost more than a tenth is bad whatever the estimate says. */
export function gradeOf(l: Pick<CallLeg, 'mos' | 'packets' | 'lost'>): Grade {
  if (l.mos === null) return 'none';
  if (l.mos < 3 || lossOf(l) >= 10) return 'bad';
  return l.mos < 4 || lossOf(l) >= 2 ? 'fair' : 'good';
}
/** Percent of the packets that did not come. */
export const lossOf = (l: Pick<CallLeg, 'packets' | 'lost'>) => (l.packets + l.lost > 0 ? (l.lost * 100) / (l.packets + l.lost) : 0);
/** Whether an outside recorder has a phone's sound: `none` if it was to have it and got nothing, null if it was not to. */
export const recordedOf = (l: Pick<CallLeg, 'recorded'>, live: boolean): 'now' | 'done' | 'none' | null => (l.recorded == null ? null : l.recorded === 0 ? 'none' : live ? 'now' : 'done');
export const GRADE_CLASS: Record<Grade, string> = { good: 's-live', fair: 's-stalled', bad: 's-failed', none: 's-idle' };
export const GRADE_SHAPE: Record<Grade, string> = { good: '●', fair: '▲', bad: '■', none: '○' };

export type Presence = 'offline' | 'idle' | 'calling' | 'ringing' | 'talking' | 'held' | 'open' | 'locked' | 'manned' | 'unmanned' | 'list' | 'running';
export function presenceOf(e: Pick<DirectoryEntry, 'kind' | 'online' | 'state'>): Presence {
  if (e.kind === 'conference') return e.online ? 'open' : 'locked';
  if (e.kind === 'queue') return e.online ? 'manned' : 'unmanned';
  if (e.kind === 'list') return e.state === 'idle' ? 'list' : 'running';
  if (e.state !== 'idle') return e.state;
  return e.online ? 'idle' : 'offline';
}
export const PRESENCE_CLASS: Record<Presence, string> = { offline: 's-offline', idle: 's-live', calling: 's-starting', ringing: 's-starting', talking: 's-talking', held: 's-stalled', open: 's-live', locked: 's-offline', manned: 's-live', unmanned: 's-stalled', list: 's-idle', running: 's-starting' };
export const PRESENCE_SHAPE: Record<Presence, string> = { offline: '✕', idle: '●', calling: '◐', ringing: '◐', talking: '◆', held: '▲', open: '●', locked: '✕', manned: '●', unmanned: '▲', list: '○', running: '◐' };

/** What is typed or pasted, as a number that can be dialled: spaces, dashes and brackets go. */
export const dialable = (text: string) => text.replace(/[\s()\-.]/g, '').replace(/[^0-9A-Za-z*#+]/g, '').slice(0, 32);

/** The other party of a record, as seen from the desk: who is to be called back. */
export function callBackNumber(c: { direction: 'in' | 'out' | 'between'; caller: string; callee: string; dialled: string }, own: string | null): string {
  if (c.direction === 'out') return c.callee;
  if (own && c.caller === own) return c.dialled || c.callee;
  return c.caller;
}
