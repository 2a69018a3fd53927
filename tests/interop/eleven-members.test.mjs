// One conference of everything: baresip in both laws, pjsip, Chromium, a radio group by each of six carriers, and a camera with a loudspeaker.
// One after the other has a tone; it is at all others and at nobody else: not at itself, and no other tone with it.
import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser, cameraFile, joinConference } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { cut, readWav, seconds, tone, toneLevel } from './lib/sound.mjs';
import { ROOM, say, Stage, until, wait } from './lib/stage.mjs';

const CAMERA = '34020000001320000001';
const CARRIERS = { rtp: {}, dtmf: {}, info: { info: { form: 'xml', grant: 'none' } }, mcptt: {}, ed137: {}, vox: {} };
// No tone is near another one or near twice of it.
const TONES = { alaw: 440, ulaw: 520, pjsip: 610, browser: 700, camera: 820, rtp: 950, dtmf: 1120, info: 1300, mcptt: 1500, ed137: 1730, vox: 2000 };
const PYTHON = process.env.PJSUA2_PYTHON ?? join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skybridge/pjsua2/bin/python');

test('eleven members of eleven kinds: each is heard by all others, and nobody by himself', { timeout: 240_000 }, async (t) => {
  const stage = Stage.open(t, 'eleven-members');
  const ports = Object.fromEntries(await Promise.all(Object.keys(CARRIERS).map(async (c) => [c, await freePorts(2)])));
  const radios = Object.keys(CARRIERS).map((carrier, n) => ({ name: carrier, address: `127.0.0.1:${ports[carrier]}`, carrier, group: [{ number: `900${n}`, name: carrier, conference: '9500' }], ping_interval: 2, ...CARRIERS[carrier] }));
  const gateway = await Gateway.open(stage, { more: { radio: { gateway: radios } } });
  const conference = await gateway.api.post('/conferences', { name: 'Everything', number: '9500' });
  const room = `/conferences/${id(conference.id)}`;
  const members = async () => (await gateway.api.get(room)).members;

  // Who hears: what has come so far, and how loud a tone is in what came since.
  const ears = {}, ids = {};
  const recorded = (file) => {
    let most = 0;
    // Some write their whole file anew each time: one that is shorter than before is just being written.
    const read = async () => {
      for (let n = 0; ; n++) {
        const all = file();
        if (seconds(all) >= most || n === 40) { most = Math.max(most, seconds(all)); return all; }
        await wait(50);
      }
    };
    return { mark: async () => seconds(await read()), level: async (hz, from) => { const all = await read(); return seconds(all) - from < 0.8 ? 0 : toneLevel(cut(all, from + 0.3), hz); } };
  };
  const steady = (name) => tone(stage, name, TONES[name], { seconds: 200, on: 200, off: 0, gain: -12 });
  const PASSWORD = 'everybody-secret-1';
  for (const [name, user, codecs] of [['alaw', '8001', 'PCMA/8000/1'], ['ulaw', '8002', 'PCMU/8000/1']]) {
    await gateway.api.post('/phones', { user, password: PASSWORD, name });
    const phone = await Baresip.open(stage, gateway, { user, password: PASSWORD, codecs, say: await steady(name) });
    await phone.registered();
    await phone.dial('9500');
    ears[name] = recorded(() => phone.heard());
  }
  await gateway.api.post('/phones', { user: '8003', password: PASSWORD, name: 'pjsip' });
  const heardByPjsip = stage.file('pjsip-heard.wav');
  const pjsip = stage.start('pjsip', PYTHON, [join(ROOM, '../../bridges/phone/tests/e2e/pjsua2_phone.py'), `127.0.0.1:${gateway.sip}`, String(await freePorts(12)), '8003', PASSWORD, 'PCMA/8000', await steady('pjsip'), heardByPjsip], { stdin: 'pipe' });
  await until('pjsip is registered', async () => (await gateway.api.get('/phones')).items.find((p) => p.user === '8003')?.registered, 20);
  pjsip.child.stdin.write('dial 9500\n');
  ears.pjsip = recorded(() => readWav(heardByPjsip));

  const heardByCamera = stage.file('camera-heard.wav');
  Field.open(stage, gateway, { cameras: [{ id: CAMERA, name: 'camera', index: 1, tone: TONES.camera, speaker: ['listed', 'udp', `heard=${heardByCamera}`] }] }, { name: 'camera' });
  await gateway.device(`gb28181:${CAMERA}`, 2);
  ids.camera = (await gateway.api.post(`${room}/members`, { channel: GB(CAMERA) })).id;
  await gateway.api.patch(`${room}/members/${id(ids.camera)}`, { loudspeaker: true, duplex: 'full' });
  ears.camera = recorded(() => readWav(heardByCamera));

  const browser = await Browser.open(stage, gateway, { microphone: await tone(stage, 'browser', TONES.browser, { seconds: 20, rate: 48_000, gain: -6 }), camera: await cameraFile(stage) });
  await browser.signIn();
  ids.browser = await joinConference(browser, conference.id, { name: 'browser' });
  await browser.listen('mix', 'member');
  ears.browser = {
    mark: () => 0,
    // As an amplitude: a tone at full scale is 0 dB here.
    level: async (hz) => { const { db } = await browser.spectrum('mix', [hz], 500); return 10 ** (db[0] / 20); },
  };

  const air = {};
  const radio = async (carrier, talk) => {
    const n = Object.keys(CARRIERS).indexOf(carrier), file = stage.file(`air-${carrier}${talk ? '-talks' : ''}.wav`);
    air[carrier]?.stop && await air[carrier].stop();
    await until(`${carrier} has left`, async () => !(await members()).some((m) => m.name === carrier), 20);
    air[carrier] = Field.open(stage, gateway, ['radio', '--group', `900${n}`, '--carrier', carrier, '--port', String(ports[carrier]), '--call', '--record', file, ...(talk ? ['--talk', talk] : [])], { name: `radio-${carrier}${talk ? '-talks' : ''}` });
    await until(`${carrier} is in`, async () => (await members()).find((m) => m.name === carrier)?.state === 'connected', 20);
    ears[carrier] = recorded(() => readWav(file));
  };
  for (const carrier of Object.keys(CARRIERS)) await radio(carrier);
  await until('all are in', async () => (await members()).filter((m) => m.state === 'connected').length === 11, 20);
  for (const m of await members()) ids[m.name] ??= m.id;
  await until('the loudspeaker is on', async () => (await members()).find((m) => m.id === ids.camera).loudspeaker?.state === 'on_air', 15);
  const muted = (name, is) => gateway.api.patch(`${room}/members/${id(ids[name])}`, { muted: is });
  const speakers = ['alaw', 'ulaw', 'pjsip', 'browser', 'camera'];
  for (const name of speakers) await muted(name, true);
  // The radios' transmissions of everything so far end.
  await wait(3_000);

  const worst = { heard: 1, other: 0, own: 0 };
  // Marks, waits, has the tone stop, and looks: radios write down a transmission when it ends. Chromium is asked while it lasts.
  const check = async (talker, stop) => {
    const marks = {};
    for (const [name, ear] of Object.entries(ears)) marks[name] = await ear.mark();
    const silent = speakers.find((x) => x !== talker);
    await wait(2_000);
    const live = [await ears.browser.level(TONES[talker]), await ears.browser.level(TONES[silent])];
    await stop();
    await wait(2_000);
    const wrong = [];
    for (const [ear, { level }] of Object.entries(ears)) {
      const [here, other] = ear === 'browser' ? live : [await level(TONES[talker], marks[ear]), await level(TONES[silent], marks[ear])];
      if (ear === talker) {
        worst.own = Math.max(worst.own, here);
        if (here > 0.004) wrong.push(`${talker} hears itself: ${here.toFixed(4)}`);
        continue;
      }
      worst.heard = Math.min(worst.heard, here); worst.other = Math.max(worst.other, other);
      // Chromium takes a tone for noise and turns it down, bursts less than a steady one; and the window of its analyser takes some.
      if (here < (talker === 'browser' || ear === 'browser' ? 0.01 : 0.02)) wrong.push(`${ear} does not hear ${talker}: ${here.toFixed(4)}`);
      if (other > 0.004) wrong.push(`${ear} hears ${silent} with ${talker}: ${other.toFixed(4)}`);
    }
    assert.deepEqual(wrong, []);
  };
  for (const talker of speakers) {
    await muted(talker, false);
    await wait(1_000);
    await check(talker, () => muted(talker, true));
  }
  const says = (carrier, event) => until(`${carrier}: ${event}`, () => air[carrier].events.some((e) => e.event === event && e.by === '77'), 15);
  for (const carrier of Object.keys(CARRIERS)) {
    await radio(carrier, `2+4@${TONES[carrier]}#77`);
    await says(carrier, 'radio_keyed');
    await wait(500);
    await check(carrier, () => says(carrier, 'radio_unkeyed'));
  }
  await browser.shot('everything');
  say(`11 talkers at 10 others each: the faintest ${worst.heard.toFixed(3)}, another tone at most ${worst.other.toFixed(4)}, its own at most ${worst.own.toFixed(4)}`);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
});
