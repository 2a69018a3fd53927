// All proofs one after another: `npm test`, or `node run.mjs switching recording` for some. Ends with 1 if one failed.
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

const began = Date.now();
const results = [];
for (const file of files) {
  const at = Date.now();
  process.stdout.write(`\n${file}\n`);
  const child = spawn(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', file], { cwd: ROOM, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (t) => { text += t; process.stdout.write(t.replace(/^ℹ (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) .*\n/gm, '')); });
  const code = await new Promise((done) => child.once('close', done));
  const skipped = Number(text.match(/skipped (\d+)/)?.[1] ?? 0);
  // What failed is said once more at the end: whoever has only the last lines of a long run must find the reason there.
  const why = code === 0 ? '' : text.split('✖ failing tests:')[1] ?? text;
  results.push({ file, ok: code === 0, skipped, why: why.trim().slice(0, 4_000), seconds: (Date.now() - at) / 1000 });
}
console.log('\nProofs with programs that are not ours:');
for (const r of results) console.log(`  ${r.ok ? (r.skipped ? 'skipped' : 'passed ') : 'FAILED '}  ${r.seconds.toFixed(0).padStart(4)} s  ${r.file}${r.ok ? '' : '   (logs and pictures in out/)'}`);
const failed = results.filter((r) => !r.ok).length;
for (const r of results.filter((r) => !r.ok)) console.log(`\n${r.file}\n${r.why}\n`);
console.log(`${results.length - failed} of ${results.length} in ${((Date.now() - began) / 1000).toFixed(0)} s`);
process.exit(failed ? 1 : 0);
