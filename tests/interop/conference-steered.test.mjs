// What a chair does with a conference, in signals: mute for all, raised hands, a word in private, side rooms, members taken into another conference.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
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
  // As ordered, in two looks one after the other: not only while it changes.
  const hears = async (what, wish, look = inBrowser) => {
    const same = async () => isDeepStrictEqual(await look(), wish);
    await until(what, async () => await same() && await wait(700).then(same), 12).catch(async (e) => { throw new Error(`${e.message}; heard: ${JSON.stringify(await look())}, not ${JSON.stringify(wish)}`); });
  };
  // [whose phone, which tone] each.
  const phonesHear = (what, pairs, wish) => hears(what, wish, () => pairs.map(([user, hz]) => lately(user, hz)));
  const view = async (conference, who) => (await gateway.api.get(`/conferences/${id(conference)}`)).members.find((m) => m.id === who);

  await hears('both are heard', { 8001: true, 8002: true });

  // Mute for all; a hand by the phone's key; let speak.
  await browser.at('conference-mute-all').click();
  await hears('all are muted', { 8001: false, 8002: false });
  await phonesHear('the chair is not', [['8001', BROWSER_TONE]], [true]);
  await phones[8002].digits('*');
  await browser.at(`hand-${member[8002]}`).waitFor({ timeout: 5_000 });
  await browser.shot('hand');
  await browser.at(`hand-${member[8002]}-let`).click();
  await browser.at(`hand-${member[8002]}`).waitFor({ state: 'detached', timeout: 5_000 });
  await hears('who raised his hand is heard', { 8001: false, 8002: true });
  // Muted by an operator, hung up, called again: still muted.
  await gateway.api.delete(`${room}/members/${id(member[8001])}`);
  await phones[8001].next('CALL_CLOSED', 10);
  await call('8001');
  await until('he is back', async () => (await view(main.id, member[8001]))?.state === 'connected', 10);
  assert.equal((await view(main.id, member[8001])).muted_by, 'operator', 'his place was kept');
  await gateway.api.post(`${room}/mute`, { muted: false });
  await hears('both are heard again', { 8001: true, 8002: true });

  // A word in private: 8001 alone hears it, and goes on hearing the rest.
  await browser.at(`member-${member[8001]}-more`).click();
  await browser.shot('member');
  await browser.at('whisper').click();
  await phonesHear('one hears the whisper, beside the conference', [['8001', BROWSER_TONE], ['8002', BROWSER_TONE], ['8001', TONES[8002]]], [true, false, true]);
  await hears('who whispers hears all', { 8001: true, 8002: true });
  await browser.shot('whisper');
  await browser.at('whisper-end').click();
  await phonesHear('back to all', [['8002', BROWSER_TONE]], [true]);

  // A side room of two.
  await browser.at(`member-${member[8002]}-more`).click();
  await browser.at('side-room').fill('Boats');
  await browser.at('side-go').click();
  await gateway.api.put(`${room}/members/${id(member[8001])}/side`, { room: 'Boats' });
  await phonesHear('they hear each other alone', [['8001', TONES[8002]], ['8002', TONES[8001]], ['8001', BROWSER_TONE]], [true, true, false]);
  await hears('nobody else hears them', { 8001: false, 8002: false });
  await browser.shot('side-room');
  for (const user of Object.keys(TONES)) await gateway.api.put(`${room}/members/${id(member[user])}/side`, {});

  // A listener is not heard.
  await gateway.api.patch(`${room}/members/${id(member[8001])}`, { role: 'listener' });
  await hears('a listener is not heard', { 8001: false, 8002: true });
  await gateway.api.patch(`${room}/members/${id(member[8001])}`, { role: 'speaker' });

  // Into another conference, without a new call: first the phone, then the console with its page.
  await gateway.api.post(`${room}/members/${id(member[8002])}/move`, { to: other.id });
  await hears('who was moved is not heard here', { 8001: true, 8002: false });
  await phonesHear('nor does he hear this one', [['8002', TONES[8001]], ['8002', BROWSER_TONE]], [false, false]);
  await gateway.api.post(`${room}/members/${id(member.leader)}/move`, { to: other.id });
  await hears('the console hears the other conference', { 8001: false, 8002: true });
  await phonesHear('and is heard there alone', [['8002', BROWSER_TONE], ['8001', BROWSER_TONE]], [true, false]);
  await until('its page says where it is', async () => /Second team/.test(await browser.at('mine').innerText()), 5);
  assert.equal((await view(other.id, member.leader)).state, 'connected');
  await browser.shot('moved');
  // Who whispers to one who leaves does not talk to all of a sudden.
  const there = `/conferences/${id(other.id)}/members`;
  await gateway.api.put(`${there}/${id(member.leader)}/side`, { whisper: member[8002] });
  await gateway.api.post(`/conferences/${id(main.id)}/members/${id(member[8001])}/move`, { to: other.id });
  await gateway.api.delete(`${there}/${id(member[8002])}`);
  // Time enough for what must not be heard.
  await wait(2_500);
  assert.equal((await view(other.id, member.leader)).whispers_to, member[8002]);
  await phonesHear('nobody hears what was said in private', [['8001', BROWSER_TONE]], [false]);
  await browser.at('whisper-end').click();
  await phonesHear('back to all by hand', [['8001', BROWSER_TONE]], [true]);
  say('muted, let speak, whispered, went aside, moved: each heard as ordered');
  assert.deepEqual(browser.troubles.filter((x) => !/403/.test(x)), [], 'no errors on the console');
});
