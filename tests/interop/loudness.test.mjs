// A quiet telephone and a shouting one in a conference: a third phone hears both alike, as FFmpeg's ebur128 reads its recording.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { cut, likeness, lufs, readWav, seconds, speech } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const TEXT = 'Second team to command hall. We have reached the east bank, the water is still rising, we need two more boats and a doctor.';
const QUIET = -35, LOUD = -6;

/** A voice of 100 s at so many LUFS; a limiter takes what is beyond full scale, as in a radio that is shouted into. */
async function voice(stage, name, target) {
  const plain = await speech(stage, `${name}-plain`, TEXT, { rate: 8000, seconds: 100 });
  let gain = target - await lufs(stage, `${name}-plain`, cut(readWav(plain), 0, 20));
  const file = stage.file(`${name}.wav`);
  // The limiter takes some of what it is given: asked for more until it is there.
  for (let n = 0; n < 6; n++) {
    await stage.run(`sox-${name}-${n}`, 'sox', [plain, file, 'gain', '-l', gain.toFixed(1)]);
    const off = target - await lufs(stage, `${name}-${n}`, cut(readWav(file), 0, 20));
    if (Math.abs(off) < 0.5) break;
    gain += off;
  }
  return file;
}

/** What the third phone hears of each of the two, in LUFS, while the other one is muted. */
async function levels(t, name, more) {
  const stage = Stage.open(t, name);
  const gateway = await Gateway.open(stage, { more });
  const conference = await gateway.conference();
  const path = `/conferences/${id(conference.id)}/members`;
  const silence = stage.file('silence.wav');
  await stage.run('sox-silence', 'sox', ['-n', '-r', '8000', '-c', '1', '-b', '16', silence, 'trim', '0', '100']);
  const says = { 8001: await voice(stage, 'quiet', QUIET), 8002: await voice(stage, 'loud', LOUD), 8003: silence };
  const phones = {};
  for (const user of Object.keys(says)) {
    await gateway.api.post('/phones', { user, password: `phone-secret-${user.slice(2)}x`, name: `Phone ${user}` });
    phones[user] = await Baresip.open(stage, gateway, { user, password: `phone-secret-${user.slice(2)}x`, say: says[user], answer: 'auto' });
    await phones[user].registered();
    await until('the API shows it registered', async () => (await gateway.api.get('/phones')).items.find((p) => p.user === user)?.registered);
  }
  const member = {};
  for (const user of Object.keys(says)) {
    member[user] = (await gateway.api.post(path, { dial: user })).id;
    await until(`${user} is a member`, async () => (await gateway.api.get(`/conferences/${id(conference.id)}`)).members.find((m) => m.id === member[user])?.state === 'connected');
  }
  const sources = {}, heard = {}, like = {};
  for (const [speaks, mute] of [['8001', '8002'], ['8002', '8001']]) {
    await gateway.api.patch(`${path}/${id(member[mute])}`, { muted: true });
    await gateway.api.patch(`${path}/${id(member[speaks])}`, { muted: false });
    // The voice is known by then.
    await wait(8_000);
    const from = seconds(phones[8003].heard());
    await wait(16_000);
    const part = cut(phones[8003].heard(), from + 0.5);
    heard[speaks] = await lufs(stage, `heard-${speaks}`, part);
    const source = readWav(says[speaks]);
    sources[speaks] = await lufs(stage, `source-${speaks}`, cut(source, 0, 20));
    // The first words of the text, which is repeated, as they were said.
    like[speaks] = likeness(cut(source, 0, 5), part).score;
  }
  return { sources, heard, like };
}

const words = ({ sources, heard, like }) => `said at ${sources[8001]} and ${sources[8002]} LUFS, heard at ${heard[8001]} and ${heard[8002]}, like what was said by ${like[8001].toFixed(2)} and ${like[8002].toFixed(2)}`;

test('a quiet phone and a loud one are heard within 3 LU', { timeout: 150_000 }, async (t) => {
  const all = await levels(t, 'loudness', {});
  say(words(all));
  assert.ok(all.sources[8002] - all.sources[8001] > 24, 'the voices are far apart');
  assert.ok(Math.abs(all.heard[8002] - all.heard[8001]) < 3, `heard alike: ${words(all)}`);
  // A quiet line is raised only as far as its noise allows.
  assert.ok(Math.abs(all.heard[8001] + 23) < 4 && Math.abs(all.heard[8002] + 23) < 3, 'about the loudness of EBU R128');
  assert.ok(all.like[8001] > 0.8 && all.like[8002] > 0.8, `their words keep their shape: ${words(all)}`);
});

test('with hall.loudness off each is as loud as it comes', { timeout: 150_000 }, async (t) => {
  const all = await levels(t, 'loudness-off', { hall: { loudness: false } });
  say(words(all));
  for (const user of ['8001', '8002']) assert.ok(Math.abs(all.heard[user] - all.sources[user]) < 3, `${user} is heard as it speaks: ${words(all)}`);
});
