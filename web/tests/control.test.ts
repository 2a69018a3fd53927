import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../src/api/client';
import { confirmation, orderTwice, type Holder } from '../src/api/control';
import { apply, leases } from '../src/state/live';
import { heldBy } from '../src/state/lease';

const holder = (session: string): Holder => ({ account: 'li', session, role: 'operator', priority: 0, since: '', until: '' });

describe('who holds a camera', () => {
  it('is this sign-in, another one, or nobody', () => {
    expect(heldBy(holder('a'), 'a')).toMatchObject({ mine: true, others: false });
    expect(heldBy(holder('b'), 'a')).toMatchObject({ mine: false, others: true });
    expect(heldBy(undefined, 'a')).toEqual({ holder: null, mine: false, others: false });
    expect(heldBy(holder('a'), null)).toMatchObject({ mine: false, others: true });
  });
  it('follows the events', () => {
    const stamp = { at: '', seq: 1 };
    apply({ type: 'lease', channel: 'c', holder: holder('a'), ...stamp });
    expect(leases.get().get('c')?.session).toBe('a');
    apply({ type: 'lease', channel: 'c', holder: null, ...stamp });
    expect(leases.get().has('c')).toBe(false);
  });
});

describe('a dangerous order', () => {
  afterEach(() => vi.unstubAllGlobals());
  const answers = (list: [number, unknown][]) => {
    const bodies: unknown[] = [];
    vi.stubGlobal('fetch', async (_: string, init: { body: string }) => {
      bodies.push(JSON.parse(init.body));
      const [status, body] = list.shift()!;
      return new Response(JSON.stringify(body), { status });
    });
    return bodies;
  };
  const asked = [409, { error: { code: 'confirmation_required', whose: 'you', retry: false, zh: '', en: '' }, confirm: { token: 'T', good_for_s: 60 } }] as [number, unknown];
  it('is given again with the token that came', async () => {
    const bodies = answers([asked, [200, { outcome: 'sent' }]]);
    expect(await orderTwice({ device: 'gb28181:1' }, { do: 'reboot' }, async () => true)).toBe('sent');
    expect(bodies).toEqual([{ order: { do: 'reboot' } }, { order: { do: 'reboot' }, confirm: 'T' }]);
  });
  it('is not given again when the person says no', async () => {
    const bodies = answers([asked]);
    expect(await orderTwice({ device: 'gb28181:1' }, { do: 'reboot' }, async () => false)).toBe(false);
    expect(bodies.length).toBe(1);
  });
  it('tells other refusals as they are', async () => {
    answers([[409, { error: { code: 'camera_held', whose: 'you', retry: true, zh: '', en: '' } }]]);
    const e = await orderTwice({ device: 'gb28181:1' }, { do: 'reboot' }, async () => true).catch((x: unknown) => x);
    expect(e).toBeInstanceOf(ApiError);
    expect(confirmation(e)).toBeNull();
  });
});
