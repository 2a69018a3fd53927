// Alarms at this console: how many nobody has acknowledged, and the sound of a new one.
import { api } from '../api/client';
import { connection, epoch, onEvent } from './live';
import { createStore } from './store';

export interface AlarmSums { open: number; gravest: number }
export const alarmSums = createStore<AlarmSums>({ open: 0, gravest: 0 });

const STORE = 'skybridge.alarmSound';
const stored = () => { try { return localStorage.getItem(STORE) !== 'off'; } catch { return true; } };
export const alarmSound = createStore<boolean>(typeof localStorage === 'undefined' ? true : stored());
export function setAlarmSound(on: boolean) {
  try { localStorage.setItem(STORE, on ? 'on' : 'off'); } catch { /* storage forbidden */ }
  alarmSound.set(on);
}

let context: AudioContext | null = null;
/** Two short tones; three for the gravest. A browser that forbids sound before a click stays silent: the badge is there all the same. */
function ring(severity: number) {
  if (!alarmSound.get() || typeof AudioContext === 'undefined') return;
  try {
    context ??= new AudioContext();
    const beats = severity === 1 ? 3 : 2;
    for (let n = 0; n < beats; n++) {
      const tone = context.createOscillator(), gain = context.createGain();
      const at = context.currentTime + n * 0.22;
      tone.frequency.value = severity === 1 ? 1040 : 780;
      gain.gain.setValueAtTime(0.12, at); gain.gain.exponentialRampToValueAtTime(0.001, at + 0.18);
      tone.connect(gain).connect(context.destination);
      tone.start(at); tone.stop(at + 0.2);
    }
  } catch { /* no sound device */ }
}

let timer: ReturnType<typeof setTimeout> | undefined;
let again = false;
let late: ReturnType<typeof setTimeout> | undefined;
/** Many alarms at once cost one question every half second. */
export function countAlarms() {
  if (timer) { again = true; return; }
  again = false;
  timer = setTimeout(() => { timer = undefined; if (again) countAlarms(); }, 500);
  api.alarmSums().then((s) => alarmSums.set((x) => (x.open === s.open && x.gravest === s.gravest ? x : s)), () => {});
}

onEvent((e) => {
  if (e.type !== 'alarm') return;
  countAlarms();
  // It is told before it is written: the sum of this moment may lack it.
  clearTimeout(late);
  late = setTimeout(countAlarms, 1_000);
  if (!e.alarm.acknowledged_at && e.alarm.count === 1 && !e.alarm.reset_at && e.alarm.severity <= 3) ring(e.alarm.severity);
});
epoch.subscribe(() => { if (connection.get().state !== 'lost') countAlarms(); });
