import { describe, expect, it } from 'vitest';
import type { Broadcast, BroadcastTarget } from '../src/api/types';
import { merged, missed, progress } from '../src/state/broadcast';

const target = (n: number, more: Partial<BroadcastTarget> = {}): BroadcastTarget => ({ n, to: `800${n}`, name: '', state: 'waiting', tries: 0, heard: 0, position: 0, code: null, zh: '', en: '', next_zh: '', next_en: '', changed_at: '2026-01-01T00:00:01Z', ...more });
const cast = (more: Partial<Broadcast> = {}): Broadcast => ({ id: 'b', name: 'x', by: 'a', stopped_by: null, state: 'running', source: { kind: 'text', text: 'x' }, rounds: 2, pause: 2, chime: true, seconds: 3, started_at: '2026-01-01T00:00:00Z', ended_at: null, microphone: false, counts: {}, ...more });

describe('a broadcast on the board', () => {
  it('keeps the newest of each target, whichever way it came', () => {
    const failed = target(1, { state: 'failed', changed_at: '2026-01-01T00:00:02Z' });
    const news = merged(undefined, cast(), [failed]);
    // The answer to the order was written before that, and comes behind it.
    const b = merged(news, cast({ targets: [target(0), target(1)] }), []);
    expect(b.targets!.map((t) => t.state)).toEqual(['waiting', 'failed']);
    expect(merged(b, cast(), [target(0, { state: 'said' })]).targets![0]!.state).toBe('said');
  });
  it('does not run again when an old answer comes late', () => {
    const done = cast({ state: 'done', ended_at: '2026-01-01T00:00:09Z' });
    expect(merged(done, cast(), []).state).toBe('done');
    expect(merged(cast(), done, []).state).toBe('done');
  });
  it('says it again to those who never heard it whole', () => {
    const b = cast({ targets: [target(0, { state: 'said', heard: 2 }), target(1, { state: 'partly', heard: 1.3 }), target(2, { state: 'partly', heard: 0.3 }), target(3, { state: 'no_answer' }), target(4, { state: 'calling' }), target(5, { state: 'interrupted' })] });
    expect(missed(b).map((t) => t.n)).toEqual([2, 3, 5]);
  });
  it('counts how far it is', () => {
    expect(progress(cast())).toBe(0);
    expect(progress(cast({ targets: [target(0, { state: 'said' }), target(1, { state: 'speaking', position: 1 }), target(2), target(3, { state: 'failed' })] }))).toBeCloseTo(2.5 / 4);
  });
});
