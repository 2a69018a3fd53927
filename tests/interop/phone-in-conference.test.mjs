// baresip calls into the conference by number and PIN; a browser, a camera and the phone hear each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser, cameraFile, joinConference } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id, PIN } from './lib/gateway.mjs';
import { cut, likeness, readWav, rms, seconds, speech, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const CAMERA = '34020000001320000031';
const PHONE_TONE = 1250, SECOND_TONE = 1900, CAMERA_TONE = 660;
const members = (gateway, conference) => gateway.api.get(`/conferences/${id(conference)}`).then((c) => c.members);

test('a phone joins by number and PIN, is heard in Chromium and hears it, but not itself', { timeout: 200_000 }, async (t) => {
  const stage = Stage.open(t, 'phone-in-conference');
  const gateway = await Gateway.open(stage);
  const events = await gateway.events();
  for (const user of ['8001', '8002', '8003']) await gateway.api.post('/phones', { user, password: `phone-secret-${user.slice(2)}x`, name: `Phone ${user}` });
  const conference = await gateway.conference();
  const number = conference.number;
  Field.open(stage, gateway, { cameras: [{ id: CAMERA, index: 1, tone: CAMERA_TONE, audio: 'g711a' }] });

  const saidFile = await speech(stage, 'browser-says', 'Command hall to all units. The bridge at kilometre seven is closed, send the second team to the east bank now.');
  const said = readWav(saidFile);
  const phoneSays = await tone(stage, 'phone-says', PHONE_TONE, { seconds: 170 });
  const secondSays = await tone(stage, 'second-says', SECOND_TONE, { seconds: 170 });

  // The phone comes in.
  const [phone, stranger2, third] = await Promise.all([['8001', phoneSays], ['8002', secondSays], ['8003', secondSays, 'auto']].map(async ([user, says, answer]) => {
    const p = await Baresip.open(stage, gateway, { user, password: `phone-secret-${user.slice(2)}x`, say: says, answer });
    await p.registered();
    return p;
  }));
  await until('the API shows the phone registered', async () => (await gateway.api.get('/phones')).items.find((p) => p.user === '8001')?.registered);
  await phone.dial(number);
  await wait(2_500);
  assert.deepEqual(await members(gateway, conference.id), [], 'without the PIN nobody is in');
  await phone.digits(`${PIN}#`);
  const phoneMember = await until('the phone is a member', async () => (await members(gateway, conference.id)).find((m) => m.kind === 'phone' && m.state === 'connected'));
  assert.match(phoneMember.codec, /PCMA/i);

  // A browser comes in through the console.
  const browser = await Browser.open(stage, gateway, { microphone: saidFile, camera: await cameraFile(stage) });
  await browser.signIn();
  const browserMember = await joinConference(browser, conference.id, { name: 'Officer Li' });
  await browser.listen('mix', 'member');
  await until('both are members', async () => (await members(gateway, conference.id)).filter((m) => m.state === 'connected').length === 2);
  await events.next('the member event of the browser', (e) => e.type === 'member' && e.member.id === browserMember);
  // Its camera is known after its leg: the console offers it as main picture all the same.
  await browser.at(`member-${browserMember}-show`).waitFor({ timeout: 5_000 });

  // The phone hears the browser and not itself.
  const joinedAt = seconds(phone.heard());
  await wait(seconds(said) * 2000 + 3_000);
  const heard = cut(phone.heard(), joinedAt);
  const like = likeness(said, heard);
  const own = toneLevel(heard, PHONE_TONE), ownSaid = toneLevel(readWav(phoneSays), PHONE_TONE);
  say(`the phone's recording is like the browser's speech by ${like.score.toFixed(2)}; its own tone is ${(20 * Math.log10(Math.max(own, 1e-6) / ownSaid)).toFixed(0)} dB in it`);
  assert.ok(like.score > 0.5, `the browser's speech is in the phone's recording: ${like.score.toFixed(2)}`);
  const stranger = await speech(stage, 'stranger', 'Weather report for tomorrow: light rain in the morning, later sunny with some clouds, wind from the north west at four metres.', { rate: 8000 });
  const unlike = likeness(readWav(stranger), heard);
  assert.ok(unlike.score < like.score - 0.15, `another text is less like it: ${unlike.score.toFixed(2)}`);
  assert.ok(own < ownSaid / 50, `the phone does not hear its own tone: ${own.toFixed(5)} of ${ownSaid.toFixed(3)}`);

  // The browser hears the phone: rises when it speaks, falls when the API mutes it.
  const withPhone = await browser.loudness('member', 3_000);
  const phoneLevel = (await browser.spectrum('mix', [PHONE_TONE, PHONE_TONE * 1.37])).db;
  await gateway.api.patch(`/conferences/${id(conference.id)}/members/${id(phoneMember.id)}`, { muted: true });
  await wait(800);
  const withoutPhone = await browser.loudness('member', 3_000);
  const mutedLevel = (await browser.spectrum('mix', [PHONE_TONE])).db;
  say(`Chromium's inbound audio level: ${withPhone.toFixed(4)} while the phone speaks, ${withoutPhone.toFixed(4)} muted; ${PHONE_TONE} Hz at ${phoneLevel[0].toFixed(0)} dB, ${mutedLevel[0].toFixed(0)} dB muted`);
  assert.ok(withPhone > 0.02 && withPhone > 8 * withoutPhone, 'the level rises with the phone');
  assert.ok(phoneLevel[0] > phoneLevel[1] + 25, "it is the phone's tone");
  assert.ok(mutedLevel[0] < phoneLevel[0] - 30, 'a muted phone is silent');
  assert.equal((await members(gateway, conference.id)).find((m) => m.id === phoneMember.id).muted, true);
  await gateway.api.patch(`/conferences/${id(conference.id)}/members/${id(phoneMember.id)}`, { muted: false });
  await until('who talks is told', () => events.of('levels').some((e) => e.levels[phoneMember.id]?.[1]), 10);

  // A camera is added: both hear its tone.
  await gateway.device(`gb28181:${CAMERA}`);
  const cameraMember = await gateway.api.post(`/conferences/${id(conference.id)}/members`, { channel: GB(CAMERA) });
  const [browserHears] = await until("the camera's tone is in the browser", async () => { const s = await browser.spectrum('mix', [CAMERA_TONE, CAMERA_TONE * 1.31], 600); return s.db[0] > s.db[1] + 20 && s.db; }, 15);
  const at = seconds(phone.heard());
  await wait(4_000);
  const phoneHears = toneLevel(cut(phone.heard(), at + 1), CAMERA_TONE);
  say(`the camera's ${CAMERA_TONE} Hz: ${browserHears.toFixed(0)} dB in Chromium, amplitude ${phoneHears.toFixed(3)} in baresip`);
  assert.ok(phoneHears > 0.01, "the camera's tone is in the phone's recording");

  // Its picture is the conference's main picture.
  await gateway.api.put(`/conferences/${id(conference.id)}/picture`, { source: GB(CAMERA) });
  await until('the conference page shows the camera', () => browser.page.evaluate(() => {
    const video = document.querySelector('[data-testid="conference-picture-video"]');
    return video && window.interop.look(video)?.read?.camera === 1;
  }), 15);
  await browser.shot('conference');

  // The officer mutes himself in the console: from now on the phone hears the camera alone.
  await browser.at('conference-mute').click();
  await until('the API shows the officer muted', async () => (await members(gateway, conference.id)).find((m) => m.id === browserMember).muted);
  await wait(500);
  const quietFrom = seconds(phone.heard());

  // A wrong PIN is refused while the first call goes on.
  await stranger2.dial(number);
  await wait(1_500);
  const beforeWrong = seconds(phone.heard());
  for (let n = 0; n < 3 && !stranger2.has('CALL_CLOSED'); n++) { await stranger2.digits('1111#'); await stranger2.next('CALL_CLOSED', 4).catch(() => {}); }
  await stranger2.next('CALL_CLOSED', 20);
  assert.ok((await members(gateway, conference.id)).every((m) => m.name !== 'Phone 8002'), 'he never was a member');
  await events.next('the wrong PIN is told', (e) => e.type === 'notice' && /PIN/.test(e.en), 5);
  assert.ok(!phone.has('CALL_CLOSED'), 'the first call goes on');
  const meanwhile = cut(phone.heard(), beforeWrong);
  assert.ok(toneLevel(meanwhile, CAMERA_TONE) > 0.01, 'and hears the camera all the while');
  assert.ok(toneLevel(meanwhile, SECOND_TONE) < 0.002, 'and nothing of the refused caller');
  const quiet = cut(phone.heard(), quietFrom);
  assert.ok(likeness(said, quiet).score < 0.45, 'the muted officer is not heard');
  await gateway.api.delete(`/conferences/${id(conference.id)}/members/${id(cameraMember.id)}`);

  // Dial-out to a phone that answers by itself.
  await until('the API shows 8003 registered', async () => (await gateway.api.get('/phones')).items.find((p) => p.user === '8003')?.registered);
  const called = await gateway.api.post(`/conferences/${id(conference.id)}/members`, { dial: '8003' });
  await third.next('CALL_ESTABLISHED', 15);
  await until('the called phone is a member', async () => (await members(gateway, conference.id)).find((m) => m.id === called.id)?.state === 'connected');
  await wait(3_500);
  const [, thirdHears] = [seconds(third.heard()), toneLevel(cut(third.heard(), Math.max(0, seconds(third.heard()) - 2.5)), PHONE_TONE)];
  assert.ok(thirdHears > 0.02, `the called phone hears the first one: ${thirdHears.toFixed(4)}`);
  const secondLevel = (await browser.spectrum('mix', [SECOND_TONE, SECOND_TONE * 1.23])).db;
  assert.ok(secondLevel[0] > secondLevel[1] + 20, 'Chromium hears the called phone');

  // Hung up from the API; the called phone ends, then the first one.
  await gateway.api.delete(`/conferences/${id(conference.id)}/members/${id(called.id)}`);
  await third.next('CALL_CLOSED', 10);
  await gateway.api.delete(`/conferences/${id(conference.id)}/members/${id(phoneMember.id)}`);
  await phone.next('CALL_CLOSED', 10);
  await browser.at('conference-leave').click();
  await until('nobody is left', async () => (await members(gateway, conference.id)).length === 0);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
  assert.ok(rms(heard) > 0.001);
});
