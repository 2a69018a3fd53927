// A capture of a camera's session, read by tshark: its signalling whole, its RTP with the right SSRC, nothing malformed, no secret.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const CAMERAS = [
  { id: '34020000001320000095', index: 1, password: 'digest-one', expires: 4 },
  { id: '34020000001320000096', index: 2, transport: 'tcp', media: 'tcp', edition: 2022, password: 'digest-two', expires: 4 },
];

test('tshark reads our capture: INVITE, 200, ACK, BYE and RTP of that session', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'capture');
  const gateway = await Gateway.open(stage, { more: { gb28181: { allow_without_password: false, expires_min: 2 }, 'gb28181.media': { grace: 1 }, capture: { megabytes: 2, total_megabytes: 4 } } });
  for (const c of CAMERAS) await gateway.api.put(`/devices/${id(`gb28181:${c.id}`)}/password`, { password: c.password });
  const field = Field.open(stage, gateway, { cameras: CAMERAS }, { keepalive: 1 });
  for (const c of CAMERAS) await gateway.device(`gb28181:${c.id}`);
  const operator = await gateway.account('duty', 'operator');
  const viewer = await gateway.account('guest', 'viewer');
  assert.equal((await viewer.refused('POST', `/streams/${id(GB(CAMERAS[0].id))}/capture`, {})).status, 403, 'a viewer may not');
  assert.equal((await operator.refused('POST', `/streams/${id('gb28181:1/2')}/capture`, {})).status, 404);

  for (const c of CAMERAS) {
    const stream = GB(c.id);
    const tcp = c.transport === 'tcp';
    const begun = await operator.post(`/streams/${id(stream)}/capture`, { seconds: 60 });
    assert.equal((await operator.refused('POST', `/streams/${id(stream)}/capture`, {})).code, 'too_many_captures', 'one of a stream at a time');
    const job = await operator.post('/recording/jobs', { stream });
    await gateway.live(stream);
    const { ssrc, target } = (await field.next('invite', c.id));
    await wait(4_000);
    await operator.delete(`/recording/jobs/${id(job.id)}`);
    await until('the camera is let go', () => field.of('bye', c.id).length, 15);
    await wait(300);
    await operator.post(`/captures/${id(begun.id)}/stop`);
    const done = await until('the capture is done', async () => { const x = await operator.get(`/captures/${id(begun.id)}`); return !x.running && x; }, 5);
    assert.ok(done.ended === 'stopped' && done.dropped === 0 && done.messages > 8 && done.packets > 50, JSON.stringify(done));
    const file = stage.file(`${c.transport ?? 'udp'}.pcapng`);
    writeFileSync(file, Buffer.from(await (await operator.raw('GET', `/api/v1/captures/${id(begun.id)}/file.pcapng`)).arrayBuffer()));

    const media = Number(target.split(':')[1]);
    const decode = ['-d', `udp.port==${gateway.sip},sip`, '-d', `tcp.port==${gateway.sip},sip`, '-d', `udp.port==${media},rtp`, ...(tcp ? ['-d', `tcp.port==${media},rtp`] : [])];
    const read = async (name, filter, fields) => (await stage.run(`tshark-${name}`, 'tshark', ['-r', file, ...decode, ...(filter ? ['-Y', filter] : []), '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=f', ...fields.flatMap((f) => ['-e', f])])).out
      .split('\n').filter(Boolean).map((l) => l.split('|'));
    const call = (await read('invite', 'sip.Method == "INVITE"', ['sip.Call-ID', 'sip.r-uri.user', 'frame.time_epoch']))[0];
    assert.equal(call[1], c.id);
    assert.ok(Math.abs(Number(call[2]) * 1000 - Date.parse(begun.started_at)) < 20_000, 'true times');
    const dialog = (await read('dialog', `sip.Call-ID == "${call[0]}"`, ['sip.Method', 'sip.Status-Code', 'sip.CSeq.method'])).map(([method, code, cseq]) => method || `${code} ${cseq}`);
    say(`${c.transport ?? 'udp'}: ${done.messages} messages, ${done.packets} packets, ${done.bytes} bytes; the call: ${[...new Set(dialog)].join(', ')}`);
    for (const what of ['INVITE', '200 INVITE', 'ACK', 'BYE', '200 BYE']) assert.ok(dialog.includes(what), `${what} is in it: ${dialog}`);
    const methods = new Set((await read('methods', 'sip', ['sip.Method'])).flat());
    assert.ok(methods.has('REGISTER') && methods.has('MESSAGE'), 'registrations and keepalives of the device too');

    const rtp = await read('rtp', 'rtp', ['rtp.ssrc', 'rtp.p_type', 'ip.dst', tcp ? 'tcp.dstport' : 'udp.dstport', 'rtp.seq']);
    assert.ok(rtp.length > 50, `${rtp.length} RTP packets`);
    assert.deepEqual([...new Set(rtp.map((r) => Number(r[0])))], [ssrc], 'the SSRC that was agreed');
    assert.deepEqual([...new Set(rtp.map((r) => `${r[1]} ${r[2]} ${r[3]}`))], [`96 127.0.0.1 ${media}`]);
    const gaps = rtp.slice(1).filter((r, n) => (Number(r[4]) - Number(rtp[n][4]) + 65536) % 65536 !== 1);
    assert.equal(gaps.length, 0, 'every packet is in it, in order');
    if (!tcp) assert.ok((await read('rtcp', `rtcp || udp.dstport == ${media + 1}`, ['frame.number'])).length >= 1, 'reports too');

    assert.deepEqual(await read('malformed', '_ws.malformed', ['frame.number', 'frame.protocols']), [], 'nothing malformed');
    assert.deepEqual(await read('checksums', 'ip.checksum.status == "Bad" || udp.checksum.status == "Bad"', ['frame.number']), []);
    const auth = (await read('auth', 'sip.Authorization', ['sip.auth.digest.response', 'sip.auth.username', 'frame.comment']));
    assert.ok(auth.length > 0, 'a registration with credentials is in it');
    for (const [response, user, comment] of auth) {
      assert.match(response, /^"?x+"?$/, 'the digest response is masked');
      assert.match(`${user} ${comment}`, /340200.*masked/);
    }
  }
  // Rights, audit, and the end of files.
  const all = (await operator.get('/captures')).items;
  assert.equal(all.length, CAMERAS.length);
  assert.equal((await operator.refused('DELETE', `/captures/${id(all[0].id)}`)).status, 403, 'an operator may not delete');
  await gateway.api.delete(`/captures/${id(all[0].id)}`);
  assert.equal((await operator.refused('GET', `/captures/${id(all[0].id)}/file.pcapng`)).status, 404);
  assert.equal((await operator.refused('GET', `/captures/${id('../skybridge')}/file.pcapng`)).status, 404);
  const verbs = (await gateway.api.get('/audit?limit=200')).items.map((a) => a.verb);
  for (const verb of ['start_capture', 'stop_capture', 'download_capture', 'delete_capture']) assert.ok(verbs.includes(verb), `${verb} is in the audit`);
  // A capture ends by itself: by its time.
  const short = await operator.post(`/streams/${id(GB(CAMERAS[0].id))}/capture`, { seconds: 1 });
  const over = await until('it ends by time', async () => { const x = await operator.get(`/captures/${id(short.id)}`); return !x.running && x; }, 5);
  assert.equal(over.ended, 'time');
});
