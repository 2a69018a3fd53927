// The telephone desk of the console with baresip phones: live calls, release, missed calls, forwards, and the telephone in the browser.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser } from './lib/browser.mjs';
import { Gateway } from './lib/gateway.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const OWN = '8010';
const FIRST_TONE = 1250, SECOND_TONE = 1900, BROWSER_TONE = 700;
const secret = (user) => `phone-secret-${user.slice(2)}x`;

async function open(t, name, numbers, more = {}) {
  const stage = Stage.open(t, name);
  const gateway = await Gateway.open(stage, more);
  for (const user of numbers) await gateway.api.post('/phones', { user, password: secret(user), name: `Phone ${user}` });
  const tones = { 8001: await tone(stage, 'first-says', FIRST_TONE, { seconds: 80 }), 8002: await tone(stage, 'second-says', SECOND_TONE, { seconds: 80 }) };
  const phone = async (user, options = {}) => {
    const p = await Baresip.open(stage, gateway, { user, password: secret(user), say: tones[user] ?? tones[8002], ...options });
    await p.registered();
    return p;
  };
  return { stage, gateway, phone };
}
// Chromium offers no loopback address: what it is told to send to must be one from which the answer really comes.
const address = () => Object.values(networkInterfaces()).flat().find((a) => a.family === 'IPv4' && !a.internal)?.address ?? '127.0.0.1';
const attribute = (browser, testid, name) => browser.at(testid).first().getAttribute(name);
const shows = (browser, selector, seconds = 8) => browser.page.locator(selector).first().waitFor({ timeout: seconds * 1000 });

test('live calls, release, missed calls, call back and forwards on the desk', { timeout: 90_000 }, async (t) => {
  const { stage, gateway, phone } = await open(t, 'telephone-desk', ['8001', '8002', '8003', '8004']);
  const [first, second, third] = [await phone('8001', { answer: 'manual' }), await phone('8002', { answer: 'auto' }), await phone('8003')];
  await gateway.api.put('/queues/500', { name: 'Duty desk', members: ['8002', '8004'], order: 'turn', wrap_up: 0 });
  const list = await gateway.api.post('/call-lists', { name: 'Flood', mode: 'all', conference: (await gateway.conference()).id, retries: 0, ring_time: 5, entries: [{ number: '8003' }] });
  const browser = await Browser.open(stage, gateway, { width: 1366, height: 768 });
  await browser.signIn({ path: '/calls' });
  await shows(browser, '[data-testid="who-8001"][data-presence="idle"]');
  assert.equal(await attribute(browser, 'who-8004', 'data-presence'), 'offline');
  assert.equal(await attribute(browser, 'phone-status', 'data-status'), 'none', 'no number is bound to this account');

  // A call of two phones: it is seen at once, then with codec and quality.
  const dialled = Date.now();
  await first.dial('8002');
  await shows(browser, '[data-testid="calls-live"] [data-state="talking"]');
  say(`the call stands on the desk ${Date.now() - dialled} ms after it was dialled`);
  await shows(browser, '[data-testid="who-8001"][data-presence="talking"]');
  await shows(browser, '[data-testid="who-8002"][data-presence="talking"]');
  for (const user of ['8001', '8002']) await shows(browser, `[data-testid="calls-live"] [data-leg="${user}"][data-grade="good"]`, 12);
  const live = await browser.at('calls-live').innerText();
  assert.match(live, /8001[\s\S]*PCMA[\s\S]*MOS 4\.\d/);
  assert.match(live, /loss 0\.0%/);
  await browser.shot('live');

  // Released: asked for first, and the record says by whom.
  await browser.page.locator('[data-testid^="call-"][data-testid$="-release"]').click();
  await wait(300);
  assert.ok(!first.has('CALL_CLOSED'), 'nothing ends before the question is answered');
  await browser.at('confirm-yes').click();
  await first.next('CALL_CLOSED', 6);
  await second.next('CALL_CLOSED', 6);
  await shows(browser, '[data-testid="calls"] tr:has-text("8002"):has-text("operator")');
  await shows(browser, '[data-testid="who-8001"][data-presence="idle"]');

  // Nobody takes it: the badge counts, and is gone once it was looked at; a reload does not bring it back.
  assert.equal(await browser.at('missed-badge').count(), 0);
  const rang = Date.now();
  first.order('dial', `sip:8003@127.0.0.1:${gateway.sip}`);
  await third.next('CALL_INCOMING', 6, rang);
  await shows(browser, '[data-testid="who-8003"][data-presence="ringing"]');
  first.hangup();
  await until('the badge counts one missed call', async () => (await browser.at('missed-badge').count()) && (await browser.at('missed-badge').innerText()) === '1', 8);
  await browser.at('nav-watch').click();
  assert.equal(await browser.at('missed-badge').innerText(), '1', 'it stands on every page');
  await browser.at('nav-calls').click();
  await browser.at('calls-missed').click();
  await shows(browser, '[data-testid="calls"] tr:has-text("8001"):has-text("8003")');
  await until('the badge is gone', async () => (await browser.at('missed-badge').count()) === 0, 5);
  await browser.at('nav-watch').click();
  await browser.page.reload();
  await shows(browser, '[data-testid="connection"][data-state="open"]');
  await wait(1_200);
  assert.equal(await browser.at('missed-badge').count(), 0, 'also after a reload');

  // Called back: into the one conference there is, since this account has no telephone.
  await browser.at('nav-calls').click();
  await browser.at('calls-missed').click();
  const back = Date.now();
  await browser.page.locator('[data-testid^="call-"][data-testid$="-back"]').first().click();
  await first.next('CALL_INCOMING', 8, back);
  first.order('accept');
  await until('8001 is in the conference', async () => (await gateway.conference()).members.some((m) => m.kind === 'phone' && m.state === 'connected'), 10);
  await browser.shot('missed');
  first.hangup();
  await first.next('CALL_CLOSED', 6, back);

  // The dial pad: keys, keyboard, Enter.
  await browser.at('pad-8').click();
  await browser.page.keyboard.type('002');
  assert.equal(await browser.at('pad-number').inputValue(), '8002');
  const padded = Date.now();
  await browser.page.keyboard.press('Enter');
  await second.next('CALL_ESTABLISHED', 8, padded);
  second.hangup();
  await until('the number is gone from the pad', async () => (await browser.at('pad-number').inputValue()) === '', 4);

  // A queue and a call list stand in the directory; the list is started from there, after a question.
  assert.equal(await attribute(browser, 'who-500', 'data-presence'), 'manned');
  assert.match(await browser.at('who-500').innerText(), /Duty desk[\s\S]*1 agents there, 0 waiting/);
  assert.ok(await browser.at('who-500-call').isDisabled(), 'without a telephone of its own a console calls no queue');
  const started = Date.now();
  await browser.at(`who-list-${list.id}-start`).click();
  await browser.at('confirm-yes').click();
  await third.next('CALL_INCOMING', 8, started);
  await shows(browser, '[data-testid="list-entries"] [data-row="8003"][data-state="ringing"]');
  third.hangup();
  await browser.at('nav-calls').click();

  // Forwards: 8004 is not registered, its calls go to 8002.
  await browser.at('nav-admin').click();
  await browser.at('admin-phones').click();
  await browser.at('phone-8002-open').click();
  await shows(browser, '[data-testid="phone-contact"]:has-text("baresip")');
  await browser.at('phone-8004-open').click();
  await browser.at('forward-offline').fill('8002');
  await browser.at('forward-save').click();
  await browser.at('forward-saved').waitFor();
  assert.match(await browser.at('phone-8004-forwards').innerText(), /8002/);
  await browser.shot('forwards');
  const forwarded = Date.now();
  await first.dial('8004');
  await second.next('CALL_ESTABLISHED', 8, forwarded);
  first.hangup();
  // A number that nobody has is refused in words.
  await browser.at('forward-busy').fill('99999');
  await browser.at('forward-save').click();
  await browser.at('problem').waitFor();
  assert.match(await browser.at('problem').innerText(), /forwarded/);
  assert.deepEqual(browser.troubles.filter((e) => !/400/.test(e)), [], 'no errors on the console');
});

test('the telephone in the browser is called, calls, holds and transfers, with sound both ways', { timeout: 90_000 }, async (t) => {
  const { stage, gateway, phone } = await open(t, 'telephone-desk-browser', ['8001', '8002', OWN], { more: { media: { rtp_announced: address() } } });
  await gateway.account('wang', 'operator');
  const first = await phone('8001', { answer: 'manual' }), second = await phone('8002', { answer: 'auto' });
  const microphone = await tone(stage, 'browser-says', BROWSER_TONE, { rate: 48000, seconds: 60 });
  const browser = await Browser.open(stage, gateway, { microphone, width: 1366, height: 768 });

  // No number: said in words. An administrator gives one, and it is ready at the next sign-in.
  assert.equal((await gateway.api.refused('POST', '/softphone')).code, 'no_own_phone');
  await gateway.api.patch('/accounts/wang', { phone: OWN });
  await browser.signIn({ account: 'wang', password: 'own-secret-of-this-one', path: '/watch' });
  await browser.at('nav-calls').click();
  await shows(browser, `[data-testid="phone-status"][data-status="ready"][data-number="${OWN}"]`, 10);
  const registered = (await gateway.api.get('/phones')).items.find((p) => p.user === OWN);
  assert.ok(registered.registered && registered.contacts.some((c) => c.transport === 'ws' && /Skybridge/.test(c.user_agent)), JSON.stringify(registered));

  // It is called, rings above another page, and is answered.
  await browser.at('nav-watch').click();
  const called = Date.now();
  first.order('dial', `sip:${OWN}@127.0.0.1:${gateway.sip}`);
  await shows(browser, '[data-testid="phone-call"][data-state="ringing"][data-number="8001"]', 6);
  say(`rings ${Date.now() - called} ms after it was dialled`);
  await browser.shot('rings');
  await browser.at('phone-answer').click();
  await first.next('CALL_ESTABLISHED', 8, called);
  await shows(browser, '[data-testid="phone-call"][data-state="talking"]');
  const listen = (key) => browser.page.evaluate(async (key) => { const pc = window.skybridge.phone.pcs.at(-1); await window.interop.listen(key, pc.getReceivers().find((r) => r.track.kind === 'audio').track); }, key);
  await listen('own');
  const inBrowser = (await browser.spectrum('own', [FIRST_TONE, FIRST_TONE * 1.37], 2_500)).db;
  const from = seconds(first.heard());
  await wait(3_000);
  const inPhone = toneLevel(cut(first.heard(), from), BROWSER_TONE);
  say(`the phone's ${FIRST_TONE} Hz in Chromium: ${inBrowser[0].toFixed(0)} dB, beside it ${inBrowser[1].toFixed(0)} dB; the browser's ${BROWSER_TONE} Hz in the phone: ${inPhone.toFixed(3)}`);
  assert.ok(inBrowser[0] > inBrowser[1] + 25, 'the browser hears the phone');
  assert.ok(inPhone > 0.02, 'the phone hears the browser');
  await browser.shot('talks');

  // Muted, it is not heard.
  const heard = async () => { await wait(600); const at = seconds(first.heard()); await wait(1_600); return toneLevel(cut(first.heard(), at), BROWSER_TONE); };
  await browser.at('phone-mute').click();
  const muted = await heard();
  await browser.at('phone-mute').click();
  const again = await heard();
  say(`muted ${muted.toFixed(4)}, then ${again.toFixed(3)}`);
  assert.ok(muted < inPhone / 20 && again > 0.02);

  // Keys reach the phone.
  await browser.at('phone-keys').click();
  await browser.at('phone-key-5').click();
  await until('the phone gets the key', () => first.events.some((e) => /DTMF/.test(e.type ?? '') && e.param === '5'), 6);

  // Transferred: the two phones talk, the browser is out.
  await browser.at('phone-transfer').click();
  await browser.at('phone-transfer-to').fill('8002');
  await browser.shot('transfers');
  const moved = Date.now();
  await browser.at('phone-transfer-now').click();
  await second.next('CALL_ESTABLISHED', 10, moved);
  await shows(browser, '[data-testid="phone-call"][data-state="ended"]', 10);
  // Heard at the second phone: baresip 1.0 writes no sound any more of a call that was described anew.
  const at = seconds(second.heard());
  const level = await until('the second phone hears the first one', () => { const l = toneLevel(cut(second.heard(), at), FIRST_TONE); return l > 0.02 && l; }, 8, 500).catch(async (e) => { say(JSON.stringify((await gateway.api.get('/calls/live')).items)); throw e; });
  say(`transferred: ${FIRST_TONE} Hz at ${level.toFixed(3)} in the second phone`);
  first.hangup();
  await second.next('CALL_CLOSED', 6, moved);

  // Asked first, then joined: the one who stays hears the third, the browser is out of both calls.
  const asks = Date.now();
  first.order('dial', `sip:${OWN}@127.0.0.1:${gateway.sip}`);
  await shows(browser, '[data-testid="phone-call"][data-state="ringing"][data-number="8001"]', 6);
  await browser.page.keyboard.press('Alt+Enter');
  await first.next('CALL_ESTABLISHED', 8, asks);
  await browser.at('phone-transfer').click();
  await browser.at('phone-transfer-to').fill('8002');
  await browser.at('phone-transfer-ask').click();
  await second.next('CALL_ESTABLISHED', 8, asks);
  await shows(browser, '[data-testid="phone-call"][data-state="held"][data-number="8001"]');
  await browser.shot('asks');
  await browser.at('phone-join-8002').click();
  await until('the browser is out', async () => (await browser.page.locator('[data-testid="phone-call"]:not([data-state="ended"])').count()) === 0, 10);
  // By what reaches each of them: baresip 1.0 writes no sound any more of a call that was described anew, as both were.
  const sent = async () => { const c = (await gateway.api.get('/calls/live')).items.find((x) => x.legs.length === 2 && x.legs.every((l) => ['8001', '8002'].includes(l.number))); return c ? c.legs.map((l) => l.sent) : [0, 0]; };
  await until('one call of the two phones', async () => (await sent())[0] > 0, 5);
  const before = await sent();
  await wait(2_500);
  const after = await sent();
  say(`joined: ${after.map((n, i) => n - before[i]).join(' and ')} packets to the two phones in 2.5 s`);
  assert.ok(after.every((n, i) => n - before[i] > 60), 'the two phones talk');
  first.hangup();
  await second.next('CALL_CLOSED', 6, asks);

  // It calls from the directory, and is hung up by the other end.
  await browser.at('nav-calls').click();
  await shows(browser, '[data-testid="who-8002"][data-presence="idle"]');
  const own = Date.now();
  await browser.at('who-8002-call').click();
  await second.next('CALL_ESTABLISHED', 8, own);
  await shows(browser, '[data-testid="phone-call"][data-state="talking"][data-direction="out"]');
  await listen('out');
  const out = (await browser.spectrum('out', [SECOND_TONE, SECOND_TONE * 1.23], 2_000)).db;
  assert.ok(out[0] > out[1] + 25, 'the browser hears whom it called');

  // Held, nothing comes; resumed, it does.
  await browser.at('phone-hold').click();
  await shows(browser, '[data-testid="phone-call"][data-state="held"]');
  await wait(500);
  const held = (await browser.spectrum('out', [SECOND_TONE], 1_500)).db;
  await browser.at('phone-hold').click();
  await shows(browser, '[data-testid="phone-call"][data-state="talking"]');
  const resumed = (await browser.spectrum('out', [SECOND_TONE], 1_500)).db;
  say(`${SECOND_TONE} Hz: ${out[0].toFixed(0)} dB, held ${held[0].toFixed(0)} dB, resumed ${resumed[0].toFixed(0)} dB`);
  assert.ok(held[0] < out[0] - 30 && resumed[0] > out[0] - 15);
  second.hangup();
  await shows(browser, '[data-testid="phone-call"][data-state="ended"]', 6);

  // Refused in words: nobody has that number.
  await browser.at('pad-number').fill('7777');
  await browser.at('pad-call').click();
  await shows(browser, '[data-testid="phone-call"][data-number="7777"][data-state="ended"] :text("no such number")', 6);

  // Signed out, it is no phone any more.
  await browser.at('user').click();
  await browser.at('sign-out').click();
  await until(`${OWN} is not registered any more`, async () => !(await gateway.api.get('/phones')).items.find((p) => p.user === OWN).registered, 10);
  assert.deepEqual(browser.troubles.filter((e) => !/404/.test(e)), [], 'no errors on the console');
});

test('a queue with who waits and who takes it, and a call list started from the desk', { timeout: 90_000 }, async (t) => {
  const { stage, gateway, phone } = await open(t, 'telephone-desk-lists', ['8001', '8002', '8003', '8004']);
  const [first, second] = [await phone('8001', { answer: 'auto' }), await phone('8002', { answer: 'manual' })];
  const browser = await Browser.open(stage, gateway, { width: 1366, height: 768 });
  await browser.signIn({ path: '/calls/queues' });

  // A queue is made in its form; 8001 waits in it while 8002 rings.
  await browser.at('queue-add').click();
  await browser.at('queue-number').fill('8800');
  await browser.at('queue-name').fill('Duty desk');
  await browser.at('queue-members-add').fill('8002');
  await browser.at('queue-members-add-do').click();
  await browser.at('queue-save').click();
  await shows(browser, '[data-testid="agent-8002"][data-state="idle"]');
  const waits = Date.now();
  first.order('dial', `sip:8800@127.0.0.1:${gateway.sip}`);
  await shows(browser, '[data-testid="queue-8800"][data-waiting="1"] [data-testid="waiting-8001"]', 8);
  await second.next('CALL_INCOMING', 8, waits);
  await shows(browser, '[data-testid="agent-8002"][data-state="ringing"]');
  await browser.shot('queue');
  second.order('accept');
  await shows(browser, '[data-testid="queue-8800"][data-waiting="0"]');
  await shows(browser, '[data-testid="agent-8002"][data-state="busy"]');
  first.hangup();
  await second.next('CALL_CLOSED', 8, waits);

  // A list: who answers, who does not, and why; stopped with one press.
  await browser.at('calls-tab-lists').click();
  await browser.at('list-add').click();
  await browser.at('list-name').fill('Flood, first alarm');
  await browser.at('list-text').fill('8001\n8002 Second\n8003 Nobody there');
  await browser.at('list-retries').fill('0');
  await browser.at('list-save').click();
  await browser.at('list-start').click();
  const called = Date.now();
  await browser.at('confirm-yes').click();
  await shows(browser, '[data-testid="list-entries"] tr[data-row="8001"][data-state="answered"]', 10);
  await second.next('CALL_INCOMING', 8, called);
  await shows(browser, '[data-testid="list-entries"] tr[data-row="8002"][data-state="ringing"]');
  await shows(browser, '[data-testid="list-entries"] tr[data-row="8003"][data-state="failed"]');
  assert.match(await browser.page.locator('[data-testid="list-entries"] tr[data-row="8003"]').innerText(), /register/i);
  assert.match(await browser.at('list-answered').innerText(), /1 of 3/);
  await browser.shot('list');
  await browser.at('list-stop').click();
  await shows(browser, '[data-testid="list-open"][data-run="stopped"]');
  await second.next('CALL_CLOSED', 8, called);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
});

test('a call whose phones have no codec in common is turned, and the desk says so', { timeout: 60_000 }, async (t) => {
  const { stage, gateway, phone } = await open(t, 'telephone-desk-turned', ['8001', '8002']);
  const wide = await tone(stage, 'wide-says', SECOND_TONE, { rate: 16000, seconds: 60 });
  const [first, second] = await Promise.all([phone('8001', { codecs: 'PCMA/8000/1' }), phone('8002', { answer: 'auto', codecs: 'G722/16000/1', rate: 16000, say: wide })]);
  const metric = async (name) => Number((await (await gateway.api.raw('GET', '/metrics')).text()).match(new RegExp(`^${name} (\\d+)`, 'm'))?.[1]);
  assert.equal(await metric('skybridge_phone_transcoded_calls'), 0);
  const browser = await Browser.open(stage, gateway, { width: 1366, height: 768 });
  await browser.signIn({ path: '/calls' });
  await first.dial('8002');
  await shows(browser, '[data-testid="calls-live"] [data-leg="8001"]:has-text("PCMA turned into G722")', 10);
  await shows(browser, '[data-testid="calls-live"] [data-leg="8002"]:has-text("G722 turned into PCMA")');
  await browser.shot('turned');
  assert.equal(await metric('skybridge_phone_transcoded_calls'), 1);
  await until('sound both ways', () => [[first, SECOND_TONE], [second, FIRST_TONE]].every(([p, hz]) => toneLevel(cut(p.heard(), Math.max(0, seconds(p.heard()) - 1.5)), hz) > 0.02), 10);
  const made = await metric('skybridge_phone_transcoded_packets_total');
  assert.ok(made > 100, `${made} packets were made`);
  first.hangup();
  await shows(browser, '[data-testid="calls"] [data-leg="8001"]:has-text("PCMA turned into G722")');
  assert.equal(await metric('skybridge_phone_transcoded_calls'), 0, 'the place is free again');
  const legs = (await gateway.api.get('/calls')).items[0].legs;
  assert.deepEqual(legs.map((l) => [l.number, l.turned, l.recorded]), [['8001', 'G722', null], ['8002', 'PCMA', null]]);
  say(`turned and back: ${made} packets made, ${legs.map((l) => `${l.number} ${l.codec}`).join(', ')}`);
});
