// A gateway made of paper: the API of docs/ref/api.md with made-up things, for screenshots and for work on the console alone.
// Node only. WHEP and WHIP are answered 503 (dev/loopback.js gives pictures inside the page for the screenshots).
// Never part of the build. `node dev/mock.mjs [port]`; also serves dist/.
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import * as d from './data.mjs';

const port = Number(process.argv[2] ?? process.env.PORT ?? 8099);
const dist = new URL('../dist/', import.meta.url).pathname;
const sessions = new Map();
const passwords = new Map([['admin', 'admin'], ['zhang', 'zhang-password'], ['first', 'first']]);
const must = new Set(['first']);
const started = Date.now();
const sockets = new Set();
let seq = 0;
let past = [];

// ---- WebSocket, text frames out, close and ping in
const frame = (s) => { const b = Buffer.from(s); const h = b.length < 126 ? Buffer.from([0x81, b.length]) : b.length < 65536 ? Buffer.from([0x81, 126, b.length >> 8, b.length & 255]) : (() => { const x = Buffer.alloc(10); x[0] = 0x81; x[1] = 127; x.writeBigUInt64BE(BigInt(b.length), 2); return x; })(); return Buffer.concat([h, b]); };
const emit = (type, body) => { const s = frame(JSON.stringify({ type, at: new Date().toISOString(), seq: ++seq, ...body })); for (const c of sockets) c.write(s); };
const notice = (severity, zh, en, object = null) => emit('notice', { severity, zh, en, object });

const system = () => ({ version: '0.1.0-mock', started_at: new Date(started - 2.2e8).toISOString(), uptime_s: 220_000, cpu_percent: 31 + Math.random() * 6, memory_bytes: 812e6, disk_free_bytes: 1.62e12, disk_total_bytes: 4e12, devices_online: d.devices.filter((x) => x.online).length, devices_total: d.devices.length, streams_live: [...d.streams.values()].filter((s) => s.state === 'live').length, viewers: 14, calls: 4, recordings_running: d.jobs.size });
const fail = (status, code, whose, zh, en, retry = false) => ({ status, body: { error: { code, whose, retry, zh, en, where: 'mock' } } });
const nameOf = (stream) => d.allChannels().find((c) => c.stream === stream)?.name ?? stream;
const wallChanged = (w, by) => { w.by = by; w.can_undo = past.length > 0; emit('wall', { wall: w }); return { status: 200, body: w }; };
const setSource = (w, n, source) => {
  const t = w.tiles[n]; t.source = source; t.source_name = source && nameOf(source); t.since = new Date().toISOString();
  setTimeout(() => { t.live = source; emit('wall', { wall: w }); }, 150);
  if (source && !d.streams.has(source)) { const s = { id: source, name: nameOf(source), state: 'live', viewers: 1, tracks: [{ id: 'v', codec: 'H264', width: 1280, height: 720, clock_rate: 90000 }], bit_rate_bps: 2e6, frame_rate: 25, key_interval_s: 2, since: new Date().toISOString(), fault: null }; d.streams.set(source, s); emit('stream', { stream: s }); }
};
const page = (list, q) => { const o = Number(q.get('offset') ?? 0), l = Number(q.get('limit') ?? 200); return { status: 200, body: { total: list.length, items: list.slice(o, o + l) } }; };
const items = (list) => ({ status: 200, body: { items: [...list] } });
const ok = (body = {}) => ({ status: 200, body });
const none = { status: 204 };

function route(method, p, q, body, who) {
  const [a, b, c, e, f] = p;
  const m = method;
  if (a === 'devices') {
    if (!b) { const s = (q.get('query') ?? '').toLowerCase(); return page(s ? d.devices.filter((x) => x.name.toLowerCase().includes(s) || x.id.includes(s) || x.channels.some((k) => k.name.toLowerCase().includes(s))) : d.devices, q); }
    const x = d.devices.find((y) => y.id === b);
    if (!x) return fail(404, 'no_such_device', 'you', '没有这台设备。', 'There is no such device.');
    if (m === 'DELETE') { d.devices.splice(d.devices.indexOf(x), 1); emit('device_removed', { id: b }); return none; }
    if (c === 'facts') return items([]);
    return c ? { status: 202, body: {} } : ok(x);
  }
  if (a === 'channels') return none;
  if (a === 'streams') return !b ? items(d.streams.values()) : c === 'trace' ? ok(d.traceOf(b)) : d.streams.has(b) ? ok(d.streams.get(b)) : fail(404, 'no_such_stream', 'you', '没有这一路流。', 'There is no such stream.');
  if (a === 'whep' || a === 'whip') return fail(503, 'media_unavailable', 'us', '媒体服务没有启动', 'The media service is not running', true);
  if (a === 'legs') return none;
  if (a === 'walls') {
    if (!b) return items(d.walls.values());
    const w = d.walls.get(b);
    if (!w) return fail(404, 'no_such_wall', 'you', '没有这面墙。', 'There is no such wall.');
    if (m === 'GET') return ok(w);
    if (c === 'undo') { const s = past.pop(); if (s) { w.layout = s.layout; s.tiles.forEach((x, i) => setSource(w, i, x)); } return wallChanged(w, who.name); }
    past.push({ layout: w.layout, tiles: w.tiles.map((t) => t.source) });
    if (c === 'tiles') setSource(w, Number(e), body.source); else { w.layout = body.layout; body.tiles.forEach((x, i) => { if (w.tiles[i].source !== x) setSource(w, i, x); }); }
    notice('info', `${who.name} 切换了 ${w.name}`, `${who.name} switched ${w.name}`);
    return wallChanged(w, who.name);
  }
  if (a === 'conferences') {
    if (!b) { if (m === 'GET') return items(d.conferences.values()); const id = `c${d.conferences.size + 1}`; const x = { id, number: body.number ?? null, name: body.name, locked: false, pin_set: !!body.pin, picture: { program: `program:conference/${id}`, source: null, live: null }, mix: `mix:${id}`, stream: `conference:${id}`, recording: null, started_at: new Date().toISOString(), members: [] }; d.conferences.set(id, x); emit('conference', { conference: x }); return { status: 201, body: x }; }
    const x = d.conferences.get(b);
    if (!x) return fail(404, 'no_such_conference', 'you', '没有这个会商。', 'There is no such conference.');
    if (!c) { if (m === 'PATCH') { Object.assign(x, body); emit('conference', { conference: x }); } if (m === 'DELETE') { d.conferences.delete(b); emit('conference_ended', { id: b }); return none; } return ok(x); }
    if (c === 'picture') { x.picture.source = body.source; x.picture.live = body.source; emit('conference', { conference: x }); return ok(x); }
    if (!e) { const y = { id: `m${Date.now() % 1e6}`, kind: body.channel ? 'channel' : 'phone', name: body.channel ? nameOf(body.channel) : body.dial, state: body.channel ? 'connected' : 'calling', muted: false, muted_by: null, volume_db: 0, talking: false, level_dbov: -127, stream: body.channel ?? null, has_video: !!body.channel, codec: 'PCMA', link: 'lan', joined_at: new Date().toISOString(), fault: null, loss_percent: 0, jitter_ms: 3 }; x.members.push(y); emit('member', { conference: b, member: y }); if (body.dial) setTimeout(() => { y.state = 'connected'; emit('member', { conference: b, member: y }); }, 1500); return { status: 201, body: y }; }
    const y = x.members.find((z) => z.id === e);
    if (!y) return fail(404, 'no_such_member', 'you', '成员已离开。', 'The member has left.');
    if (m === 'DELETE') { x.members = x.members.filter((z) => z !== y); emit('member_left', { conference: b, member: e, reason: { zh: '已被移出。', en: 'Removed.' } }); return none; }
    Object.assign(y, body); emit('member', { conference: b, member: y }); return ok(y);
  }
  if (a === 'recordings') {
    const s = q.get('stream');
    const mine = d.recordings.filter((r) => !s || r.stream === s);
    if (b === 'days') return ok({ days: [...new Set(mine.map((r) => { const x = new Date(r.from); return `${x.getFullYear()}-${String(x.getMonth() + 1).padStart(2, '0')}-${String(x.getDate()).padStart(2, '0')}`; }))].filter((x) => x.startsWith(q.get('month'))) });
    if (!b) return page(mine.filter((r) => (!q.get('from') || !r.to || r.to > q.get('from')) && (!q.get('to') || r.from < q.get('to'))), q);
    if (m === 'DELETE') { d.recordings.splice(d.recordings.findIndex((r) => r.id === b), 1); return none; }
    if (c === 'media.mp4') return { file: '/tmp/skybridge-mock.mp4' };
    if (c === 'index.m3u8') return fail(404, 'no_play_list', 'us', '没有播放列表。', 'No play list.');
    return ok(mine.find((r) => r.id === b));
  }
  if (a === 'recording') {
    if (b === 'jobs') { if (m === 'GET') return items(d.jobs.values()); if (m === 'POST') { const j = { id: randomUUID().slice(0, 6), stream: body.stream, name: nameOf(body.stream), cause: 'hand', since: new Date().toISOString(), bytes: 0, state: 'recording', fault: null }; d.jobs.set(j.id, j); emit('job', { job: j }); return { status: 201, body: j }; } d.jobs.delete(c); emit('job_ended', { id: c }); return none; }
    if (m === 'GET') return items(d.plans); if (m === 'POST') { d.plans.push({ id: `p${d.plans.length + 1}`, ...body }); return { status: 201, body: d.plans.at(-1) }; }
    const i = d.plans.findIndex((x) => x.id === c); if (m === 'PUT') d.plans[i] = { ...body, id: c }; else d.plans.splice(i, 1); return ok(d.plans[i]);
  }
  if (a === 'accounts') { if (m === 'GET') return items(d.accounts); if (m === 'POST') d.accounts.push({ name: body.name, role: body.role, must_change_password: true }); if (m === 'PATCH') Object.assign(d.accounts.find((x) => x.name === b), body.role ? { role: body.role } : { must_change_password: true }); if (m === 'DELETE') d.accounts.splice(d.accounts.findIndex((x) => x.name === b), 1); return none; }
  if (a === 'softphone') return m === 'GET' ? ok({ phone: who.name === 'zhang' ? null : '8001', name: '值班电话' }) : fail(503, 'softphone_limit', 'us', '模拟网关没有电话', 'The mock has no telephone', true);
  if (a === 'directory') { const s = (q.get('query') ?? '').toLowerCase(); const live = (n) => d.liveCalls.find((c) => c.caller === n || c.callee === n); const rooms = [...d.conferences.values()].map((c) => ({ kind: 'conference', number: c.number ?? '', name: c.name, online: !c.locked, state: 'idle', call: null, with: null, forwards: null, conference: c.id, members: c.members.length })); rooms.push(...d.queues.map((x) => ({ kind: 'queue', number: x.number, name: x.name, online: true, state: 'idle', call: null, with: null, forwards: null, conference: null, members: x.agents.length, waiting: x.waiting.length })), ...d.callLists.map((l) => ({ kind: 'list', number: '', name: l.name, online: true, state: l.run?.state === 'running' ? 'calling' : 'idle', call: null, with: null, forwards: null, conference: null, list: l.id, members: l.entries.length, waiting: 0 }))); const people = [...d.phones, ...Array.from({ length: 40 }, (_, i) => ({ user: String(8010 + i), name: `抢险${i + 1}队`, registered: i % 4 !== 0 }))].map((p) => { const c = live(p.user); return { kind: 'phone', number: p.user, name: p.name, online: p.registered, state: c ? (c.state === 'ringing' && c.caller === p.user ? 'calling' : c.state) : 'idle', call: c?.id ?? null, with: c ? (c.caller === p.user ? c.callee : c.caller) : null, forwards: p.user === '8002' ? { busy: null, no_answer: null, offline: '8001' } : null, conference: null, members: 0 }; }); return page([...rooms, ...people].filter((x) => !s || x.number.includes(s) || x.name.toLowerCase().includes(s)), q); }
  if (a === 'trunks') return items(d.trunks);
  if (a === 'queues') return m === 'GET' ? items(d.queues) : none;
  if (a === 'call-lists') { const l = d.callLists.find((x) => x.id === b); if (m === 'GET') return items(d.callLists); if (m === 'POST' && !b) { const x = { id: `k${d.callLists.length + 1}`, run: null, ...body }; d.callLists.push(x); return { status: 201, body: x }; } if (c === 'stop' && l?.run) { l.run.state = 'stopped'; return none; } if (m === 'PUT') { Object.assign(l, body); return ok(l); } return none; }
  if (a === 'pickup-groups') return m === 'GET' ? items(d.pickupGroups) : none;
  if (a === 'phones') { if (m === 'GET') return items(d.phones.map((x) => d.phoneOf(x.user))); if (m === 'POST') d.phones.push({ user: body.user, name: body.name, registered: false, contact: null, expires_at: null }); if (m === 'DELETE') d.phones.splice(d.phones.findIndex((x) => x.user === b), 1); return none; }
  if (a === 'calls') { if (b === 'live') return items(d.liveCalls); if (m === 'POST') { d.liveCalls.splice(d.liveCalls.findIndex((x) => x.id === b), 1); return { status: 202 }; } return page(d.calls.filter((x) => (!q.get('missed') || x.missed) && (!q.get('direction') || x.direction === q.get('direction')) && (!q.get('number') || [x.caller, x.callee, x.dialled].includes(q.get('number')))), q); }
  if (a === 'audit') return page(d.audit.filter((x) => !q.get('account') || x.account === q.get('account')), q);
  if (a === 'leases') return items([]);
  if (a === 'system') return ok(system());
  if (a === 'notices') return items([]);
  void f;
  return fail(404, 'no_such_call', 'you', '没有这个接口。', 'There is no such call.');
}

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const cookieOf = (req) => /skybridge_session=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1];
const server = createServer(async (req, res) => {
  const u = new URL(req.url, 'http://x');
  if (!u.pathname.startsWith('/api/v1/')) {
    let f = join(dist, normalize(decodeURIComponent(u.pathname)));
    if (!existsSync(f) || statSync(f).isDirectory()) f = join(dist, 'index.html');
    res.writeHead(200, { 'Content-Type': types[extname(f)] ?? 'application/octet-stream', 'Content-Security-Policy': "default-src 'self'; media-src 'self' blob:; connect-src 'self'; style-src 'self'; img-src 'self' data:" });
    res.end(readFileSync(f));
    return;
  }
  const chunks = [];
  for await (const x of req) chunks.push(x);
  const text = Buffer.concat(chunks).toString();
  const body = (req.headers['content-type'] ?? '').includes('json') && text ? JSON.parse(text) : text;
  const p = u.pathname.slice(8).split('/').map(decodeURIComponent);
  const send = (r, headers = {}) => { res.writeHead(r.status, { ...(r.body ? { 'Content-Type': 'application/json' } : {}), ...headers }); res.end(r.body ? JSON.stringify(r.body) : undefined); };
  const site = { name_zh: '清江应急指挥中心', name_en: 'Qingjiang Command', version: '0.1.0-mock' };
  const account = (name) => ({ name, role: name === 'zhang' ? 'operator' : 'admin', must_change_password: must.has(name), language: null });
  if (p[0] === 'session' && req.method === 'POST' && !p[1]) {
    if (passwords.get(body.name) !== body.password) return send(fail(401, 'bad_credentials', 'you', '账号或密码不对。请检查大小写后重试。', 'The account or the password is wrong. Check capitals and try again.'));
    const token = randomUUID(); sessions.set(token, body.name);
    return send(ok({ token, expires_at: new Date(Date.now() + 8.64e7).toISOString(), account: account(body.name), site }), { 'Set-Cookie': `skybridge_session=${token}; HttpOnly; SameSite=Strict; Path=/` });
  }
  const name = sessions.get(cookieOf(req));
  if (!name) return send(fail(401, 'not_signed_in', 'you', '请先登录。', 'Sign in first.'));
  if (p[0] === 'session') { if (req.method === 'GET') return send(ok({ account: account(name), expires_at: new Date(Date.now() + 8.64e7).toISOString(), site })); if (req.method === 'DELETE') sessions.delete(cookieOf(req)); else must.delete(name); return send(none); }
  const r = route(req.method, p, u.searchParams, body, { name });
  if (r.file) {
    if (!existsSync(r.file)) return send(fail(404, 'no_file', 'us', '没有文件。', 'No file.'));
    const b = readFileSync(r.file); const m = /bytes=(\d+)-(\d*)/.exec(req.headers.range ?? ''); const from = m ? Number(m[1]) : 0, to = m && m[2] ? Number(m[2]) : b.length - 1;
    res.writeHead(m ? 206 : 200, { 'Content-Type': 'video/mp4', 'Accept-Ranges': 'bytes', 'Content-Length': to - from + 1, ...(m ? { 'Content-Range': `bytes ${from}-${to}/${b.length}` } : {}) });
    res.end(b.subarray(from, to + 1)); return;
  }
  send(r);
});
server.on('upgrade', (req, socket) => {
  if (!sessions.get(cookieOf(req))) { socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n'); return; }
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')}\r\n\r\n`);
  socket.write(frame(JSON.stringify({ type: 'hello', now: new Date().toISOString(), version: '0.1.0-mock' })));
  sockets.add(socket);
  socket.on('error', () => sockets.delete(socket)); socket.on('close', () => sockets.delete(socket));
  socket.on('data', (b) => { if ((b[0] & 15) === 8) socket.end(); });
  setTimeout(() => { notice('info', '前指指挥车 已上线', 'Field command car came online'); notice('warning', '闸门 3：摄像机不发关键帧，已再次请求', 'Sluice 3: the camera sends no key frame; asked for one'); notice('info', 'zhang 把 县医院急诊 切到 9 号窗口', 'zhang took County hospital to tile 9'); notice('alarm', '油库 40 分钟没有心跳', 'Oil depot: no keep-alive for 40 minutes'); }, 300);
});
setInterval(() => emit('system', { system: system() }), 5000).unref();
setInterval(() => { const l = -18 - Math.random() * 14; emit('levels', { conference: 'c1', levels: { m1: [l, true], m3: [-48 + Math.random() * 8, false], m5: [-55, false], m7: [-50 + Math.random() * 6, false] } }); }, 200).unref();
server.listen(port, '127.0.0.1', () => console.log(`mock gateway on http://127.0.0.1:${port} (admin/admin, zhang/zhang-password, first/first)`));
