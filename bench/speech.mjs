// The quality of speech by codec (PESQ, ITU-T P.862): a leg of a conference against the codec alone, in a call between the same two programs
// without a gateway. bench/run.sh --only speech [--runs N]
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Baresip } from '../tests/interop/lib/baresip.mjs';
import { Gateway, id } from '../tests/interop/lib/gateway.mjs';
import { cut, likeness, lufs, readWav, seconds, speech, writeWav } from '../tests/interop/lib/sound.mjs';
import { Stage, until, wait } from '../tests/interop/lib/stage.mjs';

const PYTHON = process.env.PESQ_PYTHON ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skybridge', 'pesq', 'bin', 'python');
if (!existsSync(PYTHON)) throw new Error(`no PESQ at ${PYTHON}: make tools-bench`);
const TEXT = 'The second team has reached the east bank. The water is still rising, and the road behind us is closed.';
// At the far end of each conference stands Opus: what it takes away itself is taken off, by FFmpeg's libopus at the same bit rate.
const OPUS = { codec: 'opus/48000/2', rate: 48000, channels: 2, modules: ['opus'], kbit: 24 };
const CODECS = [
  { codec: 'PCMA/8000/1', rate: 8000 },
  { codec: 'PCMU/8000/1', rate: 8000 },
  { codec: 'G722/16000/1', rate: 16000 },
  { codec: 'AMR/8000/1', rate: 8000, modules: ['amr'] },
  { codec: 'AMR-WB/16000/1', rate: 16000, modules: ['amr'] },
  { ...OPUS },
].map((c, n) => ({ ...c, n, name: c.codec.split('/')[0], wide: c.rate > 8000 }));
const MOST_LOST = 0.3, TAKES = 4;

/** PESQ of one take: narrow band at 8 kHz, else wide band. */
async function score(stage, name, said, heard, wide) {
  const rate = wide ? 16000 : 8000, files = [];
  for (const [which, sound] of [['said', said], ['heard', heard]]) {
    const raw = stage.file(`${name}-${which}-own.wav`), file = stage.file(`${name}-${which}.wav`);
    writeWav(raw, sound);
    // P.862 wants both at one level; the loudness of a conference is no matter of quality.
    await stage.run(`sox-${name}-${which}`, 'sox', [raw, '-r', String(rate), file, 'gain', (-24 - await lufs(stage, `${name}-${which}`, sound)).toFixed(1)]);
    files.push(file);
  }
  const script = 'import sys, wave, numpy, pesq\nread = lambda f: numpy.frombuffer(wave.open(f).readframes(10**9), dtype="<i2")\nprint(pesq.pesq(int(sys.argv[1]), read(sys.argv[2]), read(sys.argv[3]), sys.argv[4]))';
  const { out } = await stage.run(`pesq-${name}`, PYTHON, ['-c', script, String(rate), ...files, wide ? 'wb' : 'nb']);
  return Number(out.trim());
}

/** Scores of all takes in a recording. The best one is the codec's: what a busy machine does to a take is not asked here. */
async function takes(stage, name, said, heard, wide) {
  const out = [], period = seconds(said);
  for (let n = 0; n < TAKES && seconds(heard) >= (n + 1.5) * period; n++) {
    const part = cut(heard, n * period, (n + 2) * period), { at, score: like } = likeness(said, part);
    if (like < 0.6) continue;
    out.push(await score(stage, `${name}-${n}`, said, cut(part, Math.max(0, at - 0.1), at + period + 0.1), wide));
  }
  if (!out.length) throw new Error(`${name}: what was said is not in the recording`);
  return out.sort((a, b) => a - b);
}

/** What an Opus leg alone makes of a recording. */
async function throughOpus(stage, name, sound) {
  const [raw, packed, back] = ['wav', 'ogg', 'back.wav'].map((end) => stage.file(`${name}.${end}`));
  writeWav(raw, sound);
  await stage.run(`opus-${name}`, 'ffmpeg', ['-v', 'error', '-y', '-i', raw, '-c:a', 'libopus', '-application', 'voip', '-b:a', `${OPUS.kbit}k`, packed]);
  await stage.run(`back-${name}`, 'ffmpeg', ['-v', 'error', '-y', '-i', packed, '-ac', '1', '-ar', '48000', back]);
  return readWav(back);
}

const ends = [];
const stage = Stage.open({ after: (f) => ends.push(f) }, 'speech-quality');
let worst = 0;
try {
  const gateway = await Gateway.open(stage);
  const said = readWav(await speech(stage, 'said', TEXT)), listen = (TAKES + 2.5) * seconds(said) * 1000;
  const phone = async (user, c) => {
    await gateway.api.post('/phones', { user, password: 'bench-secret-word', name: `Phone ${user}` });
    const says = await speech(stage, `says-${user}`, TEXT, { rate: c.rate, channels: c.channels ?? 1, seconds: 300 });
    const { codec: codecs, rate, channels, modules } = c;
    const p = await Baresip.open(stage, gateway, { codecs, rate, channels, modules, user, password: 'bench-secret-word', say: says, answer: 'auto' });
    await p.registered();
    return p;
  };
  // Alone: two phones that know only that codec, without a gateway. One codec after another: nothing else runs.
  for (const c of CODECS) {
    [c.phone, c.peer] = [await phone(`800${c.n}`, c), await phone(`900${c.n}`, c)];
    c.peer.order('dial', `sip:800${c.n}@127.0.0.1:${c.phone.port}`);
    await c.peer.next('CALL_ESTABLISHED', 15);
    await wait(listen);
    c.alone = c.phone.heard();
    c.peer.hangup();
    await c.phone.next('CALL_CLOSED', 10);
    await c.peer.process.stop();
  }
  for (const c of CODECS) {
    const conference = await gateway.api.post('/conferences', { name: c.name, number: `950${c.n}` });
    const path = `/conferences/${id(conference.id)}`;
    c.far = await phone(`700${c.n}`, OPUS);
    for (const user of [`800${c.n}`, `700${c.n}`]) await gateway.api.post(`${path}/members`, { dial: user });
    const members = await until(`both are in with ${c.name}`, async () => { const { members } = await gateway.api.get(path); return members.length === 2 && members.every((m) => m.state === 'connected') && members; });
    c.leg = members.find((m) => m.name === `Phone 800${c.n}`)?.codec ?? '?';
    await wait(listen);
    [c.from, c.to] = [c.far.heard(), c.phone.heard()];
    for (const m of members) await gateway.api.delete(`${path}/members/${id(m.id)}`);
  }
  const rows = [];
  for (const c of CODECS) {
    const best = async (which, sound) => (await takes(stage, `${which}-${c.name}`, said, sound, c.wide)).at(-1);
    const alone = await best('alone', c.alone), aloneThenOpus = await best('alone-opus', await throughOpus(stage, `alone-${c.name}`, c.alone));
    const saidOpus = await best('opus', await throughOpus(stage, `said-${c.name}`, readWav(stage.file(`says-800${c.n}.wav`))));
    const from = await best('from', c.from), to = await best('to', c.to);
    const lost = [aloneThenOpus - from, alone - to];
    worst = Math.max(worst, ...lost);
    rows.push({ codec: c.name, leg: c.leg, alone, aloneThenOpus, from, to, saidOpus, lost });
    console.log(`${c.name.padEnd(7)} alone ${alone.toFixed(2)}; into the conference ${from.toFixed(2)} of ${aloneThenOpus.toFixed(2)} (with Opus behind it); out of it ${to.toFixed(2)} of ${alone.toFixed(2)}; lost ${lost.map((x) => x.toFixed(2)).join(' and ')}`);
  }
  console.log(`the most lost: ${worst.toFixed(2)}; no more than ${MOST_LOST} is wanted`);
  if (process.env.BENCH_OUT) writeFileSync(join(process.env.BENCH_OUT, 'speech.json'), JSON.stringify({ measurement: 'speech', profile: process.env.BENCH_PROFILE, load: spawnSync('cat', ['/proc/loadavg']).stdout.toString().trim(), rows }, null, 2));
} finally {
  for (const end of ends) await end();
}
process.exit(worst <= MOST_LOST ? 0 : 1);
