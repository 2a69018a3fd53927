// SIP under load: SIPp registers and calls through a gateway of the bench's own, and through Kamailio with rtpengine for comparison.
//   bench/run.sh --only sip    [--quick] [--rate N] [--calls N] [--servers none|kamailio,rustpbx] [--shared]
//   bench/run.sh --only churn  [--minutes 20]
// Servers on processor 0, SIPp on processor 1. CPU is user and system time of all processes of a server (/proc/PID/stat).
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const args = process.argv.slice(2);
const option = (name, fallback) => (args.includes(name) ? args[args.indexOf(name) + 1] : fallback);
const { GATEWAY_BIN: GATEWAY, BENCH_ROOM: ROOM, BENCH_OUT: OUT, BENCH_PROFILE: PROFILE } = process.env;
const RUSTPBX = process.env.RUSTPBX_BIN ?? 'rustpbx';
const quick = args.includes('--quick');
const SCENARIOS = join(ROOM, 'sipp');
const PASSWORD = 'bench-pass-2468';
const PAIRS = quick ? 100 : 500;
const [CALLER, CALLEE, BUSY, RINGING] = [6200, 6300, 6400, 6500];
const dir = mkdtempSync(join(tmpdir(), 'skybridge-bench-sip-'));
const children = new Set();
// A file of A-law: what is said does not matter here.
writeFileSync(join(dir, 'sound.alaw'), Buffer.alloc(8000, 0x55));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const found = (tool) => spawnSync('which', [tool]).status === 0;

function start(command, parameters, options = {}) {
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  children.add(child);
  child.text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { child.text = (child.text + data).slice(-200_000); });
  child.on('error', (error) => { child.text += error; });
  child.done = new Promise((done) => child.on('close', (code) => { children.delete(child); done(code); }));
  return child;
}

// With --shared the servers may run on both processors: what the whole machine carries, no comparison of costs.
const SERVERS_ON = args.includes('--shared') ? '0,1' : 0;
const pinned = (cpu, command, parameters, options) => start('taskset', ['-c', String(cpu), command, ...parameters], options);

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** The process and all below it. */
function family(pid) {
  const all = readdirSync('/proc').filter((n) => /^\d+$/.test(n)).flatMap((n) => {
    try {
      const stat = readFileSync(`/proc/${n}/stat`, 'utf8');
      return [[Number(n), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])]];
    } catch { return []; }
  });
  const out = [pid];
  for (let i = 0; i < out.length; i += 1) out.push(...all.filter(([, parent]) => parent === out[i]).map(([n]) => n));
  return out;
}

/** Seconds of processor time so far. */
function cpu(pids) {
  return pids.flatMap(family).reduce((sum, pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return sum + (Number(fields[11]) + Number(fields[12])) / 100;
    } catch { return sum; }
  }, 0);
}

/** Datagrams sent on this machine so far. */
const udp = () => Number(readFileSync('/proc/net/snmp', 'utf8').match(/^Udp: \d+ \d+ \d+ (\d+)/m)[1]);

class Gateway {
  async open() {
    [this.http, this.sip, this.browser] = [await freePort(), 6100, await freePort()];
    const config = join(dir, 'gateway.toml');
    writeFileSync(config, `[site]\ndata = "${dir}/data"\nlog = "warn"\n[http]\nlisten = []\nlocal = ["127.0.0.1:${this.http}"]\n[sip]\nudp = ["127.0.0.1:${this.sip}"]\ntcp = ["127.0.0.1:${this.sip}"]\ntls = []\nmessages_per_second = 100000\n[media]\nrtp_ports = "10000-59999"\nbrowser = ["127.0.0.1:${this.browser}"]\nbrowser_announced = ["127.0.0.1"]\n[recorder]\nmin_free_gigabytes = 0\n[phone]\nmax_calls = 9000\nmax_calls_per_caller = 1000\nmax_contacts = 10\nregister_default = 3600\nmedia_timeout = ${option('--media-timeout', '60')}\n[phone.fraud]\ncalls_per_minute = 0\n`);
    this.process = pinned(SERVERS_ON, GATEWAY, ['--config', config]);
    for (let n = 0; !/ is ready/.test(this.process.text); n += 1) {
      if (n > 600 || this.process.exitCode !== null) throw new Error(`the gateway did not start: ${this.process.text}`);
      await sleep(100);
    }
    const first = this.process.text.match(/one-time password (\S+?)[.,]?\s/)[1];
    await this.signIn(first);
    await this.call('POST', '/session/password', { old: first, new: 'bench-own-password' });
    await this.signIn('bench-own-password');
    this.pids = [this.process.pid];
    return this;
  }

  async signIn(password) { this.token = (await this.call('POST', '/session', { name: 'admin', password })).token; }

  async call(method, path, body) {
    const answer = await fetch(`http://127.0.0.1:${this.http}/api/v1${path}`, {
      method, headers: { 'content-type': 'application/json', ...(this.token && { authorization: `Bearer ${this.token}` }) }, body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.text().then((text) => (text ? JSON.parse(text) : undefined));
  }

  async accounts(users) {
    const left = [...users];
    await Promise.all([...Array(8)].map(async () => {
      for (let user; (user = left.pop());) await this.call('POST', '/phones', { user, password: PASSWORD, name: user });
    }));
  }

  async metric(name, labels = '') {
    const text = await (await fetch(`http://127.0.0.1:${this.http}/metrics`)).text();
    const line = text.split('\n').find((l) => l.startsWith(`${name}${labels}`) && !l.startsWith('#'));
    return line ? Number(line.split(' ').at(-1)) : NaN;
  }
}

class Kamailio {
  async open() {
    [this.sip, this.ng] = [6110, 6120];
    const config = join(dir, 'kamailio.cfg');
    const text = readFileSync(join(SCENARIOS, 'kamailio.cfg'), 'utf8');
    writeFileSync(config, text.replaceAll('@SIP@', this.sip).replaceAll('@NG@', this.ng).replaceAll('@PASSWORD@', PASSWORD));
    const rtpengine = pinned(SERVERS_ON, 'rtpengine', ['--interface=127.0.0.1', `--listen-ng=127.0.0.1:${this.ng}`, '--foreground', '--log-stderr', '--log-level=3', '--table=-1', '--port-min=10000', '--port-max=59999', '--num-threads=2']);
    await sleep(3000); // it is asked at once and given up for a while when it does not answer
    const kamailio = pinned(SERVERS_ON, 'kamailio', ['-DD', '-E', '-m', '256', '-M', '16', '-f', config, '-P', join(dir, 'kamailio.pid'), '-Y', dir, '-w', dir]);
    await sleep(2500);
    for (const child of [rtpengine, kamailio]) if (child.exitCode !== null) throw new Error(child.text);
    this.pids = [rtpengine.pid, kamailio.pid];
    return this;
  }
}

/** The RustPBX crate, where it is installed (`cargo install rustpbx --no-default-features`; RUSTPBX_BIN names another place). */
class RustPbx {
  async open() {
    [this.sip, this.home] = [6130, mkdtempSync(join(dir, 'rustpbx-'))];
    await this.start(true);
    return this;
  }

  /** With digest for registrations; without for calls, as our accounts prove themselves by where they registered and Kamailio asks nobody. */
  async start(digest) {
    const users = [...callers, ...callees, ...registrants].map((u) => `{ username = "${u}", password = "${PASSWORD}" }`).join(',\n');
    writeFileSync(join(this.home, 'config.toml'), `http_addr = "127.0.0.1:${await freePort()}"\nlog_level = "error"\ndatabase_url = "sqlite://rustpbx.sqlite3"\nexternal_ip = "127.0.0.1"\nrtp_start_port = 10000\nrtp_end_port = 59999\n[recording]\nenabled = false\n[proxy]\nmodules = [${digest ? '"auth", ' : ''}"registrar", "call"]\naddr = "127.0.0.1"\nudp_port = ${this.sip}\nregistrar_expires = 3600\nmax_registrar_expires = 7200\nmedia_proxy = "all"\nensure_user = ${digest}\nacl_rules = ["allow all"]\nmax_concurrency = 100000\ndos_enabled = false\nsip_worker_threads = 1\nmedia_worker_threads = 1\n[[proxy.user_backends]]\ntype = "memory"\nusers = [\n${users}\n]\n`);
    this.process = pinned(SERVERS_ON, RUSTPBX, ['--conf', 'config.toml'], { cwd: this.home });
    await sleep(4000);
    if (this.process.exitCode !== null) throw new Error(this.process.text);
    this.pids = [this.process.pid];
  }

  async beforeCalls() {
    for (const pid of family(this.process.pid)) process.kill(pid, 'SIGKILL');
    await this.process.done;
    await this.start(false);
  }
}

let runs = 0;
/** Runs a scenario to its end; counts and seconds by SIPp's own statistics. */
async function sipp(scenario, target, port, list, more, seconds) {
  runs += 1;
  const stat = join(dir, `${scenario}-${runs}.csv`);
  const file = readFileSync(join(SCENARIOS, `${scenario}.xml`), 'utf8').replace('SOUND', join(dir, 'sound.alaw'));
  const xml = join(dir, `${scenario}-${runs}.xml`);
  writeFileSync(xml, file);
  const began = performance.now();
  const child = pinned(1, 'sipp', [`127.0.0.1:${target}`, '-sf', xml, '-i', '127.0.0.1', '-p', String(port), ...(list ? ['-inf', list] : []), '-nostdin', '-trace_err', '-error_file', `${xml}.err`, '-trace_stat', '-stf', stat, '-fd', '1', '-buff_size', '4194304', '-timeout', `${seconds}s`, ...more], { cwd: dir, env: { ...process.env, TERM: 'dumb' } });
  await child.done;
  const took = (performance.now() - began) / 1000;
  let rows;
  try { rows = readFileSync(stat, 'utf8').trim().split('\n').map((l) => l.split(';')); } catch { throw new Error(`${scenario}: ${child.text.slice(-2000)}`); }
  let error;
  try { error = readFileSync(`${xml}.err`, 'utf8').split('\n').find((l) => /[Aa]bort|received/.test(l))?.slice(0, 400); } catch { /* none */ }
  if (error) console.log(`${scenario}: SIPp's first complaint: ${error}`);
  const at = (name) => Number(rows.at(-1)[rows[0].indexOf(name)]);
  return { good: at('SuccessfulCall(C)'), failed: at('FailedCall(C)'), repeated: at('Retransmissions(C)'), rate: at('CallRate(C)'), took };
}

const listening = [];
function phone(scenario, target, port, media, more = []) {
  const child = pinned(1, 'sipp', [`127.0.0.1:${target}`, '-sf', join(SCENARIOS, `${scenario}.xml`), '-i', '127.0.0.1', '-p', String(port), '-mp', String(media), '-nostdin', '-buff_size', '4194304', ...more], { cwd: dir, env: { ...process.env, TERM: 'dumb' } });
  listening.push(child);
  return child;
}
async function quiet() {
  for (const child of listening.splice(0)) { child.kill('SIGKILL'); await child.done; }
}

const callers = [...Array(PAIRS)].map((_, i) => `31${String(i).padStart(4, '0')}`);
const callees = [...Array(PAIRS)].map((_, i) => `32${String(i).padStart(4, '0')}`);
// Accounts of their own: a call would ring at each contact of an account.
const registrants = [...Array(2 * PAIRS)].map((_, i) => `33${String(i).padStart(4, '0')}`);
const auth = (user) => `[authentication username=${user} password=${PASSWORD}]`;
function list(name, rows) {
  const file = join(dir, name);
  writeFileSync(file, `SEQUENTIAL\n${rows.map((r) => r.join(';')).join('\n')}\n`);
  return file;
}

const per = (seconds, count) => (count ? (seconds * 1000) / count : NaN);
const show = (n, digits = 2) => (Number.isFinite(n) ? n.toFixed(digits) : '-');

async function measure(server, name) {
  const out = {};
  const everyone = list('all.csv', registrants.map((u) => [u, u, auth(u)]));
  const here = list('callers.csv', callers.map((u) => [u, u, auth(u)]));
  const there = list('callees.csv', callees.map((u) => [u, u, auth(u)]));
  const pairs = list('pairs.csv', callers.map((u, i) => [u, callees[i]]));
  const timed = async (work) => {
    const before = cpu(server.pids);
    const got = await work();
    return { ...got, cpu: cpu(server.pids) - before };
  };
  const rate = Number(option('--rate', '2000'));
  const count = quick ? rate * 2 : rate * 10;
  const speed = (r) => ['-r', String(r), '-m', String(count), '-l', '6000'];
  out.register = await timed(() => sipp('register', server.sip, 6600, everyone, speed(rate), 120));
  out.register.rate = out.register.good / out.register.took;
  await server.beforeCalls?.();
  // The contacts for the calls: callers at one port, callees at the other.
  for (const [port, file] of [[CALLER, here], [CALLEE, there]]) {
    const got = await sipp(server.beforeCalls ? 'register-plain' : 'register', server.sip, port, file, ['-r', '500', '-m', String(PAIRS)], 60);
    if (got.good !== PAIRS) throw new Error(`${name}: ${got.good} of ${PAIRS} registered at ${port}`);
  }
  phone('answer', server.sip, CALLEE, 6310);
  await sleep(500);
  out.call = await timed(() => sipp('call', server.sip, CALLER, pairs, [...speed(rate), '-d', '100', '-mp', '6210'], 120));
  out.call.rate = out.call.good / out.call.took;
  await quiet();
  await sleep(6000);
  // Sound: so many calls stand for so long, 50 packets a second both ways, sent and taken at ordinary sockets. (SIPp's pcap
  // player holds a raw socket a call: the kernel then shows each datagram of the machine to all of them.)
  const [standing, seconds] = quick ? [40, 8] : [Number(option('--calls', '150')), 20];
  phone('answer', server.sip, CALLEE, 6310, ['-rtp_echo']);
  await sleep(500);
  const idle = await timed(async () => { await sleep(3000); return {}; });
  const datagrams = udp();
  out.talk = await timed(() => sipp('talk', server.sip, CALLER, pairs, ['-r', String(standing), '-m', String(standing), '-l', String(standing), '-d', String(seconds * 1000), '-mp', '7000', '-rtp_buffsize', '65535'], seconds + 40));
  out.talk.spoken = standing * seconds;
  // Of the whole machine: four a packet that is spoken, given back and relayed twice, and some signalling.
  out.talk.datagrams = (udp() - datagrams) / (out.talk.spoken * 50);
  out.talk.cpu -= (idle.cpu / 3) * out.talk.took + (per(out.call.cpu, out.call.good) / 1000) * standing;
  await quiet();
  return out;
}

const PEERS = { kamailio: 'Kamailio + rtpengine', rustpbx: 'RustPBX' };

function table(results) {
  const peers = Object.keys(PEERS).filter((name) => results[name]);
  const row = (cells) => `| ${cells.join(' | ')} |`;
  const rows = [row(['What', 'Gateway', ...peers.flatMap((name) => [PEERS[name], 'Ratio (above 1: the gateway is better)'])]), row(Array(2 + 2 * peers.length).fill('---'))];
  const line = (what, pick, digits, less) => {
    const own = pick(results.gateway);
    const beside = peers.map((name) => pick(results[name])).flatMap((other) => [show(other, digits), show(less ? other / own : own / other)]);
    rows.push(row([what, show(own, digits), ...beside]));
  };
  line('registrations with digest done', (r) => r.register.good, 0);
  line('of them failed', (r) => r.register.failed, 0);
  line('registrations/s', (r) => r.register.rate, 0);
  line('registrations per CPU s', (r) => r.register.good / r.register.cpu, 0);
  line('calls set up and ended', (r) => r.call.good, 0);
  line('of them failed', (r) => r.call.failed, 0);
  line('calls/s', (r) => r.call.rate, 0);
  line('calls per CPU s', (r) => r.call.good / r.call.cpu, 0);
  line('CPU ms per second of relayed G.711 call', (r) => per(r.talk.cpu, r.talk.spoken), 3, true);
  line('datagrams per spoken packet (4 when all is passed on)', (r) => r.talk.datagrams, 2);
  line('relayed G.711 calls per core (arithmetic)', (r) => r.talk.spoken / r.talk.cpu, 0);
  return rows.join('\n');
}

async function benchmark() {
  const results = { profile: PROFILE, at: new Date().toISOString() };
  const gateway = await new Gateway().open();
  await gateway.accounts([...callers, ...callees, ...registrants]);
  results.gateway = await measure(gateway, 'gateway');
  gateway.process.kill('SIGTERM');
  await gateway.process.done;
  const wanted = (name) => option('--servers', 'kamailio,rustpbx').split(',').includes(name);
  if (!wanted('kamailio')) {
    // left out
  } else if (found('kamailio') && found('rtpengine')) {
    const kamailio = await new Kamailio().open();
    results.kamailio = await measure(kamailio, 'kamailio');
    for (const pid of kamailio.pids.flatMap(family)) try { process.kill(pid, 'SIGKILL'); } catch { /* gone */ }
  } else {
    console.log('kamailio or rtpengine is missing: no comparison');
  }
  if (!wanted('rustpbx')) {
    // left out
  } else if (found(RUSTPBX)) {
    const rustpbx = await new RustPbx().open();
    results.rustpbx = await measure(rustpbx, 'rustpbx');
  } else {
    console.log('rustpbx is missing: no comparison');
  }
  writeFileSync(join(OUT, 'sip.json'), JSON.stringify(results, null, 1));
  console.log(`\n### SIP (${PROFILE} build)\n${table(results)}`);
  for (const [name, r] of Object.entries(results).filter(([, r]) => r.register)) {
    console.log(`${name}: retransmissions of SIPp ${r.register.repeated} + ${r.call.repeated}, CPU s ${show(r.register.cpu)} + ${show(r.call.cpu)} + ${show(r.talk.cpu)}`);
  }
}

/** Everything at once for a long time; what must be flat is read once a minute. */
async function churn() {
  const minutes = Number(option('--minutes', '20'));
  const gateway = await new Gateway().open();
  const [busy, ringing] = [callees.slice(0, PAIRS / 4), callees.slice(PAIRS / 4, PAIRS / 2)];
  const open = callees.slice(PAIRS / 2);
  await gateway.accounts([...callers, ...callees]);
  const rows = (users) => users.map((u) => [u, u, auth(u)]);
  const pairs = (users) => users.map((u, i) => [callers[i], u]);
  for (const [port, users] of [[CALLER, callers], [CALLEE, open], [BUSY, busy], [RINGING, ringing]]) {
    const got = await sipp('register', gateway.sip, port, list(`at-${port}.csv`, rows(users)), ['-r', '300', '-m', String(users.length)], 60);
    if (got.good !== users.length) throw new Error(`${got.good} of ${users.length} registered`);
  }
  phone('answer', gateway.sip, CALLEE, 6310);
  phone('refuse', gateway.sip, BUSY, 6410);
  phone('ring', gateway.sip, RINGING, 6510);
  const seconds = minutes * 60;
  const plan = [
    ['register', 6600, rows([...callers]), 20, []],
    ['call', 6610, pairs(open), 10, ['-d', '2000']],
    ['cancel', 6620, pairs(ringing), 5, []],
    ['refused', 6630, pairs(busy), 5, []],
    ['vanish', 6640, pairs(open), 1, []],
    ['garbage', 6650, pairs(open), 5, []],
  ];
  const results = {};
  const work = plan.map(async ([scenario, port, users, rate, more]) => {
    // Callers prove themselves by the path of their registration: each port has its own.
    const file = list(`${scenario}.csv`, users);
    if (scenario !== 'register') {
      await sipp('register', gateway.sip, port, list(`r-${scenario}.csv`, rows(callers)), ['-r', '300', '-m', String(callers.length)], 60);
    }
    results[scenario] = await sipp(scenario, gateway.sip, port, file, ['-r', String(rate), '-m', String(rate * seconds), '-mp', String(port + 4), ...more], seconds + 60);
  });
  const pid = family(gateway.process.pid).at(-1);
  const read = async () => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const table = (kind) => gateway.metric('skybridge_sip_tables', `{kind="${kind}"}`);
    return {
      rss: Number(status.match(/VmRSS:\s+(\d+)/)[1]) / 1024,
      threads: Number(status.match(/Threads:\s+(\d+)/)[1]),
      fds: readdirSync(`/proc/${pid}/fd`).length,
      ports: await gateway.metric('skybridge_media_ports', '{state="used"}'),
      calls: await gateway.metric('skybridge_phone_calls'),
      dialogs: await table('calls'),
      clients: await table('client_transactions'),
      servers: await table('server_transactions'),
      flows: await table('flows'),
      cpu: cpu([pid]),
    };
  };
  console.log(`### Churn, ${minutes} min (${PROFILE} build)\n| Minute | RSS MiB | Files | Ports in use | Calls | SIP calls in the table | Client, server transactions | Flows | CPU s |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |`);
  const readings = [];
  const note = async (label) => {
    const r = await read();
    readings.push({ label, ...r });
    console.log(`| ${label} | ${show(r.rss, 1)} | ${r.fds} | ${r.ports} | ${r.calls} | ${r.dialogs} | ${r.clients}, ${r.servers} | ${r.flows} | ${show(r.cpu, 1)} |`);
  };
  for (let minute = 0; minute <= minutes; minute += 1) {
    await note(minute);
    if (minute < minutes) await sleep(60_000);
  }
  await Promise.all(work);
  await quiet();
  // What vanished is ended by the silence of its sound, transactions by 64 x T1.
  await sleep(Number(option('--media-timeout', '60')) * 1000 + 40_000);
  await note('end, idle');
  for (const [name, r] of Object.entries(results)) console.log(`${name}: ${r.good} good, ${r.failed} failed, ${r.repeated} repeated`);
  writeFileSync(join(OUT, 'churn.json'), JSON.stringify({ profile: PROFILE, readings, results }, null, 1));
}

const only = option('--only', '');
let failed = 0;
try {
  await (only === 'churn' ? churn() : benchmark());
} catch (error) {
  console.error(error);
  failed = 1;
} finally {
  // All of a family: Kamailio's children outlive their first process.
  for (const child of children) for (const pid of family(child.pid)) try { process.kill(pid, 'SIGKILL'); } catch { /* gone */ }
  rmSync(dir, { recursive: true, force: true });
}
process.exit(failed);
