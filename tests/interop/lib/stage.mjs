// One test's stage: its folder under out/, its processes, and their end in reverse order.
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOM = dirname(dirname(fileURLToPath(import.meta.url)));
export const REPO = join(ROOM, '..', '..');
const target = process.env.CARGO_TARGET_DIR ?? join(REPO, 'target');
export const SKYBRIDGE = process.env.GATEWAY_BIN ?? join(target, 'debug', 'skybridge');
export const FIELDSIM = process.env.FIELDSIM_BIN ?? join(target, 'debug', 'fieldsim');

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until the answer is truthy. Errors of the asking count as "not yet", and are told when time is over. */
export async function until(what, ask, seconds = 20, every = 100) {
  const end = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
      last = answer;
    } catch (error) { last = error; }
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}${last ? ` (last: ${last.stack ?? JSON.stringify(last)})` : ''}`);
    await wait(every);
  }
}

/** A program that we started, its lines, its end. */
export class Program {
  constructor(name, command, args, { folder, env = {}, cwd, stdin = 'ignore' } = {}) {
    this.name = name;
    this.out = [];
    this.err = [];
    this.watchers = new Set();
    this.log = createWriteStream(join(folder, `${name}.log`), { flags: 'a' });
    this.log.write(`$ ${command} ${args.join(' ')}\n`);
    this.child = spawn(command, args, { env: { ...process.env, ...env }, cwd, stdio: [stdin, 'pipe', 'pipe'] });
    this.ended = new Promise((done) => {
      this.child.once('error', (error) => { this.log.write(`! ${error}\n`); this.failure = error; done({ code: -1 }); });
      this.child.once('close', (code, signal) => { this.code = code; this.signal = signal; done({ code, signal }); });
    });
    this.#lines('stdout', this.out);
    this.#lines('stderr', this.err);
  }

  #lines(stream, list) {
    let rest = '';
    this.child[stream].setEncoding('utf8');
    this.child[stream].on('data', (text) => {
      this.log.write(text);
      const parts = (rest + text).split('\n');
      rest = parts.pop();
      for (const line of parts) {
        list.push(line);
        for (const watch of this.watchers) watch(line, stream);
      }
    });
  }

  get running() { return !this.failure && this.child.exitCode === null && this.child.signalCode === null; }

  /** The first line, past or to come, that matches. */
  line(pattern, seconds = 20) {
    return until(`${this.name} says ${pattern}`, () => {
      const hit = [...this.out, ...this.err].map((l) => l.match(pattern)).find(Boolean);
      if (!hit && !this.running) throw new Error(`${this.name} has ended (${this.code ?? this.signal ?? this.failure}): ${this.err.slice(-5).join(' | ')}`);
      return hit;
    }, seconds, 50);
  }

  kill(signal = 'SIGKILL') { if (this.running) this.child.kill(signal); return this.ended; }

  async stop(seconds = 6) {
    if (this.running) {
      this.child.kill('SIGTERM');
      const late = setTimeout(() => this.child.kill('SIGKILL'), seconds * 1000);
      await this.ended;
      clearTimeout(late);
    }
    this.log.end();
  }
}

export class Stage {
  /** `t` of node:test. All that was opened ends with the test, the last first. */
  static open(t, name) {
    const stage = new Stage();
    stage.folder = join(ROOM, 'out', name);
    rmSync(stage.folder, { recursive: true, force: true });
    mkdirSync(stage.folder, { recursive: true });
    stage.data = mkdtempSync(join(tmpdir(), `skybridge-${name}-`));
    stage.ends = [() => rmSync(stage.data, { recursive: true, force: true, maxRetries: 3 })];
    t.after(async () => {
      for (const end of stage.ends.reverse()) { try { await end(); } catch (error) { console.error(`${name}: at the end: ${error}`); } }
    });
    return stage;
  }

  defer(end) { this.ends.push(end); }
  file(name) { return join(this.folder, name); }

  start(name, command, args, options = {}) {
    const program = new Program(name, command, args, { folder: this.folder, ...options });
    this.defer(() => program.stop());
    return program;
  }

  /** Runs a program to its end. */
  async run(name, command, args, { fails = false, input, ...options } = {}) {
    const program = new Program(name, command, args, { folder: this.folder, ...options, stdin: input === undefined ? 'ignore' : 'pipe' });
    if (input !== undefined) program.child.stdin.end(input);
    const { code } = await program.ended;
    program.log.end();
    if (code !== 0 && !fails) throw new Error(`${name} ended with ${code}: ${program.err.slice(-8).join(' | ')}`);
    return { code, out: program.out.join('\n'), err: program.err.join('\n') };
  }
}

/** A line of the test's own report, past the reporter's indentation. */
export const say = (text) => process.stdout.write(`    ${text}\n`);
