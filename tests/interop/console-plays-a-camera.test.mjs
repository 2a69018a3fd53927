// Chromium signs in through the form, changes the one-time password, places a camera and shows its live picture.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, PASSWORD } from './lib/gateway.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

test('Chromium signs in, places a camera and reads its painted numbers in real time', { timeout: 90_000 }, async (t) => {
  const stage = Stage.open(t, 'console-plays-a-camera');
  const gateway = await Gateway.open(stage, { changePassword: false });
  const field = Field.open(stage, gateway, { cameras: [{ id: '34020000001320000001', index: 1 }] });
  const channel = GB('34020000001320000001');
  const browser = await Browser.open(stage, gateway);

  await browser.page.goto(gateway.base);
  await browser.at('sign-in-name').fill('admin');
  await browser.at('sign-in-password').fill('not-this-one');
  await browser.at('sign-in-submit').click();
  await browser.at('error').waitFor();
  assert.equal(await browser.at('nav-watch').count(), 0, 'a wrong password opens nothing');
  await browser.signIn({ first: gateway.firstPassword, password: PASSWORD });
  await assert.rejects(gateway.signIn('admin', gateway.firstPassword), /401/, 'the one-time password is spent');
  gateway.api = await gateway.signIn('admin', PASSWORD);

  await gateway.device('gb28181:34020000001320000001');
  await browser.at(`channel-${channel}`).waitFor();
  await browser.place(0, channel);
  await browser.watchTile(0);
  await until('a picture is shown', async () => (await browser.frames(0)).some((f) => f.camera === 1), 15);

  const before = await browser.video(0);
  await browser.drain(0);
  await wait(5_000);
  const after = await browser.video(0);
  const shown = (await browser.drain(0)).filter((f) => f.frame !== null);
  const decoded = after.framesDecoded - before.framesDecoded;
  assert.ok(decoded >= 100, `frames decoded rise: ${decoded} in 5 s of 25 a second`);
  assert.ok(shown.length >= 60, `${shown.length} painted numbers were read in 5 s`);
  assert.ok(shown.every((f) => f.camera === 1), 'they are of this camera');
  for (let n = 1; n < shown.length; n++) assert.ok(shown[n].frame > shown[n - 1].frame, `numbers rise: ${shown[n - 1].frame}, ${shown[n].frame}`);
  const rate = (shown.at(-1).frame - shown[0].frame) / ((shown.at(-1).t - shown[0].t) / 1000);
  assert.ok(Math.abs(rate - 25) < 1.5, `numbers rise with real time: ${rate.toFixed(2)} a second`);
  const lags = shown.map((f) => f.t - field.epoch - f.frame * 40).sort((a, b) => a - b);
  const lag = lags[Math.floor(lags.length / 2)];
  assert.ok(lag < 1000, `the picture is live: ${lag.toFixed(0)} ms behind the camera`);
  say(`${decoded} frames decoded and ${shown.length} numbers read in 5 s, ${rate.toFixed(2)} a second, ${lag.toFixed(0)} ms behind the camera`);

  const video = await browser.at('tile-0-video').boundingBox();
  assert.ok(video && video.width > 300, 'the picture has a place on the page');
  const trace = await until('the trace tells what the browser saw', async () => {
    const found = await gateway.trace(channel);
    return found.steps.some((s) => s.step === 'viewer_decoded') && found;
  }, 10);
  for (const step of ['wanted', 'invited', 'answered', 'first_packet', 'demuxed', 'first_key_frame', 'live', 'viewer_decoded']) {
    assert.equal(trace.steps.find((s) => s.step === step)?.outcome, 'ok', `step ${step}`);
  }
  const leg = await browser.page.evaluate(() => window.skybridge.tiles.get(0).leg);
  const known = await gateway.api.get(`/legs/${leg.split('/').pop()}`);
  assert.equal(known.state, 'connected');
  assert.match(known.srtp_profile ?? '', /GCM/i, 'AES-GCM is preferred');

  await browser.shot('wall');
  const rejected = browser.troubles;
  assert.deepEqual(rejected, [], 'no errors on the console');

  // Stopped in order, even when a camera that the wall still wants has just gone.
  await field.stop();
  const stopping = Date.now();
  await gateway.process.stop();
  assert.equal(gateway.process.code, 0);
  assert.ok(!gateway.process.err.some((l) => /did not end in time/.test(l)), 'everything ended in time');
  say(`stopped in ${Date.now() - stopping} ms`);
});
