// Messages: two browsers and baresip write to each other in a conference and beside it; files, stills, and what became of each.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const CAMERA = '34020000001320000041';
const secret = (user) => `phone-secret-${user.slice(2)}x`;
const item = (browser, text) => browser.page.locator('[data-testid="message"]', { hasText: text });
const shows = (browser, text, seconds = 8) => item(browser, text).first().waitFor({ timeout: seconds * 1000 });
const state = (browser, text, want, seconds = 10) => item(browser, text).locator(`[data-testid="message-state"][data-state="${want}"]`).first().waitFor({ timeout: seconds * 1000 });

test('texts, files and stills between two browsers, a phone and a camera', { timeout: 240_000 }, async (t) => {
  const stage = Stage.open(t, 'messages');
  const gateway = await Gateway.open(stage);
  const { api } = gateway;
  for (const user of ['8001', '8002', '8004']) await api.post('/phones', { user, password: secret(user), name: `Phone ${user}` });
  await gateway.account('li', 'operator');
  const viewer = await gateway.account('wang', 'viewer');
  const conference = await gateway.conference();
  const thread = `conference:${conference.id}`;
  Field.open(stage, gateway, { cameras: [{ id: CAMERA, index: 1, tone: 660, audio: 'g711a' }] });
  const says = await tone(stage, 'phone-says', 1250, { seconds: 120 });
  const phone = await Baresip.open(stage, gateway, { user: '8001', password: secret('8001'), say: says, answer: 'auto', writesTo: conference.number });
  const field = await Baresip.open(stage, gateway, { user: '8002', password: secret('8002'), say: says, writesTo: 'hall' });
  await Promise.all([phone.registered(), field.registered()]);

  // The conference has a PIN: who is no member does not write into it.
  phone.write('from outside');
  await wait(1_500);
  assert.equal((await api.get('/messages')).total, 0, 'refused');
  await api.post(`/conferences/${id(conference.id)}/members`, { dial: '8001' });
  await until('the phone is in', async () => (await api.get(`/conferences/${id(conference.id)}`)).members[0]?.state === 'connected');

  const officer = await Browser.open(stage, gateway, { width: 1920, height: 1080, name: 'officer' });
  const second = await Browser.open(stage, gateway, { width: 1366, height: 768, name: 'second' });
  await officer.signIn({ path: `/confer/${conference.id}` });
  await second.signIn({ account: 'li', password: 'own-secret-of-this-one', path: `/confer/${conference.id}` });
  for (const b of [officer, second]) { await b.at('conference-messages-toggle').click(); await b.at('message-pane').waitFor(); }
  const write = async (b, text) => { await b.at('message-text').fill(text); await b.at('message-send').click(); };

  // Console to console and to the phone, with who wrote; the sender sees that it arrived.
  const sent = Date.now();
  await write(officer, '三号桥已封闭，绕行北路 Bridge 3 is closed');
  await shows(second, '三号桥已封闭');
  say(`the other console shows it ${Date.now() - sent} ms after it was begun to be written`);
  await phone.shows(`sip:${conference.number}@127.0.0.1: "admin: 三号桥已封闭，绕行北路 Bridge 3 is closed"`);
  await state(officer, '三号桥已封闭', 'delivered');
  await state(second, '三号桥已封闭', 'delivered');
  assert.equal(await officer.at('message-text').inputValue(), '', 'what was sent is gone from the field');

  // The phone writes; nothing comes back to it.
  phone.write('已到达东岸 arrived at the east bank');
  for (const b of [officer, second]) await shows(b, '已到达东岸 arrived at the east bank');
  await write(second, 'copied by Li');
  await phone.shows('"li: copied by Li"');
  assert.doesNotMatch(phone.shown, /sip:\d+@[^"\n]*"[^"\n]*已到达东岸/, 'the phone does not get its own text');

  // A picture: shown in the other browser as the very same one.
  const png = stage.file('site.png');
  await stage.run('ffmpeg-png', 'ffmpeg', ['-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=1', '-frames:v', '1', png]);
  await second.at('message-file-input').setInputFiles(png);
  await write(second, '现场照片');
  await state(second, '现场照片', 'delivered');
  const image = item(officer, '现场照片').locator('img');
  await until('the picture is shown', () => image.evaluate((i) => i.complete && i.naturalWidth === 320 && i.naturalHeight === 180));
  await phone.shows('[附件 attachment: site.png]');

  // A file: downloaded byte for byte under its own name; a page in disguise is refused in words.
  const report = stage.file('水情 报告.txt');
  writeFileSync(report, '水位 12.3 m\n'.repeat(1000));
  await officer.at('message-file-input').setInputFiles(report);
  await officer.at('message-send').click();
  await shows(second, '水情 报告.txt');
  const [download] = await Promise.all([second.page.waitForEvent('download'), item(second, '水情 报告.txt').getByTestId('message-file').click()]);
  assert.equal(download.suggestedFilename(), '水情 报告.txt');
  assert.ok(readFileSync(await download.path()).equals(readFileSync(report)), 'the same bytes');
  const listed = (await api.get(`/messages?thread=${id(thread)}`)).items.find((m) => m.file?.type === 'text/plain');
  const served = await gateway.api.raw('GET', `/api/v1/messages/${listed.id}/file`);
  assert.match(served.headers.get('content-disposition'), /^attachment; filename="__ __\.txt"|^attachment;/);
  assert.equal(served.headers.get('x-content-type-options'), 'nosniff');
  const page = stage.file('page.jpg');
  writeFileSync(page, '<html><script>alert(1)</script></html>');
  await officer.at('message-file-input').setInputFiles(page);
  await officer.at('message-send').click();
  await officer.page.locator('[data-testid="problem"][data-code="message_file_refused"]').waitFor();
  await officer.page.locator('.msg-chosen button').click();

  // A still of the main picture, with the number that the camera paints.
  await gateway.device(`gb28181:${CAMERA}`);
  await api.put(`/conferences/${id(conference.id)}/picture`, { source: GB(CAMERA) });
  await gateway.live(GB(CAMERA));
  await officer.at('message-still').click();
  await until('the still is kept', async () => (await api.get(`/messages?thread=${id(thread)}&limit=1`)).items[0].file?.type === 'image/jpeg', 40);
  const still = officer.page.locator('[data-testid="message"] img').last();
  await officer.shot('still');
  await until('the still is the camera\'s', async () => {
    const read = await still.evaluate((i) => i.alt !== 'site.png' && window.interop.image(i));
    return read?.camera === 1;
  }, 20);
  await wait(500);
  await officer.shot('conference');
  await officer.at('language').click();
  await wait(300);
  await officer.shot('conference-zh');
  await officer.at('language').click();
  await second.shot('conference-small');

  // Beside conferences: the field writes to the hall, which the badge tells; the answer comes from the hall.
  field.write('请求增援 need support');
  for (const b of [officer, second]) await b.at('messages-badge').waitFor();
  await officer.at('nav-messages').click();
  await officer.at('thread-phone:8002').click();
  await shows(officer, '请求增援 need support');
  await officer.at('messages-badge').waitFor({ state: 'detached' });
  await write(officer, '增援 20 分钟后到达');
  await field.shows('sip:hall@127.0.0.1: "增援 20 分钟后到达"');
  await state(officer, '增援 20 分钟后到达', 'delivered');
  await officer.shot('messages');

  // A phone that is not there: the console says so, and what to do.
  await officer.at('message-to').fill('8004');
  await officer.at('message-to-open').click();
  await write(officer, '收到请回复');
  await state(officer, '收到请回复', 'failed');
  await officer.at('language').click();
  await wait(300);
  assert.match(await item(officer, '收到请回复').innerText(), /未送达/);
  await officer.shot('messages-zh');

  // Who only watches reads and does not write; the audit log has who sent.
  assert.equal((await viewer.get(`/messages?thread=${id(thread)}`)).items.length, 6);
  assert.equal((await viewer.refused('POST', '/messages', { thread, text: 'x' })).status, 403);
  assert.equal((await api.refused('POST', '/messages', { thread: 'conference:none', text: 'x' })).status, 404);
  assert.equal((await api.refused('POST', '/messages', { thread, text: '字'.repeat(4_001) })).status, 400);
  assert.equal((await api.refused('POST', '/messages', { thread: 'between:8001/8002', text: 'x' })).code, 'thread_read_only');
  assert.ok((await api.get('/audit?limit=100')).items.some((r) => r.verb === 'send_message' && r.account === 'li'));
  assert.deepEqual(officer.troubles.filter((e) => !/ 415 /.test(e)), []);

  // All of it is there after a restart.
  await officer.page.close();
  await second.page.close();
  await gateway.process.kill();
  await gateway.start();
  const again = (await gateway.api.get(`/messages?thread=${id(thread)}`)).items;
  assert.equal(again.length, 6);
  assert.equal(again.find((m) => m.text.startsWith('三号桥')).deliveries[0].state, 'delivered');
});
