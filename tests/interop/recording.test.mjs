// 30 s of a camera and of the conference are recorded together; foreign programs read the files, the console plays one.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id, PIN } from './lib/gateway.mjs';
import { cut, readWav, seconds, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';
import { jumps, paintedNumbers, probe, soundOf } from './lib/video.mjs';

const CAMERA = '34020000001320000041', TONE = 440, PHONE_TONE = 1300;
const LENGTH = Number(process.env.RECORD_SECONDS ?? 30);

test(`${LENGTH} s of a camera and of the conference: whole, consecutive, with sound, played in Chromium`, { timeout: 200_000 }, async (t) => {
  const stage = Stage.open(t, 'recording');
  const gateway = await Gateway.open(stage);
  await gateway.api.post('/phones', { user: '8001', password: 'phone-secret-01x', name: 'Boat' });
  const field = Field.open(stage, gateway, {
    cameras: [{ id: CAMERA, index: 3, tone: TONE, name: 'Quay' }],
    phones: [{ user: '8001', password: 'phone-secret-01x', dial: '9000', pin: PIN, tone: PHONE_TONE }],
  });
  await gateway.device(`gb28181:${CAMERA}`);
  const channel = GB(CAMERA);
  const conference = await gateway.conference();
  await gateway.api.post(`/conferences/${id(conference.id)}/members`, { channel });
  await gateway.api.put(`/conferences/${id(conference.id)}/picture`, { source: channel });
  await gateway.live(channel);
  // A conference as one stream: its main picture with its mix.
  const whole = `conference:${conference.id}`;
  await until('the phone is in', async () => (await gateway.conference()).members.some((m) => m.kind === 'phone' && m.state === 'connected'));

  const jobs = [];
  for (const stream of [channel, whole]) jobs.push(await gateway.api.post('/recording/jobs', { stream }));
  await until('both are being recorded', async () => (await gateway.api.get('/recording/jobs')).items.filter((j) => j.state === 'recording').length === 2);
  assert.equal((await gateway.conference()).recording, jobs[1].id, 'the conference says that it is recorded');
  await wait(LENGTH * 1000 + 2_000);
  const stopped = field.frameAt(Date.now());
  for (const job of jobs) await gateway.api.delete(`/recording/jobs/${id(job.id)}`);
  assert.deepEqual((await gateway.api.get('/recording/jobs')).items, [], 'nothing is recorded any more');

  const files = {};
  for (const [name, stream] of [['camera', channel], ['conference', whole]]) {
    const { items, total } = await gateway.api.get(`/recordings?stream=${id(stream)}`);
    assert.equal(total, 1, `one recording of the ${name}`);
    const recording = items[0];
    assert.equal(recording.state, 'whole');
    assert.ok(recording.has_video && recording.has_audio, `${name}: picture and sound`);
    assert.ok(recording.duration_s >= LENGTH, `${name}: ${recording.duration_s} s`);
    const answer = await gateway.api.raw('GET', `/api/v1/recordings/${id(recording.id)}/media.mp4`);
    assert.equal(answer.status, 200);
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(bytes.length, recording.bytes, 'the index knows the length');
    const file = stage.file(`${name}.mp4`);
    writeFileSync(file, bytes);
    files[name] = { recording, file, bytes };

    const facts = await probe(stage, file, `ffprobe-${name}`);
    const video = facts.streams.find((s) => s.codec_type === 'video'), audio = facts.streams.find((s) => s.codec_type === 'audio');
    assert.equal(video.codec_name, 'h264');
    assert.deepEqual([video.width, video.height], [640, 360]);
    assert.ok(audio, 'ffprobe sees the sound');
    // By the last picture: ffprobe's sum for the file adds the later start of the sound to its length.
    const packets = (await stage.run(`ffprobe-packets-${name}`, 'ffprobe', ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=pts_time', '-of', 'csv=p=0', file])).out.trim().split('\n').map(parseFloat);
    assert.equal(packets[0], 0);
    assert.ok(Math.abs(packets.at(-1) + 0.04 - recording.duration_s) < 0.1, `${name}: the last picture is at ${packets.at(-1)} s, the index says ${recording.duration_s}`);

    const numbers = await paintedNumbers(stage, file);
    assert.equal(numbers.length, recording.frames, `${name}: as many pictures as the index says`);
    assert.ok(numbers.every((n) => n?.camera === 3), `${name}: every picture can be read`);
    const list = numbers.map((n) => n.frame);
    assert.deepEqual(jumps(list), [], `${name}: painted numbers are consecutive`);
    assert.ok(list.length >= LENGTH * 25, `${name}: ${list.length} pictures`);
    assert.ok(stopped - list.at(-1) <= 30, `${name}: recorded up to the stop (${stopped - list.at(-1)} pictures before it)`);

    const sound = readWav(await soundOf(stage, file, `sound-${name}`));
    const level = toneLevel(sound, TONE), beside = toneLevel(sound, TONE * 1.5);
    assert.ok(recording.duration_s - seconds(sound) < 4.2, `${name}: ${seconds(sound)} s of sound; it begins at most a group of pictures (4 s) after the picture`);
    assert.ok(level > 0.02 && level > 20 * beside, `${name}: the camera's ${TONE} Hz is heard (${level.toFixed(3)})`);
    for (let at = 1; at + 1 < seconds(sound); at++) assert.ok(toneLevel(cut(sound, at, at + 1), TONE) > level / 4, `${name}: sound in second ${at}`);
    const phone = toneLevel(sound, PHONE_TONE);
    if (name === 'conference') assert.ok(phone > 0.02, `the phone is heard in the conference's recording (${phone.toFixed(4)})`);
    else assert.ok(phone < 0.002, `and not in the camera's (${phone.toFixed(4)})`);
    say(`${name}: ${recording.duration_s.toFixed(1)} s, ${list.length} consecutive pictures ${list[0]}..${list.at(-1)}, ${(recording.bytes / 1e6).toFixed(1)} MB, ${video.codec_name}+${audio.codec_name}, tone ${level.toFixed(3)}`);
  }

  // Ranges, as players and resumed downloads ask.
  const { recording, bytes } = files.camera;
  const path = `/api/v1/recordings/${id(recording.id)}/media.mp4`;
  for (const [range, from, to] of [['bytes=0-99', 0, 100], ['bytes=1000-', 1000, bytes.length], ['bytes=-500', bytes.length - 500, bytes.length]]) {
    const part = await gateway.api.raw('GET', path, undefined, { range });
    assert.equal(part.status, 206, range);
    assert.equal(part.headers.get('content-range'), `bytes ${from}-${to - 1}/${bytes.length}`);
    assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(from, to)), `${range} gives these bytes`);
  }
  assert.equal((await gateway.api.raw('GET', path, undefined, { range: `bytes=${bytes.length}-` })).status, 416);
  assert.equal((await gateway.anonymous().raw('GET', path)).status, 401, 'nobody downloads without a session');

  // Played and sought in the console.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.at('nav-replay').click();
  await browser.at(`recording-${recording.id}`).locator('button').first().click();
  const look = () => browser.page.evaluate(() => { const v = document.querySelector('[data-testid="replay-video"]'); return { time: v.currentTime, duration: v.duration, code: window.interop.look(v)?.read ?? null, error: v.error?.message ?? null }; });
  const playing = await until('the recording plays', async () => { const l = await look(); return l.code && l.time > 1 && l; }, 15);
  const first = (await paintedNumbers(stage, files.camera.file))[0].frame;
  assert.equal(playing.code.camera, 3);
  assert.ok(Math.abs(playing.code.frame - first - playing.time * 25) < 6, `picture ${playing.code.frame} at ${playing.time} s`);
  const goal = Math.round(LENGTH * 0.7);
  await browser.page.evaluate((s) => { document.querySelector('[data-testid="replay-video"]').currentTime = s; }, goal);
  const sought = await until('the picture after the seek is there', async () => { const l = await look(); return l.code && Math.abs(l.time - goal) < 3 && l.code.frame > first + goal * 25 - 10 && l; }, 10);
  assert.ok(Math.abs(sought.code.frame - first - sought.time * 25) < 6, `picture ${sought.code.frame} at ${sought.time} s after the seek`);
  await browser.shot('replay');
  const [download] = await Promise.all([browser.page.waitForEvent('download'), browser.at('replay-download').click()]);
  assert.match(download.suggestedFilename(), /\.mp4$/);
  assert.ok(readFileSync(await download.path()).equals(bytes), 'the download is the file');
  assert.deepEqual(browser.troubles, [], 'no errors on the console');

  const check = await stage.run('recordings-check', (await import('./lib/stage.mjs')).SKYBRIDGE, ['recordings', 'check', '--config', gateway.config], { env: gateway.env });
  assert.match(check.out, /The archive is whole/);
});
