// A conference in which members come and go, freeze, and are flooded. Who stays is heard all the while: no gap of his tone over 60 ms at
// the one who listens, and the gateway's memory is flat. MINUTES=60 makes it an hour; without it, three quarters of a minute.
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { seconds, tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const MINUTES = Number(process.env.MINUTES ?? 0.75);
const STAYS = 440;
const BLOCK = 80; // 10 ms at 8 kHz
// A program that does nothing but look at the clock: how long this machine let it wait at most. No phone can do better.
const IDLE = 'let last = performance.now(), most = 0; setInterval(() => { const now = performance.now(); most = Math.max(most, now - last - 5); last = now; }, 5); process.on("SIGTERM", () => { console.log(most); process.exit(); });';

/** Levels of a tone in blocks of 10 ms. */
function levels(samples, hertz) {
  const out = new Float64Array(Math.floor(samples.length / BLOCK));
  for (let b = 0; b < out.length; b++) {
    let re = 0, im = 0;
    for (let n = 0; n < BLOCK; n++) {
      const x = samples[b * BLOCK + n], w = (2 * Math.PI * hertz * n) / 8000;
      re += x * Math.cos(w); im += x * Math.sin(w);
    }
    out[b] = (2 * Math.hypot(re, im)) / BLOCK;
  }
  return out;
}

test('who stays is heard without a gap, whatever the others do', { timeout: (MINUTES * 60 + 120) * 1000 }, async (t) => {
  const stage = Stage.open(t, 'long-conference');
  const port = await freePorts(2);
  const gateway = await Gateway.open(stage, { more: { radio: { gateway: [{ name: 'gw', address: `127.0.0.1:${port}`, carrier: 'rtp', group: [{ number: '9001', name: 'Radios', conference: '9500' }], ping_interval: 2 }] } } });
  const conference = await gateway.api.post('/conferences', { name: 'Long', number: '9500' });
  const members = async () => (await gateway.api.get(`/conferences/${id(conference.id)}`)).members;
  const PASSWORD = 'everybody-secret-1';
  const phone = async (user, hz, gain = -20) => {
    await gateway.api.post('/phones', { user, password: PASSWORD, name: `Unit ${user}` });
    const p = await Baresip.open(stage, gateway, { user, password: PASSWORD, say: await tone(stage, `unit-${user}`, hz, { seconds: MINUTES * 60 + 60, on: MINUTES * 60 + 60, off: 0, gain }) });
    await p.registered();
    return p;
  };
  const stays = await phone('8001', STAYS, -10), listens = await phone('8002', 2500, -40), guest = await phone('8003', 1100), frozen = await phone('8004', 1700);
  for (const p of [stays, listens, frozen]) await p.dial('9500');
  await until('three are in', async () => (await members()).filter((m) => m.state === 'connected').length === 3, 15);
  const began = seconds(listens.heard()) + 1;
  const end = Date.now() + MINUTES * 60_000;
  const counts = { visits: 0, freezes: 0, packets: 0, radios: 0 };
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.process.child.pid}/status`, 'utf8'))[1]) / 1024;

  const comesAndGoes = (async () => {
    while (Date.now() < end) {
      await guest.dial('9500');
      await wait(3_000);
      await guest.hangup();
      counts.visits++;
      await wait(700);
    }
  })();
  const freezes = (async () => {
    while (Date.now() < end) {
      frozen.process.child.kill('SIGSTOP');
      await wait(4_000);
      frozen.process.child.kill('SIGCONT');
      counts.freezes++;
      await wait(3_000);
    }
  })();
  // Garbage and strangers' RTP at every media port, from another address.
  const flood = (async () => {
    const socket = dgram.createSocket('udp4');
    await new Promise((done) => socket.bind(0, '127.0.0.9', done));
    const [low, high] = readFileSync(gateway.config, 'utf8').match(/rtp_ports = "(\d+)-(\d+)"/).slice(1).map(Number);
    const rtp = Buffer.alloc(172, 0xd5), noise = Buffer.from(Array.from({ length: 300 }, (_, n) => (n * 73) & 255));
    rtp[0] = 0x80; rtp[1] = 8;
    while (Date.now() < end) {
      for (let at = low; at <= high; at++) {
        rtp.writeUInt16BE(counts.packets & 0xffff, 2);
        socket.send(counts.packets & 1 ? rtp : noise, at, '127.0.0.1', () => {});
        counts.packets++;
      }
      await wait(200);
    }
    socket.close();
  })();
  const radios = (async () => {
    while (Date.now() < end) {
      const field = Field.open(stage, gateway, ['radio', '--group', '9001', '--carrier', 'rtp', '--port', String(port), '--call', '--talk', '2+2@900#77'], { name: `radio-${counts.radios}` });
      await wait(9_000);
      await (counts.radios & 1 ? field.process.kill() : field.stop());
      counts.radios++;
      await wait(1_000);
    }
  })();
  const idle = stage.start('idle', process.execPath, ['-e', IDLE]);
  const memory = [];
  while (Date.now() < end) {
    memory.push(rss());
    await wait(Math.min(10_000, Math.max(100, end - Date.now())));
  }
  await Promise.all([comesAndGoes, freezes, flood, radios]);
  memory.push(rss());

  await idle.stop();
  const stall = Number(idle.out.at(-1));
  const { samples } = listens.heard();
  const all = levels(samples.subarray(Math.round(began * 8000)), STAYS);
  const usual = [...all].sort((a, b) => a - b)[all.length >> 1];
  let longest = 0, run = 0, where = 0;
  all.forEach((l, n) => { run = l < usual / 4 ? run + 1 : 0; if (run > longest) { longest = run; where = n; } });
  const third = memory.slice(Math.floor(memory.length / 3));
  say(`${(all.length / 6000).toFixed(1)} min: the longest gap ${longest * 10} ms (at ${(where / 100).toFixed(1)} s) of a tone of ${usual.toFixed(3)}, the machine itself stood still for ${stall.toFixed(0)} ms; ${counts.visits} visits, ${counts.freezes} freezes, ${counts.radios} radio calls, ${counts.packets} foreign packets; RSS ${third.map((m) => m.toFixed(0)).join(' ')} MiB`);
  assert.ok(usual > 0.05 && all.length > MINUTES * 6000 * 0.95, 'his tone was there all the time');
  assert.ok(longest * 10 <= 60 + stall, `a gap of ${longest * 10} ms on a machine that stood still for ${stall} ms`);
  assert.ok(third.at(-1) < third[0] * 1.1 + 8, `memory grows: ${third}`);
  const now = (await members()).filter((m) => m.state === 'connected').map((m) => m.name);
  assert.ok(now.includes('Unit 8001') && now.includes('Unit 8002'), `${now}`);
});
