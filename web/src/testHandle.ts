// window.skybridge: what tests and the bench may look at. Read only for them; nothing in the console uses it.
import { eventLog } from './state/live';
import type { Player } from './wall/player';

interface TileHandle { readonly video: HTMLVideoElement; readonly pc: RTCPeerConnection | null; readonly leg: string; readonly firstFrameMs: number | null }
interface MemberHandle { readonly pc: RTCPeerConnection | null; readonly id: string }
const tiles = new Map<number, TileHandle>();
interface PhoneHandle { readonly status: string; readonly lines: readonly unknown[]; readonly pcs: readonly RTCPeerConnection[] }
let member: () => MemberHandle | null = () => null;
let phone: () => PhoneHandle | null = () => null;

export const testHandle = {
  add(n: number, p: Player) {
    const h: TileHandle = {
      get video() { return p.video; }, get pc() { return p.viewer.pc; }, get leg() { return p.viewer.leg; }, get firstFrameMs() { return p.viewer.firstFrameMs; },
    };
    tiles.set(n, h);
    return () => { if (tiles.get(n) === h) tiles.delete(n); };
  },
  setPhone(f: () => PhoneHandle | null) { phone = f; },
  setMember(f: () => MemberHandle | null) { member = f; },
};

declare global { interface Window { skybridge: { tiles: Map<number, TileHandle>; events: unknown[]; member: MemberHandle | null; phone: PhoneHandle | null } } }
if (typeof window !== 'undefined') window.skybridge = { tiles, events: eventLog, get member() { return member(); }, get phone() { return phone(); } };
