// The picture of a SIP meeting terminal: a film with painted numbers for its camera, and what stands on its screen.
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { readFrameCode } from '../../fieldsim/reader/frame_code.mjs';
import { FIELDSIM, until } from './stage.mjs';

const WIDTH = 640, HEIGHT = 360;

/** A film that baresip's avformat plays over and over: painted numbers as of fieldsim's camera `index`, and a box that moves. */
export function film(stage, index, { seconds = 20, fps = 25 } = {}) {
  const file = stage.file(`film-${index}.avi`);
  return new Promise((done, fail) => {
    const ffmpeg = spawn('ffmpeg', ['-loglevel', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'gray', '-s', `${WIDTH}x${HEIGHT}`, '-r', String(fps), '-i', '-', '-c:v', 'mjpeg', '-q:v', '3', '-pix_fmt', 'yuvj420p', file], { stdio: ['pipe', 'inherit', 'inherit'] });
    stage.defer(() => ffmpeg.kill('SIGKILL'));
    ffmpeg.once('error', fail);
    ffmpeg.once('close', (code) => (code === 0 ? done(file) : fail(new Error(`ffmpeg ended with ${code}`))));
    ffmpeg.stdin.on('error', () => {});
    (async () => {
      for (let n = 0; n < seconds * fps; n++) {
        const picture = Buffer.alloc(WIDTH * HEIGHT, 90);
        const cells = [1, 0];
        const put = (value, bits) => { for (let b = bits - 1; b >= 0; b--) cells.push(Math.floor(value / 2 ** b) % 2); };
        put(n, 32);
        put(index, 4);
        put(((n >>> 24) + ((n >>> 16) & 255) + ((n >>> 8) & 255) + (n & 255) + (index & 15)) & 255, 8);
        cells.push(0, 1);
        for (let y = 0; y < HEIGHT / 9; y++) for (let x = 0; x < WIDTH; x++) picture[y * WIDTH + x] = cells[Math.floor((x * 48) / WIDTH)] ? 235 : 16;
        const left = (n * 7) % (WIDTH - 60);
        for (let y = 150; y < 210; y++) picture.fill(200, y * WIDTH + left, y * WIDTH + left + 60);
        if (!ffmpeg.stdin.write(picture)) await new Promise((go) => ffmpeg.stdin.once('drain', go));
      }
      ffmpeg.stdin.end();
    })();
  });
}

/** What a terminal's screen shows: {frame, camera, width, height}, or null while no number can be read. */
export async function screen(stage, phone, name) {
  const file = stage.file(`${name}.png`);
  rmSync(file, { force: true });
  phone.order('snapshot_recv', file);
  await until(`${name} is written`, () => existsSync(file), 5, 50).catch(() => {});
  if (!existsSync(file)) return null;
  const { out: size, code } = await stage.run(`${name}-probe`, 'ffprobe', ['-v', 'error', '-select_streams', 'v:0', '-show_entries', 'stream=width,height', '-of', 'csv=p=0', file], { fails: true });
  if (code !== 0) return null;
  const [width, height] = size.trim().split(',').map(Number);
  const read = await new Promise((done, fail) => {
    const ffmpeg = spawn('ffmpeg', ['-loglevel', 'error', '-i', file, '-vf', `scale=${WIDTH}:${HEIGHT}`, '-f', 'rawvideo', '-pix_fmt', 'gray', '-'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const reader = spawn(FIELDSIM, ['read', '--width', String(WIDTH), '--height', String(HEIGHT)], { stdio: ['pipe', 'pipe', 'ignore'] });
    ffmpeg.stdout.pipe(reader.stdin);
    reader.stdin.on('error', () => {});
    let text = '';
    reader.stdout.setEncoding('utf8').on('data', (t) => { text += t; });
    ffmpeg.once('error', fail);
    reader.once('error', fail);
    reader.once('close', () => done(text.trim()));
  });
  if (!/^\d+,\d+$/.test(read)) return null;
  const [frame, camera] = read.split(',').map(Number);
  return { frame, camera, width, height };
}

/** H.264 in RTP that comes to a port, decoded by GStreamer: the painted numbers in `numbers`, as they come. */
export function watchPort(stage, port, payloadType) {
  const numbers = [], width = 384, height = 216, size = width * height * 4;
  const caps = `application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=${payloadType}`;
  const gst = spawn('gst-launch-1.0', ['-q', 'udpsrc', 'address=127.0.0.1', `port=${port}`, `caps=${caps}`, '!', 'rtph264depay', '!', 'h264parse', '!', 'avdec_h264', '!', 'videoconvert', '!', 'videoscale', '!',
    `video/x-raw,format=RGBA,width=${width},height=${height}`, '!', 'fdsink', 'fd=1', 'sync=false'], { stdio: ['ignore', 'pipe', 'inherit'] });
  stage.defer(() => gst.kill('SIGKILL'));
  let rest = Buffer.alloc(0);
  gst.stdout.on('data', (more) => {
    rest = Buffer.concat([rest, more]);
    for (; rest.length >= size; rest = rest.subarray(size)) {
      const read = readFrameCode(rest.subarray(0, size), width, height);
      if (read) numbers.push(read);
    }
  });
  return { numbers };
}
