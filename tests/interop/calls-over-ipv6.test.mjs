// Calls with sound over IPv6: a phone on ::1 and one on 127.0.0.1 call each other and hear each other, and the one on ::1 speaks in a
// conference, into which it dials and into which it is called.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Gateway, id, PIN } from './lib/gateway.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';
import { freePorts } from './lib/ports.mjs';

const secret = (user) => `phone-secret-${user.slice(2)}x`;

test('phones of IPv6 and IPv4 call each other and meet', { timeout: 90_000 }, async (t) => {
  if (!Object.values(networkInterfaces()).flat().some((a) => a.address === '::1')) return t.skip('this machine has no IPv6');
  const stage = Stage.open(t, 'calls-over-ipv6');
  const port = await freePorts();
  const gateway = await Gateway.open(stage, { more: { sip: { udp: [`127.0.0.1:${port}`, `[::1]:${port}`], tcp: [`127.0.0.1:${port}`] } } });
  gateway.sip = port;
  for (const user of ['8001', '8002']) await gateway.api.post('/phones', { user, password: secret(user), name: `Phone ${user}` });
  const tones = { 8001: 1250, 8002: 1900 };
  const phone = async (user, options) => {
    const p = await Baresip.open(stage, gateway, { user, password: secret(user), say: await tone(stage, `says-${user}`, tones[user], { seconds: 60 }), ...options });
    await p.registered();
    return p;
  };
  const [six, four] = await Promise.all([phone('8001', { host: '[::1]', own: '[::1]' }), phone('8002', { answer: 'auto' })]);
  const level = (p, hz) => toneLevel(cut(p.heard(), Math.max(0, seconds(p.heard()) - 2)), hz);
  const contacts = (await gateway.api.get('/phones')).items.flatMap((p) => p.contacts.map((c) => `${p.user} ${c.source ?? c.address ?? JSON.stringify(c)}`));
  say(contacts.join(', '));
  assert.ok(contacts.some((c) => /^8001 .*::1/.test(c)), 'registered over IPv6');

  // From the one on IPv6, and towards it.
  const talk = async (what, [caller, number], callee) => {
    const at = Date.now(), before = [six, four].map((p) => p.recordings().length);
    caller.order('dial', `sip:${number}@${caller.host}:${gateway.sip}`);
    if (callee === six) {
      await six.next('CALL_INCOMING', 10, at);
      six.order('accept');
    }
    for (const p of [six, four]) await p.next('CALL_ESTABLISHED', 10, at);
    await until('a new recording of two seconds at both', () => [six, four].every((p, i) => p.recordings().length > before[i] && seconds(p.heard()) > 2.5), 10);
    const [hears6, hears4] = [level(six, tones[8002]), level(four, tones[8001])];
    say(`${what}: over IPv6 heard ${hears6.toFixed(3)}, over IPv4 ${hears4.toFixed(3)}; own tones ${level(six, tones[8001]).toFixed(4)}, ${level(four, tones[8002]).toFixed(4)}`);
    assert.ok(hears6 > 0.1 && hears4 > 0.1);
    assert.ok(level(six, tones[8001]) < 0.01 && level(four, tones[8002]) < 0.01);
    caller.hangup();
    for (const p of [six, four]) await p.next('CALL_CLOSED', 6, at);
  };
  await talk('IPv6 calls IPv4', [six, '8002'], four);
  await talk('IPv4 calls IPv6', [four, '8001'], six);

  // Both in a conference, by its number and PIN, as over IPv4; then the hall calls the one on IPv6 into it. baresip begins a new file for
  // each call.
  const inside = async () => (await gateway.conference()).members.filter((m) => m.kind === 'phone' && m.state === 'connected').length;
  const meet = async (what) => {
    await until('both are in the conference', async () => await inside() === 2, 15);
    await wait(3_500);
    const [met6, met4] = [level(six, tones[8002]), level(four, tones[8001])];
    say(`${what}: over IPv6 heard ${met6.toFixed(3)}, over IPv4 ${met4.toFixed(3)}; own tones ${level(six, tones[8001]).toFixed(4)}, ${level(four, tones[8002]).toFixed(4)}`);
    assert.ok(met6 > 0.05 && met4 > 0.05);
    assert.ok(level(six, tones[8001]) < met6 / 10 && level(four, tones[8002]) < met4 / 10);
  };
  await Promise.all([six, four].map(async (p) => {
    await p.dial('9000');
    await wait(1_500);
    await p.digits(`${PIN}#`);
  }));
  await meet('in the conference');
  six.hangup();
  await until('one has left', async () => await inside() === 1, 6);
  const at = Date.now();
  await gateway.api.post(`/conferences/${id((await gateway.conference()).id)}/members`, { dial: '8001' });
  await six.next('CALL_INCOMING', 10, at);
  six.order('accept');
  await six.next('CALL_ESTABLISHED', 10, at);
  await meet('called into the conference');
  six.hangup();
  four.hangup();
});
