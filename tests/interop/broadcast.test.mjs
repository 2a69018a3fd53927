// An emergency broadcast: what each phone and loudspeaker heard of it, held against what the speech engine says by itself, and what the board says of each.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser, cameraFile } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { cut, likeness, readWav, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const CAMERA = '34020000001320000051', TAKEN = '34020000001320000052';
const TEXT = '洪水警报。上游水库正在泄洪，请沿河各村立即撤离到高处，不要返回家中。';
const OTHER = '今天天气晴朗，全县各学校照常上课，请家长放心。';
const CHIME = [784, 659.3, 523.3];
const secret = 'unit-secret-word';

/** What the engine says of a text by itself. */
async function spoken(stage, name, text, voice = 'cmn') {
  const file = stage.file(`${name}.wav`);
  await stage.run(`espeak-${name}`, 'espeak-ng', ['-v', voice, '-s', '150', '-w', file, text]);
  return readWav(file);
}

/** Gives the order twice, as it must be. */
async function broadcast(api, order) {
  const asked = await api.refused('POST', '/broadcasts', { order });
  assert.equal(asked.code, 'confirmation_required', asked.text);
  return api.post('/broadcasts', { order, confirm: JSON.parse(asked.text).confirm.token });
}

const result = (view) => Object.fromEntries(view.targets.map((t) => [t.to, t]));

const PIECE = 2.4;
/** How like each stretch of a text is to what was heard, one behind the other from `at` on: pauses between them may be longer, words may not be missing. */
function pieces(said, heard, at) {
  const length = Math.min(PIECE, seconds(said)), scores = [];
  const begin = at + likeness(cut(said, 0, length), cut(heard, at, at + length + 6)).at;
  let expected = begin;
  for (let from = 0; from < seconds(said) - 0.1;) {
    // The last one reaches to the last word.
    const start = Math.min(from, seconds(said) - length), low = Math.max(0, expected - (from - start) - 0.3);
    const found = likeness(cut(said, start, start + length), cut(heard, low, low + length + 1.5));
    scores.push(found.score);
    expected = low + found.at + length;
    from = start + length;
  }
  return { scores, begin, end: expected };
}
const mean = (all) => all.reduce((sum, x) => sum + x, 0) / all.length;

/** The chime, then the text whole, so often; and not another text. */
function heardWhole(who, heard, said, other, rounds) {
  for (let n = 0, at = 0; n < rounds; n++) {
    const right = pieces(said, heard, at), wrong = pieces(other, heard, at);
    // A stall of the machine may have moved it away from the text.
    const chime = CHIME.map((hz) => toneLevel(cut(heard, Math.max(0, right.begin - 2.6), right.begin - 0.2), hz));
    say(`${who}, round ${n + 1} from ${right.begin.toFixed(1)} s: like the text ${right.scores.map((x) => x.toFixed(2)).join(' ')}; like another one ${mean(wrong.scores).toFixed(2)}; chime ${chime.map((c) => c.toFixed(2)).join(' ')}`);
    assert.ok(right.scores.every((x) => x > 0.6) && mean(right.scores) > 0.8, `${who} heard the whole text: ${right.scores}`);
    assert.ok(mean(wrong.scores) < mean(right.scores) - 0.25, `${who}: another text is less like it: ${wrong.scores}`);
    assert.ok(chime.every((c) => c > 0.02), `${who} heard the chime before it: ${chime}`);
    at = right.end;
  }
}

test('a text is heard whole by all who answer, whenever they do, and each result is the truth', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'broadcast-text');
  const gateway = await Gateway.open(stage, { more: { broadcast: { answer: 8, retries: 1, retry_pause: 2 } } });
  const { api } = gateway;
  const [said, other] = [await spoken(stage, 'said', TEXT), await spoken(stage, 'other', OTHER)];
  const silence = await tone(stage, 'mouth', 300, { seconds: 120, gain: -60 });
  const phones = {};
  for (const [user, answer] of [['8001', 'auto'], ['8002', 'manual'], ['8003', 'manual'], ['8004', 'manual'], ['8005', 'auto']]) {
    await api.post('/phones', { user, password: secret, name: `Village ${user}` });
    phones[user] = await Baresip.open(stage, gateway, { user, password: secret, say: silence, answer });
    await phones[user].registered();
  }
  await api.post('/phones', { user: '8006', password: secret, name: 'Village 8006' });
  const heardByCamera = stage.file('camera-heard.wav');
  const field = Field.open(stage, gateway, { cameras: [
    { id: CAMERA, name: 'Pole', index: 1, speaker: ['listed', 'udp', `heard=${heardByCamera}`] },
    { id: TAKEN, name: 'Taken', index: 2, speaker: ['busy'] },
  ] });
  await gateway.device(`gb28181:${CAMERA}`, 1);
  await gateway.device(`gb28181:${TAKEN}`, 1);
  const events = await gateway.events();

  const targets = ['8001', '8002', '8003', '8004', '8005', '8006', GB(CAMERA), GB(TAKEN), '8001'].map((to) => ({ to }));
  const begun = Date.now();
  const started = await broadcast(api, { name: 'Flood', source: { kind: 'text', text: TEXT }, targets, rounds: 2, pause: 1 });
  assert.equal(started.targets.length, 8, 'who is named twice is called once');
  assert.ok(Math.abs(started.seconds - seconds(said) - 1.5) < 0.5, `${started.seconds}`);
  // 8004 refuses as busy, both times; 8002 picks up late; 8005 hangs up in the midst of the first round.
  const refuse = (async () => {
    for (let after = begun, n = 0; n < 2; n++) {
      const rings = await phones['8004'].next('CALL_INCOMING', 20, after);
      phones['8004'].hangup();
      after = rings.received + 500;
    }
  })();
  await phones['8002'].next('CALL_INCOMING', 10, begun);
  await wait(5_000);
  phones['8002'].order('accept');
  phones['8005'].hangup();
  const during = result(await api.get(`/broadcasts/${id(started.id)}`));
  assert.equal(during['8001'].state, 'speaking');
  assert.ok(during['8001'].position > 0.1 && during['8001'].position < 1, `${during['8001'].position}`);
  await refuse;
  const done = await until('the broadcast is done', async () => { const b = await api.get(`/broadcasts/${id(started.id)}`); return b.state === 'done' && b; }, 60);
  const of = result(done);
  say(done.targets.map((x) => `${x.name}: ${x.state} ${x.heard.toFixed(2)} ${x.code ?? ''} after ${x.tries}`).join('; '));
  const states = Object.fromEntries(Object.entries(of).map(([to, x]) => [to, [x.state, x.tries, x.code]]));
  assert.deepEqual(states, {
    8001: ['said', 1, null], 8002: ['said', 1, null], 8003: ['no_answer', 2, 'broadcast_no_answer'], 8004: ['failed', 2, 'busy'], 8005: ['partly', 1, 'broadcast_cut_short'],
    8006: ['failed', states['8006'][1], 'not_registered'], [GB(CAMERA)]: ['said', 1, null], [GB(TAKEN)]: ['failed', states[GB(TAKEN)][1], 'talk_refused'],
  });
  assert.deepEqual(done.counts, { failed: 3, no_answer: 1, partly: 1, said: 3 });
  assert.ok(of['8005'].heard > 0.2 && of['8005'].heard < 0.8, `${of['8005'].heard}`);
  assert.ok(of['8001'].heard === 2 && of['8003'].heard === 0);
  for (const [who, heard] of [['8001', phones['8001'].heard()], ['8002', phones['8002'].heard()], ['the pole', readWav(heardByCamera)]]) heardWhole(who, heard, said, other, 2);
  // It is told as it goes, audited, counted, and in the books of calls.
  assert.ok(events.of('broadcast').some((e) => e.targets.some((x) => x.to === '8001' && x.state === 'speaking')));
  assert.equal(events.of('broadcast').at(-1).broadcast.state, 'done');
  const rows = (await api.get('/audit?limit=50')).items.map((r) => [r.verb, r.outcome]);
  for (const row of [['broadcast', 'asked_again'], ['broadcast', 'ok'], ['broadcast_ended', 'done']]) assert.ok(rows.some((r) => r[0] === row[0] && r[1] === row[1]), `${row} in ${JSON.stringify(rows)}`);
  const metrics = await (await fetch(`${gateway.base}/metrics`)).text();
  assert.match(metrics, /skybridge_broadcast_targets_total\{result="said"\} 3/);
  // Rights.
  const viewer = await gateway.account('looker', 'viewer');
  assert.equal((await viewer.refused('POST', '/broadcasts', { order: { source: { kind: 'live' }, targets: [{ to: '8001' }] } })).status, 403);
  assert.equal((await viewer.get(`/broadcasts/${id(started.id)}`)).targets.length, 8);
});

test('stopped for all at once; a killed gateway begins nothing anew; without an engine it is said', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'broadcast-stop');
  const gateway = await Gateway.open(stage, { more: { broadcast: { retries: 0 }, phone: { media_timeout: 3, allow_dial_uri: true } } });
  let { api } = gateway;
  const silence = await tone(stage, 'mouth', 300, { seconds: 120, gain: -60 });
  const phones = {};
  for (const user of ['8001', '8002']) {
    await api.post('/phones', { user, password: secret, name: `Village ${user}` });
    phones[user] = await Baresip.open(stage, gateway, { user, password: secret, say: silence, answer: user === '8001' ? 'auto' : 'manual' });
    await phones[user].registered();
  }
  const order = { source: { kind: 'text', text: TEXT }, targets: [{ to: '8001' }, { to: '8002' }] };
  const states = async (b) => Object.fromEntries((await api.get(`/broadcasts/${id(b.id)}`)).targets.map((x) => [x.to, x.state]));

  await t.test('the stop', async () => {
    const b = await broadcast(api, order);
    await until('8001 hears it', async () => (await states(b))['8001'] === 'speaking', 10);
    await phones['8002'].next('CALL_INCOMING', 10);
    await wait(1_500);
    const at = Date.now();
    await api.post(`/broadcasts/${id(b.id)}/stop`);
    await Promise.all([phones['8001'].next('CALL_CLOSED', 3, at), phones['8002'].next('CALL_CLOSED', 3, at)]);
    const view = await until('it is written down', async () => { const v = await api.get(`/broadcasts/${id(b.id)}`); return v.state === 'stopped' && v; }, 3);
    say(`both were hung up on within ${Math.max(...['8001', '8002'].map((u) => phones[u].events.filter((e) => e.type === 'CALL_CLOSED').at(-1).received)) - at} ms`);
    assert.deepEqual([view.stopped_by, await states(b)], ['admin', { 8001: 'partly', 8002: 'stopped' }]);
    assert.equal((await api.refused('POST', `/broadcasts/${id(b.id)}/stop`)).status, 404);
  });

  await t.test('a sound file of one\'s own, and a preview', async () => {
    const file = await tone(stage, 'siren', 1250, { rate: 22050, channels: 2, seconds: 4, on: 1.9, off: 0.1, gain: -30 });
    const sound = await (await api.raw('POST', '/api/v1/broadcast-sounds?name=Siren', readFileSync(file), { 'content-type': 'audio/wav' })).json();
    assert.ok(Math.abs(sound.seconds - 4) < 0.1, JSON.stringify(sound));
    const bad = await api.refused('POST', '/broadcast-sounds?name=x', 'RIFF this is none');
    assert.deepEqual([bad.status, bad.code], [400, 'broadcast_sound']);
    const preview = stage.file('preview.wav');
    writeFileSync(preview, Buffer.from(await (await api.raw('POST', '/api/v1/broadcasts/preview', { source: { kind: 'sound', sound: sound.id } })).arrayBuffer()));
    assert.ok(toneLevel(readWav(preview), 1250) > 0.4, 'raised to a good loudness');
    const b = await broadcast(api, { source: { kind: 'sound', sound: sound.id }, targets: [{ to: '8001' }], chime: false });
    await until('said', async () => (await states(b))['8001'] === 'said', 15);
    const level = toneLevel(phones['8001'].heard(), 1250);
    say(`the siren is heard with ${level.toFixed(2)} of full scale; it came with 0.03`);
    assert.ok(level > 0.3, `${level}`);
    const list = await api.post('/broadcast-lists', { name: 'River', targets: [{ to: '8001', name: 'Mill' }] });
    assert.deepEqual((await api.get('/broadcast-lists')).items, [list]);
    await api.delete(`/broadcast-lists/${id(list.id)}`);
    await api.delete(`/broadcast-sounds/${id(sound.id)}`);
    const gone = await api.refused('POST', '/broadcasts/preview', { source: { kind: 'sound', sound: sound.id } });
    assert.deepEqual([gone.status, gone.code], [400, 'broadcast_sound']);
  });

  await t.test('a SIP loudspeaker that never sends a packet is asked to answer by itself, and spoken to until the end', async () => {
    const port = await freePorts(2), messages = stage.file('loudspeaker.log');
    stage.start('loudspeaker', 'sipp', ['-sn', 'uas', '-i', '127.0.0.1', '-p', String(port), '-mi', '127.0.0.1', '-mp', String(await freePorts(2)), '-m', '1', '-nostdin', '-trace_msg', '-message_file', messages]);
    await wait(500);
    const to = `sip:pole@127.0.0.1:${port}`;
    const b = await broadcast(api, { source: { kind: 'text', text: TEXT }, targets: [{ to }] });
    await until('said', async () => (await states(b))[to] === 'said', 25);
    const invite = readFileSync(messages, 'latin1').split('INVITE ')[1];
    for (const line of ['Answer-Mode: Auto', 'answer-after=0', 'info=alert-autoanswer']) assert.ok(invite.includes(line), `${line} in ${invite}`);
    assert.ok(!invite.includes('m=video'), 'no picture is asked for');
    say(`said to the end in ${b.seconds.toFixed(1)} s, though it sent nothing and calls end after 3 s of that`);
  });

  await t.test('kill -9 in the midst of it', async () => {
    const b = await broadcast(api, order);
    await until('8001 hears it', async () => (await states(b))['8001'] === 'speaking', 10);
    await wait(1_000);
    gateway.process.kill('SIGKILL');
    await gateway.process.ended;
    await phones['8001'].hangup();
    const at = Date.now();
    await gateway.start();
    api = gateway.api;
    const view = await api.get(`/broadcasts/${id(b.id)}`);
    assert.deepEqual([view.state, view.counts], ['interrupted', { interrupted: 2 }]);
    assert.ok((await api.get('/notices')).items.some((n) => n.object === b.id), 'and it is told');
    await wait(6_000);
    assert.ok(!phones['8001'].events.some((e) => e.type === 'CALL_INCOMING' && e.received > at), 'nobody is called anew by itself');
    say(view.targets[0].en);
  });

  await t.test('no engine', async () => {
    await gateway.process.stop();
    const config = readFileSync(gateway.config, 'utf8').replace('[broadcast]', '[broadcast]\nspeech_command = ["no-such-engine"]');
    writeFileSync(gateway.config, config);
    await gateway.start();
    const asked = await gateway.api.refused('POST', '/broadcasts', { order });
    const refused = await gateway.api.refused('POST', '/broadcasts', { order, confirm: JSON.parse(asked.text).confirm.token });
    say(JSON.parse(refused.text).error.en);
    assert.deepEqual([refused.status, refused.code], [503, 'speech_missing']);
  });
});

test('the page: a text is written, heard first, sent, and said again to who missed it; then a live voice', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'broadcast-page');
  const gateway = await Gateway.open(stage, { more: { broadcast: { answer: 12, retries: 0 } } });
  const { api } = gateway;
  const VOICE = 1250, SHORT = '请立即撤离。';
  const silence = await tone(stage, 'mouth', 300, { seconds: 140, gain: -60 });
  const phones = {};
  const phone = async (user, answer) => {
    phones[user] = await Baresip.open(stage, gateway, { user, password: secret, say: silence, answer });
    await phones[user].registered();
  };
  for (const user of ['8001', '8002', '8003']) await api.post('/phones', { user, password: secret, name: `村 ${user}` });
  await phone('8001', 'auto');
  await phone('8002', 'manual');
  const heardByCamera = stage.file('camera-heard.wav');
  const field = Field.open(stage, gateway, { cameras: [{ id: CAMERA, name: 'Pole', index: 1, speaker: ['listed', 'udp', `heard=${heardByCamera}`] }] });
  await gateway.device(`gb28181:${CAMERA}`, 1);
  const browser = await Browser.open(stage, gateway, { microphone: await tone(stage, 'operator', VOICE, { rate: 48000, seconds: 60 }), camera: await cameraFile(stage) });
  await browser.signIn({ path: '/confer' });
  const board = (state) => browser.page.locator(`[data-testid="broadcast-board"][data-state="${state}"]`).waitFor({ timeout: 40_000 });
  const rows = () => browser.at('broadcast-targets').locator('tbody tr').evaluateAll((all) => Object.fromEntries(all.map((r) => [r.dataset.row, r.dataset.state])));

  await browser.at('broadcast-open').click();
  await browser.at('broadcast-say').fill(SHORT);
  await browser.at('broadcast-rounds').fill('2');
  await browser.at('broadcast-phones').click();
  await browser.at('broadcast-phone-8001').check();
  await browser.at('broadcast-phone-8003').check();
  await browser.at('broadcast-phones-done').click();
  await browser.at('broadcast-speakers').click();
  await browser.page.locator('dialog').getByTestId(`channel-${GB(CAMERA)}`).click();
  await browser.at('broadcast-speakers-done').click();
  await browser.at('broadcast-list-save').click();
  await browser.at('broadcast-list-name').fill('River');
  await browser.at('broadcast-list-done').click();
  await until('the list is kept', async () => (await api.get('/broadcast-lists')).items[0]?.targets.length === 3, 5);
  const [preview] = await Promise.all([browser.page.waitForResponse((r) => r.url().endsWith('/broadcasts/preview')), browser.at('broadcast-preview').click()]);
  assert.equal(preview.status(), 200);
  await browser.page.locator('[data-testid="broadcast-preview"]', { hasText: 'Stop' }).waitFor({ timeout: 5_000 });
  await browser.shot('compose');
  await browser.at('broadcast-send').click();
  await browser.at('confirm-yes').click();
  await board('running');
  await until('8001 is spoken to', async () => (await rows())['8001'] === 'speaking', 10);
  await wait(1_500);
  await browser.shot('running');
  await board('done');
  assert.deepEqual(await rows(), { 8001: 'said', 8003: 'failed', [GB(CAMERA)]: 'said' });
  await browser.at('language').click();
  await browser.shot('done-zh');
  await browser.at('language').click();

  // The one that was off line comes, and the button brings it what it missed, and nobody else.
  await phone('8003', 'auto');
  const calls = phones['8001'].events.filter((e) => e.type === 'CALL_INCOMING').length;
  await browser.at('broadcast-again').click();
  assert.deepEqual(await browser.at('broadcast-chosen').locator('li').evaluateAll((all) => all.map((x) => x.dataset.row)), ['8003']);
  assert.equal(await browser.at('broadcast-say').inputValue(), SHORT);
  await browser.at('broadcast-send').click();
  await browser.at('confirm-yes').click();
  await board('done');
  assert.deepEqual(await rows(), { 8003: 'said' });
  assert.equal(phones['8001'].events.filter((e) => e.type === 'CALL_INCOMING').length, calls, 'who has heard it is not called again');
  heardWhole('8003', phones['8003'].heard(), await spoken(stage, 'short', SHORT), await spoken(stage, 'other-short', '今天天气晴朗。'), 2);

  // A live voice: heard while the button is held, by who was reached before its first word.
  const before = seconds(readWav(heardByCamera));
  await browser.at('broadcast-new').click();
  await browser.at('broadcast-kind-live').click();
  await browser.at('broadcast-numbers').fill('8001 8002');
  await browser.at('broadcast-add').click();
  await browser.at('broadcast-speakers').click();
  await browser.page.locator('dialog').getByTestId(`channel-${GB(CAMERA)}`).click();
  await browser.at('broadcast-speakers-done').click();
  await browser.at('broadcast-send').click();
  await browser.at('confirm-yes').click();
  await browser.page.locator('[data-testid="broadcast-talk"][data-phase="ready"]').waitFor({ timeout: 15_000 });
  await until('two are on the line', async () => Object.values(await rows()).filter((s) => s === 'speaking').length === 2, 10);
  await wait(1_500);
  const level = () => toneLevel(cut(phones['8001'].heard(), Math.max(0, seconds(phones['8001'].heard()) - 1)), VOICE);
  const quiet = level();
  const box = await browser.at('broadcast-talk').boundingBox();
  await browser.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await browser.page.mouse.down();
  await browser.page.locator('[data-testid="broadcast-talk"][data-phase="talking"]').waitFor({ timeout: 5_000 });
  const loud = await until('8001 hears the operator', () => level() > 0.02 && level(), 5);
  // Who picks up now has missed the first words.
  phones['8002'].order('accept');
  await until('8002 is on the line', async () => (await rows())['8002'] === 'speaking', 5);
  await wait(1_500);
  await browser.shot('live');
  await browser.page.mouse.up();
  await wait(1_500);
  const after = level();
  say(`live: 8001 hears ${VOICE} Hz at ${quiet.toFixed(4)} before the button, ${loud.toFixed(3)} while it is held, ${after.toFixed(4)} behind it`);
  assert.ok(quiet < 0.002 && after < 0.002, 'nothing but what was said with the button');
  await browser.at('broadcast-stop').click();
  await browser.at('confirm-yes').click();
  await board('stopped');
  await until('the results are there', async () => { const r = await rows(); return r['8001'] === 'said' && r['8002'] === 'partly' && r[GB(CAMERA)] === 'said'; }, 5);
  await field.next('talk_bye', CAMERA, 5);
  // It writes each talk anew, or behind the one before.
  const ofPole = () => { const pole = readWav(heardByCamera); return toneLevel(seconds(pole) > before + 1 ? cut(pole, before) : pole, VOICE); };
  const poleLevel = await until('the pole heard it', () => ofPole() > 0.02 && ofPole(), 5);
  const lateLevel = toneLevel(phones['8002'].heard(), VOICE);
  say(`the pole heard it at ${poleLevel.toFixed(3)}, the late one at ${lateLevel.toFixed(3)}`);
  assert.ok(lateLevel > 0.02);
  assert.deepEqual(browser.troubles.filter((e) => !(/409/.test(e) && /\/broadcasts/.test(e))), [], 'no errors on the console');
});

test('a radio group behind its gateway is keyed, and hears the text', { timeout: 60_000 }, async (t) => {
  const stage = Stage.open(t, 'broadcast-radio');
  const port = await freePorts(2), air = stage.file('air.wav');
  const group = { number: '9001', name: 'Boats', conference: '9500' };
  const gateway = await Gateway.open(stage, { more: { radio: { gateway: [{ name: 'gw', address: `127.0.0.1:${port}`, carrier: 'dtmf', group: [group], ping_interval: 2 }] } } });
  const field = Field.open(stage, gateway, ['radio', '--group', '9001', '--carrier', 'dtmf', '--port', String(port), '--record', air]);
  await until('the gateway answers', async () => (await gateway.api.get('/devices/radio%3Agw')).online, 20);
  const said = await spoken(stage, 'said', TEXT);
  const b = await broadcast(gateway.api, { source: { kind: 'text', text: TEXT }, targets: [{ to: 'radio:gw/9001' }] });
  assert.equal(b.targets[0].name, 'Boats');
  await until('said', async () => (await gateway.api.get(`/broadcasts/${id(b.id)}`)).targets[0].state === 'said', 30);
  await until('the key is let go', () => field.of('radio_unkeyed').some((e) => e.by === 'hall'), 5);
  await wait(500);
  const heard = readWav(air);
  const first = likeness(cut(said, 0, 2), heard);
  // Behind the first ones: words of two seconds are like others too.
  const behind = first.at + seconds(said) / 2, last = likeness(cut(said, seconds(said) - 2), cut(heard, behind));
  say(`on the air ${seconds(heard).toFixed(1)} s in ${field.of('radio_unkeyed').length} transmissions: first words ${first.score.toFixed(2)} at ${first.at.toFixed(1)} s, last ${last.score.toFixed(2)} at ${(behind + last.at).toFixed(1)} s`);
  assert.ok(first.score > 0.7 && last.score > 0.7, 'from the first to the last word');
});
