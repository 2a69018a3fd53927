// kill -9 in the middle of a planned recording with a wall open: what is lost, and what comes back by itself.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { say, SKYBRIDGE, Stage, until, wait } from './lib/stage.mjs';
import { jumps, paintedNumbers, probe } from './lib/video.mjs';

const CAMERA = '34020000001320000051', OTHER = '34020000001320000052';

test('kill -9 while a plan records and a wall is open: at most 1 s is missing, all comes back by itself', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'crash');
  const gateway = await Gateway.open(stage);
  const field = Field.open(stage, gateway, { cameras: [{ id: CAMERA, index: 5 }, { id: OTHER, index: 6 }] }, { keepalive: 3 });
  await gateway.device(`gb28181:${CAMERA}`);
  await gateway.device(`gb28181:${OTHER}`);
  const channel = GB(CAMERA);
  const plan = await gateway.api.post('/recording/plans', { stream: channel, name: 'Day and night', enabled: true, always: true, windows: [], keep_days: 3 });
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.place(0, channel);
  await browser.place(1, GB(OTHER));
  for (const n of [0, 1]) await browser.watchTile(n);
  await until('both tiles show pictures', async () => (await browser.frames(0)).at(-1)?.camera === 5 && (await browser.frames(1)).at(-1)?.camera === 6, 15);
  await until('the plan records', async () => (await gateway.api.get('/recording/jobs')).items.some((j) => j.cause === 'plan' && j.state === 'recording'), 20);
  await wait(12_000);

  // The camera's own count at the moment of the kill, from its clock of frames.
  const killedAt = Date.now();
  gateway.process.kill('SIGKILL');
  await gateway.process.ended;
  const atKill = field.frameAt(killedAt);
  await until('the console says that the gateway is gone', () => browser.page.locator('[data-testid="connection"]:not([data-state="open"])').count(), 15);
  await browser.shot('gone');
  const last = (await browser.frames(0)).at(-1);
  assert.ok(last.camera === 5 && last.luma > 20, 'the last picture was no black one');
  await wait(2_000);

  await browser.drain(0);
  await browser.drain(1);
  await gateway.start();
  const back = Date.now();
  // At once: before any device has sent a word.
  const known = (await gateway.api.get('/devices')).items.map((d) => d.id);
  assert.ok(known.includes(`gb28181:${CAMERA}`) && known.includes(`gb28181:${OTHER}`), `devices are known at once: ${known}`);
  assert.equal((await gateway.api.get('/recording/plans')).items[0]?.id, plan.id, 'the plan is there');
  const knownAfter = Date.now() - back;
  const wall = await gateway.api.get('/walls/1');
  assert.deepEqual([wall.tiles[0].source, wall.tiles[1].source], [channel, GB(OTHER)], 'the wall shows what it showed');

  // The wall in the open browser comes back without a hand.
  const shown = {};
  for (const [n, camera] of [[0, 5], [1, 6]]) {
    await until(`tile ${n} shows camera ${camera} again`, async () => (await browser.frames(n)).find((f) => f.camera === camera && f.t > back && f.t - field.epoch - f.frame * 40 < 2_000), 40);
    shown[n] = (await browser.frames(n)).find((f) => f.t > back).t - back;
  }
  await until('the plan goes on', async () => (await gateway.api.get('/recording/jobs')).items.some((j) => j.cause === 'plan' && j.state === 'recording'), 30);
  await wait(5_000);
  await browser.shot('back');
  const lagging = (await browser.frames(0)).at(-1);
  assert.ok(Date.now() - lagging.t < 1_500, 'and it still moves');

  await gateway.api.put(`/recording/plans/${id(plan.id)}`, { ...plan, enabled: false });
  await until('the plan has stopped', async () => (await gateway.api.get('/recording/jobs')).items.length === 0, 15);
  const { items } = await until('the last recording is closed', async () => { const all = await gateway.api.get(`/recordings?stream=${id(channel)}`); return all.items.every((r) => r.state !== 'recording') && all; }, 10);
  items.sort((a, b) => a.from.localeCompare(b.from));
  assert.ok(items.length >= 2, `one recording before the kill and one after it: ${JSON.stringify(items)}`);
  const numbers = [];
  for (const [n, recording] of items.entries()) {
    assert.ok(['whole', 'repaired'].includes(recording.state), `recording ${n} is ${recording.state}`);
    const file = stage.file(`part-${n}.mp4`);
    writeFileSync(file, Buffer.from(await (await gateway.api.raw('GET', `/api/v1/recordings/${id(recording.id)}/media.mp4`)).arrayBuffer()));
    await probe(stage, file, `ffprobe-${n}`);
    const list = (await paintedNumbers(stage, file)).map((p) => p?.frame);
    assert.deepEqual(jumps(list), [], `recording ${n}: consecutive`);
    assert.equal(list.length, recording.frames, `recording ${n}: as many pictures as the index says`);
    numbers.push(list);
  }
  const saved = Math.max(...numbers.filter((l) => l[0] < atKill).map((l) => l.filter((f) => f <= atKill).at(-1)));
  const missing = atKill - saved;
  const resumed = numbers.find((l) => l[0] > atKill)?.[0];
  say(`killed at picture ${atKill}, recorded up to ${saved}: ${(missing / 25).toFixed(2)} s missing; devices known ${knownAfter} ms after 'ready'; ` +
    `tiles back ${Math.round(shown[0])} and ${Math.round(shown[1])} ms after it; recording goes on ${((resumed - field.frameAt(back)) / 25).toFixed(1)} s after it`);
  assert.ok(missing <= 25, `${missing} pictures are missing before the kill`);
  assert.ok(resumed, 'a recording after the restart');
  await until('devices are on line again', async () => (await gateway.api.get(`/devices/${id(`gb28181:${CAMERA}`)}`)).online, 20);

  const check = await stage.run('recordings-check', SKYBRIDGE, ['recordings', 'check', '--config', gateway.config], { env: gateway.env, fails: true });
  say(check.out.replaceAll('\n', ' | '));
  assert.equal(check.code, 0, check.out + check.err);

  // And it can say no: a byte cut out of a finished file is found.
  const found = (function walk(dir) { return readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? walk(join(dir, e.name)) : e.name.endsWith('.mp4') ? [join(dir, e.name)] : [])); })(join(gateway.data, 'recordings'));
  await gateway.process.stop();
  const { truncateSync, statSync } = await import('node:fs');
  truncateSync(found[0], statSync(found[0]).size - 5_000);
  const broken = await stage.run('recordings-check-broken', SKYBRIDGE, ['recordings', 'check', '--config', gateway.config], { env: gateway.env, fails: true });
  assert.notEqual(broken.code, 0, 'a file that was cut is found');
});
