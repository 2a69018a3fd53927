// The legs of this page. Who signs out hangs up first, while the sign-in still counts; a leg left behind would play on unseen.
import { api } from '../api/client';
import { farewells } from '../state/session';

const open = new Map<string, () => void>();
const ending = new Set<Promise<void>>();

/** A leg began; `hangUp` ends it by way of `endLeg`. */
export function legBegan(leg: string, hangUp: () => void) { if (leg) open.set(leg, hangUp); }

/** Told to the gateway, which may have ended it before; the page may go meanwhile. */
export function endLeg(leg: string) {
  if (!leg) return;
  open.delete(leg);
  const end = api.endLeg(leg, true).catch(() => {}).finally(() => ending.delete(end));
  ending.add(end);
}

farewells.add(async () => {
  for (const hangUp of [...open.values()]) hangUp();
  await Promise.allSettled([...ending]);
});
