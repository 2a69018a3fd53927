// Free ports on 127.0.0.1, below the kernel's ephemeral range so that nobody else is given them meanwhile.
import dgram from 'node:dgram';
import net from 'node:net';

const LOW = 20_000, HIGH = 31_500;
// Single ports lie apart from long rows: scattered among them they would leave no room for a row after a few gateways.
const ROWS_END = 28_400, ROW = 100;

const tcpFree = (port) => new Promise((done) => {
  const server = net.createServer();
  server.once('error', () => done(false));
  server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
});
const udpFree = (port) => new Promise((done) => {
  const socket = dgram.createSocket('udp4');
  socket.once('error', () => { socket.close(); done(false); });
  socket.bind(port, '127.0.0.1', () => socket.close(() => done(true)));
});

const given = new Set();
/** The first of `count` ports in a row whose first is free for UDP and TCP. */
export async function freePorts(count = 1) {
  for (let tries = 0; tries < 200; tries++) {
    const port = count >= ROW
      ? LOW + count * Math.floor(Math.random() * ((ROWS_END - LOW) / count))
      : ROWS_END + 2 * Math.floor(Math.random() * ((HIGH - ROWS_END - count) / 2));
    const all = Array.from({ length: count }, (_, n) => port + n);
    if (all.some((p) => given.has(p))) continue;
    if (!(await tcpFree(port)) || !(await udpFree(port))) continue;
    for (const p of all) given.add(p);
    return port;
  }
  throw new Error('no free port');
}
