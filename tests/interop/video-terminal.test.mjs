// baresip as a SIP meeting terminal with H.264: its picture is seen in Chromium, it sees the conference's picture, both by
// painted numbers; a picture that it does not take is made to fit; the conference is recorded with picture and sound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeFileSync } from 'node:fs';
import { Baresip } from './lib/baresip.mjs';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';
import { film, screen } from './lib/terminal.mjs';
import { paintedNumbers, probe } from './lib/video.mjs';

const CAMERA = '34020000001320000071', LARGE = '34020000001320000072';

test('a SIP terminal with video is a member with picture, both ways', { timeout: 180_000 }, async (t) => {
  const began = Date.now();
  const stage = Stage.open(t, 'video-terminal');
  const [filmA, filmB, say1] = await Promise.all([film(stage, 11), film(stage, 12), tone(stage, 'terminal-says', 1250, { seconds: 120 })]);
  const gateway = await Gateway.open(stage);
  for (const user of ['8001', '8002']) await gateway.api.post('/phones', { user, password: `terminal-secret-${user.slice(3)}`, name: `Terminal ${user}` });
  const conference = await gateway.conference();
  const path = `/conferences/${id(conference.id)}`;
  await gateway.api.patch(path, { pin: '' });
  // The second camera is larger than level 3.1 allows, which is what baresip states.
  Field.open(stage, gateway, { cameras: [
    { id: CAMERA, index: 1, size: '640x360', fps: 25, gop: 50, bitrate: '600k' },
    { id: LARGE, index: 2, size: '1920x1080', fps: 10, gop: 20, bitrate: '2000k' },
  ] });
  const members = () => gateway.api.get(path).then((c) => c.members);
  const member = (name) => members().then((list) => list.find((m) => m.name === name));

  // The terminal calls in.
  const a = await Baresip.open(stage, gateway, { user: '8001', password: 'terminal-secret-1', say: say1, film: filmA });
  await a.registered();
  await a.dial(conference.number);
  const first = await until('the terminal is a member with a live picture', async () => {
    const m = await member('Terminal 8001');
    return m?.state === 'connected' && m.has_video && m.picture?.state === 'live' && m;
  }, 20);
  const stream = await gateway.stream(first.stream);
  say(`the terminal's stream: ${stream.tracks.map((x) => `${x.codec} ${x.width ?? ''}x${x.height ?? ''}`).join(', ')}`);
  assert.equal(first.picture.sees, null, 'nobody else has a picture, and none is chosen');

  // Its picture in Chromium: the painted numbers rise with real time.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.layout(1);
  await browser.watchTile(0);
  await gateway.tile(0, first.stream);
  await until('Chromium shows the terminal', async () => (await browser.frames(0)).at(-1)?.camera === 11, 20);
  await browser.drain(0);
  await wait(4_000);
  const shown = (await browser.drain(0)).filter((f) => f.frame !== null);
  const rises = shown.slice(1).filter((f, n) => f.frame > shown[n].frame).length;
  say(`Chromium read ${shown.length} numbers of the terminal in 4 s, ${rises} of them higher than the one before`);
  assert.ok(shown.length > 30 && shown.every((f) => f.camera === 11) && rises >= shown.length * 0.9, 'its numbers, in order');
  await browser.shot('terminal-in-chromium');

  // The main picture on the terminal's screen.
  await gateway.device(`gb28181:${CAMERA}`);
  await gateway.device(`gb28181:${LARGE}`);
  await gateway.api.put(`${path}/picture`, { source: GB(CAMERA) });
  const looks = async (phone, camera, name, seconds = 20) => until(`${name} shows camera ${camera}`, async () => {
    const read = await screen(stage, phone, name);
    return read?.camera === camera && read;
  }, seconds, 300);
  const one = await looks(a, 1, 'screen-a');
  await wait(2_000);
  const two = await looks(a, 1, 'screen-a');
  say(`on the terminal's screen: camera 1, number ${one.frame}, later ${two.frame}, ${two.width}x${two.height}`);
  assert.ok(two.frame > one.frame, 'the numbers rise');
  assert.equal((await member('Terminal 8001')).picture.sees, GB(CAMERA));

  // Two terminals: the second one is called by the hall.
  const b = await Baresip.open(stage, gateway, { user: '8002', password: 'terminal-secret-2', say: say1, film: filmB, answer: 'auto' });
  await b.registered();
  await gateway.api.post(`${path}/members`, { dial: '8002' });
  const second = await until('the called terminal is a member with a live picture', async () => {
    const m = await member('Terminal 8002');
    return m?.picture?.state === 'live' && m;
  }, 20);
  await looks(b, 1, 'screen-b');
  // What is shown is the first terminal: it sees the other one, and the other one sees it.
  await gateway.api.put(`${path}/picture`, { source: first.stream });
  await looks(b, 11, 'screen-b');
  await looks(a, 12, 'screen-a');
  say('each terminal sees the other one while the first one is the main picture');

  // Recorded: picture and sound in one file.
  const job = await gateway.api.post('/recording/jobs', { stream: conference.stream });
  await wait(6_000);

  // A picture beyond its level is made smaller for it.
  await gateway.api.put(`${path}/picture`, { source: GB(LARGE) });
  const small = await looks(a, 2, 'screen-a', 30);
  say(`a 1920x1080 camera on the terminal's screen: ${small.width}x${small.height}`);
  assert.ok(small.width * small.height <= 3600 * 256, 'within level 3.1');
  assert.equal((await member('Terminal 8001')).picture.fault, null);

  await gateway.api.delete(`/recording/jobs/${id(job.id)}`);
  const files = await until('the recordings are closed', async () => {
    const { items } = await gateway.api.get(`/recordings?stream=${id(conference.stream)}`);
    return items.length > 0 && items.every((r) => r.state !== 'recording') && items;
  }, 20);
  // A picture of another size begins another file.
  const numbers = [];
  for (const [n, file] of files.entries()) {
    const answer = await gateway.api.raw('GET', `/api/v1/recordings/${id(file.id)}/media.mp4`);
    assert.equal(answer.status, 200);
    const mp4 = stage.file(`conference-${n}.mp4`);
    writeFileSync(mp4, Buffer.from(await answer.arrayBuffer()));
    const codecs = (await probe(stage, mp4, `ffprobe-${n}`)).streams.map((s) => s.codec_name).sort();
    assert.deepEqual(codecs, ['h264', 'opus']);
    numbers.push(...(await paintedNumbers(stage, mp4)).filter(Boolean));
  }
  const mine = numbers.filter((n) => n.camera === 11).length;
  say(`recorded: h264 and opus in ${files.length} files, ${numbers.length} numbers, ${mine} of the terminal`);
  assert.ok(mine > 50, 'the terminal is in the recording');

  a.hangup();
  await until('the terminal has left', async () => !(await member('Terminal 8001')));
  await gateway.api.delete(`${path}/members/${id(second.id)}`);
  await b.next('CALL_CLOSED', 10);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
  say(`${((Date.now() - began) / 1000).toFixed(0)} s`);
});
