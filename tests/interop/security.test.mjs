// Doors: tokens, roles, lock-out, the first password, audit, withdrawn rights on the media path, headers, configuration, bad input.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id, PASSWORD } from './lib/gateway.mjs';
import { Events } from './lib/events.mjs';
import { say, SKYBRIDGE, Stage, until, wait } from './lib/stage.mjs';

const CAMERA = '34020000001320000081';

test('nothing without a token; roles; the one-time password; audit; withdrawn rights end the picture', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'security');
  const gateway = await Gateway.open(stage, { changePassword: false });
  const channel = GB(CAMERA);
  const anonymous = gateway.anonymous();

  // Every route of the OpenAPI document, without a token and with a made-up one.
  const openapi = await (await anonymous.raw('GET', '/api/v1/openapi.json')).json();
  const routes = Object.entries(openapi.paths).flatMap(([path, methods]) => Object.keys(methods).filter((m) => /^(get|put|post|patch|delete)$/.test(m)).map((m) => [m.toUpperCase(), path.replace(/\{[^}]+\}/g, 'x')]));
  assert.ok(routes.length > 45, `${routes.length} routes`);
  // The doors: a password, or the token of a guest's link, is what they ask for themselves.
  const doors = { 'POST /api/v1/session': 401, 'POST /api/v1/guest/link': 404, 'POST /api/v1/guest/session': 404 };
  for (const [door, status] of Object.entries(doors)) {
    assert.ok(routes.some(([method, path]) => `${method} ${path}` === door), door);
    const [method, path] = door.split(' ');
    const key = path.includes('guest') ? { token: 'made-up', ...(path.endsWith('session') ? { name: 'A guest' } : {}) } : { name: 'nobody', password: 'made-up-word' };
    const answer = await anonymous.raw(method, path, JSON.stringify(key), { 'content-type': 'application/json' });
    assert.equal(answer.status, status, `${door} with a made-up key: ${await answer.text()}`);
  }
  const open = [];
  for (const [method, path] of routes) {
    if (`${method} ${path}` in doors) continue;
    for (const headers of [{}, { authorization: 'Bearer made-up-token' }, { cookie: 'skybridge_session=made-up' }]) {
      const body = ['POST', 'PUT', 'PATCH'].includes(method) ? '{}' : undefined;
      const answer = await anonymous.raw(method, path, body, { ...headers, ...(body ? { 'content-type': 'application/json' } : {}) });
      if (answer.status !== 401) open.push(`${method} ${path} ${answer.status}`);
      await answer.arrayBuffer();
    }
  }
  assert.deepEqual(open, [], 'every call asks for a token');
  await assert.rejects(Events.open(gateway.base, 'made-up'), /401/);

  // The one-time password opens nothing but its own change.
  const fresh = await gateway.signIn('admin', gateway.firstPassword);
  assert.equal((await fresh.get('/session')).account.must_change_password, true);
  for (const path of ['/devices', '/accounts', '/walls', '/system']) assert.deepEqual((({ status, code }) => [status, code])(await fresh.refused('GET', path)), [403, 'password_change_required'], path);
  assert.equal((await fresh.refused('POST', '/session/password', { old: gateway.firstPassword, new: 'short' })).status, 400);
  await gateway.changeFirstPassword();

  // Roles.
  const viewer = await gateway.account('watcher', 'viewer');
  const operator = await gateway.account('operator', 'operator');
  const conference = await gateway.conference();
  const cid = id(conference.id);
  Field.open(stage, gateway, { cameras: [{ id: CAMERA, index: 2 }] });
  await gateway.device(`gb28181:${CAMERA}`);
  for (const path of ['/devices', '/streams', '/walls', '/conferences', '/recordings', '/system']) await viewer.get(path);
  const onlyOperators = [
    ['PUT', '/walls/1/tiles/0', { source: channel }], ['PUT', '/walls/1', { layout: 1, tiles: [channel] }], ['POST', '/walls/1/undo'], ['POST', `/channels/${id(channel)}/ptz`, { pan: 1, tilt: 0, zoom: 0 }],
    ['POST', `/channels/${id(channel)}/key-frame`], ['POST', '/recording/jobs', { stream: channel }], ['POST', '/conferences', { name: 'x' }], ['PATCH', `/conferences/${cid}`, { locked: true }],
    ['POST', `/conferences/${cid}/members`, { channel }], ['PUT', `/conferences/${cid}/picture`, { source: channel }], ['POST', `/devices/${id(`gb28181:${CAMERA}`)}/refresh`],
  ];
  for (const [method, path, body] of onlyOperators) assert.equal((await viewer.refused(method, path, body)).status, 403, `a viewer may not ${method} ${path}`);
  const onlyAdmins = [
    ['GET', '/accounts'], ['POST', '/accounts', { name: 'eve', password: 'evil-password-1', role: 'admin' }], ['PATCH', '/accounts/operator', { role: 'admin' }], ['GET', '/audit'], ['GET', '/phones'],
    ['POST', '/phones', { user: '8009', password: 'phone-secret-09x', name: '' }], ['POST', '/recording/plans', { stream: channel, enabled: true, always: true }], ['PUT', `/devices/${id(`gb28181:${CAMERA}`)}/password`, { password: 'something' }],
    ['DELETE', `/devices/${id(`gb28181:${CAMERA}`)}`], ['DELETE', `/conferences/${cid}`],
  ];
  for (const [method, path, body] of onlyAdmins) for (const who of [viewer, operator]) assert.equal((await who.refused(method, path, body)).status, 403, `only an admin may ${method} ${path}`);
  await operator.put('/walls/1/tiles/0', { source: channel });

  // A withdrawn token ends the picture.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn({ account: 'watcher', password: 'own-secret-of-this-one' });
  await browser.watchTile(0);
  await until('the viewer sees the camera', async () => (await browser.frames(0)).at(-1)?.camera === 2, 20);
  await gateway.api.delete('/accounts/watcher');
  const gone = Date.now();
  await until('his sign-in is over', async () => (await viewer.refused('GET', '/devices')).status === 401, 12);
  await until('no more packets reach him', async () => {
    const last = (await browser.frames(0)).at(-1)?.t ?? 0;
    return Date.now() - last > 2_500;
  }, 20, 250);
  const after = ((await browser.frames(0)).at(-1).t - gone) / 1000;
  say(`a deleted account's picture ended after ${after.toFixed(1)} s`);
  assert.ok(after < 12, `${after} s`);

  // Signing out ends a token at once; another account's leg is not told of.
  const second = await gateway.signIn('operator', 'own-secret-of-this-one');
  await second.delete('/session');
  assert.equal((await second.refused('GET', '/devices')).status, 401);
  assert.equal((await operator.refused('GET', '/legs/00000000000000000000000000000000')).status, 404);

  // Audit.
  const rows = await until('audit rows are there', async () => { const a = await gateway.api.get('/audit?limit=500'); return a.items.some((r) => r.verb === 'delete_account') && a; }, 10);
  for (const [verb, account] of [['sign_in', 'admin'], ['change_password', 'admin'], ['create_account', 'admin'], ['view', 'watcher'], ['refused', 'watcher'], ['delete_account', 'admin']]) {
    assert.ok(rows.items.some((r) => r.verb === verb && r.account === account), `audit: ${verb} of ${account}; there are ${[...new Set(rows.items.map((r) => `${r.verb}/${r.account}`))].join(', ')}`);
  }
  const wallRow = rows.items.find((r) => r.account === 'operator' && /wall|tile|switch|take/.test(r.verb));
  assert.ok(wallRow && `${wallRow.object} ${wallRow.detail}`.includes(CAMERA), `the switching of the wall is in the audit: ${JSON.stringify(wallRow)}`);
  assert.ok(rows.items.every((r) => r.address === '127.0.0.1' && /^\d{4}-.*Z$/.test(r.at)));
  const text = JSON.stringify(rows);
  for (const secret of [PASSWORD, gateway.firstPassword, 'own-secret-of-this-one', 'first-secret-0815']) assert.ok(!text.includes(secret), 'no password in the audit');
  assert.ok(![...gateway.process.err].some((l) => l.includes(PASSWORD) || l.includes('own-secret')), 'no password in the log');

  // Headers.
  for (const path of ['/', '/watch', '/api/v1/session', '/healthz']) {
    const { headers } = await anonymous.raw('GET', path);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
    assert.equal(headers.get('x-frame-options'), 'DENY', path);
    assert.equal(headers.get('referrer-policy'), 'no-referrer', path);
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'self'.*frame-ancestors 'none'/, path);
    assert.equal(headers.get('server'), null, path);
  }
  const signedIn = await anonymous.raw('POST', '/api/v1/session', { name: 'operator', password: 'own-secret-of-this-one' });
  assert.match(signedIn.headers.get('set-cookie'), /skybridge_session=.*HttpOnly.*SameSite=Strict|skybridge_session=.*SameSite=Strict.*HttpOnly/i);

  // Bad input is answered, and the gateway lives.
  const whep = (body, headers = { 'content-type': 'application/sdp' }) => operator.refused('POST', `/whep/${id(channel)}`, body, headers);
  const offer = await browser.page.evaluate(async () => { const pc = new RTCPeerConnection(); pc.addTransceiver('video', { direction: 'recvonly' }); await pc.setLocalDescription(); return pc.localDescription.sdp; });
  const bad = {
    empty: '', words: 'not an offer', 'an offer without a section': offer.slice(0, offer.indexOf('m=video')), 'no fingerprint': offer.replace(/a=fingerprint.*\r\n/g, ''), 'no ice': offer.replace(/a=ice-.*\r\n/g, ''),
    'zero bytes': offer.replaceAll('\r\n', '\r\n\0'), 'a thousand sections': offer + 'm=video 9 UDP/TLS/RTP/SAVPF 96\r\n'.repeat(1000), 'long lines': offer + `a=x:${'y'.repeat(30_000)}\r\n`, 'no codec of ours': offer.replace(/H264|VP8/g, 'FOO'),
    'an SDES offer': offer.replace(/UDP\/TLS\/RTP\/SAVPF/g, 'RTP/AVP'),
  };
  const answers = {};
  for (const [name, body] of Object.entries(bad)) {
    const answer = await whep(body);
    answers[name] = answer.status;
    if (name !== 'long lines' && name !== 'a thousand sections') assert.equal(answer.status, 400, `${name}: ${answer.status} ${answer.text.slice(0, 100)}`);
    else assert.ok(answer.status < 500, `${name}: ${answer.status}`);
  }
  assert.equal((await whep(offer, { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await operator.refused('POST', '/whep/gb28181%3Anobody', offer, { 'content-type': 'application/sdp' })).status, 404);
  assert.equal((await operator.refused('PATCH', `/whep/${id(channel)}`, '', { 'content-type': 'application/trickle-ice-sdpfrag' })).status, 405);
  assert.equal((await whep(Buffer.from([0xff, 0xfe, 0x00]))).status, 400);
  assert.ok([400, 413].includes((await whep(offer + 'a=x\r\n'.repeat(20_000))).status), 'more than 64 KiB of offer');
  assert.equal((await operator.refused('POST', '/conferences', JSON.stringify({ name: 'x'.repeat(400_000) }), { 'content-type': 'application/json' })).status, 413);
  for (const body of ['{', '[]', '{"name":5}', '\0', '{"name":"' + 'a'.repeat(5000) + '"}']) {
    const { status } = await operator.refused('POST', '/conferences', body, { 'content-type': 'application/json' });
    assert.ok(status >= 400 && status < 500, `${body.slice(0, 20)}: ${status}`);
  }
  assert.deepEqual((({ status, code }) => [status, typeof code])(await operator.refused('GET', '/no-such-thing')), [404, 'string'], 'errors have one form');
  for (const path of ['/../../etc/passwd', '/assets/..%2f..%2fCargo.toml', '/%2e%2e/%2e%2e/etc/passwd']) assert.doesNotMatch(await (await anonymous.raw('GET', path)).text(), /root:|\[package\]/, path);
  const page = await (await anonymous.raw('GET', '/')).text();
  assert.match(page, /<div id="root"|<script/);

  // Nonsense on the SIP port, as scanners send it.
  await new Promise((done) => { const s = net.connect(gateway.sip, '127.0.0.1', () => { s.write(Buffer.from('INVITE sip:x SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n')); s.write(Buffer.alloc(100_000, 65)); setTimeout(() => { s.destroy(); done(); }, 500); }); s.on('error', done); });
  assert.equal((await anonymous.raw('GET', '/readyz')).status, 200);
  assert.ok(![...gateway.process.err].some((l) => /panicked/.test(l)), 'nothing panicked');
  assert.ok(gateway.process.running);

  // Locked out after five failures, whoever knows the password; other answers tell nothing of which names exist.
  const attempt = (name, password) => anonymous.refused('POST', '/session', { name, password });
  const known = await attempt('operator', 'wrong-password-1'), unknown = await attempt('nobody-here', 'wrong-password-1');
  assert.deepEqual([known.status, known.text], [unknown.status, unknown.text], 'a name that exists is answered as one that does not');
  for (let n = 0; n < 4; n++) await attempt('operator', 'wrong-password-2');
  const locked = await attempt('operator', 'own-secret-of-this-one');
  assert.equal(locked.status, 429, 'locked, even with the right password');
  assert.ok(Number(locked.headers.get('retry-after')) > 0, 'Retry-After');
  await operator.get('/devices');
  await wait(100);
});

test('unknown keys are refused, every mistake of a configuration is named at once, the defaults are whole', { timeout: 30_000 }, async (t) => {
  const stage = Stage.open(t, 'security-config');
  const good = stage.file('good.toml');
  const { out } = await stage.run('defaults', SKYBRIDGE, ['defaults']);
  writeFileSync(good, out);
  assert.equal(out.trim(), readFileSync(new URL('../../config/skybridge.toml', import.meta.url), 'utf8').trim());
  assert.match((await stage.run('check-good', SKYBRIDGE, ['check', '--config', good])).out, /right/);
  const bad = stage.file('bad.toml');
  writeFileSync(bad, ['[site]', 'dta = "/tmp/x"', '[http]', 'local = ["10.0.0.1:80"]', '[media]', 'rtp_ports = "5-1"', '[hall]', 'walls = 0', 'conference_pin = "8642"', '[gb28181]', 'server_id = "12"', '[phone]', 'pin_tries = 0', '[nonsense]', 'x = 1'].join('\n'));
  const check = await stage.run('check-bad', SKYBRIDGE, ['check', '--config', bad], { fails: true });
  assert.equal(check.code, 1);
  // Unknown keys are told first: a value can only be judged where its key is known.
  assert.match(check.err, /dta/);
  assert.match(check.err, /nonsense/);
  const values = stage.file('values.toml');
  writeFileSync(values, ['[http]', 'local = ["10.0.0.1:80"]', '[media]', 'rtp_ports = "5-1"', '[hall]', 'walls = 0', 'conference_pin = "8642"', '[gb28181]', 'server_id = "12"', '[phone]', 'pin_tries = 0'].join('\n'));
  const second = await stage.run('check-values', SKYBRIDGE, ['check', '--config', values], { fails: true });
  assert.equal(second.code, 1);
  for (const key of ['http.local', 'media.rtp_ports', 'hall.walls', 'hall.conference_pin', 'gb28181.server_id', 'phone.pin_tries']) assert.ok(second.err.includes(key), `${key} is named: ${second.err}`);
  assert.ok(second.err.includes('values.toml:4'), 'with the line');
  assert.ok(!second.err.includes('8642'), 'a secret is not repeated');
  const started = await stage.run('start-bad', SKYBRIDGE, ['--config', bad], { fails: true });
  assert.equal(started.code, 1, 'a gateway does not start with a mistake');
  const environment = await stage.run('check-environment', SKYBRIDGE, ['check'], { fails: true, env: { SKYBRIDGE_HTTP_LISTNE: '0.0.0.0:443' } });
  assert.equal(environment.code, 1, 'an unknown override is refused too');
});
