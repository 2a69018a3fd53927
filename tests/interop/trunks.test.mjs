// Trunks to another network that is not ours: Kamailio as registrar with digest, as outbound proxy with Record-Route, as TLS peer;
// two static trunks of which one dies; servers by DNS SRV; headers as a telephone network wants them; and nothing goes out unruled.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { nameServer } from './lib/dns.mjs';
import { Gateway, id, PIN } from './lib/gateway.mjs';
import { Kamailio } from './lib/kamailio.mjs';
import { freePorts } from './lib/ports.mjs';
import { readWav, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const HALL_TONE = 440, OUTSIDE_TONE = 1000;
const SECRET = 'carrier-secret-1';

/** A certificate for an address, and the authority behind it. */
async function certificate(stage, host) {
  const [ca, caKey, key, request, cert, ext] = ['ca.pem', 'ca.key', 'kam.key', 'kam.csr', 'kam.pem', 'kam.ext'].map((f) => stage.file(f));
  writeFileSync(ext, `subjectAltName=IP:${host}\nbasicConstraints=CA:FALSE\n`);
  await stage.run('openssl-ca', 'openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', '/CN=test authority', '-keyout', caKey, '-out', ca]);
  await stage.run('openssl-csr', 'openssl', ['req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=carrier', '-keyout', key, '-out', request]);
  await stage.run('openssl-sign', 'openssl', ['x509', '-req', '-in', request, '-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '30', '-extfile', ext, '-out', cert]);
  return { ca, key, certificate: cert };
}

/** SIPp as a carrier's switch that answers every call. */
async function switchboard(stage, name, host) {
  const port = await freePorts();
  const messages = stage.file(`${name}-messages.log`);
  const start = () => stage.start(name, 'sipp', ['-sn', 'uas', '-i', host, '-p', String(port), '-mi', host, '-mp', String(6000 + (port % 100) * 4), '-nostdin', '-trace_msg', '-message_file', messages]);
  return { port, host, process: start(), messages: () => readFileSync(messages, 'utf8') };
}

/** A call of a phone to a number and back to silence; what `meanwhile` gives. */
async function during(phone, number, meanwhile) {
  await phone.dial(number);
  try { return await meanwhile(); } finally {
    const at = Date.now();
    phone.hangup();
    await phone.next('CALL_CLOSED', 10, at);
  }
}

const recordOf = (gateway, number, at) => until(`a record of ${number}`, async () => {
  const { items } = await gateway.api.get(`/calls?number=${encodeURIComponent(number)}`);
  return items.find((c) => Date.parse(c.began_at) >= at - 1000);
}, 10);

test('calls to and from other networks', { timeout: 150_000 }, async (t) => {
  const stage = Stage.open(t, 'trunks');
  const tls = await certificate(stage, '127.0.0.2');
  const kamailio = await Kamailio.open(stage, { password: SECRET, numbers: { '0755600': 'trunk1', '0755601': 'trunk1', '0755602': 'trunk1' }, tls, domains: ['ims.test'] });
  const one = await switchboard(stage, 'switch-one', '127.0.0.3');
  const two = await switchboard(stage, 'switch-two', '127.0.0.4');
  const dns = await nameServer(stage, {
    '_sip._udp.named.test': { SRV: [{ priority: 10, port: one.port, target: 'a.named.test' }, { priority: 20, port: two.port, target: 'b.named.test' }] },
    'a.named.test': { A: ['127.0.0.5'] },
    'b.named.test': { A: ['127.0.0.4'] },
  });
  const quiet = { options_interval: 0, invite_timeout: 2 };
  const carrier = { user: 'trunk1', password: 'env:CARRIER_PASSWORD', main_number: '0755600', options_interval: 5, invite_timeout: 3 };
  const server = `127.0.0.2:${kamailio.port}`;
  const tlsPort = await freePorts();
  const gateway = await Gateway.open(stage, {
    env: { CARRIER_PASSWORD: SECRET },
    more: {
      sip: { name_servers: [`127.0.0.1:${dns.port}`], tls: [`127.0.0.1:${tlsPort}`], tls_roots: tls.ca },
      phone: {
        trunk: [
          { ...carrier, name: 'carrier', servers: [server], domain: 'carrier.test', register: true, expires: 60,
            did: [{ number: '0755600', to: '9000' }, { number: '0755601', to: '8001' }] },
          { ...carrier, name: 'proxy', servers: ['ims.test'], domain: 'ims.test', outbound_proxy: server },
          { ...carrier, name: 'secure', servers: [`127.0.0.2:${kamailio.tlsPort}`], domain: 'carrier.test', transport: 'tls' },
          { ...quiet, name: 'one', servers: [`127.0.0.3:${one.port}`], main_number: '1' },
          { ...quiet, name: 'two', servers: [`127.0.0.4:${two.port}`], domain: 'ims.example', main_number: '+867550000', number_form: 'tel', shown: 'account',
            account_numbers: { 8001: '+867558001' } },
          { ...quiet, name: 'named', servers: ['named.test'] },
        ],
        route: [
          { prefix: '9', strip: 1, trunks: ['carrier'] }, { prefix: '7', strip: 1, trunks: ['proxy'] }, { prefix: '5', strip: 1, trunks: ['secure'] },
          { prefix: '6', strip: 1, add: '+86', trunks: ['one', 'two'] }, { prefix: '4', strip: 1, trunks: ['named'] },
        ],
        groups: { duty: ['8001'] },
        toll: [{ groups: ['duty'], to: [''] }, { conferences: ['9000'], to: ['9'] }, { accounts: ['8002'], to: ['6'] }],
      },
    },
  });
  const accounts = [['8001', 'phone-secret-01'], ['8002', 'phone-secret-02']];
  for (const [user, password] of accounts) await gateway.api.post('/phones', { user, password, name: `Desk ${user}` });
  const hallSays = await tone(stage, 'hall-says', HALL_TONE, { seconds: 120 });
  const outsideSays = await tone(stage, 'outside-says', OUTSIDE_TONE, { seconds: 120 });
  const hall = await Baresip.open(stage, gateway, { user: '8001', password: accounts[0][1], say: hallSays, answer: 'auto' });
  const other = await Baresip.open(stage, gateway, { user: '8002', password: accounts[1][1], say: hallSays, answer: 'auto' });
  const outside = await Baresip.open(stage, { sip: kamailio.port }, { user: '1001', password: SECRET, say: outsideSays, answer: 'auto', host: '127.0.0.2' });
  await Promise.all([hall.registered(), other.registered(), outside.registered()]);

  const trunk = async (name) => (await gateway.api.get('/trunks')).items.find((i) => i.name === name);
  const stands = (name, state, seconds = 15) => until(`trunk ${name} is ${state}`, async () => { const got = await trunk(name); return got.state === state && got; }, seconds);
  const hears = async (phone, hertz, said) => until(`${phone.user} hears ${hertz} Hz`, () => {
    const heard = phone.heard();
    return heard.samples.length > heard.rate && toneLevel(heard, hertz) > toneLevel(readWav(said), hertz) / 4;
  }, 12);
  const bothHear = async () => { await hears(hall, OUTSIDE_TONE, outsideSays); await hears(outside, HALL_TONE, hallSays); };

  await t.test('a trunk registers by digest and says so', async () => {
    const stood = await stands('carrier', 'up');
    assert.ok(stood.registered && stood.zh === '已注册', JSON.stringify(stood));
    assert.ok(kamailio.saw(/REGISTER .*auth=trunk1/).length, 'with credentials');
    assert.ok(!JSON.stringify(await gateway.api.get('/trunks')).includes(SECRET));
    const answered = await until('OPTIONS is answered', async () => { const got = await trunk('carrier'); return got.rtt_ms !== null && got; }, 10);
    say(`registered at ${answered.server}, OPTIONS in ${answered.rtt_ms} ms`);
  });

  for (const [name, prefix] of [['carrier', '9'], ['proxy', '7'], ['secure', '5']]) {
    await t.test(`out by ${name}: both hear each other`, async () => {
      await stands(name, 'up');
      const at = Date.now();
      await during(hall, `${prefix}1001`, bothHear);
      const record = await recordOf(gateway, `${prefix}1001`, at);
      assert.ok(record.legs.some((l) => l.trunk === name && l.packets >= 40), JSON.stringify(record.legs));
      if (name === 'proxy') assert.ok(kamailio.saw(/INVITE sip:1001@ims\.test.* route=<sip:127\.0\.0\.2/).length, 'by the preloaded route');
      if (name === 'secure') assert.ok(kamailio.saw(/INVITE .* via tls/i).length, 'over TLS');
    });
  }

  await t.test('in by the registered trunk: a number of the map rings a phone, another one asks for the PIN, a third is unknown', async () => {
    const at = Date.now();
    await during(outside, '0755601', bothHear);
    const record = await recordOf(gateway, '8001', at);
    assert.equal(record.caller, '1001');
    assert.ok(record.legs.some((l) => l.trunk === 'carrier'), JSON.stringify(record.legs));
    const dialled = Date.now();
    outside.order('dial', `sip:0755602@127.0.0.2:${kamailio.port}`);
    assert.match((await outside.next('CALL_CLOSED', 10, dialled)).param, /404/);
    await during(outside, '0755600', async () => {
      await wait(700);
      await outside.digits(`${PIN}#`);
      await until('the outside caller is in the conference', async () => {
        const conference = await gateway.conference();
        return (await gateway.api.get(`/conferences/${id(conference.id)}`)).members?.some((m) => JSON.stringify(m).includes('1001'));
      }, 10);
    });
  });

  await t.test('the hall calls out of a conference', async () => {
    const conference = await gateway.conference();
    const at = Date.now();
    await gateway.api.post(`/conferences/${id(conference.id)}/members`, { dial: '91001' });
    await outside.next('CALL_ESTABLISHED', 10, at);
    outside.hangup();
    const record = await recordOf(gateway, '91001', at);
    assert.equal(record.direction, 'out');
    assert.ok(record.legs.some((l) => l.trunk === 'carrier'), JSON.stringify(record));
  });

  await t.test('without a rule nothing goes out', async () => {
    for (const [number, code] of [['91001', '403'], ['3333', '404']]) {
      const at = Date.now();
      other.order('dial', `sip:${number}@127.0.0.1:${gateway.sip}`);
      const closed = await other.next('CALL_CLOSED', 10, at);
      assert.match(closed.param, new RegExp(code), JSON.stringify(closed));
    }
  });

  await t.test('the first of two static trunks dies: the second carries the next call, with tel: and the account\'s own number', async () => {
    let at = Date.now();
    await during(hall, '6755', () => wait(500));
    assert.ok((await recordOf(gateway, '6755', at)).legs.some((l) => l.trunk === 'one'));
    assert.match(one.messages(), /INVITE sip:\+86755@127\.0\.0\.3;user=phone/);
    await one.process.kill();
    await wait(1100);
    at = Date.now();
    const before = Date.now();
    await during(hall, '6755', async () => { say(`the second trunk answered after ${Date.now() - before} ms`); await wait(500); });
    const record = await recordOf(gateway, '6755', at);
    assert.ok(record.legs.some((l) => l.trunk === 'two'), JSON.stringify(record.legs));
    const invite = two.messages().match(/INVITE tel:\+86755 SIP[^]*?\r?\n\r?\n/)?.[0] ?? '';
    assert.match(invite, /^From: .*<tel:\+867558001>/im);
    assert.match(invite, /^P-Asserted-Identity: .*<tel:\+867558001>/im);
    assert.doesNotMatch(invite, /Remote-Party-ID|Privacy/i);
  });

  await t.test('a caller who hides is hidden', async () => {
    const scenario = stage.file('hidden.xml');
    const port = await freePorts();
    const request = (cseq, auth) => `INVITE sip:6755@127.0.0.1:${gateway.sip} SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nFrom: "Desk" <sip:8002@127.0.0.1>;tag=[call_number]h\nTo: <sip:6755@127.0.0.1>\nCall-ID: [call_id]\nCSeq: ${cseq} INVITE\nContact: <sip:8002@[local_ip]:[local_port]>\nPrivacy: id\nMax-Forwards: 70\n${auth}Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=- 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n`;
    const ack = (cseq, uri, extra = '') => `ACK ${uri} SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nFrom: "Desk" <sip:8002@127.0.0.1>;tag=[call_number]h\nTo: [$1]\nCall-ID: [call_id]\nCSeq: ${cseq} ACK\nMax-Forwards: 70\n${extra}Content-Length: 0\n\n`;
    const to = '<action><ereg regexp="<[^\\r]*" search_in="hdr" header="To:" assign_to="1"/></action>';
    writeFileSync(scenario, `<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="hidden">
<send retrans="500"><![CDATA[\n${request(1, '')}]]></send>
<recv response="100" optional="true"/><recv response="401" auth="true">${to.replaceAll('<[', '&lt;[')}</recv>
<send><![CDATA[\n${ack(1, `sip:6755@127.0.0.1:${gateway.sip}`)}]]></send>
<send retrans="500"><![CDATA[\n${request(2, '[authentication username=8002 password=phone-secret-02]\n')}]]></send>
<recv response="100" optional="true"/><recv response="180" optional="true"/><recv response="183" optional="true"/><recv response="181" optional="true"/><recv response="200" rrs="true">${to.replaceAll('<[', '&lt;[')}</recv>
<send><![CDATA[\n${ack(2, '[next_url]', '[routes]\n')}]]></send>
<pause milliseconds="300"/>
<send retrans="500"><![CDATA[\n${ack(3, '[next_url]', '[routes]\n').replace('ACK [next_url]', 'BYE [next_url]').replace('3 ACK', '3 BYE')}]]></send>
<recv response="200"/>
</scenario>\n`);
    const before = two.messages().length;
    await stage.run('sipp-hidden', 'sipp', ['-sf', scenario, `127.0.0.1:${gateway.sip}`, '-i', '127.0.0.1', '-p', String(port), '-m', '1', '-nostdin', '-timeout', '15', '-trace_err', '-error_file', stage.file('hidden-errors.log')], { cwd: stage.folder });
    const invite = two.messages().slice(before).match(/INVITE tel:[^]*?\r?\n\r?\n/)?.[0] ?? '';
    assert.match(invite, /^From: "?Anonymous"? <sip:anonymous@anonymous\.invalid>/im, invite);
    assert.match(invite, /^Privacy: id/im);
    assert.doesNotMatch(invite, /P-Asserted-Identity|8002|\+867550000/i);
  });

  await t.test('servers by DNS SRV: the silent first one is passed over', async () => {
    const got = await trunk('named');
    assert.deepEqual(got.servers.map((s) => s.address), [`127.0.0.5:${one.port}`, `127.0.0.4:${two.port}`]);
    assert.ok(dns.asked.includes('SRV _sip._udp.named.test'), dns.asked.join(' '));
    const at = Date.now();
    await during(hall, '4123', () => wait(300));
    assert.ok((await recordOf(gateway, '4123', at)).legs.some((l) => l.trunk === 'named'));
    assert.match(two.messages(), /INVITE sip:123@named\.test/);
  });

  await t.test('a trunk that goes is told, and tells when it is back', async () => {
    const down = async () => (await gateway.api.get('/notices')).items.find((n) => n.object === 'secure' && n.severity === 'alarm');
    await kamailio.process.kill('SIGTERM');
    const went = await stands('secure', 'down', 25);
    assert.ok(went.last_error && went.zh, JSON.stringify(went));
    say(`down in words: ${went.zh} / ${went.en}; ${(await until('the alarm', down, 5)).zh}`);
    const at = Date.now();
    hall.order('dial', `sip:51001@127.0.0.1:${gateway.sip}`);
    const closed = await hall.next('CALL_CLOSED', 10, at);
    assert.match(closed.param, /503|Service/, JSON.stringify(closed));
    await kamailio.start();
    await stands('secure', 'up', 25);
    await until('the notice of its return', async () => (await gateway.api.get('/notices')).items.find((n) => n.object === 'secure' && n.severity === 'info'), 5);
  });
});
