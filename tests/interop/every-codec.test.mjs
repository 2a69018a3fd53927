// What devices of the field really send, seen and heard in Chromium: H.265, MPEG-TS under a PS label, bare H.264, `$` framing,
// a maker's preamble, TCP active, AAC, G.729, sound in a payload type of its own, and the sub-stream under the viewer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB } from './lib/gateway.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const id = (n) => `3402000000132000${String(500 + n).padStart(4, '0')}`;
// index, how the camera is odd, and the tone of its sound (null: none to be heard).
const CAMERAS = [
  { n: 1, what: 'H.265 over UDP', spec: { codec: 'h265', gop: 25, bitrate: '600k' }, tone: 440, codec: /H264/i },
  { n: 2, what: 'MPEG-TS under the PS label, AAC', spec: { faults: ['ts'], audio: 'aac' }, tone: 554 },
  { n: 3, what: 'TCP passive, `$` framing', spec: { transport: 'tcp', media: 'tcp', faults: ['dollar'] }, tone: 659 },
  { n: 4, what: 'TCP active', spec: { media: 'tcp' }, tone: 880 },
  { n: 5, what: 'TCP, 256 bytes of preamble and stray bytes', spec: { transport: 'tcp', media: 'tcp', faults: ['preamble', 'stray'] }, tone: 988 },
  { n: 6, what: 'G.729', spec: { audio: 'g729' }, tone: 1109 },
  { n: 7, what: 'SVAC sound: picture only', spec: { audio: 'svac' }, tone: null },
  { n: 8, what: 'G.711 in payload type 8, SSRC of its own', spec: { faults: ['side-audio'] }, tone: 1568 },
  { n: 9, what: 'bare H.264 under the PS label, no sound', spec: { faults: ['es'], audio: 'none' }, tone: null },
  { n: 10, what: 'H.265 in MPEG-TS, AAC called G.711', spec: { codec: 'h265', gop: 25, bitrate: '600k', faults: ['ts'], audio: 'aac' }, tone: 554, codec: /H264/i },
];
const ONLY = process.env.ONLY?.split(',').map(Number);

/** Numbers painted by camera `index` for `ms`: they rise, with real time. */
async function reads(browser, tile, index, { ms = 4_000, least = 8, slack = 4 } = {}) {
  await browser.drain(tile);
  await wait(ms);
  const all = await browser.drain(tile);
  const seen = all.filter((f) => f.frame !== null);
  const mine = seen.filter((f) => f.camera === index);
  assert.ok(mine.length >= ms / 1000 * least, `${mine.length} numbers of camera ${index} in ${ms} ms (${all.length} pictures)`);
  assert.equal(mine.length, seen.length, 'no other camera in between');
  for (let n = 1; n < mine.length; n++) assert.ok(mine[n].frame > mine[n - 1].frame, `numbers rise: ${mine[n - 1].frame}, ${mine[n].frame}`);
  const rate = (mine.at(-1).frame - mine[0].frame) / ((mine.at(-1).t - mine[0].t) / 1000);
  assert.ok(Math.abs(rate - 25) < slack, `numbers rise with real time: ${rate.toFixed(2)} a second`);
  return { mine, all };
}

test('every codec and framing of the field is shown and heard', { timeout: 300_000 }, async (t) => {
  const stage = Stage.open(t, 'every-codec');
  const gateway = await Gateway.open(stage, { more: { [`gb28181.devices.${id(4)}`]: { transport: 'tcp_active' } } });
  const wanted = CAMERAS.filter((c) => !ONLY || ONLY.includes(c.n));
  const cameras = wanted.map((c) => ({ id: id(c.n), index: c.n, size: '480x270', gop: 50, bitrate: '500k', name: `Camera ${c.n}`, ...c.spec }));
  const field = Field.open(stage, gateway, { cameras });
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.layout(1);
  await browser.watchTile(0);
  let listening = false;
  for (const c of wanted) {
    const channel = GB(id(c.n));
    await gateway.device(`gb28181:${id(c.n)}`);
    const clicked = Date.now();
    await browser.place(0, channel);
    await until(`${c.what} is shown`, async () => (await browser.frames(0)).at(-1)?.camera === c.n, 25);
    const after = Date.now() - clicked;
    // A transcoder that has just started catches up first.
    await wait(c.codec ? 4_000 : 500);
    // Two encoders, two decoders and a browser on a busy machine: few pictures, but the right ones at the right time.
    const { mine } = await reads(browser, 0, c.n, c.codec ? { ms: 6_000, least: 3, slack: 8 } : {});
    const lags = mine.map((f) => f.t - field.epoch - f.frame * 40).sort((a, b) => a - b);
    const stream = await gateway.api.get(`/streams/${encodeURIComponent(channel)}`);
    const names = stream.tracks.map((x) => x.codec).join('+');
    let heard = '';
    if (c.tone) {
      if (!listening) await browser.listen('tile', 0);
      listening = true;
      const { db, peak } = await browser.spectrum('tile', [c.tone, c.tone + 150], 2_000);
      heard = `, ${c.tone} Hz at ${db[0].toFixed(0)} dB`;
      assert.ok(db[0] > -60 && db[0] > db[1] + 15, `${c.what}: ${c.tone} Hz is heard: ${db.map((d) => d.toFixed(0))} dB, loudest ${peak.hertz} Hz`);
    }
    const legUrl = await browser.page.evaluate(() => window.skybridge.tiles.get(0).leg);
    const leg = await gateway.api.get(`/legs/${legUrl.split('/').pop()}`);
    assert.equal(leg.transcoded, /h265/.test(c.spec.codec ?? ''), 'only H.265 is transcoded');
    if (c.n === 7) {
      assert.ok(stream.tracks.some((x) => x.codec === 'SVACA'), 'the sound that cannot be heard is named');
      assert.match(await browser.at('tile-0-silent').textContent(), /SVAC/, 'and the tile says it');
    }
    say(`${c.what}: shown ${after} ms after the click, ${mine.length} numbers read, ${lags[Math.floor(lags.length / 2)].toFixed(0)} ms behind, ${names}${heard}`);
  }
  await browser.shot('wall');
  // Nobody watches the H.265 cameras any more: their transcoders end.
  await gateway.api.put('/walls/1/tiles/0', { source: null });
  await until('no transcoder runs', async () => !(await gateway.api.get('/streams')).items.some((s) => s.id.startsWith('h264:')), 40);
});

test('the sub-stream under the viewer: numbers go on, no renegotiation', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'sub-stream');
  const camera = '34020000001320000551';
  const gateway = await Gateway.open(stage, {});
  const field = Field.open(stage, gateway, { cameras: [{ id: camera, index: 3, edition: 2022, size: '640x360', sub: '320x180', gop: 50, bitrate: '800k', name: 'Camera 3' }] });
  await gateway.device(`gb28181:${camera}`);
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.layout(1);
  await browser.watchTile(0);
  await browser.place(0, GB(camera));
  await until('a picture is shown', async () => (await browser.frames(0)).at(-1)?.camera === 3, 20);
  const width = async () => (await browser.frames(0)).at(-1)?.w;
  assert.equal(await width(), 640, 'the main stream on a wall of one');
  const before = await browser.page.evaluate(() => { window.track = window.skybridge.tiles.get(0).video.srcObject.getVideoTracks()[0]; return window.skybridge.tiles.get(0).leg; });
  await browser.at('tile-0').click();
  await browser.drain(0);
  const seen = [];
  for (const [order, pixels] of [['sub', 320], ['main', 640], ['sub', 320]]) {
    await browser.at(`quality-${order}`).click();
    await until(`${order} is shown`, async () => (await width()) === pixels, 15);
    if (order === 'sub') await browser.at('tile-0-sub').waitFor();
    await wait(2_500);
    seen.push(...await browser.drain(0));
  }
  const numbers = seen.filter((f) => f.frame !== null);
  const widths = new Set(numbers.map((f) => f.w));
  assert.deepEqual([...widths].sort(), [320, 640], 'both streams were seen');
  let worst = 0, gap = 0, back = 0;
  for (let n = 1; n < numbers.length; n++) {
    back += numbers[n].frame <= numbers[n - 1].frame ? 1 : 0;
    gap = Math.max(gap, numbers[n].frame - numbers[n - 1].frame);
    worst = Math.max(worst, numbers[n].t - numbers[n - 1].t);
  }
  assert.equal(numbers.filter((f) => f.camera !== 3).length, 0, 'one camera only');
  assert.ok(back <= 3, `numbers go on (back at ${back} of 3 changes at most)`);
  assert.ok(worst < 1_000, `no freeze: ${worst.toFixed(0)} ms without a new picture`);
  assert.ok(seen.filter((f) => f.luma < 20).length === 0, 'no black frame');
  const after = await browser.page.evaluate(() => [window.skybridge.tiles.get(0).leg, window.track === window.skybridge.tiles.get(0).video.srcObject.getVideoTracks()[0]]);
  assert.deepEqual(after, [before, true], 'same leg, same track');
  // By itself: a wall of nine takes the sub-stream.
  await browser.at('quality-auto').click();
  await until('main again', async () => (await width()) === 640, 15);
  await browser.layout(9);
  await until('small tiles take the sub-stream', async () => (await width()) === 320, 15);
  const wall = await gateway.api.get('/walls/1');
  assert.equal(wall.tiles[0].stream, `${GB(camera)}~sub`);
  assert.ok(field.events.some((e) => e.event === 'invite' && e.sub), 'the device was asked for its sub-stream');
  say(`3 changes: ${numbers.length} numbers, longest wait ${worst.toFixed(0)} ms, largest step ${gap}, back ${back}`);
});

test('a sound step down: over UDP with loss the camera is moved to TCP', { timeout: 90_000 }, async (t) => {
  const stage = Stage.open(t, 'moved-to-tcp');
  const camera = '34020000001320000561';
  const gateway = await Gateway.open(stage, { more: { 'gb28181.media': { answer: 5, first_packet: 4, loss: 4, tcp_connect: 4, first_key: 6, grace: 2, udp_loss_percent: 5, udp_loss_window: 5 } } });
  const field = Field.open(stage, gateway, { cameras: [{ id: camera, index: 2, size: '480x270', gop: 25, bitrate: '800k', faults: ['loss=12'] }] });
  await gateway.device(`gb28181:${camera}`);
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.layout(1);
  await browser.watchTile(0);
  await browser.place(0, GB(camera));
  const ways = () => field.events.filter((e) => e.event === 'invite').map((e) => e.tcp);
  await until('it is asked for TCP', async () => ways().includes(true), 40);
  await until('and sends over TCP', async () => field.events.some((e) => e.event === 'streaming' && e.transport === 'tcp'), 10);
  assert.equal(ways()[0], false, 'UDP first');
  assert.ok(field.events.some((e) => e.event === 'streaming' && e.transport === 'udp' && e.reported_loss > 8), 'our receiver reports told the camera of its loss');
  const text = await (await gateway.api.raw('GET', '/metrics')).text();
  const count = text.match(/skybridge_gb28181_moved_to_tcp_total (\d+)/)?.[1];
  say(`invited ${ways().map((w) => (w ? 'TCP' : 'UDP')).join(', ')}; moved to TCP ${count}`);
});
