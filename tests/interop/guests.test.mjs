// Guests by link and the lobby, in signals: who waits hears a tone and nothing of the conference, is let in by hand, and has no other right.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import jsqr from 'jsqr';
import { Baresip } from './lib/baresip.mjs';
import { Browser, cameraFile, joinConference } from './lib/browser.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { cut, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const TONES = { 8001: 1250, 8002: 1900 };
const OPERATOR = 700, GUEST = 2500, WAITING = 425;

/** What a QR reader that is not ours reads. */
async function readQr(stage, browser) {
  const png = stage.file('qr.png');
  await browser.at('link-qr').screenshot({ path: png });
  const raw = stage.file('qr.rgba');
  await stage.run('ffmpeg-qr', 'ffmpeg', ['-loglevel', 'error', '-y', '-i', png, '-pix_fmt', 'rgba', '-f', 'rawvideo', raw]);
  const [width, height] = [16, 20].map((at) => readFileSync(png).readUInt32BE(at));
  return jsqr(new Uint8ClampedArray(readFileSync(raw)), width, height)?.data;
}

/** A guest's browser, with all that the gateway told it by its socket. */
async function guestAt(stage, gateway, url, name, more) {
  const guest = await Browser.open(stage, gateway, { ...more, name });
  guest.told = [];
  guest.page.on('websocket', (socket) => socket.on('framereceived', (f) => guest.told.push(String(f.payload))));
  await guest.page.goto(url);
  await guest.at('guest-name').waitFor({ timeout: 10_000 });
  return guest;
}
const step = (guest, wanted, within = 10) => guest.page.locator(`[data-testid="guest"][data-step="${wanted}"]`).waitFor({ timeout: within * 1000 });

test('lobby, links, what a guest may do and what not', { timeout: 240_000 }, async (t) => {
  const stage = Stage.open(t, 'guests');
  const gateway = await Gateway.open(stage, { more: { access: { attempts_per_minute: 4, lock_seconds: 5 } } });
  for (const user of Object.keys(TONES)) await gateway.api.post('/phones', { user, password: 'unit-secret-word', name: `Unit ${user}` });
  const main = await gateway.conference();
  const room = `/conferences/${id(main.id)}`;
  await gateway.api.patch(room, { pin: '' });
  const short = await gateway.api.post(`${room}/links`, { name: 'a minute', minutes: 1 });
  const shortMade = Date.now();
  const phones = Object.fromEntries(await Promise.all(Object.entries(TONES).map(async ([user, hz]) => {
    const p = await Baresip.open(stage, gateway, { user, password: 'unit-secret-word', say: await tone(stage, `unit-${user}`, hz, { seconds: 230 }), answer: 'auto' });
    await p.registered();
    return [user, p];
  })));
  const camera = await cameraFile(stage);
  const operator = await Browser.open(stage, gateway, { microphone: await tone(stage, 'operator', OPERATOR, { seconds: 20, rate: 48_000 }), camera });
  await operator.signIn();
  const own = await joinConference(operator, main.id, { name: 'Duty officer' });
  await operator.listen('mix', 'member');
  const view = () => gateway.api.get(room);
  await until('the operator has a picture', async () => (await view()).members.find((m) => m.id === own)?.has_video);
  await gateway.api.put(`${room}/picture`, { source: `browser:${own}` });

  // The lobby is set by hand; who is called does not wait, who calls in does.
  await operator.at('lobby-mode').selectOption('all');
  await until('the lobby is on', async () => (await view()).lobby === 'all', 5);
  await until('8001 is registered', async () => (await gateway.api.get('/phones')).items.every((p) => p.registered));
  await gateway.api.post(`${room}/members`, { dial: '8001' });
  await until('who is called is in', async () => (await view()).members.some((m) => m.name === 'Unit 8001' && m.state === 'connected'), 15);
  await phones[8002].dial(main.number);
  const waiter = await until('who calls in waits', async () => (await view()).waiting.find((w) => w.name === 'Unit 8002'), 10);

  const lately = (user, hz) => { const heard = phones[user].heard(); return toneLevel(cut(heard, Math.max(0, seconds(heard) - 1)), hz) > 0.01; };
  const inBrowser = async (browser, tones) => {
    const { db } = await browser.spectrum('mix', [...tones, 1571], 900);
    return tones.map((_, n) => db[n] - db.at(-1) > 25);
  };
  // As ordered, in two looks one after the other: not only while it changes.
  const hears = async (what, wish, look) => {
    const same = async () => isDeepStrictEqual(await look(), wish);
    await until(what, async () => await same() && await wait(700).then(same), 15).catch(async (e) => { throw new Error(`${e.message}; heard: ${JSON.stringify(await look())}, not ${JSON.stringify(wish)}`); });
  };
  const phoneHears = (what, user, tones, wish) => hears(what, wish, () => tones.map((hz) => lately(user, hz)));

  // A beep every four seconds, and not one sample of the conference.
  await until('the phone hears the waiting tone', () => lately('8002', WAITING), 10);
  await wait(4_500);
  const waited = cut(phones[8002].heard(), 0.5);
  assert.ok(seconds(waited) > 4, `the phone has heard ${seconds(waited)} s`);
  for (const hz of [TONES[8001], OPERATOR]) assert.ok(toneLevel(waited, hz) < 0.0005, `${hz} Hz of the conference is heard in the lobby: ${toneLevel(waited, hz)}`);
  assert.ok(toneLevel(waited, WAITING) > 0.002, 'the waiting tone');
  await hears('nobody hears who waits', [true, false], () => inBrowser(operator, [TONES[8001], TONES[8002]]));

  // A link is made by hand; its QR code is read by another program.
  await operator.at('guest-links').click();
  await operator.at('link-name').fill('Water authority');
  await operator.at('link-make').click();
  const url = await operator.at('link-url').innerText();
  assert.match(url, /\/join\/[\w-]{43}$/, '256 bits');
  assert.equal(await readQr(stage, operator), url);
  await operator.shot('link');
  await operator.page.keyboard.press('Escape');
  const guest = await guestAt(stage, gateway, url, 'guest', { microphone: await tone(stage, 'guest', GUEST, { seconds: 20, rate: 48_000 }), camera, width: 390, height: 844 });
  assert.match(await guest.page.innerText('body'), /Water|大厅会商/);
  await guest.at('guest-preview').click();
  await guest.at('guest-name').fill('Engineer Li');
  await wait(600);
  await guest.shot('guest-door');
  await guest.at('guest-join').click();
  await step(guest, 'waiting');
  const row = operator.page.locator('[data-testid^="waiting-"][data-name="Engineer Li"]');
  await row.waitFor({ timeout: 5_000 });
  assert.match(await row.innerText(), /Water authority/);
  await wait(1_500);
  await guest.shot('guest-waiting');
  await operator.shot('lobby');
  assert.equal(await guest.page.evaluate(() => window.skybridge.member), null, 'no leg while he waits');
  const words = guest.told.join('\n');
  assert.ok(guest.told.length > 0, 'the guest is told that he waits');
  for (const secret of ['Unit 8001', 'Duty officer', 'mix:', 'browser:']) assert.ok(!words.includes(secret), `${secret} is told in the lobby`);

  // His session opens nothing else: every route, with the token in every place where one may stand.
  const token = (await guest.context.cookies(`${gateway.base}/api/v1/guest`)).find((c) => c.name === 'hall_guest').value;
  const forbidden = async () => {
    const { paths } = await (await fetch(`${gateway.base}/api/v1/openapi.json`)).json();
    let asked = 0;
    for (const [path, methods] of Object.entries(paths)) for (const [method, what] of Object.entries(methods)) {
      if (path.startsWith('/api/v1/guest/') || what.security?.some((s) => Object.keys(s).length === 0)) continue;
      const place = path.replace('{id}', main.id).replace('{conference}', main.id).replace('{stream}', `mix:${main.id}`).replace(/\{\w+\}/g, 'x');
      const answer = await fetch(gateway.base + place, {
        method: method.toUpperCase(),
        headers: { authorization: `Bearer ${token}`, cookie: `hall_guest=${token}; skybridge_session=${token}`, ...(what.requestBody ? { 'content-type': Object.keys(what.requestBody.content)[0] } : {}) },
        body: what.requestBody ? '{}' : undefined,
      });
      assert.ok([401, 403].includes(answer.status), `${method} ${place}: ${answer.status} for a guest`);
      asked++;
    }
    assert.ok(asked > 140, `only ${asked} routes were asked`);
    return asked;
  };
  const asked = await forbidden();
  const asGuest = (method, path, body, headers = {}) => fetch(`${gateway.base}/api/v1/guest/${path}`, { method, body, headers: { authorization: `Bearer ${token}`, ...headers } });
  for (const [method, path, body, headers] of [['POST', 'whip', 'v=0', { 'content-type': 'application/sdp' }], ['POST', 'picture', 'v=0', { 'content-type': 'application/sdp' }], ['GET', 'texts'], ['POST', 'texts', '{"text":"x"}', { 'content-type': 'application/json' }], ['PATCH', 'member', '{"hand":true}', { 'content-type': 'application/json' }]]) {
    assert.equal((await asGuest(method, path, body, headers)).status, 409, `${method} ${path} from the lobby`);
  }

  // Let in, one by one.
  await operator.at(`admit-${waiter.id}`).click();
  await hears('who was let in is heard', [true, true], () => inBrowser(operator, [TONES[8001], TONES[8002]]));
  await phoneHears('and hears all, without the waiting tone', '8002', [TONES[8001], OPERATOR], [true, true]);
  await row.getByRole('button', { name: 'Admit' }).click();
  await step(guest, 'joined', 15);
  await guest.page.locator('[data-testid="guest-state"][data-phase="connected"]').waitFor({ timeout: 10_000 });
  await guest.listen('mix', 'member');
  await hears('the guest hears all', [true, true, true], () => inBrowser(guest, [TONES[8001], TONES[8002], OPERATOR]));
  await phoneHears('all hear the guest', '8002', [GUEST], [true]);
  await until('the guest sees the main picture', () => guest.page.evaluate(() => { const v = document.querySelector('[data-testid="guest-picture"]'); return v && !v.hidden && v.videoWidth > 0 && v.currentTime > 0.5; }), 15);
  await guest.shot('guest-in');
  await operator.shot('with-guest');
  await forbidden();

  // What a guest may: mute himself, raise a hand, write, read.
  await guest.at('guest-mute').click();
  await phoneHears('a guest who muted himself is not heard', '8002', [GUEST], [false]);
  await guest.at('guest-hand').click();
  const member = await until('his hand is up', async () => (await view()).members.find((m) => m.guest && m.hand_at), 5);
  assert.deepEqual([member.name, member.kind, member.muted_by], ['Engineer Li', 'browser', 'member']);
  await guest.at('guest-mute').click();
  await phoneHears('and is heard again', '8002', [GUEST], [true]);
  await gateway.api.patch(`${room}/members/${id(member.id)}`, { muted: true });
  await phoneHears('the operator mutes him', '8002', [GUEST], [false]);
  assert.ok(await guest.at('guest-mute').isDisabled());
  assert.equal((await asGuest('PATCH', 'member', '{"muted":false}', { 'content-type': 'application/json' })).status, 403, 'he does not open what an operator shut');
  await gateway.api.patch(`${room}/members/${id(member.id)}`, { muted: false });
  await guest.at('guest-texts-toggle').click();
  await guest.at('guest-text').fill('Gate 3 is open');
  await guest.at('guest-send').click();
  await until('the hall reads him', async () => (await gateway.api.get(`/messages?thread=conference:${id(main.id)}`)).items.some((m) => m.text === 'Gate 3 is open' && m.name === 'Engineer Li'), 5);
  await gateway.api.post('/messages', { thread: `conference:${main.id}`, text: 'Understood' });
  await guest.page.getByText('Understood').waitFor({ timeout: 5_000 });
  await guest.shot('guest-texts');
  // A reload comes back to the same place, and uses the link once only.
  await guest.page.reload();
  await guest.at('guest-join').click();
  await step(guest, 'joined', 15);
  await guest.page.locator('[data-testid="guest-state"][data-phase="connected"]').waitFor({ timeout: 10_000 });
  await phoneHears('he is back without waiting', '8002', [GUEST], [true]);
  const [link] = (await gateway.api.get(`${room}/links`)).items.filter((l) => l.name === 'Water authority');
  assert.equal(link.used, 1);

  // Refused; used up; for sound only; not to be guessed.
  const once = await gateway.api.post(`${room}/links`, { uses: 1, role: 'listener', camera: false });
  const second = await guestAt(stage, gateway, `${gateway.base}${once.path}`, 'second', { microphone: await tone(stage, 'second', 3100, { seconds: 20, rate: 48_000 }) });
  await second.at('guest-name').fill('Stranger');
  await second.at('guest-join').click();
  await step(second, 'waiting');
  await operator.page.locator('[data-testid^="waiting-"][data-name="Stranger"]').getByRole('button', { name: 'Refuse' }).click();
  await second.page.locator('[data-testid="guest-end"][data-why="refused"]').waitFor({ timeout: 5_000 });
  await second.shot('refused');
  const enter = (path, name = 'X') => gateway.anonymous().refused('POST', '/guest/session', { token: path.split('/')[2], name });
  assert.equal((await enter(once.path)).code, 'link_used_up');

  // A listener without camera: let in with all who wait, heard by nobody, and no picture of his is taken.
  const sound = await gateway.api.post(`${room}/links`, { role: 'listener', camera: false });
  await second.page.goto(`${gateway.base}${sound.path}`);
  await second.at('guest-name').fill('Listener');
  await second.at('guest-join').click();
  await step(second, 'waiting');
  const other = await (await fetch(`${gateway.base}/api/v1/guest/session`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token: sound.path.split('/')[2], name: 'Second in line' }) })).json();
  assert.equal(other.stage, 'waiting');
  await operator.at('lobby-admit-all').click();
  await step(second, 'joined', 15);
  await second.listen('mix', 'member');
  await hears('a listener hears', [true, true], () => inBrowser(second, [TONES[8001], OPERATOR]));
  await phoneHears('and is not heard', '8002', [3100], [false]);
  const cookies = await second.context.cookies(`${gateway.base}/api/v1/guest`);
  const video = await fetch(`${gateway.base}/api/v1/guest/whip`, { method: 'POST', headers: { authorization: `Bearer ${cookies[0].value}`, 'content-type': 'application/sdp' }, body: 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n' });
  assert.equal(video.status, 403, 'no camera by this link');
  await second.shot('listener');

  // A chair of a conference may not be made by a link; and a conference without lobby is open, locked it is shut.
  assert.equal((await gateway.api.refused('POST', `${room}/links`, { role: 'chair' })).status, 400);
  await gateway.api.patch(room, { lobby: 'off', locked: true });
  const locked = await fetch(`${gateway.base}/api/v1/guest/session`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token: sound.path.split('/')[2], name: 'Late' }) });
  assert.equal((await locked.json()).stage, 'locked');
  await gateway.api.patch(room, { locked: false });
  const open = await fetch(`${gateway.base}/api/v1/guest/session`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token: sound.path.split('/')[2], name: 'Open' }) });
  assert.equal((await open.json()).stage, 'open');

  // A restart: the links and the guests are still known.
  await operator.at('guest-links').click();
  await operator.at(`link-${link.id}-withdraw`).click();
  await operator.at('confirm-yes').click();
  await guest.page.locator('[data-testid="guest-end"][data-why="over"]').waitFor({ timeout: 8_000 });
  await guest.shot('withdrawn');
  await phoneHears('a withdrawn link takes its guests along', '8002', [GUEST, OPERATOR], [false, true]);
  assert.equal((await asGuest('GET', 'session')).status, 401);
  assert.equal((await enter(new URL(url).pathname)).code, 'link_withdrawn');
  await until('the listener of another link stays', async () => (await view()).members.filter((m) => m.guest).map((m) => m.name).join() === 'Listener', 5);

  await wait(Math.max(0, shortMade + 61_000 - Date.now()));
  assert.deepEqual([await enter(short.path)].map((r) => [r.status, r.code]), [[410, 'link_expired']]);
  const guesses = [];
  for (let n = 0; n < 6; n++) guesses.push((await enter(`/join/${'A'.repeat(42)}${n}`)).status);
  assert.deepEqual(guesses, [404, 404, 404, 404, 429, 429], 'guessing is locked');
  const audit = (await gateway.api.get('/audit?limit=500')).items;
  for (const verb of ['make_guest_link', 'guest_enter', 'admit', 'refuse_entry', 'withdraw_guest_link']) assert.ok(audit.some((a) => a.verb === verb), `${verb} is in the audit log`);
  say(`lobby silent, guest let in, ${asked} routes refused, withdrawn, expired`);
  assert.deepEqual(operator.troubles, [], 'no errors on the console');
});
