// The operator's own telephone in this browser: whether it is on, and its calls. The SIP part (media/softPhone.ts) is fetched only
// when an account has a number; this part is small and always there.
import { api, asApiError, ApiError } from '../api/client';
import type { Text } from '../api/types';
import { Backoff } from '../media/backoff';
import type { SoftPhone } from '../media/softPhone';
import { testHandle } from '../testHandle';
import { connection } from './live';
import { farewells, isOperator, session } from './session';
import { createStore } from './store';

export type LineState = 'calling' | 'ringing' | 'connecting' | 'talking' | 'held' | 'ended';
/** One call of the own telephone. `ringing` is a call that came in and waits for an answer. */
export interface Line {
  id: string; direction: 'in' | 'out'; number: string; name: string; state: LineState; muted: boolean; since: number; answeredAt: number | null;
  /** Why it ended, or what an order to it came to; in words. */
  words: Text | null;
  /** The other end rings: heard as a tone. */
  rings: boolean;
}
/** `none`: the account has no number. `elsewhere`: another tab of this browser is the telephone. */
export type PhoneStatus = 'unknown' | 'none' | 'off' | 'insecure' | 'elsewhere' | 'starting' | 'ready' | 'failed';
export interface OwnPhone { status: PhoneStatus; number: string; name: string; error: ApiError | null }

export const ownPhone = createStore<OwnPhone>({ status: 'unknown', number: '', name: '', error: null });
export const lines = createStore<readonly Line[]>([]);
/** Calls at once: one is talked, others are held or wait. */
export const MOST_LINES = 4;

// ---- the list of calls: pure, tested
export function putLine(list: readonly Line[], l: Line): readonly Line[] {
  return list.some((x) => x.id === l.id) ? list.map((x) => (x.id === l.id ? l : x)) : [...list, l];
}
export const alive = (l: Line) => l.state !== 'ended';
/** The call that the buttons and the keyboard mean: what rings first, then what is talked. */
export function foremost(list: readonly Line[]): Line | null {
  const of = (s: LineState) => list.find((l) => l.state === s);
  return of('ringing') ?? of('talking') ?? of('connecting') ?? of('calling') ?? of('held') ?? null;
}

const onKey = () => `skybridge.phone.${session.get().account?.name ?? ''}`;
export function phoneWanted(): boolean {
  try { return localStorage.getItem(onKey()) !== 'off'; } catch { return true; }
}

let engine: SoftPhone | null = null;
let run = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let giveBack: (() => void) | null = null;
const backoff = new Backoff(1_000, 20_000);
const set = (p: Partial<OwnPhone>) => ownPhone.set((x) => ({ ...x, ...p }));
const ENDED_SHOWN_MS = 6_000;

function change(l: Line) {
  lines.set((list) => putLine(list, l));
  if (l.state === 'ended') setTimeout(() => lines.set((list) => list.filter((x) => x.id !== l.id)), ENDED_SHOWN_MS);
}

/** One tab is the telephone; the others wait until it closes. */
async function lock(name: string, mine: number): Promise<boolean> {
  if (!navigator.locks) return true;
  const take = (options: LockOptions) => new Promise<boolean>((got) => {
    void navigator.locks.request(name, options, (l) => {
      if (!l || mine !== run) { got(false); return undefined; }
      got(true);
      return new Promise<void>((done) => { giveBack = done; });
    });
  });
  if (await take({ ifAvailable: true })) return true;
  if (mine !== run) return false;
  set({ status: 'elsewhere' });
  return take({});
}

async function start() {
  const mine = ++run;
  clearTimeout(timer);
  if (!isOperator(session.get())) { set({ status: 'none' }); return; }
  try {
    const own = await api.ownPhone();
    if (mine !== run) return;
    if (!own.phone) { set({ status: 'none', number: '', name: '' }); return; }
    set({ number: own.phone, name: own.name });
    if (!phoneWanted()) { set({ status: 'off' }); return; }
    if (!navigator.mediaDevices?.getUserMedia) { set({ status: 'insecure' }); return; }
    if (!(await lock(`skybridge-phone-${own.phone}`, mine)) || mine !== run) return;
    set({ status: 'starting' });
    const [{ SoftPhone }, ticket] = await Promise.all([import('../media/softPhone'), api.phoneTicket()]);
    if (mine !== run) return;
    engine = new SoftPhone(ticket, {
      line: change,
      ready: () => { if (mine === run) { backoff.reset(); set({ status: 'ready', error: null }); } },
      lost: (why) => { if (mine === run) again(why); },
    });
    await engine.start();
  } catch (e) {
    if (mine === run) again(asApiError(e));
  }
}

function again(error: ApiError | null) {
  halt();
  set({ status: 'failed', error });
  // A rule of the gateway does not change by asking again and again.
  const refused = error !== null && error.status >= 400 && error.status < 500 && error.status !== 429;
  if (!refused) timer = setTimeout(() => void start(), backoff.next());
}

function halt() {
  run++;
  clearTimeout(timer);
  const e = engine;
  engine = null;
  void e?.stop();
  giveBack?.();
  giveBack = null;
}

/** Switches the own telephone on or off; kept in this browser. */
export function setPhoneWanted(on: boolean) {
  try { localStorage.setItem(onKey(), on ? 'on' : 'off'); } catch { /* storage forbidden */ }
  halt();
  if (on) { backoff.reset(); void start(); } else set({ status: 'off', error: null });
}

// ---- orders
export async function dial(number: string): Promise<boolean> {
  if (!engine || ownPhone.get().status !== 'ready' || !number || lines.get().filter(alive).length >= MOST_LINES) return false;
  await holdOthers('');
  await engine.dial(number);
  return true;
}
async function holdOthers(id: string) {
  await Promise.all(lines.get().filter((l) => l.id !== id && l.state === 'talking').map((l) => engine?.hold(l.id, true)));
}
export async function answer(id: string) { await holdOthers(id); await engine?.answer(id); }
/** Declines, gives up or hangs up, as the call's state wants. */
export function hangUp(id: string) { void engine?.end(id); }
export function mute(id: string, on: boolean) { engine?.mute(id, on); }
export async function hold(id: string, on: boolean) { if (!on) await holdOthers(id); await engine?.hold(id, on); }
export function press(id: string, key: string) { void engine?.key(id, key); }
export function transfer(id: string, number: string) { void engine?.transfer(id, number); }
/** Joins two own calls: the other ends talk to each other, the own telephone is out. */
export function join(id: string, other: string) { void engine?.join(id, other); }

// ---- life
let signedIn: string | null = null;
session.subscribe(() => {
  const s = session.get();
  const who = s.phase === 'in' ? s.account?.name ?? null : null;
  if (who === signedIn) return;
  signedIn = who;
  halt();
  lines.set([]);
  set({ status: 'unknown', number: '', name: '', error: null });
  if (who) void start();
});
connection.subscribe(() => {
  if (connection.get().state !== 'open' || !signedIn) return;
  // The gateway is back, or this computer has slept: what was connected may be dead without knowing it.
  if (engine) void engine.check();
  else if (['failed', 'none'].includes(ownPhone.get().status)) { halt(); void start(); }
});
farewells.add(async () => { const e = engine; run++; engine = null; await e?.stop(); });
if (typeof window !== 'undefined') window.addEventListener('pagehide', () => { void engine?.stop(); });
testHandle.setPhone(() => ({ status: ownPhone.get().status, lines: lines.get(), pcs: engine?.connections() ?? [] }));
