// What a recorder holds itself: listed in the console, played at a time, sought, sped up, paused; fetched into the archive through a
// dead camera and a killed gateway. The painted numbers are the recording's own time, so that each picture says which moment it is.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { say, SKYBRIDGE, Stage, until, wait } from './lib/stage.mjs';
import { jumps, paintedNumbers, probe } from './lib/video.mjs';

const CAMERA = '34020000001320000091', FPS = 25, WIDTH = 320, HEIGHT = 180;
// Two hours ago, on a whole minute: a recording of 3 minutes, and one of a minute behind a gap.
const START = Math.floor(Date.now() / 60_000 - 120) * 60_000;
const SPANS = [[0, 180], [240, 60]];
/** The moment of a painted number, in ms since 1970 (tests/fieldsim/src/tape.rs). */
const moment = (painted) => { const span = 100_000_000, base = Math.floor(START / 1000 / span) * span; return base * 1000 + (painted * 1000) / FPS; };
const iso = (s) => new Date(START + s * 1000).toISOString();
const day = (ms) => { const d = new Date(ms), two = (n) => String(n).padStart(2, '0'); return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`; };

const camera = (more = {}) => ({ cameras: [{ id: CAMERA, index: 9, name: 'Lock', size: `${WIDTH}x${HEIGHT}`, bitrate: '600k', recordings: SPANS.map(([s, n]) => `${iso(s)}/${n}`), ...more }] });

test('device recordings: list, play at a time, seek, double speed, pause, and a fetch that breaks twice and is whole', { timeout: 280_000 }, async (t) => {
  const stage = Stage.open(t, 'device-recordings');
  const gateway = await Gateway.open(stage, { more: { 'gb28181.history': { loss: 6 }, recorder: { min_free_gigabytes: 0, fetch_speed: 4 } } });
  let field = Field.open(stage, gateway, camera(), { keepalive: 3 });
  await gateway.device(`gb28181:${CAMERA}`);
  const channel = GB(CAMERA);
  const events = await gateway.events();

  // The list.
  const listed = await gateway.api.get(`/channels/${id(channel)}/device-recordings?from=${iso(-600)}&to=${iso(600)}`);
  assert.equal(listed.complete, true);
  assert.deepEqual(listed.items.map((i) => [i.from, i.to].map(Date.parse)), SPANS.map(([s, n]) => [START + s * 1000, START + (s + n) * 1000]));
  assert.equal((await gateway.anonymous().refused('GET', `/channels/${id(channel)}/device-recordings?from=${iso(0)}&to=${iso(1)}`)).status, 401);

  // The console: the lane is asked for on demand, a click plays.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn({ path: `/replay?stream=${encodeURIComponent(channel)}&day=${day(START)}` });
  await browser.at('devrec-ask').click();
  await browser.page.locator('[data-testid="devrec-count"]').waitFor({ timeout: 15_000 });
  assert.match(await browser.at('devrec-count').innerText(), /: 2;/);
  const rows = await browser.page.evaluate(() => document.querySelector('[data-testid="timeline"]').getBoundingClientRect().toJSON());
  const click = async (ms) => {
    // The lane is the last row; the day spans the canvas behind the labels.
    const box = await browser.page.evaluate(() => { const c = document.querySelector('[data-testid="timeline"] canvas').getBoundingClientRect(); const rem = parseFloat(getComputedStyle(document.documentElement).fontSize); return { x: c.x, y: c.y, w: c.width, h: c.height, label: Math.round(rem * 11), row: Math.round(rem * 2.1) }; });
    const midnight = new Date(START); midnight.setHours(0, 0, 0, 0);
    const after = new Date(midnight); after.setDate(after.getDate() + 1);
    const share = (ms - midnight.getTime()) / (after.getTime() - midnight.getTime());
    await browser.page.mouse.click(box.x + box.label + share * (box.w - box.label), box.y + box.h - 6 - box.row / 2);
  };
  assert.ok(rows.width > 400);
  await click(START + 60_000);
  await browser.page.locator('[data-testid="devrec-picture"][data-phase="playing"]').waitFor({ timeout: 20_000 });
  await browser.watchTile(100);
  const last = async () => { const f = (await browser.frames(100)).filter((x) => x.frame !== null).at(-1); return f && { ...f, ms: moment(f.frame) }; };
  const first = await until('a picture of the recording', last, 20);
  assert.equal(first.camera, 9);
  assert.ok(first.ms >= START && first.ms < START + 300_000, `the picture is of the recording: ${new Date(first.ms).toISOString()}`);
  const [playback] = (await gateway.api.get('/device-playbacks')).items;
  assert.equal(playback.owner, 'admin');

  // Seek to a second: over the API, as the owner, for a pixel of the day is a minute.
  const control = (body) => gateway.api.post(`/device-playbacks/${id(playback.id)}/control`, body);
  const from = Date.parse(playback.from);
  const goal = from === START ? START + 100_000 : START + 270_000;
  await browser.drain(100);
  const asked = Date.now();
  await control({ action: 'seek', to: new Date(goal).toISOString() });
  const sought = await until('the picture of the moment sought', async () => { const f = await last(); return f && f.ms >= goal && f.ms < goal + 3_000 && f; }, 15, 30);
  const landed = (await browser.frames(100)).map((f) => f.frame !== null && moment(f.frame)).filter((ms) => ms && ms >= goal - 2_000 && ms < goal + 5_000);
  assert.ok(landed[0] >= goal && landed[0] < goal + 500, `it lands on the moment: ${(landed[0] - goal)} ms behind it`);
  say(`a click plays; a seek shows its moment after ${sought.drawn - asked > 0 ? Math.round(sought.drawn - asked) : '?'} ms, ${landed[0] - goal} ms behind what was asked for`);

  // The clock beside the picture says what the picture shows.
  const clock = async () => browser.page.evaluate(() => {
    const video = window.skybridge.tiles.get(100).video;
    return { at: Number(document.querySelector('[data-testid="devrec-time"]').dataset.at), code: window.interop.look(video)?.read?.frame ?? null };
  });
  await wait(1_500);
  const offs = [];
  for (let n = 0; n < 10; n++) { const c = await clock(); if (c.code !== null) offs.push(c.at - moment(c.code)); await wait(150); }
  assert.ok(offs.length >= 5 && offs.every((o) => Math.abs(o) < 600), `clock against picture while it plays: ${offs.map(Math.round)} ms`);

  // Double speed, measured by the pictures.
  await browser.at('devrec-speed-2').click();
  await wait(1_200);
  const a = await last();
  await wait(4_000);
  const b = await last();
  const rate = (b.ms - a.ms) / (b.drawn - a.drawn);
  assert.ok(rate > 1.7 && rate < 2.3, `2x plays ${rate.toFixed(2)} seconds a second`);

  // Pause: the picture stands, and the clock is exact.
  await browser.at('devrec-toggle').click();
  await browser.page.locator('[data-testid="devrec-picture"][data-phase="paused"]').waitFor({ timeout: 10_000 });
  await wait(1_000);
  const still = await clock();
  await wait(8_000); // longer than the 6 s without media that would end a playback that is not paused
  const later = await clock();
  assert.equal(later.code, still.code, 'the picture stands');
  assert.ok(Math.abs(later.at - moment(later.code)) <= 40, `paused, the clock says the picture's own moment: ${later.at - moment(later.code)} ms off`);
  await browser.at('devrec-toggle').click();
  await until('it goes on', async () => { const f = await last(); return f && f.ms > moment(still.code) && f.ms < moment(still.code) + 20_000 && f; }, 10);
  await browser.shot('playing');
  say(`clock against picture ${Math.min(...offs).toFixed(0)}..${Math.max(...offs).toFixed(0)} ms playing, ${later.at - moment(later.code)} ms paused; 2x is ${rate.toFixed(2)}x`);
  await browser.at('devrec-close').click();
  await until('the playback is gone', async () => (await gateway.api.get('/device-playbacks')).items.length === 0, 10);
  await field.next('bye', CAMERA, 10);

  // Who may not: a viewer plays but does not fetch; nobody steers another's playback.
  const viewer = await gateway.account('watcher', 'viewer');
  assert.equal((await viewer.refused('POST', '/device-fetches', { channel, from: iso(0), to: iso(10) })).status, 403);
  const mine = await gateway.api.post('/device-playbacks', { channel, at: iso(5) });
  assert.equal((await viewer.refused('POST', `/device-playbacks/${mine.id}/control`, { action: 'pause' })).status, 404);
  await gateway.api.delete(`/device-playbacks/${mine.id}`);
  assert.equal((await gateway.api.refused('POST', '/device-playbacks', { channel, at: iso(5_000) })).status, 409);

  // A fetch over the gap: two stretches. The camera dies in the first, the gateway in what follows.
  const fetch = await gateway.api.post('/device-fetches', { channel, from: iso(20), to: iso(270) });
  assert.equal(fetch.total_s, 190);
  const state = () => gateway.api.get('/device-fetches').then((r) => r.items.find((f) => f.id === fetch.id));
  await until('15 s are there', async () => (await state()).done_s > 15, 40);
  await field.process.kill('SIGKILL');
  await until('the fetch says that it waits', async () => { const f = await state(); return f.state === 'waiting' && f.fault; }, 40);
  const broke = (await state()).done_s;
  field = Field.open(stage, gateway, camera(), { keepalive: 3, name: 'field-2' });
  await until('it goes on', async () => (await state()).done_s > broke + 10, 60);
  const killed = (await state()).done_s;
  gateway.process.kill('SIGKILL');
  await gateway.process.ended;
  await gateway.start();
  const back = await until('the fetch is known', state, 10);
  assert.ok(['queued', 'running', 'waiting'].includes(back.state), `after the restart: ${back.state}`);
  const done = await until('the fetch is done', async () => { const f = await state(); if (f.state === 'failed') throw new Error(JSON.stringify(f)); return f.state === 'done' && f; }, 150);
  assert.equal(done.done_s, 190);
  // Over three sessions of the first stretch: what came again was not kept twice.
  const invites = field.of('invite', CAMERA).filter((e) => e.kind === 'Download');
  assert.ok(invites.length >= 2 && invites.some((e) => e.time[0] * 1000 > START + 20_000), `it went on in the middle: ${invites.map((e) => e.time[0] - START / 1000)}`);

  const { items } = await gateway.api.get(`/recordings?stream=${id(channel)}&from=${iso(-60)}&to=${iso(600)}`);
  items.sort((x, y) => x.from.localeCompare(y.from));
  assert.deepEqual(items.map((r) => [r.cause, r.state]), [['device', 'whole'], ['device', 'whole']], JSON.stringify(items));
  for (const [n, [from_s, to_s]] of [[20, 180], [240, 270]].entries()) {
    const r = items[n];
    assert.ok(Math.abs(Date.parse(r.from) - (START + from_s * 1000)) <= 40, `its time is the recording's own: ${r.from}`);
    assert.ok(Math.abs(r.duration_s - (to_s - from_s)) < 0.1, `${r.duration_s} s`);
    const file = stage.file(`copy-${n}.mp4`);
    writeFileSync(file, Buffer.from(await (await gateway.api.raw('GET', `/api/v1/recordings/${id(r.id)}/media.mp4`)).arrayBuffer()));
    const facts = await probe(stage, file, `ffprobe-${n}`);
    assert.ok(facts.streams.some((s) => s.codec_type === 'audio'), 'with its sound');
    const list = (await paintedNumbers(stage, file, { width: WIDTH, height: HEIGHT })).map((p) => p?.frame);
    assert.deepEqual(jumps(list), [], `copy ${n}: consecutive`);
    assert.equal(moment(list[0]), START + from_s * 1000, `copy ${n} begins at its moment`);
    assert.equal(list.length, (to_s - from_s) * FPS, `copy ${n}: every picture`);
  }
  say(`fetch of 190 s: camera killed at ${broke} s, gateway at ${killed} s; ${items.length} files, ${items.map((r) => r.frames)} consecutive pictures`);

  // Listed and played as any other.
  await browser.page.reload();
  await browser.at(`recording-${items[0].id}`).locator('button').first().click();
  const shown = await until('the copy plays', () => browser.page.evaluate(() => { const v = document.querySelector('[data-testid="replay-video"]'); const c = window.interop.look(v)?.read; return c && v.currentTime > 0.5 && { time: v.currentTime, frame: c.frame }; }), 15);
  assert.ok(Math.abs(moment(shown.frame) - (START + 20_000) - shown.time * 1000) < 400, `picture and time agree: ${moment(shown.frame) - START} ms at ${shown.time} s`);
  await browser.shot('copy');
  const rows_of = (await gateway.api.get('/audit?limit=200')).items.map((r) => r.verb);
  for (const verb of ['play_device_recording', 'control_playback', 'stop_playback', 'fetch_device_recording']) assert.ok(rows_of.includes(verb), `audit: ${verb}`);
  assert.ok(events.all.some((e) => e.type === 'device_playback') && events.all.some((e) => e.type === 'device_fetch'), 'the consoles are told');
  const check = await stage.run('recordings-check', SKYBRIDGE, ['recordings', 'check', '--config', gateway.config], { env: gateway.env });
  assert.match(check.out, /The archive is whole/);
});
