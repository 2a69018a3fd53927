// Two conferences joined on the board of the console: one where all may talk, one where one talks at a time. Who is heard where, in whose name, and what a ring is answered.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser } from './lib/browser.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const TONES = { 8001: 1250, 8002: 1900, 8003: 700 };
// 8001 talks for 4 s and is silent for 6.
const ON = 4, OFF = 6;

test('a patch passes speech, its talker\'s name and nothing back; directions, rings, time limit', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'patched-conferences');
  const gateway = await Gateway.open(stage);
  for (const user of Object.keys(TONES)) await gateway.api.post('/phones', { user, password: 'unit-secret-word', name: `Unit ${user}` });
  const open = await gateway.api.post('/conferences', { name: 'Command', number: '9500' });
  const group = await gateway.api.post('/conferences', { name: 'Boats', number: '9600' });
  const third = await gateway.api.post('/conferences', { name: 'Town', number: '9700' });
  await gateway.api.patch(`/conferences/${id(group.id)}`, { half_duplex: true });
  const phones = {};
  for (const [user, number] of [['8001', '9500'], ['8002', '9600'], ['8003', '9600']]) {
    const say = await tone(stage, `unit-${user}`, TONES[user], { seconds: 140, ...(user === '8001' ? { on: ON, off: OFF } : {}) });
    phones[user] = await Baresip.open(stage, gateway, { user, password: 'unit-secret-word', say });
    await phones[user].registered();
    await phones[user].dial(number);
  }
  const conference = (c) => gateway.api.get(`/conferences/${id(c.id)}`);
  await until('all are in', async () => (await conference(open)).members.length === 1 && (await conference(group)).members.filter((m) => m.state === 'connected').length === 2, 15);
  const lately = (user, hz, s = 1) => { const heard = phones[user].heard(); return toneLevel(cut(heard, Math.max(0, seconds(heard) - s)), hz); };
  await wait(2_000);
  assert.ok(lately('8002', TONES[8001], 8) < 0.002, 'not joined yet');

  // By hand on the board: one conference, then the other.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.page.goto(`${gateway.base}/confer/patches`);
  await browser.at(`patch-node-${open.id}`).click();
  await browser.at(`patch-node-${group.id}`).click();
  await browser.at('patch-edit').waitFor({ timeout: 5_000 });
  const [patch] = (await gateway.api.get('/patches')).items;
  const holder = async () => (await conference(group)).floor.taken?.name ?? '';

  // Where all may talk, speech itself asks for the floor of the group, in the talker's name.
  await until('8001 has the floor of the group', async () => (await holder()) === 'Unit 8001', 25);
  await browser.page.locator(`[data-testid="patch-line-${patch.id}"][data-talks="true"]`).waitFor({ timeout: 5_000 });
  await browser.shot('board');
  // It talks for 4 s of 10: whoever looks may come at the end of them.
  const heard = await until('the group hears it', () => { const level = lately('8002', TONES[8001]); return level > 0.01 && level; }, 15);
  await wait(1_000);
  const back = lately('8001', TONES[8001], 20);
  say(`8001 at 8002: ${heard.toFixed(3)}, its own back at 8001: ${back.toFixed(4)}`);
  assert.ok(back < 0.002, 'nothing comes back');
  await until('its pause gives the floor back', async () => (await holder()) === '', 15);

  // The other way: the group's talker by key.
  await phones[8002].digits('*');
  await until('8002 has the floor', async () => (await holder()) === 'Unit 8002', 5);
  await until('Command hears it', () => lately('8001', TONES[8002]) > 0.01, 10);
  say(`8002 at 8001: ${lately('8001', TONES[8002]).toFixed(3)}, 8003 (no floor) ${lately('8001', TONES[8003]).toFixed(4)}`);
  assert.ok(lately('8001', TONES[8002]) > 0.01 && lately('8001', TONES[8003]) < lately('8001', TONES[8002]) / 50);
  await phones[8002].digits('#');

  // A direction shut by a click.
  await browser.at(patch.a === open.id ? 'patch-a_to_b' : 'patch-b_to_a').click();
  await wait(1_500);
  const from = seconds(phones[8002].heard());
  await wait((ON + OFF) * 1_000);
  assert.ok(toneLevel(cut(phones[8002].heard(), from), TONES[8001]) < 0.002, 'shut');
  // A ring is refused, with words.
  await gateway.api.post('/patches', { a: group.id, b: third.id });
  const ring = await gateway.api.refused('POST', '/patches', { a: third.id, b: open.id });
  assert.deepEqual([ring.status, ring.code], [409, 'patch_ring']);
  await browser.shot('three');
  // The end, by hand.
  await browser.at('patch-remove').click();
  await until('cut', async () => (await gateway.api.get('/patches')).items.length === 1, 5);
  assert.ok((await conference(open)).members.every((m) => m.kind === 'phone'));
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
});
