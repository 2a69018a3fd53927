// Radio groups in conferences, one by each carrier: a phone's words on the air from their first sample on, a radio's tone at the phone,
// what was not heard is told, and what is on the wire as Wireshark reads it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { cut, readWav, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const RADIO_TONE = 700, PHONE_TONE = 1250;
// Bursts of the phone: 0.6 s with a rise of 10 ms, and a pause that is longer than the hang time.
const ON = 0.6, OFF = 1.4;
const CARRIERS = [
  { carrier: 'rtp', set: {} },
  // Called by the hall; the others come by calls of their own.
  { carrier: 'dtmf', set: {}, called: true },
  { carrier: 'info', set: { info: { form: 'xml', grant: 'message' } }, more: ['--grant-ms', '300'] },
  { carrier: 'mcptt', set: {}, more: ['--grant-ms', '300'] },
  { carrier: 'ed137', set: { key_up: 40 } },
  { carrier: 'vox', set: {} },
];

/** Begins of bursts in a recording: sample numbers at which sound follows 100 ms without any. */
function begins({ rate, samples }, threshold = 0.01) {
  const quiet = rate / 10;
  const found = [];
  let silent = quiet;
  for (let n = 0; n < samples.length; n++) {
    if (Math.abs(samples[n]) < threshold) { silent++; continue; }
    if (silent >= quiet) found.push(n);
    silent = 0;
  }
  return found;
}
/** Largest amplitude of some milliseconds. */
const peak = ({ rate, samples }, at, from, to) => samples.subarray(at + Math.round(rate * from / 1000), at + Math.round(rate * to / 1000)).reduce((most, s) => Math.max(most, Math.abs(s)), 0);
const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];

async function open(t, name, { carrier, set = {}, more = [], talks = [], message = [], called = false }) {
  const stage = Stage.open(t, name);
  const port = await freePorts(2);
  const group = { number: '9001', name: 'Flood team', conference: '9500' };
  const gateway = await Gateway.open(stage, { more: { radio: { gateway: [{ name: 'gw', address: `127.0.0.1:${port}`, carrier, group: [group], radios: { 1234: 'Boat one' }, ping_interval: 2, ...set }] } } });
  const conference = await gateway.api.post('/conferences', { name: 'Flood', number: '9500' });
  await gateway.api.post('/phones', { user: '8001', password: 'phone-secret-01x', name: 'Phone' });
  const air = stage.file('air.wav');
  const capture = stage.start('tshark-capture', 'tshark', ['-i', 'lo', '-f', 'udp', '-w', stage.file('all.pcap'), '-q']);
  await until('capturing', () => capture.err.some((l) => /Capturing on/.test(l)), 10);
  await wait(1_000);
  const says = await tone(stage, 'says', PHONE_TONE, { seconds: 80, on: ON, off: OFF });
  const phone = await Baresip.open(stage, gateway, { user: '8001', password: 'phone-secret-01x', say: says });
  await phone.registered();
  await phone.dial('9500');
  const field = Field.open(stage, gateway, ['radio', '--group', '9001', '--carrier', carrier, '--port', String(port), ...(called ? [] : ['--call']), '--record', air, ...talks.flatMap((x) => ['--talk', x]), ...message.flatMap((x) => ['--message', x]), ...more]);
  const of = (event) => field.events.filter((e) => e.event === event);
  if (called) {
    await until('the gateway answers', async () => (await gateway.api.get('/devices/radio%3Agw')).online, 20);
    const member = await gateway.api.post(`/conferences/${id(conference.id)}/members`, { channel: 'radio:gw/9001' });
    assert.deepEqual([member.name, member.state], ['Flood team', 'calling']);
  }
  await until('the group is in the conference', async () => {
    const { members } = await gateway.api.get(`/conferences/${id(conference.id)}`);
    return of('radio_call').length && members.filter((m) => m.state === 'connected').length === 2;
  }, 20);
  const metric = async (what) => {
    const text = await (await gateway.api.raw('GET', '/metrics')).text();
    return text.split('\n').filter((l) => l.startsWith(what.name) && (what.label ? l.includes(what.label) : true)).reduce((sum, l) => sum + Number(l.split(' ').at(-1)), 0);
  };
  return { stage, gateway, conference, air, phone, field, of, says, capture, port, metric };
}

for (const one of CARRIERS) {
  test(`${one.carrier}: a phone's words on the air with their beginning, a radio's in the conference`, { timeout: 90_000 }, async (t) => {
    const s = await open(t, `radio-${one.carrier}`, { ...one, talks: ['9+4@700#1234'] });
    const hall = () => s.of('radio_unkeyed').filter((e) => e.by === 'hall');
    await until('four transmissions of the hall', () => hall().length >= 3, 15);
    await until('the radio has talked', () => s.of('radio_unkeyed').some((e) => e.by === '1234'), 15);
    await until('the hall is heard again', () => hall().length >= 5, 15);
    const heard = readWav(s.air);

    // The faint rise at the beginning of each burst (sox: each 2 ms ten times as loud) is there: what was cut would jump from silence.
    const bursts = begins(heard).slice(1).filter((at) => at + 0.3 * heard.rate < heard.samples.length);
    assert.ok(bursts.length >= 2, `${bursts.length} bursts on the air`);
    const steady = bursts.map((at) => peak(heard, at, 100, 200)), rises = bursts.map((at, n) => peak(heard, at, -2, 0) / steady[n]);
    say(`${one.carrier}: ${bursts.length} bursts of amplitude ${median(steady).toFixed(2)}; in the 2 ms before each begin ${rises.map((r) => r.toFixed(3)).join(' ')} of it`);
    assert.ok(median(steady) > 0.05, 'the tone is on the air');
    assert.ok(rises.every((r) => r > 0.015), 'with its rise');
    assert.ok(toneLevel(heard, PHONE_TONE) > 0.05);
    assert.ok(toneLevel(heard, RADIO_TONE) < 0.002, 'the radio does not come back on the air');

    // The phone heard the radio.
    const all = s.phone.heard(), level = toneLevel(cut(all, Math.max(0, seconds(all) - 25)), RADIO_TONE);
    say(`the radio's ${RADIO_TONE} Hz at the phone: ${level.toFixed(3)}`);
    assert.ok(level > 0.05, "the radio's tone is in the phone's recording");

    // What the phone said meanwhile was not sent, and that is told.
    const busy = await s.metric({ name: 'skybridge_radio_unheard_ms_total', label: 'radio_channel_busy' });
    say(`not heard on the radio while it talked: ${busy} ms`);
    assert.ok(busy >= 400, `${busy} ms are told`);

    await s.capture.stop();
    const file = s.stage.file('all.pcap');
    const read = async (filter, fields, decode = []) => {
      const { out } = await s.stage.run(`tshark-${one.carrier}-${Math.random()}`, 'tshark', ['-r', file, ...decode, '-Y', filter, '-T', 'fields', '-E', 'separator=|', ...fields.flatMap((f) => ['-e', f])]);
      return out.trim().split('\n').filter(Boolean).map((l) => l.split('|'));
    };
    // From the phone's word at our port to the same word on its way to the radio.
    const [low, high] = readFileSync(s.gateway.config, 'utf8').match(/rtp_ports = "(\d+)-(\d+)"/).slice(1).map(Number);
    const ours = (port) => port >= low && port <= high;
    const flows = new Map();
    for (const [at, from, to, hex] of await read('udp.length > 160', ['frame.time_epoch', 'udp.srcport', 'udp.dstport', 'udp.payload'])) {
      const bytes = Buffer.from(hex.replaceAll(':', ''), 'hex');
      if (bytes[0] >> 6 !== 2 || (bytes[1] & 127) !== 8 || ours(+from) === ours(+to)) continue;
      const key = `${from}>${to}`, flow = flows.get(key) ?? flows.set(key, { out: ours(+from), last: 0, begins: [] }).get(key);
      // A-law: the segment number is loudness.
      const loud = bytes.subarray(bytes.length - 160).some((b) => (((b ^ 0x55) >> 4) & 7) >= 4);
      if (!loud) continue;
      if (+at - flow.last > 0.5) flow.begins.push(+at);
      flow.last = +at;
    }
    const most = (out) => [...flows.values()].filter((f) => f.out === out).sort((x, y) => y.begins.length - x.begins.length)[0].begins;
    const air = most(true);
    const late = most(false).map((at) => Math.min(...air.filter((a) => a >= at).map((a) => a - at))).filter((d) => d < 0.9).map((d) => Math.round(d * 1000));
    say(`press to heard on the wire: ${late.join(' ')} ms`);
    // 60 to 120 ms and what the carrier needs (a digit 100, a grant of the test 300); a busy machine adds to it.
    assert.ok(late.length >= 3 && median(late) <= (one.more || one.carrier === 'dtmf' ? 700 : 250), 'soon enough');
    if (one.carrier === 'mcptt') {
      const rows = await read('rtcp.app.name == "MCPT"', ['rtcp.app.subtype', '_ws.malformed']);
      const kinds = rows.map((r) => Number(r[0].split(',')[0]));
      say(`MCPTT as tshark reads it: subtypes ${kinds.slice(0, 14).join(' ')}`);
      for (const kind of [0, 1, 2, 4, 5]) assert.ok(kinds.includes(kind), `subtype ${kind} is on the wire`);
      assert.ok(rows.every((r) => !r[1]), 'nothing malformed');
    }
    if (one.carrier === 'ed137') {
      const rows = await read('rtp.ext.profile == 0x0167', ['rtp.ext.ed137A.ptt_type', 'rtp.p_type', '_ws.malformed'], ['-o', 'rtp.heuristic_rtp:TRUE']).catch(async () => []);
      const plain = rows.length ? rows : await read('rtp.ext.profile == 0x0167', ['rtp.ext.profile', 'rtp.p_type', '_ws.malformed'], ['--enable-heuristic', 'rtp_udp']);
      say(`ED-137 as tshark reads it: ${plain.length} packets, of which R2S ${plain.filter((r) => r[1] === '123').length}`);
      assert.ok(plain.length > 100 && plain.some((r) => r[1] === '123') && plain.every((r) => !r[2]));
    }
  });
}

test('a gateway that refuses the key: nothing goes out and the hall is told; a status and a place of a radio', { timeout: 60_000 }, async (t) => {
  const s = await open(t, 'radio-deny', { carrier: 'mcptt', more: ['--deny'], message: ['1234=arrived', '1234=lon=121.47 lat=31.23'] });
  const events = await s.gateway.events();
  await until('the key is refused', () => s.of('radio_denied').length >= 2, 15);
  await events.next('the console is told', (e) => e.type === 'notice' && /not sent/.test(e.en ?? ''), 15);
  assert.equal(s.of('radio_keyed').length, 0);
  const refused = await s.metric({ name: 'skybridge_radio_unheard_ms_total', label: 'radio_channel_refused' });
  say(`not heard on the radio: ${refused} ms`);
  assert.ok(refused > 500);
  // Words of a radio are a message, a place is none; the gateway hears of it only when it is stored.
  const told = await until('the message is kept', async () => (await s.gateway.api.get('/messages')).items[0], 5);
  assert.deepEqual([told.thread.replace(/^radio:.*\//, ''), told.text, told.link], ['1234', 'arrived', 'radio']);
  assert.equal((await s.gateway.api.get('/messages')).total, 1);
  await until('status and place are counted', async () => (await s.metric({ name: 'skybridge_radio_messages_total', label: 'position' })) >= 1 && (await s.metric({ name: 'skybridge_radio_messages_total', label: 'status' })) >= 1, 5);
});

test('an emergency of a radio is an alarm', { timeout: 60_000 }, async (t) => {
  const s = await open(t, 'radio-emergency', { carrier: 'info', set: { info: { form: 'xml', grant: 'none' } }, more: ['--emergency'], talks: ['1+2@700#1234'] });
  const alarm = await until('the alarm is listed', async () => (await s.gateway.api.get('/alarms')).items.find((a) => a.kind === 'radio.emergency'), 15);
  assert.equal(alarm.severity, 1);
  assert.match(JSON.stringify(alarm), /Boat one/);
});

test('a gateway that dies leaves with a cause, the conference goes on, and with its return the group is back', { timeout: 120_000 }, async (t) => {
  const s = await open(t, 'radio-dies', { carrier: 'dtmf', called: true, talks: ['2+2@700#1234'] });
  const members = async () => (await s.gateway.api.get(`/conferences/${id(s.conference.id)}`)).members;
  const group = async () => (await members()).find((m) => m.name === 'Flood team');
  await until('a transmission of the hall', () => s.of('radio_unkeyed').some((e) => e.by === 'hall'), 15);
  await s.field.process.kill();
  const died = performance.now();
  const lost = await until('the group is not connected any more', async () => { const m = await group(); return m?.state !== 'connected' && m; }, 30);
  say(`${Math.round(performance.now() - died)} ms from the death to ${lost.state} (${lost.fault?.code})`);
  assert.equal(lost.fault.code, 'radio_gateway_down');
  assert.equal((await s.gateway.api.get('/devices/radio%3Agw')).online, false);
  assert.equal((await members()).filter((m) => m.state === 'connected').length, 1, 'the phone stays');
  // Longer than the tries that a phone gets.
  await wait(17_000);
  assert.equal((await group()).state, lost.state, 'it is waited for');
  const air = s.stage.file('air-again.wav');
  Field.open(s.stage, s.gateway, ['radio', '--group', '9001', '--carrier', 'dtmf', '--port', String(s.port), '--record', air], { name: 'again' });
  await until('the group is back', async () => (await group()).state === 'connected', 30);
  await wait(6_000);
  const level = toneLevel(readWav(air), PHONE_TONE);
  say(`the phone's tone on the air again: ${level.toFixed(3)}`);
  assert.ok(level > 0.05);
});

test('two groups of two networks in a conference with a floor: each is keyed while the other talks, never both', { timeout: 60_000 }, async (t) => {
  const stage = Stage.open(t, 'radio-floor');
  const ports = [await freePorts(2), await freePorts(2)];
  const gateway = await Gateway.open(stage, { more: { radio: { gateway: ['mcptt', 'dtmf'].map((carrier, n) => ({ name: carrier, address: `127.0.0.1:${ports[n]}`, carrier, group: [{ number: `900${n}`, name: carrier, conference: '9500' }], ping_interval: 2 })) } } });
  const conference = await gateway.api.post('/conferences', { name: 'Flood', number: '9500' });
  await gateway.api.patch(`/conferences/${id(conference.id)}`, { half_duplex: true });
  const talks = [['--talk', '4+3@700#31', '--grant-ms', '200'], ['--talk', '9+3@950#32']];
  const fields = ['mcptt', 'dtmf'].map((carrier, n) => Field.open(stage, gateway, ['radio', '--group', `900${n}`, '--carrier', carrier, '--port', String(ports[n]), '--call', '--record', stage.file(`air${n}.wav`), ...talks[n]], { name: carrier }));
  const of = (n, event, by) => fields[n].events.filter((e) => e.event === event && (!by || e.by === by));
  await until('both have talked and were heard', () => of(1, 'radio_unkeyed', 'hall').length && of(0, 'radio_unkeyed', 'hall').length, 40);
  for (const [n, hertz, other] of [[0, 950, 700], [1, 700, 950]]) {
    const air = readWav(stage.file(`air${n}.wav`));
    const first = begins(air)[0];
    say(`group ${n} heard ${seconds(air).toFixed(1)} s: ${hertz} Hz at ${toneLevel(air, hertz).toFixed(3)}, its own ${other} Hz at ${toneLevel(air, other).toFixed(4)}; sound from ${(first / air.rate * 1000).toFixed(0)} ms on`);
    assert.ok(toneLevel(air, hertz) > 0.05 && toneLevel(air, other) < 0.005);
    const loud = air.samples.filter((s) => Math.abs(s) > 0.01).length / air.rate;
    assert.ok(loud > 2.4, `${loud.toFixed(2)} s of 3 s of speech`);
  }
});
