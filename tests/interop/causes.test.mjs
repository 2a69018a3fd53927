// Everything that can be wrong with a camera or a phone has its name in the API; the gateway and the others do not notice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id, PIN } from './lib/gateway.mjs';
import { tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';
import { jumps } from './lib/video.mjs';

const HEALTHY = '34020000001320000060';
// fault of the simulated camera, what it needs, the codes that may name it and the step that must have failed
const CASES = [
  { fault: 'silent', codes: ['no_media'], step: 'first_packet' },
  { fault: 'wrong-ssrc', codes: ['wrong_ssrc'], step: 'ssrc' },
  { fault: 'tcp-never-connects', camera: { transport: 'tcp', media: 'tcp' }, codes: ['tcp_not_connected'], step: 'connected' },
  { fault: 'garbage', codes: ['ps_undecodable'], step: 'demuxed' },
  { fault: 'garbage-rtp', codes: ['not_rtp'], step: 'first_packet' },
  { fault: 'busy', codes: ['rejected_busy'], step: 'answered' },
  { fault: 'no-answer', codes: ['no_answer'], step: 'answered' },
  { fault: 'no-keyframe', codes: ['no_key_frame'], step: 'first_key_frame' },
  { fault: 'reject=404', codes: ['rejected_not_found'], step: 'answered' },
  { fault: 'other-address', codes: ['media_from_elsewhere'], step: 'source_address' },
  { fault: 'reject=480', codes: ['rejected_unreachable'], step: 'answered' },
  { fault: 'reject=500', codes: ['rejected_server_error'], step: 'answered' },
  { fault: 'no-sps', codes: ['no_parameter_sets'], step: 'parameter_sets' },
  { fault: 'svac', codes: ['codec_not_supported'], step: 'demuxed' },
  { fault: 'bad-framing=1', camera: { transport: 'tcp', media: 'tcp' }, codes: ['bad_framing'], step: 'live' },
];

test('each cause is named, the gateway stays up, another camera loses no picture', { timeout: 180_000 }, async (t) => {
  const stage = Stage.open(t, 'causes');
  const strict = { answer: 3, first_packet: 3, loss: 4, tcp_connect: 3, first_key: 4, strict_ssrc: true, strict_source: true };
  const gateway = await Gateway.open(stage, { more: { 'gb28181.media': strict, phone: { pin_tries: 1, pin_digit_timeout: 3 } } });
  const events = await gateway.events();
  const cameras = CASES.map((c, n) => ({ id: `340200000013200000${String(70 + n)}`, index: 9, faults: [c.fault], name: `Fault ${c.fault}`, ...c.camera }));
  Field.open(stage, gateway, { cameras: [{ id: HEALTHY, index: 1, name: 'Healthy' }] }, { name: 'healthy' });
  Field.open(stage, gateway, { cameras }, { name: 'faulty' });
  for (const c of [{ id: HEALTHY }, ...cameras]) await gateway.device(`gb28181:${c.id}`);

  // The healthy one is recorded and watched all the while: its numbers tell whether anything was disturbed.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.place(0, GB(HEALTHY));
  await browser.watchTile(0);
  await until('the healthy camera is shown', async () => (await browser.frames(0)).at(-1)?.camera === 1, 15);
  await wait(1_000);
  await browser.drain(0);
  const job = await gateway.api.post('/recording/jobs', { stream: GB(HEALTHY) });
  const pid = gateway.process.child.pid;

  // All at once; recorders want them, as viewers would.
  const found = await Promise.all(CASES.map(async (c, n) => {
    const stream = GB(cameras[n].id);
    const began = Date.now();
    const mine = await gateway.api.post('/recording/jobs', { stream });
    const trace = await until(`${c.fault} is named`, async () => { const t = await gateway.trace(stream); return t.fault && t; }, 30, 200);
    const listed = await gateway.stream(stream);
    return { ...c, stream, mine, trace, listed, after: Date.now() - began };
  }));
  await until('the browser shows one cause in words', async () => {
    await browser.place(1, found[0].stream);
    return /nothing arrived|no.*packet|没有/i.test(await browser.at('tile-1-message').innerText());
  }, 20, 1_000);
  // The panel: the failed step in words, and what to check, one thing after the other.
  const panel = browser.page.locator('[data-testid="details"]').filter({ has: browser.page.locator('[data-testid="trace"]') });
  await until('the panel marks the step that failed', async () => (await panel.locator('li[data-step="first_packet"][data-outcome="failed"]').count()) === 1, 30, 300);
  await until('the panel tells what to check', async () => (await panel.locator('[data-testid="fault-steps"] li').count()) >= 3, 30, 300);
  assert.match(await panel.locator('[data-testid="fault-steps"]').innerText(), /rtp_announced|firewall/i);
  // The button beside it: a capture that is begun and ended here, and read by the browser.
  await browser.at('capture-toggle').click();
  await until('the capture runs', async () => (await browser.at('capture').getAttribute('data-state')) === 'running', 10);
  await until('messages are in it', async () => /[1-9]\d* messages/.test(await browser.at('capture-facts').innerText()), 30, 500);
  await browser.at('capture-toggle').click();
  await browser.at('capture-download').waitFor({ timeout: 10_000 });
  const captured = await gateway.api.raw('GET', await browser.at('capture-download').getAttribute('href'));
  assert.equal(Buffer.from(await captured.arrayBuffer()).readUInt32LE(0), 0x0a0d0d0a, 'it is a pcapng file');
  await browser.shot('cause');
  for (const f of found) {
    say(`${f.fault.padEnd(19)} ${f.trace.fault.code.padEnd(21)} after ${(f.after / 1000).toFixed(1)} s: ${f.trace.fault.en}`);
  }
  for (const f of found) {
    assert.ok(f.codes.includes(f.trace.fault.code), `${f.fault} was named ${f.trace.fault.code}, not ${f.codes}`);
    assert.ok(f.trace.fault.zh && f.trace.fault.en && f.trace.fault.next_zh && f.trace.fault.next_en, `${f.fault}: in both languages, with what to do next`);
    assert.match(f.trace.fault.whose, /device|peer|us/, `${f.fault}: whose part it is`);
    assert.ok(f.trace.fault.next.length >= 3 && f.trace.fault.next.every((s) => s.zh && s.en), `${f.fault}: what to check, step by step, in both languages`);
    const failed = f.trace.steps.filter((s) => s.outcome === 'failed').map((s) => s.step);
    if (f.step) assert.ok(failed.includes(f.step), `${f.fault}: the failed step is ${failed}, not ${f.step}`);
    assert.ok(['failed', 'starting', 'stalled'].includes(f.listed.state), `${f.fault}: the stream is ${f.listed.state}`);
  }
  for (const f of found) await gateway.api.delete(`/recording/jobs/${id(f.mine.id)}`);

  // Phones: a wrong PIN, a wrong password, a number that does not exist.
  await gateway.api.post('/phones', { user: '8001', password: 'phone-secret-01x', name: 'Right' });
  const says = await tone(stage, 'says', 1000, { seconds: 60 });
  const wrongPassword = await Baresip.open(stage, gateway, { user: '8001', password: 'not-the-password', say: says, name: 'baresip-wrong-password' });
  await until('baresip was refused', () => [...wrongPassword.process.out, ...wrongPassword.process.err].some((l) => /40[13]/.test(l)), 15);
  // Nobody who could be asked is known before he gave the right password: the counter tells it.
  await until('the refusal is counted', async () => /skybridge_phone_regist[a-z_]*\{[^}]*denied[^}]*\} [1-9]/.test(await (await gateway.api.raw('GET', '/metrics')).text()), 10);
  assert.equal((await gateway.api.get('/phones')).items[0].registered, false);
  await wrongPassword.process.stop();

  const phone = await Baresip.open(stage, gateway, { user: '8001', password: 'phone-secret-01x', say: says });
  await phone.registered();
  await phone.dial('9000');
  await wait(1_500);
  await phone.digits(`${PIN.split('').reverse().join('')}#`);
  await phone.next('CALL_CLOSED', 20);
  const notice = await events.next('the wrong PIN is told', (e) => e.type === 'notice' && /wrong.*PIN|PIN.*wrong/i.test(e.en), 5);
  say(`wrong PIN: ${notice.en}`);
  phone.order('dial', `sip:9999@127.0.0.1:${gateway.sip}`);
  const closed = await until('a number that does not exist is refused', () => phone.events.filter((e) => e.type === 'CALL_CLOSED')[1], 10);
  assert.match(closed.param ?? '', /404/);

  // The gateway stayed up, and the healthy camera lost nothing.
  assert.ok(gateway.process.running && gateway.process.child.pid === pid);
  assert.equal((await gateway.anonymous().raw('GET', '/readyz')).status, 200);
  assert.ok(![...gateway.process.err].some((l) => /panicked/.test(l)), 'nothing panicked');
  const shown = (await browser.drain(0)).filter((f) => f.camera === 1);
  const longest = Math.max(...shown.slice(1).map((f, n) => f.t - shown[n].t));
  await gateway.api.delete(`/recording/jobs/${id(job.id)}`);
  const recording = await until('the recording is closed', async () => { const r = (await gateway.api.get(`/recordings?stream=${id(GB(HEALTHY))}`)).items[0]; return r?.state === 'whole' && r; });
  const { writeFileSync } = await import('node:fs');
  const { paintedNumbers } = await import('./lib/video.mjs');
  const file = stage.file('healthy.mp4');
  writeFileSync(file, Buffer.from(await (await gateway.api.raw('GET', `/api/v1/recordings/${id(recording.id)}/media.mp4`)).arrayBuffer()));
  const numbers = (await paintedNumbers(stage, file)).map((n) => n?.frame);
  say(`healthy camera meanwhile: ${numbers.length} pictures recorded, longest pause in the browser ${longest.toFixed(0)} ms`);
  assert.deepEqual(jumps(numbers), [], 'consecutive all the while');
  assert.ok(longest < 2_000, `the browser's picture never stood for long: ${longest} ms`);
});
