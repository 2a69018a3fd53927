// What a chair does with a conference, in signals: mute for all, raised hands, a word in private, side rooms, members taken into another conference.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser, cameraFile, joinConference } from './lib/browser.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const TONES = { 8001: 1250, 8002: 1900 };
const BROWSER_TONE = 700;

test('mute for all, hands, whispers, side rooms, moves, a place that is kept', { timeout: 180_000 }, async (t) => {
  const stage = Stage.open(t, 'conference-steered');
  const gateway = await Gateway.open(stage);
  for (const user of Object.keys(TONES)) await gateway.api.post('/phones', { user, password: 'unit-secret-word', name: `Unit ${user}` });
  const [main, other] = [await gateway.conference(), await gateway.api.post('/conferences', { name: 'Second team', number: '9600' })];
  const room = `/conferences/${id(main.id)}`;
  const phones = Object.fromEntries(await Promise.all(Object.entries(TONES).map(async ([user, hz]) => {
    const p = await Baresip.open(stage, gateway, { user, password: 'unit-secret-word', say: await tone(stage, `unit-${user}`, hz, { seconds: 170 }), answer: 'auto' });
    await p.registered();
    return [user, p];
  })));
  const member = {};
  const call = async (user) => {
    member[user] = (await gateway.api.post(`${room}/members`, { dial: user })).id;
    await phones[user].next('CALL_ESTABLISHED', 15);
  };
  for (const user of Object.keys(TONES)) {
    await until(`${user} is registered`, async () => (await gateway.api.get('/phones')).items.find((p) => p.user === user)?.registered);
    await call(user);
  }
  // A viewer who is made chair steers; before that he may not.
  await gateway.api.post('/accounts', { name: 'leader', password: 'first-secret-word', role: 'viewer' });
  const browser = await Browser.open(stage, gateway, { microphone: await tone(stage, 'leader', BROWSER_TONE, { seconds: 20, rate: 48_000 }), camera: await cameraFile(stage) });
  await browser.signIn({ account: 'leader', password: 'second-secret-word', first: 'first-secret-word' });
  member.leader = await joinConference(browser, main.id, { name: 'Leader' });
  await browser.listen('mix', 'member');
  assert.ok(await browser.at('conference-mute-all').isDisabled(), 'a viewer steers nothing');
  await gateway.api.patch(`${room}/members/${id(member.leader)}`, { role: 'chair' });
  await until('the chair may steer', async () => browser.at('conference-mute-all').isEnabled(), 5);

  const inBrowser = async () => {
    const { db } = await browser.spectrum('mix', [TONES[8001], TONES[8002], 1571], 800);
    return { 8001: db[0] - db[2] > 25, 8002: db[1] - db[2] > 25 };
  };
  const lately = (user, hz) => { const heard = phones[user].heard(); return toneLevel(cut(heard, Math.max(0, seconds(heard) - 1)), hz) > 0.01; };
  const settled = () => wait(2_500);
  const view = async (conference, who) => (await gateway.api.get(`/conferences/${id(conference)}`)).members.find((m) => m.id === who);

  await settled();
  assert.deepEqual(await inBrowser(), { 8001: true, 8002: true });

  // Mute for all; a hand by the phone's key; let speak.
  await browser.at('conference-mute-all').click();
  await settled();
  assert.deepEqual(await inBrowser(), { 8001: false, 8002: false }, 'all are muted');
  assert.ok(lately('8001', BROWSER_TONE), 'the chair is not');
  await phones[8002].digits('*');
  await browser.at(`hand-${member[8002]}`).waitFor({ timeout: 5_000 });
  await browser.shot('hand');
  await browser.at(`hand-${member[8002]}-let`).click();
  await browser.at(`hand-${member[8002]}`).waitFor({ state: 'detached', timeout: 5_000 });
  await settled();
  assert.deepEqual(await inBrowser(), { 8001: false, 8002: true }, 'who raised his hand is heard');
  // Muted by an operator, hung up, called again: still muted.
  await gateway.api.delete(`${room}/members/${id(member[8001])}`);
  await phones[8001].next('CALL_CLOSED', 10);
  await call('8001');
  await until('he is back', async () => (await view(main.id, member[8001]))?.state === 'connected', 10);
  assert.equal((await view(main.id, member[8001])).muted_by, 'operator', 'his place was kept');
  await gateway.api.post(`${room}/mute`, { muted: false });
  await settled();
  assert.deepEqual(await inBrowser(), { 8001: true, 8002: true });

  // A word in private: 8001 alone hears it, and goes on hearing the rest.
  await browser.at(`member-${member[8001]}-more`).click();
  await browser.shot('member');
  await browser.at('whisper').click();
  await settled();
  assert.deepEqual([lately('8001', BROWSER_TONE), lately('8002', BROWSER_TONE)], [true, false], 'one hears the whisper');
  assert.ok(lately('8001', TONES[8002]), 'beside the conference');
  assert.deepEqual(await inBrowser(), { 8001: true, 8002: true });
  await browser.shot('whisper');
  await browser.at('whisper-end').click();
  await settled();
  assert.ok(lately('8002', BROWSER_TONE), 'back to all');

  // A side room of two.
  await browser.at(`member-${member[8002]}-more`).click();
  await browser.at('side-room').fill('Boats');
  await browser.at('side-go').click();
  await gateway.api.put(`${room}/members/${id(member[8001])}/side`, { room: 'Boats' });
  await settled();
  assert.deepEqual([lately('8001', TONES[8002]), lately('8002', TONES[8001]), lately('8001', BROWSER_TONE)], [true, true, false], 'they hear each other alone');
  assert.deepEqual(await inBrowser(), { 8001: false, 8002: false });
  await browser.shot('side-room');
  for (const user of Object.keys(TONES)) await gateway.api.put(`${room}/members/${id(member[user])}/side`, {});

  // A listener is not heard.
  await gateway.api.patch(`${room}/members/${id(member[8001])}`, { role: 'listener' });
  await settled();
  assert.deepEqual(await inBrowser(), { 8001: false, 8002: true });
  await gateway.api.patch(`${room}/members/${id(member[8001])}`, { role: 'speaker' });

  // Into another conference, without a new call: first the phone, then the console with its page.
  await gateway.api.post(`${room}/members/${id(member[8002])}/move`, { to: other.id });
  await settled();
  assert.deepEqual(await inBrowser(), { 8001: true, 8002: false });
  assert.ok(!lately('8002', TONES[8001]) && !lately('8002', BROWSER_TONE));
  await gateway.api.post(`${room}/members/${id(member.leader)}/move`, { to: other.id });
  await settled();
  assert.deepEqual(await inBrowser(), { 8001: false, 8002: true }, 'the console hears the other conference');
  assert.ok(lately('8002', BROWSER_TONE) && !lately('8001', BROWSER_TONE));
  assert.match(await browser.at('mine').innerText(), /Second team/);
  assert.equal((await view(other.id, member.leader)).state, 'connected');
  await browser.shot('moved');
  // Who whispers to one who leaves does not talk to all of a sudden.
  const there = `/conferences/${id(other.id)}/members`;
  await gateway.api.put(`${there}/${id(member.leader)}/side`, { whisper: member[8002] });
  await gateway.api.post(`/conferences/${id(main.id)}/members/${id(member[8001])}/move`, { to: other.id });
  await gateway.api.delete(`${there}/${id(member[8002])}`);
  await settled();
  assert.equal((await view(other.id, member.leader)).whispers_to, member[8002]);
  assert.ok(!lately('8001', BROWSER_TONE), 'nobody hears what was said in private');
  await browser.at('whisper-end').click();
  await settled();
  assert.ok(lately('8001', BROWSER_TONE), 'back to all by hand');
  say('muted, let speak, whispered, went aside, moved: each heard as ordered');
  assert.deepEqual(browser.troubles.filter((x) => !/403/.test(x)), [], 'no errors on the console');
});
