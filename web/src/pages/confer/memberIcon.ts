import type { Member } from '../../api/types';

export const iconOf = (m: Member) => (m.kind === 'channel' ? 'camera' : m.kind);
