// tshark reads what we say to cameras and phones: nothing malformed, and the fields that others look for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id, PIN } from './lib/gateway.mjs';
import { tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

test("tshark's SIP dissector finds no malformed message of ours", { timeout: 90_000 }, async (t) => {
  const stage = Stage.open(t, 'tshark');
  const gateway = await Gateway.open(stage);
  const file = stage.file('sip.pcap');
  const capture = stage.start('tshark-capture', 'tshark', ['-i', 'lo', '-f', `port ${gateway.sip}`, '-w', file, '-q']);
  const ready = await Promise.race([until('capturing', () => capture.err.some((l) => /Capturing on/.test(l)), 10).then(() => wait(1_000)).then(() => capture.running), capture.ended.then(() => false)]).catch(() => false);
  if (!ready) { t.skip(`no right to capture on lo: ${capture.err.at(-1) ?? ''}`); return; }

  await gateway.api.post('/phones', { user: '8001', password: 'phone-secret-01x', name: 'Phone' });
  await gateway.api.put(`/devices/${id('gb28181:34020000001320000092')}/password`, { password: 'digest-one' });
  const field = Field.open(stage, gateway, { cameras: [
    { id: '34020000001320000091', index: 1 }, { id: '34020000001320000092', index: 2, password: 'digest-one' }, { id: '34020000001320000093', index: 3, transport: 'tcp', media: 'tcp', edition: 2022 },
  ] });
  const ids = ['34020000001320000091', '34020000001320000092', '34020000001320000093'];
  const jobs = [];
  for (const camera of ids) {
    await gateway.device(`gb28181:${camera}`);
    jobs.push(await gateway.api.post('/recording/jobs', { stream: GB(camera) }));
    await gateway.live(GB(camera));
  }
  await gateway.api.post(`/channels/${id(GB(ids[0]))}/ptz`, { pan: 0.5, tilt: 0, zoom: 0 });
  await gateway.api.post(`/channels/${id(GB(ids[0]))}/key-frame`);
  const phone = await Baresip.open(stage, gateway, { user: '8001', password: 'phone-secret-01x', say: await tone(stage, 'says', 1000, { seconds: 30 }), answer: 'auto' });
  await phone.registered();
  await phone.dial('9000');
  await wait(1_000);
  await phone.digits(`${PIN}#`);
  const member = await until('the phone is in', async () => (await gateway.conference()).members.find((m) => m.state === 'connected'));
  const conference = await gateway.conference();
  await gateway.api.delete(`/conferences/${id(conference.id)}/members/${id(member.id)}`);
  await phone.next('CALL_CLOSED', 10);
  await gateway.api.post(`/conferences/${id(conference.id)}/members`, { dial: '8001' });
  await until('the called phone is in', async () => (await gateway.conference()).members.some((m) => m.state === 'connected'), 15);
  phone.hangup();
  for (const job of jobs) await gateway.api.delete(`/recording/jobs/${id(job.id)}`);
  await until('the cameras are let go', () => ids.every((i) => field.of('bye', i).length), 30);
  await wait(1_000);
  await capture.stop();

  const fields = ['frame.number', 'udp.srcport', 'tcp.srcport', 'sip.Method', 'sip.Status-Code', 'sip.CSeq.method', 'sip.Via', 'sip.Call-ID', 'sip.Content-Length', 'sip.Contact', '_ws.malformed', '_ws.expert.message', '_ws.expert.severity'];
  const decode = ['-d', `udp.port==${gateway.sip},sip`, '-d', `tcp.port==${gateway.sip},sip`];
  const { out } = await stage.run('tshark-read', 'tshark', ['-r', file, ...decode, '-Y', 'sip', '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=a', '-E', 'aggregator=~', ...fields.flatMap((f) => ['-e', f])]);
  const rows = out.trim().split('\n').map((line) => Object.fromEntries(line.split('|').map((v, n) => [fields[n], v])));
  const ours = rows.filter((r) => (r['udp.srcport'] || r['tcp.srcport']).split('~')[0] === String(gateway.sip));
  const methods = new Set(ours.map((r) => r['sip.Method']).filter(Boolean).flatMap((m) => m.split('~')));
  const answers = new Set(ours.map((r) => r['sip.Status-Code'] && `${r['sip.Status-Code'].split('~')[0]} ${r['sip.CSeq.method'].split('~')[0]}`).filter(Boolean));
  say(`${ours.length} of ${rows.length} packets are ours: ${[...methods].join(' ')}; answers ${[...answers].join(', ')}`);
  for (const method of ['INVITE', 'ACK', 'BYE', 'MESSAGE', 'SUBSCRIBE']) assert.ok(methods.has(method), `${method} was sent`);
  for (const answer of ['401 REGISTER', '200 REGISTER', '200 INVITE', '200 MESSAGE']) assert.ok(answers.has(answer), `${answer} was answered; there are ${[...answers]}`);
  // Severity: 2097152 chat, 4194304 note, 6291456 warning, 8388608 error.
  const bad = ours.filter((r) => r['_ws.malformed'] || r['_ws.expert.severity'].split('~').some((s) => Number(s) >= 6_291_456) && !/tcp/i.test(r['_ws.expert.message']));
  assert.deepEqual(bad.map((r) => `frame ${r['frame.number']}: ${r['sip.Method'] || r['sip.Status-Code']} ${r['_ws.expert.message']}`), [], 'nothing malformed');
  for (const r of ours) assert.ok(r['sip.Via'] && r['sip.Call-ID'], `frame ${r['frame.number']} has Via and Call-ID`);
  const rtp = await stage.run('tshark-sdp', 'tshark', ['-r', file, ...decode, '-Y', 'sdp && _ws.malformed', '-T', 'fields', '-e', 'frame.number']);
  assert.equal(rtp.out.trim(), '', 'no malformed SDP');
});
