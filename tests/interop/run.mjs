// All proofs: `npm test`, or `node run.mjs switching recording` for some. Ends with 1 if one failed.
// Two at a time (LANES), each with ports of its own; those that measure gaps and what a whole machine is needed for run alone, before.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { FIELDSIM, ROOM, SKYBRIDGE } from './lib/stage.mjs';

const wanted = process.argv.slice(2).map((w) => w.replace(/(\.test\.mjs)?$/, '.test.mjs'));
const all = readdirSync(ROOM).filter((f) => f.endsWith('.test.mjs')).sort();
const files = wanted.length ? wanted : all;
const unknown = files.filter((f) => !all.includes(f));
if (unknown.length) { console.error(`no such test: ${unknown.join(', ')}; there are ${all.join(' ')}`); process.exit(2); }

const missing = [];
for (const program of [SKYBRIDGE, FIELDSIM]) try { accessSync(program, constants.X_OK); } catch { missing.push(`${program} (cargo build -p skybridge -p fieldsim)`); }
for (const program of ['chromium', 'baresip', 'ffmpeg', 'ffprobe', 'espeak-ng', 'sox', 'tshark', 'sipp', 'kamailio']) if (!`${process.env.PATH ?? ''}:/usr/sbin`.split(':').some((d) => existsSync(`${d}/${program}`))) missing.push(program);
if (missing.length) { console.error(`missing: ${missing.join(', ')}`); process.exit(2); }

const ALONE = ['crash', 'eleven-members', 'every-codec', 'long-conference', 'switching'].map((f) => `${f}.test.mjs`);
// The longest ones first, so that no lane waits for them at the end.
const FIRST = ['radio', 'broadcast', 'templates', 'loudness'].map((f) => `${f}.test.mjs`);
const lanes = Math.max(1, Math.min(4, Number(process.env.LANES ?? 2) || 1));

const began = Date.now();
const results = [];
async function prove(file, lane) {
  const at = Date.now();
  const child = spawn(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', file], { cwd: ROOM, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LANE: String(lane) } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (t) => { text += t; });
  const code = await new Promise((done) => child.once('close', done));
  process.stdout.write(`\n${file}\n${text.replace(/^ℹ (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) .*\n/gm, '')}`);
  const skipped = Number(text.match(/skipped (\d+)/)?.[1] ?? 0);
  // What failed is said once more at the end: whoever has only the last lines of a long run must find the reason there.
  const why = code === 0 ? '' : text.split('✖ failing tests:')[1] ?? text;
  results.push({ file, ok: code === 0, skipped, why: why.trim().slice(0, 4_000), seconds: (Date.now() - at) / 1000 });
}
for (const file of files.filter((f) => ALONE.includes(f))) await prove(file, 0);
const rest = files.filter((f) => !ALONE.includes(f)).sort((a, b) => FIRST.includes(b) - FIRST.includes(a) || FIRST.indexOf(a) - FIRST.indexOf(b));
await Promise.all(Array.from({ length: lanes }, async (_, lane) => { for (let file; (file = rest.shift());) await prove(file, lane); }));
results.sort((a, b) => a.file.localeCompare(b.file));
console.log('\nProofs with programs that are not ours:');
for (const r of results) console.log(`  ${r.ok ? (r.skipped ? 'skipped' : 'passed ') : 'FAILED '}  ${r.seconds.toFixed(0).padStart(4)} s  ${r.file}${r.ok ? '' : '   (logs and pictures in out/)'}`);
const failed = results.filter((r) => !r.ok).length;
for (const r of results.filter((r) => !r.ok)) console.log(`\n${r.file}\n${r.why}\n`);
console.log(`${results.length - failed} of ${results.length} in ${((Date.now() - began) / 1000).toFixed(0)} s`);
process.exit(failed ? 1 : 0);
