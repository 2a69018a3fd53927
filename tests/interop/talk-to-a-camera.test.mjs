// Chromium's microphone comes out of cameras' loudspeakers: the talk button, a talk to many, a conference's loudspeaker without an echo.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser, cameraFile, joinConference } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { cut, readWav, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const GATE = '34020000001320000041', BANK = '34020000001320000042', BUSY = '34020000001320000043';
const VOICE = 1250, GATE_TONE = 660, BANK_TONE = 880;
const dB = (x) => 20 * Math.log10(Math.max(x, 1e-6));

test('an operator talks to cameras, they hear him, the meter moves, and nobody hears himself', { timeout: 240_000 }, async (t) => {
  const stage = Stage.open(t, 'talk-to-a-camera');
  const gateway = await Gateway.open(stage);
  const events = await gateway.events();
  const heardBy = { [GATE]: stage.file('gate-heard.wav'), [BANK]: stage.file('bank-heard.wav') };
  const field = Field.open(stage, gateway, { cameras: [
    { id: GATE, name: 'Gate', index: 1, tone: GATE_TONE, speaker: ['listed', 'udp', 'echo=0.6', `heard=${heardBy[GATE]}`] },
    { id: BANK, name: 'Bank', index: 2, tone: BANK_TONE, transport: 'tcp', speaker: ['tcp-active', 'ps', 'from=channel', 'echo=0.6', `heard=${heardBy[BANK]}`] },
    { id: BUSY, name: 'Busy', index: 3, speaker: ['busy'] },
  ] });
  for (const [camera, channels] of [[GATE, 2], [BANK, 1], [BUSY, 1]]) await gateway.device(`gb28181:${camera}`, channels);
  const heard = (camera) => readWav(heardBy[camera]);

  const browser = await Browser.open(stage, gateway, { microphone: await tone(stage, 'operator', VOICE, { rate: 48000, seconds: 30 }), camera: await cameraFile(stage) });
  await browser.signIn();
  await browser.layout(4);
  await browser.place(0, GB(GATE));
  const phase = (which, want, seconds = 15) => browser.page.locator(`[data-testid="${which}-box"][data-phase="${want}"]`).waitFor({ timeout: seconds * 1000 });
  const press = async (which) => { const box = await browser.at(which).boundingBox(); await browser.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2); await browser.page.mouse.down(); };
  const meter = (which) => browser.at(which).evaluate((e) => ({ db: Number(e.dataset.db), packets: Number(e.dataset.packets) }));
  const loudest = async (which, ms) => { let best = { db: -127, packets: 0 }; for (const end = Date.now() + ms; Date.now() < end;) { const m = await meter(which); best = { db: Math.max(best.db, m.db), packets: Math.max(best.packets, m.packets) }; await wait(100); } return best; };

  // The button beside the picture, held.
  await browser.at('tile-sound').click();
  const pressed = Date.now();
  await press('talk');
  await phase('talk', 'on_air');
  const took = Date.now() - pressed;
  const shown = await loudest('talk-meter', 4_000);
  const muted = await browser.page.evaluate(() => window.skybridge.tiles.get(0).video.muted);
  await browser.shot('on-air');
  await browser.page.mouse.up();
  await phase('talk', 'off');
  await field.next('talk_bye', GATE, 5);
  const said = heard(GATE);
  const level = toneLevel(said, VOICE);
  say(`on air ${took} ms after the press; the gate heard ${seconds(said).toFixed(1)} s with ${VOICE} Hz at ${dB(level).toFixed(0)} dB; the meter showed ${shown.db.toFixed(0)} dB and ${shown.packets} packets`);
  assert.ok(level > 0.02, `the gate hears the operator: ${level}`);
  assert.ok(toneLevel(said, VOICE * 1.31) < level / 10, 'and nothing else');
  assert.ok(shown.db > -40 && shown.packets > 100, 'the meter shows what left');
  assert.equal(muted, true, 'the picture is silent while he talks');
  await until('and is heard again', () => browser.page.evaluate(() => !window.skybridge.tiles.get(0).video.muted), 3);
  const rows = (await gateway.api.get('/audit?limit=50')).items.filter((r) => r.object.includes(GATE)).map((r) => r.verb);
  for (const verb of ['talk', 'talk_on_air', 'talk_ended']) assert.ok(rows.includes(verb), `audit: ${verb} in ${rows}`);
  assert.ok(events.of('talk_levels').length > 5 && events.of('talk_ended').length === 1);

  // Space, with the tile selected.
  await browser.at('tile-0').focus();
  await browser.page.keyboard.down(' ');
  await until('on air by the keyboard', async () => (await gateway.api.get('/talks')).items[0]?.targets[0].state === 'on_air', 10);
  await browser.page.keyboard.up(' ');
  await until('over', async () => (await gateway.api.get('/talks')).items.length === 0, 5);

  // To many: two hear, the third refuses with its reason.
  for (const channel of [GATE, BANK, BUSY]) {
    await browser.at(`channel-${GB(channel)}`).hover();
    await browser.at(`channel-${GB(channel)}`).locator('.row-info').click();
    await browser.at('talk-group-toggle').click();
  }
  await press('talk-all');
  await phase('talk-all', 'on_air');
  for (const [channel, state] of [[GATE, 'on_air'], [BANK, 'on_air'], [BUSY, 'failed']]) await browser.page.locator(`[data-testid="talk-target-${GB(channel)}"][data-state="${state}"]`).waitFor({ timeout: 15_000 });
  assert.equal(await browser.at('talk-all-why').getAttribute('data-code'), 'talk_refused');
  await wait(3_000);
  await browser.shot('to-many');
  await browser.page.mouse.up();
  await field.next('talk_bye', BANK, 5);
  await wait(300);
  for (const camera of [GATE, BANK]) {
    const amplitude = toneLevel(heard(camera), VOICE);
    say(`in the talk to many ${camera} heard ${VOICE} Hz at ${dB(amplitude).toFixed(0)} dB`);
    assert.ok(amplitude > 0.02, `${camera} hears the operator: ${amplitude}`);
  }
  await browser.at('talk-group-clear').click();

  // A conference: the gate's loudspeaker says what the officer says, and its microphone is heard when he is silent.
  const conference = await gateway.conference();
  const path = `/conferences/${id(conference.id)}/members`;
  await joinConference(browser, conference.id, { name: 'Officer Li' });
  const member = await gateway.api.post(path, { channel: GB(GATE) });
  await browser.at(`member-${member.id}-speaker-toggle`).click();
  const speaker = () => browser.page.locator(`[data-testid="member-${member.id}-speaker"][data-state="on_air"]`).waitFor({ timeout: 15_000 });
  await speaker();
  await browser.listen('mix', 'member');
  await wait(3_500);
  const [own, gate] = (await browser.spectrum('mix', [VOICE, GATE_TONE], 3_000)).db;
  const sent = await loudest(`member-${member.id}-sent`, 1_500);
  await browser.shot('conference-loudspeaker');
  await wait(1_000);
  const conferenceHeard = toneLevel(cut(heard(GATE), 2), VOICE);
  say(`the officer talks: the gate hears him at ${dB(conferenceHeard).toFixed(0)} dB (meter ${sent.db.toFixed(0)} dB); in what he hears his own ${VOICE} Hz is at ${own.toFixed(0)} dB, the gate's at ${gate.toFixed(0)} dB`);
  assert.ok(conferenceHeard > 0.02, 'the loudspeaker says what the officer says');
  assert.ok(sent.db > -40, 'the meter moves');
  assert.ok(own < -85, `he does not hear himself out of the gate's microphone: ${own}`);
  await browser.at('conference-mute').click();
  const back = await until('the gate is heard when he is silent', async () => { const s = (await browser.spectrum('mix', [GATE_TONE, GATE_TONE * 1.31], 500)).db; return s[0] > s[1] + 20 && s; }, 10);
  say(`silent: the gate's ${GATE_TONE} Hz is heard at ${back[0].toFixed(0)} dB`);

  // The talk button is lent the conference's loudspeaker; the conference hears neither echo nor button.
  const invites = field.of('talk_invite', GATE).length;
  await browser.at('nav-watch').click();
  await browser.at('tile-0').click();
  await press('talk');
  await phase('talk', 'on_air', 5);
  await wait(1_500);
  const [echo] = (await browser.spectrum('mix', [VOICE], 2_500)).db;
  await browser.page.mouse.up();
  await phase('talk', 'off');
  assert.equal(field.of('talk_invite', GATE).length, invites, 'without another call');
  say(`while the button is held the conference hears ${VOICE} Hz at ${echo.toFixed(0)} dB`);
  assert.ok(echo < -85, `no echo in the conference: ${echo}`);

  // Full duplex lets the echo in: the test can hear one.
  await browser.at('nav-confer').click();
  await browser.at(`conference-${conference.id}`).click();
  await browser.at(`member-${member.id}-duplex`).selectOption('full');
  await browser.at('conference-mute').click();
  const loud = await until('with full duplex the echo is heard', async () => { const s = (await browser.spectrum('mix', [VOICE], 1_000)).db; return s[0] > -60 && s; }, 10);
  say(`full duplex: his own ${VOICE} Hz comes back at ${loud[0].toFixed(0)} dB`);

  // Switched off: BYE, and the camera stays in the mix.
  const byes = field.of('talk_bye', GATE).length;
  await browser.at(`member-${member.id}-speaker-toggle`).click();
  await until('BYE', () => field.of('talk_bye', GATE).length > byes, 5);
  assert.equal((await gateway.api.get(path.replace('/members', ''))).members.find((m) => m.id === member.id).loudspeaker, null);
  assert.deepEqual(browser.troubles.filter((e) => !/\/talks\//.test(e)), [], 'no errors on the console');

  // Rights: who only looks does not talk.
  const viewer = await gateway.account('looker', 'viewer');
  assert.equal((await viewer.refused('POST', '/talks', { channels: [GB(GATE)] })).status, 403);
  assert.equal((await viewer.refused('PATCH', `${path}/${id(member.id)}`, { loudspeaker: true })).status, 403);
});
