// Free ports on 127.0.0.1, below the kernel's ephemeral range so that nobody else is given them meanwhile.
import dgram from 'node:dgram';
import net from 'node:net';

// Single ports lie apart from long rows: scattered among them they would leave no room for a row after a few gateways. Each of the
// lanes of run.mjs has its part of both.
const LANES = Math.max(1, Math.min(4, Number(process.env.LANES ?? 2) || 1)), LANE = Number(process.env.LANE ?? 0) % LANES;
const part = (low, high) => { const size = 2 * Math.floor((high - low) / LANES / 2); return [low + LANE * size, low + (LANE + 1) * size]; };
const [ROWS, ROWS_END] = part(20_000, 28_400), [SINGLES, HIGH] = part(28_400, 31_500), ROW = 100;

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
      ? ROWS + count * Math.floor(Math.random() * Math.floor((ROWS_END - ROWS) / count))
      : SINGLES + 2 * Math.floor(Math.random() * Math.floor((HIGH - SINGLES - count) / 2));
    const all = Array.from({ length: count }, (_, n) => port + n);
    if (all.some((p) => given.has(p))) continue;
    if (!(await tcpFree(port)) || !(await udpFree(port))) continue;
    for (const p of all) given.add(p);
    return port;
  }
  throw new Error('no free port');
}
