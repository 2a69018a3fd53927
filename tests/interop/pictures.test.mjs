// Pictures on order: by the device in each HTTP way, in part, refused, to a wrong address; stills where it cannot. Foreign programs read them.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { say, Stage, until } from './lib/stage.mjs';
import { paintedNumbers, probe } from './lib/video.mjs';

const of = (n) => `3402000000132000060${n}`;

test('pictures: taken by devices and of the live stream, refused when wrong, shown in the console', { timeout: 180_000 }, async (t) => {
  const stage = Stage.open(t, 'pictures');
  const port = await freePorts();
  const gateway = await Gateway.open(stage, { more: { pictures: { listen: [`127.0.0.1:${port}`], upload_seconds: 6, max_upload_megabytes: 1 } } });
  const cameras = [
    { id: of(1), snapshot: 'put', index: 1 }, { id: of(2), snapshot: 'post', index: 2 }, { id: of(3), snapshot: 'multipart', index: 3 },
    { id: of(4), faults: ['snap-partial'] }, { id: of(5), faults: ['snap-wrong-session'] }, { id: of(6), faults: ['snap-too-large'] },
    { id: of(7), faults: ['snap-none'] }, { id: of(8), faults: ['snap-refuse'] }, { id: of(9), faults: ['snap-not-jpeg'] },
  ].map((c) => ({ edition: 2022, name: `Camera ${c.id.at(-1)}`, ...c }));
  cameras.push({ id: of(0), edition: 2016, name: 'Old one', index: 10, gop: 25 });
  const field = Field.open(stage, gateway, { cameras });
  for (const c of cameras) await gateway.device(`gb28181:${c.id}`);

  const take = async (camera, body = {}) => gateway.api.post(`/channels/${id(GB(camera))}/pictures`, body);
  const ended = (order, seconds = 25) => until(`order ${order.id} has ended`, async () => { const s = await gateway.api.get(`/snapshots/${order.id}`); return s.state !== 'ordered' && s; }, seconds);
  // The device writes its line after the answer to its upload, and so perhaps after the gateway has ended the order.
  const told = (n, count) => until(`camera ${n} tells of ${count} uploads`, () => { const uploads = field.of('snapshot_upload', of(n)); return uploads.length >= count && uploads; });
  const image = (p, query = '') => gateway.api.raw('GET', `/api/v1/pictures/${p.id}/image.jpg${query}`);
  const read = async (picture) => {
    const file = stage.file(`${picture.id}.jpg`);
    const answer = await image(picture);
    assert.equal(answer.headers.get('content-type'), 'image/jpeg');
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(bytes.length, picture.bytes);
    writeFileSync(file, bytes);
    const { streams: [s] } = await probe(stage, file, `ffprobe-${picture.id}`);
    assert.deepEqual([s.codec_name, s.width, s.height], ['mjpeg', picture.width, picture.height]);
    return (await paintedNumbers(stage, file))[0];
  };

  // Each HTTP way, three pictures a second apart; ffmpeg decodes them, the painted number is the one the device painted.
  const orders = await Promise.all([1, 2, 3].map((n) => take(of(n), { count: 3, interval_s: 1, source: 'device' })));
  assert.equal((await gateway.api.refused('POST', `/channels/${id(GB(of(1)))}/pictures`, {})).code, 'picture_underway');
  for (const [n, way] of [[1, 'put'], [2, 'post'], [3, 'multipart']]) {
    const order = await ended(orders[n - 1]);
    assert.deepEqual([order.state, order.source, order.pictures.length, order.fault], ['done', 'device', 3, null], way);
    const uploads = await told(n, 3);
    for (const [k, picture] of order.pictures.entries()) {
      assert.equal(uploads[k].way, way);
      assert.equal(picture.name.replace('.jpg', ''), uploads[k].file, `${way}: the file name is known`);
      const code = await read(picture);
      assert.deepEqual(code, { frame: uploads[k].frame, camera: n }, `${way}: the picture is the one that the device took`);
      // The file name tells the moment, in Beijing time.
      assert.ok(Math.abs(Date.parse(picture.taken_at) - Date.parse(uploads[k].time)) < 1500, `${picture.taken_at} is ${uploads[k].time}`);
    }
  }
  say('3 pictures each by PUT, POST and multipart: decoded by ffmpeg, painted numbers agree');

  // What goes wrong is said, by name.
  const wrong = await Promise.all([4, 5, 6, 7, 8, 9].map(async (n) => ended(await take(of(n), { count: 2, source: 'device' }), 40)));
  const [partial, session, large, none, refused, page] = wrong;
  assert.deepEqual([partial.state, partial.pictures.length, partial.fault], ['partial', 1, null]);
  assert.match(partial.note.en, /1 of 2/);
  for (const order of [session, large, none, page]) assert.deepEqual([order.state, order.pictures.length, order.fault.code], ['failed', 0, 'snapshot_not_uploaded']);
  assert.equal(refused.fault.code, 'snapshot_refused');
  const codes = async (n) => (await told(n, 2)).map((e) => e.outcome.code);
  assert.deepEqual(await codes(5), [404, 404], 'another secret opens nothing');
  assert.deepEqual(await codes(6), [413, 413], 'too large');
  assert.deepEqual(await codes(9), [415, 415], 'no JPEG');
  const metrics = await (await gateway.api.raw('GET', '/metrics')).text();
  assert.match(metrics, /skybridge_picture_uploads_total\{outcome="ok"\} 10/);
  assert.match(metrics, /refused_messages_total\{reason="snapshot_session"\} 1/);

  // The upload address ends with its order, and the listener serves nothing else.
  const plain = `http://127.0.0.1:${port}`;
  for (const path of ['/', '/api/v1/session', '/metrics', '/healthz']) assert.equal((await fetch(plain + path)).status, 404, `${path} is not served to devices`);
  assert.equal((await fetch(`${plain}/upload/${'0'.repeat(64)}`, { method: 'PUT', body: 'x' })).status, 404);
  assert.equal((await fetch(`${plain}/upload/${'0'.repeat(64)}`)).status, 405);

  // A 2016 device takes no pictures: a still of its stream, which is started for it. Also where a 2022 device brings nothing.
  const old = await ended(await take(of(0)), 40);
  assert.deepEqual([old.state, old.source, old.pictures.length], ['done', 'stream', 1]);
  assert.match(old.note.en, /2016/);
  assert.deepEqual([old.pictures[0].width, old.pictures[0].height], [640, 360], 'in its full size');
  assert.equal((await read(old.pictures[0])).camera, 10);
  const instead = await ended(await take(of(7)), 60);
  assert.deepEqual([instead.state, instead.source], ['done', 'stream']);
  assert.match(instead.note.zh, /实时画面/);
  assert.equal((await ended(await take(of(0), { source: 'device' }))).fault.code, 'snapshot_edition');
  say('a still where the device cannot, with the reason');

  // Rights and audit.
  const viewer = await gateway.account('looker', 'viewer');
  assert.equal((await viewer.refused('POST', `/channels/${id(GB(of(1)))}/pictures`, {})).status, 403);
  assert.equal((await viewer.refused('DELETE', `/pictures/${old.pictures[0].id}`)).status, 403);
  assert.equal((await viewer.get(`/pictures?channel=${id(GB(of(1)))}`)).total, 3);
  assert.equal((await gateway.anonymous().refused('GET', `/pictures/${old.pictures[0].id}/image.jpg`)).status, 401);
  for (const body of [{ count: 0 }, { count: 11 }, { interval_s: 0 }, { source: 'x' }]) assert.equal((await gateway.api.refused('POST', `/channels/${id(GB(of(1)))}/pictures`, body)).status, 400);

  // The console: a picture from the tile, its gallery, the whole picture read back from the page, deleted.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  const channel = GB(of(2));
  await browser.at(`channel-${channel}`).waitFor();
  await browser.place(0, channel);
  await browser.at('take-picture').click();
  await browser.page.locator('[data-testid="picture-order"][data-state="done"]').waitFor({ state: 'attached', timeout: 20_000 });
  const newest = (await gateway.api.get(`/pictures?channel=${id(channel)}&limit=1`)).items[0];
  await browser.at(`picture-${newest.id}`).waitFor();
  assert.equal(await browser.page.locator('[data-testid="pictures"] .picture').count(), 4);
  await browser.at('tile-0').hover();
  await browser.at('tile-picture').click();
  await until('the fifth picture', async () => (await browser.page.locator('[data-testid="pictures"] .picture').count()) === 5, 20);
  await browser.at(`picture-${newest.id}`).click();
  await browser.at('picture-whole').waitFor();
  const code = await until('the picture is read from the page', () => browser.page.evaluate(() => window.interop.image(document.querySelector('[data-testid="picture-whole"]'))), 5);
  assert.deepEqual(code, { frame: (await field.next('snapshot_upload', of(2), 5, (e) => newest.name.includes(e.file))).frame, camera: 2 });
  await browser.shot('picture');
  await browser.at('picture-delete').click();
  await browser.at('confirm-yes').click();
  await until('it is gone', async () => (await browser.page.locator('[data-testid="pictures"] .picture').count()) === 4, 10);
  assert.equal((await image(newest)).status, 404);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');

  const rows = (await gateway.api.get('/audit?limit=500')).items;
  for (const verb of ['take_picture', 'picture_taken', 'view_picture', 'delete_picture', 'refused']) assert.ok(rows.some((r) => r.verb === verb), `audit has ${verb}`);
  const log = gateway.process.err.join('\n');
  assert.ok(!/upload\/[0-9a-f]{8}/.test(log), 'the secret address is in no log');
});
