// Recorded files read by ffprobe and ffmpeg.
import { spawn } from 'node:child_process';
import { FIELDSIM } from './stage.mjs';

export async function probe(stage, file, name = 'ffprobe') {
  const { out } = await stage.run(name, 'ffprobe', ['-v', 'error', '-show_format', '-show_streams', '-of', 'json', file]);
  return JSON.parse(out);
}

/** Painted numbers of all pictures of a file, decoded by ffmpeg: [{frame, camera} | null]. */
export function paintedNumbers(stage, file, { width = 640, height = 360 } = {}) {
  return new Promise((done, fail) => {
    const ffmpeg = spawn('ffmpeg', ['-loglevel', 'error', '-i', file, '-map', '0:v:0', '-fps_mode', 'passthrough', '-vf', `scale=${width}:${height}`, '-f', 'rawvideo', '-pix_fmt', 'gray', '-'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const reader = spawn(FIELDSIM, ['read', '--width', String(width), '--height', String(height)], { stdio: ['pipe', 'pipe', 'pipe'] });
    stage.defer(() => { ffmpeg.kill('SIGKILL'); reader.kill('SIGKILL'); });
    ffmpeg.stdout.pipe(reader.stdin);
    reader.stdin.on('error', () => {});
    let text = '', errors = '';
    reader.stdout.setEncoding('utf8').on('data', (t) => { text += t; });
    ffmpeg.stderr.setEncoding('utf8').on('data', (t) => { errors += t; });
    ffmpeg.once('error', fail);
    reader.once('error', fail);
    reader.once('close', () => {
      if (errors.trim()) return fail(new Error(`ffmpeg on ${file}: ${errors.trim().slice(0, 500)}`));
      done(text.trim().split('\n').filter(Boolean).map((l) => (l === '-' ? null : { frame: Number(l.split(',')[0]), camera: Number(l.split(',')[1]) })));
    });
  });
}

/** Where a list of numbers does not rise by one: ["12 after 10"]. */
export function jumps(numbers) {
  const out = [];
  for (let n = 1; n < numbers.length; n++) if (numbers[n] !== numbers[n - 1] + 1) out.push(`${numbers[n]} after ${numbers[n - 1]}`);
  return out;
}

/** The sound of a file as a WAV of one channel at 8000 Hz. */
export async function soundOf(stage, file, name) {
  const wav = stage.file(`${name}.wav`);
  await stage.run(`ffmpeg-${name}`, 'ffmpeg', ['-loglevel', 'error', '-y', '-i', file, '-map', '0:a:0', '-ac', '1', '-ar', '8000', wav]);
  return wav;
}
