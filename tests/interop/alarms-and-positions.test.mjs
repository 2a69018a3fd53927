// An alarm of a camera is on the duty officer's list within a second, is acknowledged and reset at the device; a body camera's way is
// drawn; the tree of a platform with 20,000 channels opens at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { say, Stage, until } from './lib/stage.mjs';

const CAMERA = '34020000001320000081';
const BODY = '34020000001320000082';
const PLATFORM = '34020000002000000083';
const CHANNELS = Number(process.env.INTEROP_CHANNELS ?? 20_000);

test('alarms, positions and a tree of 20,000 channels in Chromium', { timeout: 240_000 }, async (t) => {
  const stage = Stage.open(t, 'alarms-and-positions');
  const gateway = await Gateway.open(stage, { more: { tracks: { interval: 1, metres: 1 }, 'gb28181.catalog': { max_channels: 30_000 } } });
  const events = await gateway.events();
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.page.evaluate(() => {
    window.alarmShown = new Map();
    new MutationObserver(() => { for (const e of document.querySelectorAll('[data-testid^="alarm-"][data-device]')) if (!window.alarmShown.has(e.dataset.testid)) window.alarmShown.set(e.dataset.testid, Date.now()); })
      .observe(document.body, { childList: true, subtree: true, attributes: true });
  });
  await browser.at('nav-alarms').click();

  const field = Field.open(stage, gateway, { cameras: [
    { id: CAMERA, index: 3, name: '北门 North gate', alarm: '2/2/1', alarm_after: 6, alarm_every: 1, alarm_repeats: true },
    { id: BODY, index: 4, name: '执法仪 Body cam', edition: 2022, moves: true },
  ] });
  await gateway.device(`gb28181:${CAMERA}`);
  // ---- the alarm
  const raised = await field.next('alarm', CAMERA, 30);
  const row = browser.page.locator(`[data-testid^="alarm-"][data-device="gb28181:${CAMERA}"]`).first();
  await row.waitFor({ timeout: 5_000 });
  const told = await events.next('the alarm is told', (e) => e.type === 'alarm' && e.alarm.device === `gb28181:${CAMERA}`);
  const shownAt = await browser.page.evaluate((n) => window.alarmShown.get(n), `alarm-${told.alarm.id}`);
  say(`alarm on the list ${shownAt - raised.at} ms after the device sent it (event after ${told.received - raised.at} ms)`);
  assert.ok(shownAt - raised.at < 1_000, 'within a second');
  assert.match(await row.innerText(), /Device tampered with/);
  assert.match(await row.innerText(), /North gate/);
  await until('the badge counts it', async () => (await browser.at('alarm-badge').innerText()) === '1', 5);
  const answered = await field.next('alarm_answered', CAMERA, 5);
  assert.deepEqual([answered.sn, answered.result], [raised.sn, 'OK'], 'the business answer carries the number of the alarm');
  assert.equal(field.of('alarm_repeated', CAMERA).length, 0);
  assert.equal(field.of('alarm', CAMERA).length, 1, 'a device alarm waits for its reset');
  await browser.shot('alarm');

  const alarm = told.alarm.id;
  await browser.at(`alarm-ack-${alarm}`).click();
  await browser.at('alarm-note').fill('two men sent 已派人');
  await browser.at('alarm-ack-send').click();
  await browser.page.locator(`[data-testid="alarm-${alarm}"][data-acknowledged="true"]`).waitFor({ timeout: 5_000 });
  const kept = await gateway.api.get(`/alarms/${alarm}`);
  assert.deepEqual([kept.acknowledged_by, kept.note, kept.channel], ['admin', 'two men sent 已派人', GB(CAMERA)]);
  await until('nothing is open', async () => (await browser.at('alarm-badge').count()) === 0, 5);
  assert.equal((await gateway.api.refused('POST', `/alarms/${alarm}/acknowledge`, { note: '' })).status, 409);

  await browser.at(`alarm-reset-${alarm}`).click();
  await field.next('alarm_reset', CAMERA, 5);
  await until('the next alarm comes after the reset', () => field.of('alarm', CAMERA).length === 2, 10);
  const audit = (await gateway.api.get('/audit?limit=50')).items;
  for (const verb of ['acknowledge_alarm', 'reset_alarm']) assert.ok(audit.some((a) => a.verb === verb && a.account === 'admin' && a.outcome === 'ok'), `${verb} is in the audit log`);
  const viewer = await gateway.account('looker', 'viewer');
  await until('both are on the list', async () => (await viewer.get('/alarms?kind=device&severity=1')).total === 2, 5);
  assert.equal((await viewer.refused('POST', `/alarms/${alarm}/reset`)).status, 403);

  // ---- to the live picture
  await browser.at(`alarm-look-${alarm}`).click();
  await browser.page.locator(`[data-source="${GB(CAMERA)}"]`).first().waitFor({ timeout: 10_000 });
  await until('the camera of the alarm is live', async () => (await gateway.stream(GB(CAMERA))).state === 'live', 20);

  // ---- the body camera's way
  await field.next('subscribed', BODY, 30, (e) => e.topic === 'MobilePosition');
  await until('positions come', () => field.of('position', BODY).length >= 4, 40);
  const track = await until('the track is kept', async () => { const x = await gateway.api.get(`/channels/${id(GB(BODY))}/track`); return x.items.length >= 3 && x; }, 20);
  const sent = field.of('position', BODY).at(-1);
  assert.ok(Math.abs(track.last.longitude - sent.longitude) < 0.003 && Math.abs(track.last.latitude - sent.latitude) < 0.003);
  await browser.at(`channel-${GB(BODY)}`).hover();
  await browser.at(`channel-${GB(BODY)}`).locator('.row-info').click();
  await browser.at('track-plot').waitFor({ timeout: 15_000 });
  assert.match(await browser.at('track-place').innerText(), /^118\.37\d+, 31\.3\d+$/);
  const line = await browser.page.locator('[data-testid="track-plot"] polyline').getAttribute('points');
  assert.ok(line.split(' ').length >= 3, `a way of ${line.split(' ').length} points is drawn`);
  await browser.shot('track');

  // ---- the tree
  const began = Date.now();
  Field.open(stage, gateway, { cameras: [{ id: PLATFORM, name: '市平台 City platform', channels: CHANNELS, groups: 20, catalog_piece: 100, transport: 'tcp' }] }, { name: 'platform' });
  const platform = await until('the platform is known with all channels', async () => {
    const d = await gateway.api.get(`/devices/${id(`gb28181:${PLATFORM}`)}`);
    return d.channel_count >= CHANNELS && d;
  }, 120, 500);
  say(`${platform.channel_count} lines of the catalog taken in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  assert.equal(platform.channels.length, 0, 'a large device is told without its channels');
  const node = (name) => browser.page.locator(`[data-testid="node-gb28181:${PLATFORM}/${name}"]`);
  const clickTo = async (what, target) => {
    const at = await browser.page.evaluate(() => performance.now());
    await what.click();
    await target.waitFor({ timeout: 15_000 });
    return (await browser.page.evaluate(() => performance.now())) - at;
  };
  await browser.at(`device-gb28181:${PLATFORM}`).waitFor({ timeout: 15_000 });
  const opened = await clickTo(browser.at(`device-gb28181:${PLATFORM}`), node('34020000002150000001'));
  const group = await clickTo(node('34020000002150000001'), node('34020000002160000001'));
  const organisation = await clickTo(node('34020000002160000001'), browser.page.locator(`[data-testid^="channel-gb28181:${PLATFORM}/"]`).first());
  say(`tree of ${CHANNELS} channels: opened in ${opened.toFixed(0)} ms, a group in ${group.toFixed(0)} ms, an organisation's cameras in ${organisation.toFixed(0)} ms`);
  assert.match(await node('34020000002150000001').innerText(), new RegExp(`${CHANNELS / 20}`), 'a group counts its cameras, however deep');
  assert.ok((await browser.page.locator('.tree .vrow').count()) < 120, 'only what is seen is in the page');
  const at = Date.now();
  await browser.at('tree-search').fill('City platform 12345'.slice(0, 14 + String(Math.floor(CHANNELS / 2)).length));
  await browser.page.locator(`[data-testid^="channel-gb28181:${PLATFORM}/"]`).first().waitFor({ timeout: 15_000 });
  say(`a search among them in ${Date.now() - at} ms, pause for typing included`);
  await browser.shot('tree');
  assert.deepEqual(browser.troubles.filter((e) => !/409|403/.test(e)), []);
});
