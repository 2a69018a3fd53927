// Two operators at two consoles and one camera: pad, keyboard, presets, who holds it, who takes it over; the moved picture is read back.
// Then the device page: state, settings, and an order that is asked for twice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { poseOf } from './lib/pose.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const DOME = '34020000001320000091';
const OLD = '34020000001320000092';
const OWN = 'own-secret-of-this-one';

const near = (a, b, by = 1.5) => Math.abs(((a - b + 540) % 360) - 180) <= by;
/** The pose once it rests. */
const resting = (browser) => until('the picture rests', async () => {
  const one = await poseOf(browser, 0);
  await wait(500);
  const two = await poseOf(browser, 0);
  return one && two && one.pan === two.pan && one.tilt === two.tilt && one.zoom === two.zoom && two;
}, 10, 50);
const press = async (browser, testid, ms) => {
  await browser.at(testid).hover();
  await browser.page.mouse.down();
  await wait(ms);
  await browser.page.mouse.up();
};
const holder = async (browser) => ({ name: await browser.at('ptz-holder').getAttribute('data-holder'), mine: (await browser.at('ptz-holder').getAttribute('data-mine')) === 'true' });
/** An order of the one who sits at this console: another sign-in of the same account would be another holder. */
const ordered = (browser, channel, order) => browser.page.evaluate(async ([path, order]) => {
  const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ order }) });
  return { status: answer.status, ...(await answer.json()) };
}, [`/api/v1/channels/${id(channel)}/orders`, order]);
const heldBy = (browser, name) => until(`the console shows ${name || 'nobody'} as holder`, async () => (await holder(browser)).name === name, 15);

test('two operators, one camera: pad, keyboard, presets, lease, take-over', { timeout: 180_000 }, async (t) => {
  const stage = Stage.open(t, 'ptz-and-presets');
  const gateway = await Gateway.open(stage, { more: { hall: { camera_hold_s: 8 } } });
  const field = Field.open(stage, gateway, { cameras: [{ id: DOME, index: 3, edition: 2022, gop: 25, name: 'Dome' }, { id: OLD, index: 4, name: 'Old' }] });
  const channel = GB(DOME);
  const li = await gateway.account('li', 'operator');
  const wu = await gateway.account('wu', 'operator');
  await gateway.device(`gb28181:${DOME}`);
  await gateway.device(`gb28181:${OLD}`);
  const a = await Browser.open(stage, gateway, { name: 'li' });
  const b = await Browser.open(stage, gateway, { name: 'wu' });
  await a.signIn({ account: 'li', password: OWN });
  await b.signIn({ account: 'wu', password: OWN });
  await a.place(0, channel);
  await b.page.locator(`[data-testid="tile-0"][data-source="${channel}"]`).waitFor({ timeout: 10_000 });
  await b.at('tile-0').click();
  for (const browser of [a, b]) {
    await browser.at('ptz').waitFor();
    await until('the picture is shown', () => poseOf(browser, 0), 20);
  }
  assert.deepEqual(await poseOf(a, 0), { pan: 0, tilt: 0, zoom: 1 });

  // The pad, by mouse: it turns while held and stops on release. Both consoles see who does it.
  await a.at('ptz-right').hover();
  await a.page.mouse.down();
  await heldBy(b, 'li');
  assert.deepEqual([await holder(a), await holder(b)], [{ name: 'li', mine: true }, { name: 'li', mine: false }]);
  await wait(800);
  await a.page.mouse.up();
  const turned = await resting(a);
  assert.ok(turned.pan > 20 && turned.pan < 300, `it turned and stopped: ${turned.pan}`);

  // Somebody of the same rank is refused by name, and nothing moves.
  await press(b, 'ptz-left', 300);
  await b.page.locator('[data-testid="problem"][data-code="camera_held"]').waitFor();
  assert.match(await b.at('problem').innerText(), /li/);
  assert.deepEqual(await resting(a), turned, 'the camera did not move for him');
  const refused = await wu.refused('POST', `/channels/${id(channel)}/orders`, { order: { do: 'preset_call', preset: 1 } });
  assert.deepEqual([refused.status, refused.code], [409, 'camera_held']);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);

  // Given back, and taken by keyboard.
  await a.at('ptz-release').click();
  await heldBy(a, '');
  await b.at('ptz').focus();
  await b.page.keyboard.down('ArrowUp');
  await wait(900);
  await b.page.keyboard.up('ArrowUp');
  const up = await resting(b);
  assert.ok(up.tilt > 5 && near(up.pan, turned.pan), `the keyboard turned it up: ${JSON.stringify(up)}`);
  await b.page.keyboard.down('+');
  await wait(900);
  await b.page.keyboard.up('+');
  const zoomed = await resting(b);
  assert.ok(zoomed.zoom > 1.3, `and in: ${zoomed.zoom}`);
  // Focus and iris by their keys; the camera says what it did.
  await b.page.keyboard.down(']');
  await field.next('ptz', DOME, 5, (e) => e.action === 'lens' && e.focus === 1);
  await b.page.keyboard.up(']');
  await field.next('ptz', DOME, 5, (e) => e.action === 'lens-stop');
  assert.equal((await holder(b)).mine, true);

  // A higher priority takes over in the middle of a movement: what ran is stopped first, the loser's console lets go.
  await gateway.api.patch('/accounts/li', { priority: 5 });
  await b.at('ptz-left').hover();
  await b.page.mouse.down();
  await wait(700);
  await a.at('ptz-down').hover();
  await a.page.mouse.down();
  await heldBy(b, 'li');
  await wait(600);
  await a.page.mouse.up();
  const taken = await resting(a);
  await wait(1200);
  assert.deepEqual(await resting(a), taken, 'the one who lost it moves nothing, though he still holds his button');
  await b.page.mouse.up();
  const moves = field.of('ptz', DOME);
  const down = moves.findIndex((e) => e.action === 'move' && e.tilt === -1);
  assert.equal(moves[down - 1].action, 'stop', 'a stop between the two');
  assert.ok(down > 0 && moves.slice(down).every((e) => e.pan !== -1), 'no order of the loser came behind it');
  assert.equal((await holder(a)).mine, true);

  // Idle: free again by itself.
  await heldBy(a, '');
  await heldBy(b, '');
  say(`pad turned to ${turned.pan} degrees; refused by name, given back, keyboard, taken over, freed after 8 s`);

  // A preset by name: saved here, called there, and the picture is where it was.
  await b.at('presets-open').click();
  await b.at('preset-name').fill('大门 <北>');
  await b.at('preset-save').click();
  await b.at('preset-call-1').waitFor();
  assert.match(await b.at('preset-call-1').innerText(), /大门 <北>/);
  const saved = await resting(b);
  await b.at('ptz-release').click();
  await heldBy(a, '');
  await press(a, 'ptz-upright', 900);
  const away = await resting(a);
  assert.ok(!near(away.pan, saved.pan, 5), `moved away: ${saved.pan} to ${away.pan}`);
  await a.at('presets-open').click();
  assert.match(await a.at('preset-call-1').innerText(), /大门 <北>/, 'the other console has its name from the camera');
  await a.at('preset-call-1').click();
  const back = await until('the picture is back', async () => { const p = await poseOf(a, 0); return p && near(p.pan, saved.pan, 0.2) && Math.abs(p.tilt - saved.tilt) < 0.2 && p; }, 10);
  const told = await li.post(`/channels/${id(channel)}/queries`, { ask: 'position' });
  assert.ok(near(told.pan, back.pan, 0.2) && Math.abs(told.tilt + back.tilt) < 0.2 && Math.abs(told.zoom - back.zoom) < 0.1, `the camera's answer is the picture: ${JSON.stringify(told)}`);
  // Cruise through two presets, and stop.
  assert.equal((await ordered(a, channel, { do: 'position', pan: 300, tilt: 0, zoom: 1 })).outcome, 'sent');
  assert.equal((await li.refused('POST', `/channels/${id(channel)}/orders`, { order: { do: 'preset_call', preset: 1 } })).code, 'camera_held', 'one account at two consoles is two holders');
  await until('a precise position shows in the picture', async () => { const p = await poseOf(a, 0); return p && near(p.pan, 300, 0.2) && p.zoom === 1; }, 10);
  await a.at('preset-save').click();
  await a.at('preset-call-2').waitFor();
  await a.at('cruise-build').click();
  await until('the cruise has two points', async () => (await li.post(`/channels/${id(channel)}/queries`, { ask: 'cruise', number: 1 })).points.length === 2, 10);
  await li.post(`/channels/${id(channel)}/orders`, { order: { do: 'cruise_dwell', cruise: 1, seconds: 1 } });
  await a.at('cruise-start').click();
  const seen = new Set();
  await until('the picture goes round', async () => { const p = await poseOf(a, 0); if (p) seen.add(Math.round(p.pan)); return seen.has(300) && seen.has(Math.round(saved.pan)); }, 10, 50);
  await a.at('cruise-stop').click();
  await resting(a);
  // Deleted after a question.
  await a.at('preset-delete-2').click();
  await a.at('confirm-yes').click();
  await until('the preset is gone', async () => (await a.at('preset-call-2').count()) === 0, 10);

  await a.shot('pad');

  // A camera of 2016 keeps no names: the hall does, and refuses what is of 2022.
  const old = id(GB(OLD));
  await wu.post(`/channels/${old}/orders`, { order: { do: 'preset_set', preset: 7, name: '河堤' } });
  const list = await wu.post(`/channels/${old}/queries`, { ask: 'presets' });
  assert.deepEqual(list.items, [{ preset: 7, name: '河堤' }]);
  assert.equal((await field.next('ptz', OLD, 5, (e) => e.action === 'preset-set')).name, null);
  assert.equal((await wu.refused('POST', `/channels/${old}/orders`, { order: { do: 'position', pan: 1 } })).code, 'needs_edition');

  // Each order has its row, with its outcome.
  const row = (verb, account, outcome) => until(`a row says that ${verb} of ${account} came to ${outcome}`, async () => (await gateway.api.get('/audit?limit=1000')).items.some((r) => r.verb === verb && r.account === account && r.outcome === outcome), 10);
  for (const [verb, account, outcome] of [['ptz', 'li', 'ok'], ['ptz', 'wu', 'camera_held'], ['preset_call', 'wu', 'camera_held'], ['preset_set', 'wu', 'sent'], ['preset_call', 'li', 'sent'], ['preset_delete', 'li', 'sent'], ['position', 'wu', 'needs_edition'], ['lens', 'wu', 'sent'], ['cruise_start', 'li', 'sent']]) await row(verb, account, outcome);
  assert.deepEqual(a.troubles.filter((e) => !/409/.test(e)), []);
});

test('the device page: state and settings; a dangerous order is asked for twice', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'ptz-and-presets-device');
  const gateway = await Gateway.open(stage);
  const field = Field.open(stage, gateway, { cameras: [{ id: DOME, index: 3, edition: 2022, name: 'Dome' }] });
  const device = `gb28181:${DOME}`;
  await gateway.device(device);
  const operator = await gateway.account('li', 'operator');
  const path = `/devices/${id(device)}/orders`;

  // By the API: a token for one person, one object, one order, once.
  const order = { do: 'reboot' };
  const first = await gateway.api.refused('POST', path, { order });
  assert.deepEqual([first.status, first.code], [409, 'confirmation_required']);
  const { confirm } = JSON.parse(first.text);
  assert.ok(confirm.token.length === 32 && confirm.good_for_s === 60);
  assert.equal((await operator.refused('POST', path, { order, confirm: confirm.token })).code, 'confirmation_required', 'not for another person');
  assert.equal((await gateway.api.refused('POST', path, { order: { do: 'format_card', card: 1 }, confirm: confirm.token })).code, 'confirmation_required', 'not for another order');
  assert.equal((await gateway.api.refused('POST', `/channels/${id(GB(DOME))}/orders`, { order, confirm: confirm.token })).code, 'confirmation_required', 'not for another object');
  assert.equal(field.of('reboot').length, 0);
  assert.equal((await gateway.api.post(path, { order, confirm: confirm.token })).outcome, 'sent');
  await field.next('reboot', DOME);
  assert.equal((await gateway.api.refused('POST', path, { order, confirm: confirm.token })).code, 'confirmation_required', 'not twice');
  assert.equal((await operator.refused('POST', path, { order: { do: 'format_card', card: 1 } })).status, 403, 'cards are for administrators');
  assert.equal((await gateway.api.refused('POST', path, { order: { do: 'reboot', now: 1 } })).status, 422, 'unknown fields are refused');
  await until('it has registered again', () => field.of('registered', DOME).length > 1, 20);

  // By the console.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn({ path: '/admin/devices' });
  await browser.at(`device-row-${device}`).click();
  await browser.at('fact-edition').waitFor();
  await browser.at('fact-clock_offset_s').waitFor();
  assert.equal(await browser.at('fact-edition').innerText(), 'GB/T 28181-2022');
  await browser.at('fact-clock_offset_s').waitFor();
  assert.match(await browser.at('fact-charset').innerText(), /GB 18030|UTF-8/);
  await until('its own keepalive terms', async () => (await browser.at('fact-heartbeat').count()) > 0 || (await browser.page.reload(), await browser.at(`device-row-${device}`).click(), false), 20, 1000);
  assert.equal(await browser.at('fact-heartbeat').innerText(), '5 s x 3');
  await browser.at('device-ask').click();
  await browser.at('device-status').waitFor();
  await browser.at('device-record-on').click();
  await until('it says that it records', async () => (await browser.at('device-recording').innerText()) === 'on', 10);
  assert.match(await browser.at('order-outcome').innerText(), /confirmed/);
  await browser.at('settings-read').click();
  await browser.at('set-mirror').selectOption('vertical');
  await browser.at('confirm-yes').click();
  await browser.at('settings-outcome').waitFor();
  await until('the mirror was read back', async () => (await browser.at('set-mirror').inputValue()) === 'vertical', 10);
  await browser.at('set-osd').fill('指挥大厅 <1>\nNorth gate');
  await browser.at('set-osd-save').click();
  await browser.at('confirm-yes').click();
  const osd = await until('the texts are in the device', async () => {
    const { items } = await gateway.api.post(`/channels/${id(GB(DOME))}/queries`, { ask: 'settings', kinds: ['osd'] });
    return items[0]?.lines.length === 2 && items[0];
  }, 10);
  assert.deepEqual(osd.lines.map((l) => l.text), ['指挥大厅 <1>', 'North gate']);
  // A keepalive setting is dangerous: two questions, then it is used for the watch over life.
  await browser.at('set-interval').fill('8');
  await browser.at('set-basic-save').click();
  await browser.at('confirm-yes').click();
  await until('the second question', async () => /Once more/.test(await browser.page.locator('dialog[open]').innerText()), 10);
  await browser.at('confirm-yes').click();
  await until('the hall goes by the new number', async () => (await gateway.api.get(`/devices/${id(device)}/facts`)).items.some((f) => f.key === 'heartbeat' && f.value === '8 s x 3'), 20);
  await until('the page shows it too', async () => (await browser.at('fact-heartbeat').innerText()) === '8 s x 3', 10);
  // The card: said no at the second question, nothing happens; then yes.
  await browser.at('device-ask').click();
  await browser.at('card-format-1').waitFor();
  for (const sure of [false, true]) {
    await browser.at('card-format-1').click();
    await browser.at('confirm-yes').click();
    await until('the second question', async () => /Once more/.test(await browser.page.locator('dialog[open]').innerText()), 10);
    if (sure) await browser.at('confirm-yes').click();
    else { await browser.page.keyboard.press('Escape'); await wait(500); assert.equal(field.of('format', DOME).length, 0); }
  }
  await field.next('format', DOME);
  await browser.shot('device');
  for (const [verb, outcome] of [['reboot', 'asked_again'], ['reboot', 'sent'], ['format_card', 'forbidden'], ['format_card', 'sent'], ['configure', 'confirmed'], ['device_record', 'confirmed'], ['query', 'ok']]) await until(`a row says that ${verb} came to ${outcome}`, async () => (await gateway.api.get('/audit?limit=1000')).items.some((r) => r.verb === verb && r.outcome === outcome), 10);
  assert.deepEqual(browser.troubles.filter((e) => !/409/.test(e)), []);
});
