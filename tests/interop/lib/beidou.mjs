// A BeiDou terminal on TCP, written from the public descriptions of its sentences and from nothing of ours. It shares no code with the
// gateway: its own sum, its own coding.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { freePorts } from './ports.mjs';

const sum = (bytes) => bytes.reduce((a, b) => a ^ b, 0).toString(16).toUpperCase().padStart(2, '0');
export const sentence = (body) => {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body, 'latin1');
  return Buffer.concat([Buffer.from('$'), bytes, Buffer.from(`*${sum(bytes)}\r\n`)]);
};

export class Beidou {
  /** `answer(order, n)` gives the verdict on the nth message: [good, reason, remaining seconds], or null for silence. */
  static async open(stage, { generation = 'bds3', answer = () => [true, 0, 0], delay = 200 } = {}) {
    const b = Object.assign(new Beidou(), { generation, answer, delay, orders: [], lines: [], bad: 0, sockets: new Set() });
    b.port = await freePorts();
    b.server = net.createServer((socket) => b.#serve(socket));
    await new Promise((done) => b.server.listen(b.port, '127.0.0.1', done));
    stage.defer(() => b.close());
    return b;
  }

  #serve(socket) {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket)).on('error', () => {});
    let rest = '';
    socket.setEncoding('latin1').on('data', (text) => {
      const parts = (rest + text).split('\r\n');
      rest = parts.pop();
      for (const line of parts) this.#line(line);
    });
  }

  #line(line) {
    const m = /^\$([^*]*)\*([0-9A-F]{2})$/.exec(line);
    if (!m || sum(Buffer.from(m[1], 'latin1')) !== m[2]) { this.bad += 1; return; }
    this.lines.push(m[1]);
    const f = m[1].split(',');
    if (f[0] === 'CCICA') this.say('BDICI,4238474,00000001,0000000,0,60,3,N,10');
    if (f[0] === 'CCRMO') this.say(this.generation === 'bds3' ? 'BDPWI,083010.00,1,1,45,40,0' : 'BDBSI,3,5,4,4,4,0,0,0,0,0,0,0');
    if (f[0] !== 'CCTCQ' && f[0] !== 'CCTXA') return;
    const hex = f[0] === 'CCTCQ' ? f[5] : f[4].replace(/^A4/, '');
    const order = { to: f[1], text: new TextDecoder('gb18030').decode(Buffer.from(hex, 'hex')), bytes: hex.length / 2, at: Date.now(), sentence: f[0] };
    this.orders.push(order);
    const verdict = this.answer(order, this.orders.length);
    if (!verdict) return;
    const [good, reason, remaining] = verdict;
    setTimeout(() => this.say(f[0] === 'CCTCQ' ? `BDFKI,083010,TCQ,${good ? 'Y' : 'N'},${reason},${remaining}` : `BDFKI,TXA,${good ? 'Y' : 'N'},${reason},0,${remaining}`), this.delay);
  }

  say(body) { for (const socket of this.sockets) socket.write(sentence(body)); }
  raw(bytes) { for (const socket of this.sockets) socket.write(bytes); }
  /** A message from the air, in hexadecimal digits of these bytes. */
  message(from, bytes, coding = '3') {
    const hex = Buffer.from(bytes).toString('hex').toUpperCase();
    this.say(this.generation === 'bds3' ? `BDTCI,${from},4238474,2,083010,${coding},0,${hex}` : `BDTXR,1,${from},2,0830,A4${hex}`);
  }
  cut() { for (const socket of this.sockets) socket.destroy(); }
  close() { this.cut(); this.server.close(); }

  /** The same terminal behind a serial line: a pseudo terminal whose other end is carried to the port. Gives its device. */
  async serial(stage) {
    const script = `
import os, pty, select, socket, sys
master, slave = pty.openpty()
print(os.ttyname(slave), flush=True)
line = socket.create_connection(("127.0.0.1", ${this.port}))
while True:
    ready, _, _ = select.select([master, line], [], [])
    if master in ready: line.sendall(os.read(master, 4096))
    if line in ready:
        data = line.recv(4096)
        if not data: break
        os.write(master, data)
`;
    const child = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    stage.defer(() => child.kill());
    return new Promise((done) => child.stdout.once('data', (d) => done(d.toString().trim())));
  }
}
