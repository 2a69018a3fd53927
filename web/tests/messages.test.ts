import { describe, expect, it } from 'vitest';
import { isNews, mark } from '../src/state/messages';

describe('messages that are news', () => {
  const now = Date.parse('2026-11-23T10:00:00Z');
  const m = (at: string, sender = 'phone:8001', thread = 'phone:8001') => ({ at, sender, thread });
  it('counts what somebody else wrote after the last look', () => {
    const seen = { 'phone:8001': '2026-11-23T09:00:00Z' };
    expect(isNews(m('2026-11-23T09:00:01Z'), seen, 'account:ann', now)).toBe(true);
    expect(isNews(m('2026-11-23T09:00:00Z'), seen, 'account:ann', now)).toBe(false);
    expect(isNews(m('2026-11-23T09:30:00Z', 'account:ann'), seen, 'account:ann', now)).toBe(false);
  });
  it('goes a day back where nobody looked', () => {
    expect(isNews(m('2026-11-22T10:00:01Z'), {}, 'account:ann', now)).toBe(true);
    expect(isNews(m('2026-11-22T09:59:59Z'), {}, 'account:ann', now)).toBe(false);
  });
  it('keeps the newest marks only', () => {
    let seen = {};
    for (let n = 0; n < 510; n++) seen = mark(seen, `phone:${n}`, new Date(now + n).toISOString());
    expect(Object.keys(seen)).toHaveLength(500);
    expect(seen).toHaveProperty('phone:509');
    expect(seen).not.toHaveProperty('phone:0');
  });
});
