// Sound made and judged: speech by espeak-ng, tones by sox, WAV files read, tones found by Goertzel, speech by its envelope.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

export async function speech(stage, name, text, { rate = 48000, channels = 1, seconds } = {}) {
  const raw = stage.file(`${name}-raw.wav`), file = stage.file(`${name}.wav`);
  await stage.run(`espeak-${name}`, 'espeak-ng', ['-s', '150', '-w', raw, text]);
  const repeat = seconds ? ['repeat', '60', 'trim', '0', String(seconds)] : [];
  await stage.run(`sox-${name}`, 'sox', [raw, '-r', String(rate), '-c', String(channels), '-b', '16', file, 'pad', '0.3', '0.7', 'norm', '-3', ...repeat]);
  return file;
}

/** A tone in bursts, so that no noise suppressor takes it for noise. */
export async function tone(stage, name, hertz, { rate = 8000, channels = 1, seconds = 60, on = 0.6, off = 0.4, gain = -10 } = {}) {
  const file = stage.file(`${name}.wav`);
  await stage.run(`sox-${name}`, 'sox', ['-n', '-r', String(rate), '-c', String(channels), '-b', '16', file,
    'synth', String(on), 'sine', String(hertz), 'fade', '0.01', String(on), '0.01', 'gain', String(gain), 'pad', '0', String(off), 'repeat', String(Math.ceil(seconds / (on + off)) - 1)]);
  return file;
}

/** { rate, samples: Float64Array in -1..1 } of the first channel. A header that was never finished does not matter. */
export function readWav(file) {
  if (!existsSync(file)) return { rate: 8000, samples: new Float64Array(0) };
  const b = readFileSync(file);
  let at = 12, rate = 8000, channels = 1, bits = 16;
  while (at + 8 <= b.length) {
    const kind = b.toString('latin1', at, at + 4);
    let length = b.readUInt32LE(at + 4);
    at += 8;
    if (kind === 'fmt ') { channels = b.readUInt16LE(at + 2); rate = b.readUInt32LE(at + 4); bits = b.readUInt16LE(at + 14); }
    if (kind === 'data') {
      if (length === 0 || at + length > b.length) length = b.length - at;
      if (bits !== 16) throw new Error(`${file}: ${bits} bits a sample`);
      const count = Math.floor(length / (2 * channels));
      const samples = new Float64Array(count);
      for (let n = 0; n < count; n++) samples[n] = b.readInt16LE(at + n * 2 * channels) / 32768;
      return { rate, samples };
    }
    at += length + (length & 1);
  }
  return { rate, samples: new Float64Array(0) };
}

export const cut = ({ rate, samples }, from, to = Infinity) => ({ rate, samples: samples.subarray(Math.max(0, Math.round(from * rate)), Math.min(samples.length, Math.round(to * rate))) });
export const seconds = ({ rate, samples }) => samples.length / rate;
export function rms({ samples }) {
  let sum = 0;
  for (const s of samples) sum += s * s;
  return Math.sqrt(sum / Math.max(1, samples.length));
}

/** Amplitude (0..1) of a tone over blocks of 100 ms: the strongest tenth of them, so that bursts count. */
export function toneLevel({ rate, samples }, hertz) {
  const block = Math.round(rate / 10);
  const levels = [];
  for (let at = 0; at + block <= samples.length; at += block) {
    const k = 2 * Math.cos((2 * Math.PI * hertz) / rate);
    let a = 0, b = 0;
    for (let n = 0; n < block; n++) {
      const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / block);
      const c = samples[at + n] * window + k * a - b;
      b = a; a = c;
    }
    levels.push((Math.sqrt(Math.max(0, a * a + b * b - k * a * b)) * 4) / block);
  }
  levels.sort((x, y) => y - x);
  return levels[Math.floor(levels.length / 10)] ?? 0;
}

const STEP = 0.02;
/** Loudness each 20 ms, in a scale near to hearing. */
function envelope({ rate, samples }) {
  const block = Math.round(rate * STEP);
  const out = new Float64Array(Math.floor(samples.length / block));
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (let n = 0; n < block; n++) { const s = samples[i * block + n]; sum += s * s; }
    out[i] = Math.log10(1e-4 + Math.sqrt(sum / block));
  }
  return out;
}

/** How like the loudness of `heard` is to that of `said`, wherever in it (-1..1), and where: { score, at }. Speech through a call gives 0.6 and more, another text below 0.4. */
export function likeness(said, heard) {
  const a = envelope(said), b = envelope(heard);
  let best = { score: -1, at: 0 };
  const mean = (x, from, n) => { let s = 0; for (let i = 0; i < n; i++) s += x[from + i]; return s / n; };
  const ma = mean(a, 0, a.length);
  let va = 0;
  for (const x of a) va += (x - ma) ** 2;
  for (let at = 0; at + a.length <= b.length; at++) {
    const mb = mean(b, at, a.length);
    let vb = 0, ab = 0;
    for (let i = 0; i < a.length; i++) { const d = b[at + i] - mb; vb += d * d; ab += d * (a[i] - ma); }
    const score = vb > 0 && va > 0 ? ab / Math.sqrt(va * vb) : -1;
    if (score > best.score) best = { score, at: at * STEP };
  }
  return best;
}

/** Writes mono sound as WAV of 16 bits. */
export function writeWav(file, { rate, samples }) {
  const b = Buffer.alloc(44 + 2 * samples.length);
  b.write('RIFF', 0);
  b.writeUInt32LE(36 + 2 * samples.length, 4);
  b.write('WAVEfmt ', 8);
  b.writeUInt32LE(16, 16);
  b.writeUInt16LE(1, 20);
  b.writeUInt16LE(1, 22);
  b.writeUInt32LE(rate, 24);
  b.writeUInt32LE(2 * rate, 28);
  b.writeUInt16LE(2, 32);
  b.writeUInt16LE(16, 34);
  b.write('data', 36);
  b.writeUInt32LE(2 * samples.length, 40);
  for (let n = 0; n < samples.length; n++) b.writeInt16LE(Math.round(Math.max(-1, Math.min(1, samples[n])) * 32767), 44 + 2 * n);
  writeFileSync(file, b);
}

/** Integrated loudness in LUFS, as FFmpeg's ebur128 reads it (EBU R128: K-weighted, pauses left out). */
export async function lufs(stage, name, sound) {
  const file = stage.file(`${name}-measured.wav`);
  writeWav(file, sound);
  const { err } = await stage.run(`ebur128-${name}`, 'ffmpeg', ['-hide_banner', '-nostats', '-i', file, '-af', 'ebur128', '-f', 'null', '-']);
  const read = err.split('Integrated loudness:').at(-1).match(/I:\s+(-?[\d.]+) LUFS/);
  if (!read) throw new Error(`ebur128 said nothing of ${name}: ${err.slice(-300)}`);
  return Number(read[1]);
}
