// A conference in which one talks at a time: baresip asks by keys of its dial pad, Chromium by the held button; what is heard says who has the floor.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser, cameraFile, joinConference } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const TONES = { 8001: 1250, 8002: 1900 };
const BROWSER_TONE = 700;
const CAMERA = '34020000001320000001', CAMERA_TONE = 440;

test('one talks at a time: asked for, queued, taken in an emergency, taken back', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'one-at-a-time');
  const gateway = await Gateway.open(stage);
  const events = await gateway.events();
  for (const user of Object.keys(TONES)) await gateway.api.post('/phones', { user, password: `unit-secret-word`, name: `Unit ${user}` });
  Field.open(stage, gateway, { cameras: [{ id: CAMERA, index: 1, tone: CAMERA_TONE, audio: 'g711a' }] });
  const conference = await gateway.conference();
  const room = `/conferences/${id(conference.id)}`;
  const phones = Object.fromEntries(await Promise.all(Object.entries(TONES).map(async ([user, hz]) => {
    const p = await Baresip.open(stage, gateway, { user, password: `unit-secret-word`, say: await tone(stage, `unit-${user}`, hz, { seconds: 140 }), answer: 'auto' });
    await p.registered();
    return [user, p];
  })));
  const member = {};
  for (const user of Object.keys(TONES)) {
    await until(`${user} is registered`, async () => (await gateway.api.get('/phones')).items.find((p) => p.user === user)?.registered);
    member[user] = (await gateway.api.post(`${room}/members`, { dial: user })).id;
    await phones[user].next('CALL_ESTABLISHED', 15);
  }
  const browser = await Browser.open(stage, gateway, { microphone: await tone(stage, 'officer', BROWSER_TONE, { seconds: 20, rate: 48_000 }), camera: await cameraFile(stage) });
  await browser.signIn();
  member.browser = await joinConference(browser, conference.id, { name: 'Officer Li' });
  await browser.listen('mix', 'member');
  await until('all are members', async () => (await gateway.api.get(room)).members.filter((m) => m.state === 'connected').length === 3);

  const taken = (who, more = () => true) => events.next(`the floor is ${who}'s`, (e) => e.type === 'floor' && e.conference === conference.id && e.floor.taken?.member === member[who] && more(e.floor), 10);
  // In dB, each beside a frequency that nobody sends.
  const inBrowser = async () => {
    const { db } = await browser.spectrum('mix', [TONES[8001], TONES[8002], CAMERA_TONE, 1571], 800);
    return { 8001: db[0] - db[3], 8002: db[1] - db[3], camera: db[2] - db[3] };
  };
  const lately = (user, hz) => { const heard = phones[user].heard(); return toneLevel(cut(heard, Math.max(0, seconds(heard) - 1)), hz); };

  // By a button of the console; nobody is heard before he asks.
  await browser.at('conference-half-duplex').click();
  await browser.at('floor').waitFor({ timeout: 5_000 });
  await wait(2_500);
  const silent = await inBrowser();
  say(`nobody pressed: the units' tones stand ${silent[8001].toFixed(0)} and ${silent[8002].toFixed(0)} dB above nothing`);
  assert.ok(silent[8001] < 15 && silent[8002] < 15, 'nobody is heard before he asks');
  assert.ok(lately('8002', TONES[8001]) < 0.002);

  // Nor is a camera that joins now.
  await gateway.device(`gb28181:${CAMERA}`);
  const camera = await gateway.api.post(`${room}/members`, { channel: GB(CAMERA) });
  await until('the camera is a member', async () => (await gateway.api.get(room)).members.find((m) => m.id === camera.id)?.state === 'connected', 15);
  await wait(3_000);
  const joined = await inBrowser();
  say(`a camera has joined: its tone stands ${joined.camera.toFixed(0)} dB above nothing`);
  assert.ok(joined.camera < 15, 'who joins is not heard either');

  // A phone asks by a key, and is heard alone.
  await phones[8001].digits('*');
  await taken('8001');
  await wait(2_500);
  const first = await inBrowser();
  say(`8001 has the floor: ${first[8001].toFixed(0)} dB, 8002 ${first[8002].toFixed(0)} dB in Chromium; 8002 hears ${lately('8002', TONES[8001]).toFixed(3)}`);
  assert.ok(first[8001] > 25 && first[8002] < 15);
  assert.ok(lately('8002', TONES[8001]) > 0.01, 'the other phone hears it');
  assert.equal(await browser.at('floor-talker').innerText(), 'Unit 8001');

  // The officer's button waits its turn and gets it when the phone lets go.
  await browser.at('floor-press').hover();
  await browser.page.mouse.down();
  await until('the button says its place', async () => (await browser.at('floor-press').getAttribute('data-phase')) === 'queued', 5);
  await browser.shot('waiting');
  const pressed = performance.now();
  await phones[8001].digits('#');
  await taken('browser');
  say(`from the key that lets go to the officer's grant: ${Math.round(performance.now() - pressed)} ms`);
  await until('the button says: talk', async () => (await browser.at('floor-press').getAttribute('data-phase')) === 'on_air', 5);
  await wait(2_500);
  for (const user of Object.keys(TONES)) assert.ok(lately(user, BROWSER_TONE) > 0.01, `${user} hears the officer: ${lately(user, BROWSER_TONE).toFixed(4)}`);
  assert.ok(lately('8002', TONES[8001]) < 0.002, 'and not the unit that let go');

  // An emergency takes the floor from him.
  await phones[8002].digits('9');
  await taken('browser', (f) => f.taken.stopped);
  await taken('8002', (f) => f.taken.emergency);
  await wait(2_000);
  await browser.shot('emergency');
  assert.equal(await browser.at('floor').getAttribute('data-emergency'), 'true');
  assert.ok((await inBrowser())[8002] > 25, 'the emergency is heard');
  assert.ok(lately('8001', BROWSER_TONE) < 0.002, 'the officer is not');
  await browser.page.mouse.up();

  // He takes the floor back as the operator; the unit may end its sentence.
  const before = events.all.length;
  await browser.at('floor-revoke').click();
  await until('the floor is free', () => events.all.slice(before).some((e) => e.type === 'floor' && !e.floor.taken), 10);
  await wait(1_500);
  assert.ok((await inBrowser())[8002] < 15, 'silence again');

  // A console that is shut while its button is held lets the floor go.
  const second = await Browser.open(stage, gateway, { microphone: await tone(stage, 'second', BROWSER_TONE, { seconds: 20, rate: 48_000 }), camera: await cameraFile(stage) });
  await second.signIn();
  member.second = await joinConference(second, conference.id, { name: 'Officer Wang' });
  await second.at('floor-press').hover();
  await second.page.mouse.down();
  await taken('second');
  const shut = performance.now();
  await second.page.close();
  await phones[8001].digits('*');
  await taken('8001', undefined);
  say(`from the shut console to the next talker: ${Math.round(performance.now() - shut)} ms`);
  await phones[8001].digits('#');

  // All at once again.
  await browser.at('conference-half-duplex').click();
  await wait(2_500);
  const both = await inBrowser();
  assert.ok(both[8001] > 25 && both[8002] > 25 && both.camera > 25, `all are heard again: ${JSON.stringify(both)}`);
  assert.equal((await gateway.api.get(room)).floor, null);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
});
