// Who is at this console. Unknown until the gateway has answered: no sign-in form before that.
import { api, asApiError, setUnauthorised } from '../api/client';
import type { Account, Role, Site } from '../api/types';
import { Backoff } from '../media/backoff';
import { startLive, stopLive } from './live';
import { createStore } from './store';

export interface SessionState {
  phase: 'unknown' | 'waiting' | 'out' | 'password' | 'in';
  account: Account | null;
  /** Names this sign-in where the gateway tells who holds a camera. */
  session: string | null;
  site: Site | null;
  since: number;
  /** Signed out by expiry, not by hand. */
  expired: boolean;
}
export const session = createStore<SessionState>({ phase: 'unknown', account: null, session: null, site: null, since: Date.now(), expired: false });

function enter(account: Account, site: Site | null | undefined, name?: string) {
  const phase = account.must_change_password ? 'password' : 'in';
  session.set((s) => ({ phase, account, session: name ?? s.session, site: site ?? s.site, since: Date.now(), expired: false }));
  if (phase === 'in') startLive();
}

/** Asks for the session until the gateway answers. */
export async function openSession() {
  const backoff = new Backoff(500, 5_000);
  for (;;) {
    try {
      const s = await api.session();
      enter(s.account, s.site, s.session);
      return;
    } catch (e) {
      const err = asApiError(e);
      if (err.status === 401 || err.status === 403) { leave(false); return; }
      session.set((s) => (s.phase === 'waiting' ? s : { ...s, phase: 'waiting', since: Date.now() }));
      await new Promise((r) => setTimeout(r, backoff.next()));
    }
  }
}

export async function signIn(name: string, password: string) {
  const s = await api.signIn(name, password);
  enter(s.account, s.site, s.session);
  if (!s.site || !s.session) { const full = await api.session(); session.set((x) => ({ ...x, site: full.site ?? x.site, session: full.session ?? null, account: full.account })); }
}

export async function changePassword(old: string, next: string) {
  await api.changePassword(old, next);
  const s = await api.session();
  enter({ ...s.account, must_change_password: false }, s.site);
}

function leave(expired: boolean) {
  stopLive();
  session.set((s) => ({ ...s, phase: 'out', account: null, since: Date.now(), expired }));
}
/** What must be ended in order while the sign-in still counts; waited for a moment. */
export const farewells = new Set<() => Promise<void>>();
const FAREWELL_MS = 1_500;

export async function signOut() {
  await Promise.race([Promise.allSettled([...farewells].map((f) => f())), new Promise((r) => setTimeout(r, FAREWELL_MS))]);
  try { await api.signOut(); } catch { /* the cookie ends by itself */ }
  leave(false);
}

// A 401 in the middle of work: ask once more before showing the form (a restarting gateway may err).
let asking = false;
setUnauthorised(() => {
  if (asking || session.get().phase !== 'in') return;
  asking = true;
  api.session().then(
    () => { asking = false; },
    (e) => { asking = false; if (asApiError(e).status === 401) leave(true); },
  );
});

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };
export const may = (s: SessionState, role: Role) => !!s.account && RANK[s.account.role] >= RANK[role];
export const isOperator = (s: SessionState) => may(s, 'operator');
export const isAdmin = (s: SessionState) => may(s, 'admin');
