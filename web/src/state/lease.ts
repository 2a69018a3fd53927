// Who holds a camera, from this console's side.
import type { Holder } from '../api/control';
import { leases } from './live';
import { session } from './session';
import { useStore } from './store';

export interface Held { holder: Holder | null; mine: boolean; others: boolean }
export const heldBy = (holder: Holder | undefined, me: string | null): Held => ({ holder: holder ?? null, mine: !!holder && holder.session === me, others: !!holder && holder.session !== me });

export function useHeld(channel: string): Held {
  const holder = useStore(leases, (m) => m.get(channel));
  const me = useStore(session, (s) => s.session);
  return heldBy(holder, me);
}
