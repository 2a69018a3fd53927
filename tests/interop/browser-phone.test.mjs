// sip.js in Chromium as a whole phone: SIP over a secure WebSocket, its sound by ICE, DTLS and SRTP on the gateway's RTP port. It calls
// baresip, is called by baresip, and is in a conference; everybody is heard by tone. A call by a ticket ends with the sign-in behind it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { Baresip } from './lib/baresip.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { ROOM, say, Stage, until, wait } from './lib/stage.mjs';

const PAGE = { user: '8001', password: 'phone-secret-01x', name: 'Browser phone' };
const DESK = { user: '8002', password: 'phone-secret-02x', name: 'Desk phone' };
const PAGE_TONE = 850, DESK_TONE = 1400;

// Runs in the page: sip.js as it comes, with its own session description handler.
const PHONE = async ({ server, user, password, ticket }) => {
  const { UserAgent, Registerer, Inviter } = await import('/__sip/index.js');
  const phone = { calls: [] };
  window.phone = phone;
  const sound = { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, video: false };
  const keep = (session, direction) => {
    const call = { session, direction, states: [], code: null };
    session.stateChange.addListener((state) => call.states.push(state));
    phone.calls.push(call);
    return call;
  };
  const ua = new UserAgent({
    uri: UserAgent.makeURI(`sip:${user}@hall`), authorizationUsername: ticket ?? user, authorizationPassword: password, logLevel: 'error',
    transportOptions: { server, keepAliveInterval: 10, traceSip: false },
    sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 1000, peerConnectionConfiguration: { iceServers: [] } },
    delegate: { onInvite(invitation) { keep(invitation, 'in'); invitation.accept({ sessionDescriptionHandlerOptions: { constraints: sound } }); } },
  });
  await ua.start();
  phone.register = () => new Promise((done) => {
    new Registerer(ua, { expires: 120 }).register({ requestDelegate: { onAccept: (r) => done(r.message.statusCode), onReject: (r) => done(r.message.statusCode) } });
  });
  phone.call = async (number) => {
    const inviter = new Inviter(ua, UserAgent.makeURI(`sip:${number}@hall`), { sessionDescriptionHandlerOptions: { constraints: sound } });
    const call = keep(inviter, 'out');
    await inviter.invite({ requestDelegate: { onReject: (r) => { call.code = r.message.statusCode; call.warning = r.message.getHeader('warning'); } } });
  };
  phone.last = () => phone.calls.at(-1);
  phone.state = () => ({ states: phone.last()?.states ?? [], code: phone.last()?.code, warning: phone.last()?.warning, pc: phone.last()?.session.sessionDescriptionHandler?.peerConnection?.connectionState });
  phone.hold = (hold) => phone.last().session.invite({ sessionDescriptionHandlerOptions: { hold, constraints: sound }, sessionDescriptionHandlerModifiers: [] });
  phone.key = (key) => phone.last().session.sessionDescriptionHandler.sendDtmf(key, { duration: 120, interToneGap: 100 });
  phone.hangup = () => phone.last().session.bye();
  // The level of tones in what comes, in dB, the best of some looks: the tones come in bursts.
  phone.hear = async (tones, ms = 3000) => {
    const pc = phone.last().session.sessionDescriptionHandler.peerConnection;
    const track = pc.getReceivers().find((r) => r.track.kind === 'audio').track;
    const stream = new MediaStream([track]);
    const element = new Audio();
    element.muted = true;
    element.srcObject = stream;
    await element.play();
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(stream).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const best = tones.map(() => -Infinity);
    const end = performance.now() + ms;
    while (performance.now() < end) {
      await new Promise((done) => setTimeout(done, 100));
      analyser.getFloatFrequencyData(bins);
      tones.forEach((t, i) => {
        const at = Math.round((t * analyser.fftSize) / context.sampleRate);
        for (let n = at - 1; n <= at + 1; n++) best[i] = Math.max(best[i], bins[n]);
      });
    }
    await context.close();
    return best;
  };
  phone.wire = async () => {
    const stats = await phone.last().session.sessionDescriptionHandler.peerConnection.getStats();
    const out = {};
    for (const s of stats.values()) {
      if (s.type === 'transport') Object.assign(out, { srtp: s.srtpCipher, dtls: s.dtlsState, tls: s.tlsVersion });
      if (s.type === 'inbound-rtp') Object.assign(out, { received: s.packetsReceived, lost: s.packetsLost, codec: stats.get(s.codecId)?.mimeType });
      if (s.type === 'remote-inbound-rtp') out.reported = s.packetsLost;
    }
    return out;
  };
};

/** A gateway with both accounts, and Chromium whose microphone is a tone; `open` gives a page that has the phone in it. */
async function open(t, name) {
  const library = join(ROOM, 'node_modules/sip.js/lib');
  const stage = Stage.open(t, name);
  const port = await freePorts();
  const gateway = await Gateway.open(stage, { more: { http: { listen: [`127.0.0.1:${port}`] } } });
  for (const phone of [PAGE, DESK]) await gateway.api.post('/phones', phone);
  const pageSays = await tone(stage, 'page-says', PAGE_TONE, { rate: 48000, seconds: 200 });
  const deskSays = await tone(stage, 'desk-says', DESK_TONE, { seconds: 200 });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required', '--disable-background-networking', '--disable-background-timer-throttling',
      '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${pageSays}`],
  });
  stage.defer(() => browser.close());
  const frames = [];
  stage.defer(() => { if (process.env.INTEROP_LOG) say(frames.join('\n')); });
  const phone = async (as) => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['microphone'] });
    const page = await context.newPage();
    page.on('console', (m) => { if (m.type() === 'error') say(`page: ${m.text()}`); });
    await page.route('**/__sip/**', (route) => {
      const file = join(library, new URL(route.request().url()).pathname.replace('/__sip/', ''));
      return existsSync(file) ? route.fulfill({ body: readFileSync(file), contentType: 'text/javascript' }) : route.fulfill({ status: 404, body: '' });
    });
    await page.goto(`https://127.0.0.1:${port}`);
    page.on('websocket', (socket) => {
      if (!socket.url().endsWith('/sip')) return;
      socket.on('framesent', (f) => frames.push(`> ${f.payload}`));
      socket.on('framereceived', (f) => frames.push(`< ${f.payload}`));
    });
    await page.evaluate(PHONE, { ...as, server: `wss://127.0.0.1:${port}/sip` });
    assert.equal(await page.evaluate(() => window.phone.register()), 200);
    return page;
  };
  const desk = await Baresip.open(stage, gateway, { user: DESK.user, password: DESK.password, say: deskSays, answer: 'auto' });
  await desk.registered();
  return { stage, gateway, phone, desk, frames };
}

const talks = (page) => until('the page talks', async () => {
  const s = await page.evaluate(() => window.phone.state());
  assert.ok(!s.code, `refused: ${JSON.stringify(s)}`);
  return s.states.includes('Established') && s.pc === 'connected';
}, 20);
const told = (page, seconds = 10) => until('the page is told', () => page.evaluate(() => window.phone.state().states.includes('Terminated')), seconds);

test('sip.js in Chromium calls, is called and confers, with sound both ways', { timeout: 240_000 }, async (t) => {
  const { gateway, phone, desk, frames } = await open(t, 'browser-phone');
  const page = await phone(PAGE);
  const connected = () => talks(page);
  const bothHear = async (what) => {
    const from = seconds(desk.heard());
    const [hears, other] = await page.evaluate((tones) => window.phone.hear(tones), [DESK_TONE, DESK_TONE * 1.31]);
    const heard = cut(desk.heard(), Math.max(from, seconds(desk.heard()) - 3));
    const level = toneLevel(heard, PAGE_TONE), own = toneLevel(heard, DESK_TONE);
    const wire = await page.evaluate(() => window.phone.wire());
    say(`${what}: the page hears ${DESK_TONE} Hz at ${hears.toFixed(0)} dB (beside it ${other.toFixed(0)}), the desk phone hears ${PAGE_TONE} Hz at ${level.toFixed(3)}, itself ${own.toFixed(4)}; ${JSON.stringify(wire)}`);
    assert.ok(hears > other + 25, 'the page hears the desk phone');
    assert.ok(level > 0.03, 'the desk phone hears the page');
    assert.ok(own < level / 20, 'and not itself');
    assert.ok(wire.srtp && wire.dtls === 'connected' && wire.received > 50 && wire.lost < 5, JSON.stringify(wire));
  };

  // The page calls the desk phone.
  await page.evaluate((n) => window.phone.call(n), DESK.user);
  await connected();
  await wait(3_500);
  await bothHear('page calls desk');
  const offer = frames.find((f) => f.startsWith('> INVITE'));
  assert.match(offer, /m=audio \d+ UDP\/TLS\/RTP\/SAVPF/);
  const live = (await gateway.api.get('/calls/live')).items ?? [];
  say(`live: ${JSON.stringify(live.map((c) => c.legs))}`);
  // Hold and back: the desk phone is silent to the page, then heard again.
  await page.evaluate(() => window.phone.hold(true));
  await wait(1_500);
  const [held] = await page.evaluate((tones) => window.phone.hear(tones, 1500), [DESK_TONE]);
  await page.evaluate(() => window.phone.hold(false));
  await wait(2_500);
  say(`on hold the page hears ${held.toFixed(0)} dB`);
  assert.ok(held < -80, 'nothing is heard on hold');
  // baresip writes down nothing more once its call was described anew: what reaches it is counted.
  const toDesk = async () => (await gateway.api.get('/calls/live')).items[0].legs.find((l) => l.number === DESK.user).sent;
  const before = await toDesk();
  const [again, beside] = await page.evaluate((tones) => window.phone.hear(tones), [DESK_TONE, DESK_TONE * 1.31]);
  const packets = await toDesk() - before;
  say(`after hold: the page hears ${again.toFixed(0)} dB (beside it ${beside.toFixed(0)}), ${packets} packets to the desk phone`);
  assert.ok(again > beside + 25, 'the page hears the desk phone again');
  assert.ok(packets > 50, 'the desk phone is sent the page again');
  await page.evaluate(() => window.phone.hangup());
  await desk.next('CALL_CLOSED');

  // The desk phone calls the page.
  const at = Date.now();
  desk.order('dial', `sip:${PAGE.user}@127.0.0.1:${gateway.sip}`);
  await desk.next('CALL_ESTABLISHED', 15, at);
  await connected();
  await wait(3_500);
  await bothHear('desk calls page');
  const called = frames.findLast((f) => f.startsWith('< INVITE'));
  assert.match(called, /a=ice-lite/);
  assert.match(called, /a=group:BUNDLE 0/);
  desk.hangup();
  await told(page);

  // Both in the conference.
  const conference = await gateway.conference();
  await gateway.api.patch(`/conferences/${id(conference.id)}`, { pin: '' }).catch((e) => say(`no PIN change: ${e.message}`));
  await page.evaluate((n) => window.phone.call(n), conference.number);
  await connected();
  await desk.dial(conference.number);
  await wait(1_500);
  if ((await gateway.conference()).members.filter((m) => m.state === 'connected').length < 2) {
    await page.evaluate(() => { for (const k of '2468#') window.phone.key(k); });
    await desk.digits('2468#');
  }
  await until('both are members', async () => (await gateway.conference()).members.filter((m) => m.state === 'connected').length === 2, 15);
  await wait(4_000);
  await bothHear('in the conference');
  // The hall sends the page away.
  const member = (await gateway.conference()).members.find((m) => m.name === PAGE.name);
  await gateway.api.delete(`/conferences/${id(conference.id)}/members/${id(member.id)}`);
  await told(page);
});

test('a call of the telephone in the browser ends with its sign-in', { timeout: 180_000 }, async (t) => {
  const { gateway, phone, desk } = await open(t, 'browser-phone-withdrawn');
  const conference = await gateway.conference();
  await gateway.api.patch(`/conferences/${id(conference.id)}`, { pin: '' });
  const sound = async (page) => (await page.evaluate(() => window.phone.wire())).received ?? 0;
  const ways = [
    ['signed out', 'wang', (api) => api.delete('/session')],
    ['deleted', 'zhao', () => gateway.api.delete('/accounts/zhao')],
    ['another role', 'qian', () => gateway.api.patch('/accounts/qian', { role: 'viewer' })],
  ];
  for (const [what, name, withdraw] of ways) {
    const api = await gateway.account(name, 'operator');
    await gateway.api.patch(`/accounts/${name}`, { phone: PAGE.user });
    const { phone: user, user: ticket, password } = await api.post('/softphone');
    assert.equal(user, PAGE.user);
    const page = await phone({ user, ticket, password });
    const meets = what === 'another role';
    const at = Date.now();
    if (what === 'deleted') desk.order('dial', `sip:${PAGE.user}@127.0.0.1:${gateway.sip}`);
    else await page.evaluate((n) => window.phone.call(n), meets ? conference.number : DESK.user);
    await talks(page);
    if (!meets) await desk.next('CALL_ESTABLISHED', 10, at);
    const heard = await sound(page);
    // Once longer than the sign-ins are looked at again: a call of a good one goes on.
    const stays = what === 'signed out' ? 6_500 : 1_000;
    await wait(stays);
    await until('the call stands and is heard', async () => await sound(page) > heard + stays / 33, 5);
    assert.equal((await gateway.api.get('/calls/live')).items.length, 1);
    const cut = Date.now();
    await withdraw(api);
    await told(page, 9);
    if (!meets) await desk.next('CALL_CLOSED', 3, cut);
    const record = await until('the record', async () => (await gateway.api.get('/calls')).items.find((c) => Date.parse(c.ended_at) >= cut), 5);
    say(`${what}: ended ${Date.parse(record.ended_at) - cut} ms after, ${record.code} by ${record.ended_by}: ${record.en}`);
    assert.deepEqual([record.code, record.ended_by], ['signed_out', 'gateway']);
    assert.match(record.en, /sign-in/);
    assert.equal((await gateway.api.get('/calls/live')).items.length, 0);
    await until('not registered any more', async () => !(await gateway.api.get('/phones')).items.find((p) => p.user === PAGE.user).registered, 5);
    await page.context().close();
  }
  // Nobody is called back: it was no fault of the network.
  assert.ok(!(await gateway.conference()).members.some((m) => m.kind === 'phone'), 'no seat is kept');
});
