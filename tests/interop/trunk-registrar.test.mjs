// The carrier's side of a trunk is Kamailio: what it grants, demands and forgets, how many calls a trunk takes, what may be dialled
// through it, and where its numbers lead.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Gateway, PASSWORD } from './lib/gateway.mjs';
import { Kamailio } from './lib/kamailio.mjs';
import { readWav, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const SECRET = 'carrier-secret-1';
const CALLER_TONE = 440, AGENT_TONE = 700, NEAR_TONE = 1000, FAR_TONE = 1300;
/** Seconds that the one carrier grants at most, and the least that the other one takes. */
const GRANTED = 12, LEAST = 120;

/** Times at which a line came in, for those that match. */
function clock(kamailio) {
  const seen = [];
  kamailio.process.watchers.add((line) => { if (line.includes('SAW ')) seen.push({ at: Date.now(), line }); });
  return (pattern) => seen.filter((s) => pattern.test(s.line));
}

const field = (line, name) => line.match(new RegExp(`${name}=(\\S*)`))?.[1] ?? '';

test('trunks that register at a carrier', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'trunk-registrar');
  const near = await Kamailio.open(stage, { name: 'near', host: '127.0.0.2', password: SECRET, numbers: { '0755600': 'trunk1', '1101': '1001' }, grants: GRANTED, stale: true });
  const far = await Kamailio.open(stage, { name: 'far', host: '127.0.0.3', password: SECRET, numbers: { '1101': '1001' }, least: LEAST });
  const seen = clock(near);
  const trunk = { password: 'env:CARRIER_PASSWORD', main_number: '0755600', domain: 'carrier.test', register: true, expires: 60, options_interval: 0 };
  const gateway = await Gateway.open(stage, {
    env: { CARRIER_PASSWORD: SECRET },
    more: {
      phone: {
        trunk: [
          { ...trunk, name: 'near', user: 'trunk1', servers: [`127.0.0.2:${near.port}`], max_calls_out: 1, did: [{ number: '0755600', to: '7000' }] },
          { ...trunk, name: 'far', user: 'trunk2', servers: [`127.0.0.3:${far.port}`] },
        ],
        route: [{ prefix: '9', strip: 1, trunks: ['near', 'far'] }, { prefix: '6', strip: 1, trunks: ['near'] }],
        toll: [{ accounts: ['*'], to: ['9', '6'] }, { accounts: ['*'], to: ['911'], trunks: ['near'], deny: true }, { accounts: ['8002'], to: ['61'], deny: true }],
      },
    },
  });
  const accounts = ['8001', '8002'].map((user) => ({ user, password: `phone-secret-0${user.slice(3)}`, name: `Desk ${user}` }));
  for (const account of accounts) await gateway.api.post('/phones', account);
  await gateway.api.put('/queues/7000', { name: 'Duty', members: ['8002'], order: 'all', announce_every: 0 });
  const sounds = {};
  for (const hertz of [CALLER_TONE, AGENT_TONE, NEAR_TONE, FAR_TONE]) sounds[hertz] = await tone(stage, `says-${hertz}`, hertz, { seconds: 120 });
  const phone = (user, hertz, at = gateway, more = {}) => Baresip.open(stage, at, {
    user, password: accounts.find((a) => a.user === user)?.password ?? SECRET, say: sounds[hertz], answer: 'auto', name: `baresip-${user}-${hertz}`, ...more });
  const one = await phone('8001', CALLER_TONE), two = await phone('8002', AGENT_TONE);
  const outside = await phone('1001', NEAR_TONE, { sip: near.port }, { host: '127.0.0.2' });
  const behind = await phone('1001', FAR_TONE, { sip: far.port }, { host: '127.0.0.3' });
  await Promise.all([one, two, outside, behind].map((p) => p.registered()));

  const state = async (name) => (await gateway.api.get('/trunks')).items.find((i) => i.name === name);
  const up = (name) => until(`trunk ${name} is up`, async () => { const got = await state(name); return got.state === 'up' && got.registered && got; }, 15);
  const hears = (who, hertz) => until(`${who.user} hears ${hertz} Hz`, () => {
    const heard = who.heard();
    return heard.samples.length > heard.rate && toneLevel(heard, hertz) > toneLevel(readWav(sounds[hertz]), hertz) / 4;
  }, 12);
  const recordOf = (number, at, is = () => true) => until(`a record of ${number}`, async () => {
    const { items } = await gateway.api.get(`/calls?number=${encodeURIComponent(number)}`);
    return items.find((c) => Date.parse(c.began_at) >= at - 1000 && is(c));
  }, 10);
  const hangup = async (who) => { const at = Date.now(); who.hangup(); await who.next('CALL_CLOSED', 10, at); };
  const refused = async (who, number) => {
    const at = Date.now();
    who.order('dial', `sip:${number}@127.0.0.1:${gateway.sip}`);
    const closed = await who.next('CALL_CLOSED', 10, at);
    return { said: closed.param, record: await recordOf(number, at) };
  };

  await t.test('a nonce that has gone stale is answered by the next one', async () => {
    await up('near');
    const answers = near.saw(/REGISTER .*auth=trunk1/);
    const nonces = answers.slice(0, 2).map((l) => field(l, 'nonce'));
    assert.equal(new Set(nonces).size, 2, `two answers, each to a nonce of its own: ${answers.join('\n')}`);
  });

  await t.test('423: the registration is asked for as long as the carrier wants it', async () => {
    await up('far');
    const asked = far.saw(/REGISTER .*auth=trunk2/).map((l) => field(l, 'expires'));
    assert.deepEqual(asked.slice(0, 2), ['60', String(LEAST)]);
  });

  // From here on the near trunk must never be without its registration.
  const lapses = [];
  let watching = true;
  const watch = (async () => {
    while (watching) {
      const got = await state('near');
      if (!got.registered) lapses.push(got);
      await wait(200);
    }
  })();

  await t.test('more calls than a trunk takes go to the next one, and are refused by name where there is none', async () => {
    let at = Date.now();
    await one.dial('91001');
    await hears(one, NEAR_TONE);
    await hears(outside, CALLER_TONE);
    await two.dial('91001');
    await hears(two, FAR_TONE);
    await hears(behind, AGENT_TONE);
    await hangup(two);
    const { said, record } = await refused(two, '62001');
    assert.match(said, /503/);
    assert.equal(record.code, 'trunk_full', JSON.stringify(record));
    await hangup(one);
    const trunks = [];
    for (const from of ['8001', '8002']) trunks.push((await recordOf('91001', at, (c) => c.caller === from)).legs.map((l) => l.trunk).find(Boolean));
    assert.deepEqual(trunks, ['near', 'far']);
    // The place is free again.
    at = Date.now();
    await two.dial('91001');
    await hears(two, NEAR_TONE);
    await hangup(two);
  });

  await t.test('a denied prefix: for one trunk the next one is taken, for all the call is refused', async () => {
    const at = Date.now();
    await one.dial('91101');
    await hears(one, FAR_TONE);
    await hangup(one);
    assert.ok((await recordOf('91101', at)).legs.some((l) => l.trunk === 'far'));
    const { said, record } = await refused(two, '61001');
    assert.match(said, /403/);
    assert.equal(record.code, 'toll_denied', JSON.stringify(record));
    assert.equal(near.saw(/INVITE sip:(62001|2001|1101)@/).length, 0, 'nothing of it went out');
  });

  await t.test('a number of the trunk leads to a queue: its agent hears the caller, and his sound goes back by the trunk', async () => {
    const at = Date.now();
    outside.order('dial', `sip:0755600@127.0.0.2:${near.port}`);
    await outside.next('CALL_ESTABLISHED', 10, at);
    await two.next('CALL_ESTABLISHED', 10, at);
    await hears(two, NEAR_TONE);
    await hears(outside, AGENT_TONE);
    await hangup(outside);
    const record = await recordOf('7000', at);
    const back = record.legs.find((l) => l.trunk === 'near');
    assert.ok(back.sent >= 40 && record.legs.every((l) => l.packets >= 40), JSON.stringify(record.legs));
    assert.equal(record.caller, '1001', JSON.stringify(record));
    assert.ok(record.legs.some((l) => l.trunk === 'near') && record.callee === '8002' && record.queue === '7000', JSON.stringify(record));
  });

  await t.test('the registration is refreshed before it runs out', async () => {
    const accepted = await until('two refreshes', () => {
      // The first answer was to the stale nonce.
      const good = seen(/REGISTER .*auth=trunk1/).slice(1);
      return good.length >= 3 && good;
    }, 40);
    watching = false;
    await watch;
    const gaps = accepted.slice(1).map((s, n) => (s.at - accepted[n].at) / 1000);
    say(`granted ${GRANTED} s, refreshed after ${gaps.map((g) => g.toFixed(1)).join(' and ')} s`);
    assert.ok(gaps.every((g) => g > GRANTED / 2 && g < GRANTED), gaps.join(' '));
    assert.deepEqual(lapses, []);
  });

  await t.test('at the stop it is taken back: the carrier does not know the number any more', async () => {
    await gateway.process.stop();
    for (const [carrier, user] of [[near, 'trunk1'], [far, 'trunk2']]) {
      assert.equal(carrier.saw(new RegExp(`REGISTER .*expires=0 auth=${user}`)).length, 1, user);
    }
    const at = Date.now();
    outside.order('dial', `sip:0755600@127.0.0.2:${near.port}`);
    assert.match((await outside.next('CALL_CLOSED', 10, at)).param, /404/);
  });

  await t.test('a trunk that was taken out of the configuration does not register again', async () => {
    const text = readFileSync(gateway.config, 'utf8');
    const without = text.replace(/, \{[^{}]*"name" = "far"[^{}]*\}/, '').replace('["near", "far"]', '["near"]');
    assert.ok(!without.includes('"far"'), without);
    writeFileSync(gateway.config, without);
    const before = far.saw(/REGISTER .*trunk2/).length;
    await gateway.start();
    gateway.api = await gateway.signIn('admin', PASSWORD);
    await up('near');
    assert.deepEqual((await gateway.api.get('/trunks')).items.map((i) => i.name), ['near']);
    await wait(2000);
    assert.equal(far.saw(/REGISTER .*trunk2/).length, before);
  });
});
