// A wall tile switches between two live cameras 20 times; what the viewer saw is measured frame by frame.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB } from './lib/gateway.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const A = '34020000001320000011', B = '34020000001320000012';
const SWITCHES = Number(process.env.SWITCHES ?? 20);
const HOLD = 4_300; // ms between clicks: the lag is looked at 4 s after the click, wherever the key frame falls

const sorted = (list) => [...list].sort((a, b) => a - b);
const at = (list, p) => { const s = sorted(list); return s.length ? s[Math.min(s.length - 1, Math.ceil(p * s.length) - 1)] : NaN; };
const median = (list) => at(list, 0.5);

test('a tile switches 20 times between two cameras: no black frame, no renegotiation, soon live', { timeout: 240_000 }, async (t) => {
  const stage = Stage.open(t, 'switching');
  // Both cameras stay live, as on a wall where they are shown elsewhere too: a cold camera's time is the camera's.
  const gateway = await Gateway.open(stage, { more: { 'gb28181.media': { answer: 5, first_packet: 4, loss: 4, tcp_connect: 4, first_key: 6, grace: 600 } } });
  const camera = (id, index) => ({ id, index, size: '640x360', fps: 25, gop: 100, name: `Camera ${index}` });
  const field = Field.open(stage, gateway, { cameras: [camera(A, 1), camera(B, 2)] });
  await gateway.device(`gb28181:${A}`);
  await gateway.device(`gb28181:${B}`);
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.layout(1);
  await browser.watchTile(0);
  for (const [id, index] of [[B, 2], [A, 1]]) {
    await browser.place(0, GB(id));
    await until(`camera ${index} is shown`, async () => (await browser.frames(0)).at(-1)?.camera === index, 15);
  }
  await wait(5_000);
  const legBefore = await browser.page.evaluate(() => { window.firstTrack = window.skybridge.tiles.get(0).video.srcObject.getVideoTracks()[0]; return window.skybridge.tiles.get(0).leg; });
  await browser.drain(0);
  await browser.page.evaluate(() => { window.interop.clicks.length = 0; });
  const statsBefore = await browser.video(0);
  // What the browser counts meanwhile, for the day on which a number is bad.
  await browser.page.evaluate(() => {
    window.counts = [];
    setInterval(async () => {
      const t = window.interop.clock();
      for (const s of (await window.skybridge.tiles.get(0).pc.getStats()).values()) if (s.type === 'inbound-rtp' && s.kind === 'video') window.counts.push({ t, packets: s.packetsReceived, bytes: s.bytesReceived, received: s.framesReceived, assembled: s.framesAssembledFromMultiplePackets, decoded: s.framesDecoded, keys: s.keyFramesDecoded, dropped: s.framesDropped, lost: s.packetsLost, nacks: s.nackCount, plis: s.pliCount, delay: s.jitterBufferDelay, target: s.jitterBufferTargetDelay, emitted: s.jitterBufferEmittedCount, freezes: s.freezeCount, decodeTime: s.totalDecodeTime, discarded: s.packetsDiscarded });
    }, 200);
  });

  const order = [];
  for (let n = 0; n < SWITCHES; n++) {
    const [id, index] = n % 2 ? [A, 1] : [B, 2];
    order.push(index);
    await browser.at(`channel-${GB(id)}`).click();
    // Not in step with the 4 s between key frames.
    await wait(HOLD + 137 * (n % 7));
  }
  const clicks = await browser.page.evaluate(() => window.interop.clicks);
  const frames = await browser.drain(0);
  const statsAfter = await browser.video(0);
  assert.equal(clicks.length, SWITCHES, 'each click was noted in the page');
  const legAfter = await browser.page.evaluate(() => [window.skybridge.tiles.get(0).leg, window.firstTrack === window.skybridge.tiles.get(0).video.srcObject.getVideoTracks()[0]]);
  assert.deepEqual(legAfter, [legBefore, true], 'same leg and same track to the end: no renegotiation');

  const epoch = field.epoch;
  const lagOf = (f) => f.t - epoch - f.frame * 40;
  const rows = clicks.map((click, n) => {
    const end = clicks[n + 1] ?? frames.at(-1).drawn + 1;
    // By when a picture was read: its `t` is the begin of the browser's drawing turn, which can lie before the click that brought it.
    const mine = frames.filter((f) => f.drawn >= click && f.drawn < end);
    const fresh = mine.filter((f) => f.camera === order[n]);
    const first = fresh[0];
    // Live: the painted number is the camera's current one within 3 frames.
    const live = fresh.find((f) => lagOf(f) <= 120);
    const settled = fresh.filter((f) => f.drawn >= click + 3_500 && f.drawn < click + 4_300);
    // From one shown picture to the next, the click and the end of the row included.
    const times = [click, ...mine.map((f) => f.drawn), end];
    const freeze = Math.max(...times.slice(1).map((t, i) => t - times[i]));
    return {
      to: order[n], first: first ? first.drawn - click : NaN, live: live ? live.drawn - click : NaN, lag: median(settled.map(lagOf)), freeze,
      stale: fresh.filter((f) => live ? f.drawn < live.drawn : true).length,
      back: fresh.length ? mine.filter((f) => f.drawn > first.drawn && f.camera !== null && f.camera !== order[n]).map((f) => ({ ...f, click, end, first: first.drawn })) : [],
      black: mine.filter((f) => f.luma < 20).length, unread: mine.filter((f) => f.frame === null).length, frames: mine.length,
    };
  });
  const column = (name) => rows.map((r) => r[name]).filter(Number.isFinite);
  const summary = Object.fromEntries(['first', 'live', 'lag', 'freeze', 'stale'].map((name) => [name, { median: Math.round(median(column(name))), p95: Math.round(at(column(name), 0.95)), worst: Math.round(Math.max(...column(name))) }]));
  const result = {
    at: new Date().toISOString(), size: '640x360', gop: 100, fps: 25, switches: rows.length, arrived: column('first').length, live: column('live').length,
    black: rows.reduce((s, r) => s + r.black, 0), unread: rows.reduce((s, r) => s + r.unread, 0), back: rows.flatMap((r) => r.back),
    freezes: statsAfter.freezes - statsBefore.freezes, frozen_s: statsAfter.frozen - statsBefore.frozen, nacks: statsAfter.nacks - statsBefore.nacks, plis: statsAfter.plis - statsBefore.plis,
    load: (await import('node:os')).loadavg()[0], ms: summary, rows,
  };
  writeFileSync(stage.file('frames.json'), JSON.stringify({ epoch, clicks, frames, counts: await browser.page.evaluate(() => window.counts) }));
  writeFileSync(stage.file('switching.json'), JSON.stringify(result, null, 1));
  say(`${rows.length} switches at 640x360, 4 s between key frames, load ${result.load.toFixed(1)} (ms)   median    p95   worst`);
  for (const [name, words] of [['first', 'click to first decoded'], ['live', 'click to first live'], ['lag', 'lag after 4 s'], ['freeze', 'longest freeze'], ['stale', 'stale frames shown']]) {
    say(`  ${words.padEnd(52)}${String(summary[name].median).padStart(10)}${String(summary[name].p95).padStart(7)}${String(summary[name].worst).padStart(8)}`);
  }
  say(`  black ${result.black}, unreadable ${result.unread}, old camera after the new ${result.back.length}, browser's freezes ${result.freezes} (${result.frozen_s.toFixed(2)} s), NACK ${result.nacks}, PLI ${result.plis}, live ${result.live} of ${rows.length}`);
  await browser.shot('wall');

  assert.equal(result.arrived, SWITCHES, 'each switch arrived');
  assert.equal(result.black, 0, 'no black frame');
  assert.deepEqual(result.back, [], 'the old camera never comes back after the new one');
  assert.ok(result.unread <= frames.length / 50, `${result.unread} of ${frames.length} pictures could not be read`);
  assert.ok(result.live >= SWITCHES * 0.9, `${result.live} switches became live`);
  // Generous, for a busy machine: the aims are 100 and 300 ms; the table is what later work is held against.
  assert.ok(summary.first.median < 800, `median to the first decoded frame ${summary.first.median} ms`);
  assert.ok(summary.live.median < 1500, `median to the first live frame ${summary.live.median} ms`);
  assert.ok(summary.freeze.median < 600, `median of the longest freezes ${summary.freeze.median} ms`);
  assert.ok(summary.lag.median < 500, `median lag after 4 s ${summary.lag.median} ms`);
});
