// A name server for a test: A and SRV records of a table, over UDP. RFC 1035, RFC 2782.
import dgram from 'node:dgram';
import { freePorts } from './ports.mjs';

const name = (text) => Buffer.concat([...text.split('.').filter(Boolean).map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)])), Buffer.from([0])]);
const u16 = (n) => Buffer.from([n >> 8, n & 255]);

function data(type, value) {
  if (type === 1) return Buffer.from(value.split('.').map(Number));
  return Buffer.concat([u16(value.priority), u16(value.weight ?? 0), u16(value.port), name(value.target)]);
}

/** `zone`: {'name': {A: [..], SRV: [..]}}. Counts what was asked. */
export async function nameServer(stage, zone, { ttl = 60 } = {}) {
  const port = await freePorts();
  const asked = [];
  const socket = dgram.createSocket('udp4');
  socket.on('message', (query, from) => {
    let at = 12;
    const labels = [];
    while (query[at]) { labels.push(query.subarray(at + 1, at + 1 + query[at]).toString()); at += query[at] + 1; }
    const question = query.subarray(12, at + 5);
    const type = query.readUInt16BE(at + 1);
    const asks = labels.join('.').toLowerCase();
    const kind = { 1: 'A', 33: 'SRV', 35: 'NAPTR', 28: 'AAAA' }[type] ?? String(type);
    asked.push(`${kind} ${asks}`);
    const known = zone[asks];
    const records = (kind === 'A' || kind === 'SRV') ? known?.[kind] ?? [] : [];
    const answers = records.map((r) => { const d = data(type, r); return Buffer.concat([u16(0xc00c), u16(type), u16(1), Buffer.from([0, 0, ttl >> 8, ttl & 255]), u16(d.length), d]); });
    // Flags: an answer, authoritative; 3 is "no such name".
    const head = Buffer.concat([query.subarray(0, 2), u16(0x8580 | (known ? 0 : 3)), u16(1), u16(answers.length), u16(0), u16(0)]);
    socket.send(Buffer.concat([head, question, ...answers]), from.port, from.address);
  });
  await new Promise((done) => socket.bind(port, '127.0.0.1', done));
  stage.defer(() => socket.close());
  return { port, asked };
}
