// sip.js in Chromium as a phone of the hall: SIP over a secure WebSocket (RFC 7118) under the console's own port.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { Gateway, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { ROOM, say, Stage, until, wait } from './lib/stage.mjs';

const PHONE = { user: '8001', password: 'phone-secret-01x', name: 'Browser phone' };

// Runs in the page. The media is not looked at here: the description is a fixed one of a plain phone.
const SOFT_PHONE = async ({ server, user, password }) => {
  const { UserAgent, Registerer, RegistererState, URI } = await import('/__sip/index.js');
  const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n';
  const description = () => ({
    close() {}, hasDescription: (type) => type === 'application/sdp', getDescription: async () => ({ body: sdp, contentType: 'application/sdp' }),
    setDescription: async (text) => { phone.offer = text; }, sendDtmf: () => false,
  });
  const phone = { calls: [], offer: null };
  window.phone = phone;
  const ua = new UserAgent({
    uri: UserAgent.makeURI(`sip:${user}@hall`), authorizationUsername: user, authorizationPassword: password, logLevel: 'error',
    transportOptions: { server, keepAliveInterval: 1, traceSip: false }, sessionDescriptionHandlerFactory: description,
    delegate: {
      onInvite(invitation) {
        // A page is offered DTLS-SRTP first. This one is a plain phone: it refuses that, and is asked again in plain.
        if (/UDP\/TLS\/RTP\/SAVPF/.test(invitation.request.body)) {
          phone.protected = (phone.protected ?? 0) + 1;
          invitation.reject({ statusCode: 488 });
          return;
        }
        const call = { via: invitation.request.getHeader('via'), contact: invitation.request.getHeader('contact'), states: [] };
        phone.calls.push(call);
        call.invitation = invitation;
        invitation.stateChange.addListener((state) => call.states.push(state));
        phone.answering?.(invitation);
      },
    },
  });
  phone.ua = ua;
  await ua.start();
  phone.register = () => new Promise((done) => {
    const registerer = (phone.registerer ??= new Registerer(ua, { expires: 120 }));
    registerer.register({ requestDelegate: { onAccept: (r) => done({ code: r.message.statusCode, via: r.message.getHeader('via'), contact: r.message.getHeader('contact') }), onReject: (r) => done({ code: r.message.statusCode }) } });
  });
  phone.options = (target) => new Promise((done) => {
    const uri = UserAgent.makeURI(target);
    const request = ua.userAgentCore.makeOutgoingRequestMessage('OPTIONS', uri, ua.configuration.uri, uri, {});
    ua.userAgentCore.request(request, { onAccept: (r) => done(r.message.statusCode), onReject: (r) => done(r.message.statusCode) });
  });
  phone.unregistered = () => phone.registerer.state === RegistererState.Unregistered;
};

test('sip.js in Chromium registers over wss, is called, hangs up and is hung up', { timeout: 120_000 }, async (t) => {
  const library = join(ROOM, 'node_modules/sip.js/lib');
  const stage = Stage.open(t, 'sip-over-websocket');
  const port = await freePorts();
  const gateway = await Gateway.open(stage, { more: { http: { listen: [`127.0.0.1:${port}`] } } });
  await gateway.api.post('/phones', PHONE);
  const secure = `https://127.0.0.1:${port}`;

  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'], headless: true });
  stage.defer(() => browser.close());
  const open = async (base) => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await page.route('**/__sip/**', (route) => {
      const file = join(library, new URL(route.request().url()).pathname.replace('/__sip/', ''));
      return existsSync(file) ? route.fulfill({ body: readFileSync(file), contentType: 'text/javascript' }) : route.fulfill({ status: 404, body: '' });
    });
    await page.goto(base);
    return page;
  };
  const page = await open(secure);
  const frames = [];
  page.on('websocket', (socket) => {
    if (!socket.url().endsWith('/sip')) return;
    socket.on('framesent', (f) => frames.push(`> ${f.payload}`));
    socket.on('framereceived', (f) => frames.push(`< ${f.payload}`));
  });
  const server = `wss://127.0.0.1:${port}/sip`;

  // A wrong password is refused; the right one is registered. No sign-in of the console: the page shows its form.
  const wrong = await open(secure);
  await wrong.evaluate(SOFT_PHONE, { ...PHONE, password: 'not-the-secret-xx', server });
  const refused = await wrong.evaluate(() => window.phone.register());
  assert.ok([401, 403].includes(refused.code), JSON.stringify(refused));
  await wrong.evaluate(() => window.phone.ua.stop());

  await page.evaluate(SOFT_PHONE, { ...PHONE, server });
  const registered = await page.evaluate(() => window.phone.register());
  say(`registered: ${JSON.stringify(registered)}`);
  assert.equal(registered.code, 200);
  assert.match(registered.via, /^SIP\/2\.0\/WSS [^;]+\.invalid;branch=z9hG4bK[^;]+;received=127\.0\.0\.1/);
  assert.match(registered.contact, /transport=wss?/);
  assert.equal(await page.evaluate((h) => window.phone.options(`sip:${h}`), '127.0.0.1'), 200, 'OPTIONS are answered');
  await until('keepalives of sip.js are answered', () => frames.includes('> \r\n\r\n') && frames.includes('< \r\n'), 10);

  // The hall calls, the page answers; then the hall hangs up.
  const conference = await gateway.conference();
  const members = `/conferences/${id(conference.id)}/members`;
  await page.evaluate(() => { window.phone.answering = (call) => call.accept(); });
  await gateway.api.post(members, { dial: '8001' });
  const member = await until('the called browser is in', async () => (await gateway.conference()).members.find((m) => m.state === 'connected'), 15);
  const call = await page.evaluate(() => { const c = window.phone.calls.at(-1); return { via: c.via, contact: c.contact, states: c.states, offer: window.phone.offer }; });
  say(`called: ${call.via}, ${call.contact}`);
  assert.match(call.via, new RegExp(`^SIP/2\\.0/WSS 127\\.0\\.0\\.1:${port};rport;branch=z9hG4bK`));
  assert.match(call.contact, new RegExp(`@127\\.0\\.0\\.1:${port};transport=ws>`));
  assert.match(call.offer, /m=audio \d+ RTP\/AVP/);
  assert.equal(await page.evaluate(() => window.phone.protected), 1, 'the protected offer came before');
  await gateway.api.delete(`${members}/${id(member.id)}`);
  await until('the BYE reaches the page', () => page.evaluate(() => window.phone.calls.at(-1).states.includes('Terminated')), 10);

  // Again, and the page hangs up; then once more, and it is busy.
  await gateway.api.post(members, { dial: '8001' });
  await until('in again', async () => (await gateway.conference()).members.some((m) => m.state === 'connected'), 15);
  await page.evaluate(() => window.phone.calls.at(-1).invitation.bye());
  await until('the hall sees the hang-up', async () => !(await gateway.conference()).members.some((m) => m.state === 'connected'), 10);
  await page.evaluate(() => { window.phone.answering = (call) => call.reject({ statusCode: 486 }); });
  await gateway.api.post(members, { dial: '8001' }).catch(() => {});
  await until('the third call came and was refused', () => page.evaluate(() => window.phone.calls.length === 3 && window.phone.calls[2].states.includes('Terminated')), 10);
  await wait(500);
  assert.ok(!(await gateway.conference()).members.some((m) => m.state === 'connected'));

  // Who may not come in at all.
  const knock = (headers) => new Promise((done, fail) => {
    const request = http.get(`${gateway.base}/sip`, { headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==', ...headers } });
    request.once('error', fail);
    request.once('response', (r) => { r.resume(); done(r.statusCode); });
    request.once('upgrade', (r, socket) => { socket.destroy(); done([r.statusCode, r.headers['sec-websocket-protocol']]); });
  });
  assert.deepEqual(await knock({ 'sec-websocket-protocol': 'sip' }), [101, 'sip'], 'a program');
  assert.equal(await knock({}), 400, 'no subprotocol');
  assert.equal(await knock({ 'sec-websocket-protocol': 'xmpp' }), 400, 'another subprotocol');
  assert.equal(await knock({ 'sec-websocket-protocol': 'sip', origin: 'https://evil.example' }), 403, 'a page of somebody else');
  const foreign = await open(gateway.base);
  const failed = await foreign.evaluate(({ server }) => new Promise((done) => {
    const socket = new WebSocket(server, 'sip');
    socket.onopen = () => done('open');
    socket.onerror = () => done('refused');
  }), { server });
  assert.equal(failed, 'refused', 'a page of another origin, in the browser itself');

  // The page goes: the binding goes with its connection, long before it expires.
  const isRegistered = async () => (await gateway.api.get('/phones')).items.find((p) => p.user === '8001').registered;
  assert.equal(await isRegistered(), true);
  await page.close();
  const gone = Date.now();
  await until('8001 is not registered any more', async () => !(await isRegistered()), 20, 200);
  say(`not registered ${Date.now() - gone} ms after the page was closed`);
  const before = (await gateway.conference()).members.length;
  await gateway.api.post(members, { dial: '8001' });
  await until('the dialled seat is given up at once', async () => (await gateway.conference()).members.length <= before, 10);
});
