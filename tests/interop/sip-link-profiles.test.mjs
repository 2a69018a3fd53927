// Timers and transport by configuration: a phone that the hall knows to be behind a satellite, and one that is not. The phones are
// raw sockets, so that each datagram and connection is seen as it comes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import { test } from 'node:test';
import { Gateway, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { say, Stage, until } from './lib/stage.mjs';

const md5 = (text) => createHash('md5').update(text).digest('hex');
const header = (text, name) => text.match(new RegExp(`^${name}: *(.*?)\\r?$`, 'im'))?.[1] ?? '';

/** A phone of one UDP socket, and a TCP listener on the same port if wanted. Notes what comes: {at, over, text}. */
class RawPhone {
  static async open(stage, gateway, { user, password, tcp }) {
    const phone = new RawPhone();
    Object.assign(phone, { user, password, gateway, port: await freePorts(), got: [], number: 0 });
    phone.socket = dgram.createSocket('udp4');
    stage.defer(() => phone.socket.close());
    phone.socket.on('message', (data) => phone.take('udp', data.toString(), (answer) => phone.socket.send(answer, gateway.sip, '127.0.0.1')));
    await new Promise((done) => phone.socket.bind(phone.port, '127.0.0.1', done));
    if (tcp) {
      const server = net.createServer((connection) => {
        stage.defer(() => connection.destroy());
        let rest = '';
        connection.on('error', () => {});
        connection.on('data', (data) => {
          rest += data;
          for (let m; (m = rest.match(/^[^]*?\r\n\r\n/)) && rest.length >= m[0].length + Number(header(m[0], 'Content-Length'));) {
            const length = m[0].length + Number(header(m[0], 'Content-Length'));
            phone.take('tcp', rest.slice(0, length), (answer) => connection.write(answer));
            rest = rest.slice(length);
          }
        });
      });
      stage.defer(() => server.close());
      await new Promise((done) => server.listen(phone.port, '127.0.0.1', done));
    }
    await phone.register();
    return phone;
  }

  take(over, text, reply) {
    this.got.push({ at: performance.now(), over, text, reply });
  }

  async answer(test) { return until(`${this.user} gets ${test}`, () => this.got.find((g) => test.test(g.text)), 5, 5); }

  async register() {
    const uri = `sip:127.0.0.1:${this.gateway.sip}`;
    const send = (authorization = '') => {
      this.number += 1;
      this.socket.send(`REGISTER ${uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:${this.port};rport;branch=z9hG4bKr${this.user}${this.number}\r\nFrom: <sip:${this.user}@hall>;tag=r\r\nTo: <sip:${this.user}@hall>\r\nCall-ID: r${this.user}\r\nCSeq: ${this.number} REGISTER\r\nContact: <sip:${this.user}@127.0.0.1:${this.port}>\r\nMax-Forwards: 70\r\nExpires: 300\r\n${authorization}Content-Length: 0\r\n\r\n`, this.gateway.sip, '127.0.0.1');
    };
    send();
    const challenge = header((await this.answer(/^SIP\/2\.0 401/)).text, 'WWW-Authenticate');
    const part = (name) => challenge.match(new RegExp(`${name}="?([^",]+)`))[1];
    const [realm, nonce] = [part('realm'), part('nonce')];
    const response = md5(`${md5(`${this.user}:${realm}:${this.password}`)}:${nonce}:00000001:c:auth:${md5(`REGISTER:${uri}`)}`);
    send(`Authorization: Digest username="${this.user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"\r\n`);
    await this.answer(/^SIP\/2\.0 200/);
  }

  invites() { return this.got.filter((g) => g.text.startsWith('INVITE ')); }

  /** Refuses a call for good: 486, whichever way it came. */
  refuse({ text, reply }) {
    const lines = ['Via', 'From', 'Call-ID', 'CSeq'].map((name) => `${name}: ${header(text, name)}\r\n`).join('');
    reply(`SIP/2.0 486 Busy Here\r\n${lines}To: ${header(text, 'To')};tag=busy\r\nContent-Length: 0\r\n\r\n`);
  }
}

test('an account behind a satellite has its timers and its MTU, another one has not', { timeout: 90_000 }, async (t) => {
  const stage = Stage.open(t, 'sip-link-profiles');
  // Sound alone: an offer with a picture is larger than both MTUs.
  const gateway = await Gateway.open(stage, { more: { phone: { video_kbps: 0 }, 'sip.satellite': { accounts: ['8001', '8002'], t1_ms: 1000, mtu: 576 } } });
  const phones = [];
  for (const [user, tcp] of [['8001', true], ['8002', false], ['8003', true]]) {
    const account = { user, password: `phone-secret-${phones.length}-x`, name: user };
    await gateway.api.post('/phones', account);
    phones.push(await RawPhone.open(stage, gateway, { ...account, tcp }));
  }
  const members = `/conferences/${id((await gateway.conference()).id)}/members`;
  for (const phone of phones) await gateway.api.post(members, { dial: phone.user });
  await until('8002 and 8003 are asked three times', () => phones.slice(1).every((phone) => phone.invites().length >= 3), 20);
  const [viaTcp, slow, usual] = phones.map((phone) => phone.invites());
  const size = viaTcp[0].text.length;
  say(`the INVITE has ${size} bytes; 8001 over ${viaTcp.map((i) => i.over)}, 8002 over ${slow.map((i) => i.over)}, 8003 over ${usual.map((i) => i.over)}`);
  assert.ok(size > 576 && size < 1300, `${size} bytes are between the two MTUs`);

  // Known to be far, takes TCP: one INVITE there, none by UDP, no repeat.
  assert.deepEqual(viaTcp.map((i) => i.over), ['tcp']);
  assert.match(header(viaTcp[0].text, 'Via'), /^SIP\/2\.0\/TCP /);
  // Known to be far, refuses TCP: UDP, repeated after T1 = 1 s and 3 s.
  const times = (list) => list.map((i) => Math.round((i.at - list[0].at) / 100) / 10);
  say(`8002 after ${times(slow)} s, 8003 after ${times(usual)} s`);
  assert.ok(slow.every((i) => i.over === 'udp' && /^SIP\/2\.0\/UDP /.test(header(i.text, 'Via'))));
  const [, slowSecond, slowThird] = times(slow), [, usualSecond, usualThird] = times(usual);
  const near = (seen, wanted) => Math.abs(seen - wanted) <= 0.3;
  assert.ok(near(slowSecond, 1) && near(slowThird, 3), `${slowSecond}, ${slowThird} s`);
  assert.equal(slow.length, 3);
  // Not known to be far: UDP although it would take TCP, repeated after 0.5, 1.5, 3.5 s.
  assert.ok(usual.every((i) => i.over === 'udp'));
  assert.ok(near(usualSecond, 0.5) && near(usualThird, 1.5), `${usualSecond}, ${usualThird} s`);
  for (const phone of phones) phone.refuse(phone.invites().at(-1));
  for (const phone of phones) await until(`${phone.user} gets its ACK`, () => phone.got.some((g) => g.text.startsWith('ACK ')), 5);
  assert.equal(phones[0].got.find((g) => g.text.startsWith('ACK ')).over, 'tcp', 'the ACK follows its INVITE');
});
