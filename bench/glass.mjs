// Glass to glass: Chromium plays a camera of fieldsim by WHEP and reads the painted frame number back from a canvas.
// Started by the bench, which has the gateway and the camera running; what to do stands in the variable GLASS.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const spec = JSON.parse(process.env.GLASS);
const { chromium } = createRequire(join(spec.interop, 'package.json'))('playwright-core');
const READER = readFileSync(join(spec.interop, '../fieldsim/reader/frame_code.mjs'), 'utf8').replaceAll('export ', '');
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required', '--disable-background-networking', '--disable-component-update',
    '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding', '--disable-background-timer-throttling'],
});
const dead = setTimeout(() => { console.error('out of time'); process.exit(1); }, (spec.seconds + 50) * 1000);
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  // Any page of the gateway: the offer goes to the same origin.
  await page.goto(`${spec.base}/healthz`);
  await page.evaluate(`(() => { ${READER}; window.readFrameCode = readFrameCode; })()`);
  await page.evaluate(async ({ stream, token }) => {
    const clock = () => performance.timeOrigin + performance.now();
    const pc = new RTCPeerConnection();
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true, playsInline: true });
    document.body.replaceChildren(video);
    const tap = (window.tap = { pc, video, frames: [], shown: 0, begun: clock(), first: null });
    pc.ontrack = (e) => { video.srcObject = e.streams[0] ?? new MediaStream([e.track]); };
    pc.addTransceiver('video', { direction: 'recvonly' });
    await pc.setLocalDescription(await pc.createOffer());
    const answer = await fetch(`/api/v1/whep/${encodeURIComponent(stream)}?audio=0`, {
      method: 'POST', headers: { 'content-type': 'application/sdp', authorization: `Bearer ${token}` }, body: pc.localDescription.sdp,
    });
    if (!answer.ok) throw new Error(`WHEP: ${answer.status} ${await answer.text()}`);
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    let canvas, draw;
    const each = () => {
      const { videoWidth: w, videoHeight: h } = video;
      if (!canvas || canvas.width !== w || canvas.height !== h) {
        canvas = new OffscreenCanvas(w, h);
        draw = canvas.getContext('2d', { willReadFrequently: true });
      }
      draw.drawImage(video, 0, 0);
      const at = clock();
      const strip = draw.getImageData(0, 0, w, Math.ceil(h / 9)).data;
      const whole = (tap.whole?.length === w * h * 4 ? tap.whole : (tap.whole = new Uint8ClampedArray(w * h * 4)));
      whole.set(strip);
      const code = window.readFrameCode(whole, w, h);
      tap.first ??= at;
      tap.frames.push({ at, frame: code ? code.frame : null });
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
  }, spec);
  const stats = () => page.evaluate(async () => {
    const all = [...(await window.tap.pc.getStats()).values()];
    const s = all.find((r) => r.type === 'inbound-rtp' && r.kind === 'video') ?? {};
    return { decoded: s.framesDecoded ?? 0, decodeTime: s.totalDecodeTime ?? 0, buffer: s.jitterBufferDelay ?? 0, emitted: s.jitterBufferEmittedCount ?? 0,
      lost: s.packetsLost ?? 0, nacks: s.nackCount ?? 0, plis: s.pliCount ?? 0, dropped: s.framesDropped ?? 0, freezes: s.freezeCount ?? 0, bytes: s.bytesReceived ?? 0 };
  });
  const limit = Date.now() + 25_000;
  while ((await page.evaluate(() => window.tap.frames.length)) === 0) {
    if (Date.now() > limit) throw new Error('no picture within 25 s');
    await wait(50);
  }
  await wait(4000);
  const before = await stats();
  await page.evaluate(() => { window.tap.frames = []; });
  await wait(spec.seconds * 1000);
  const after = await stats();
  const { frames, first, begun } = await page.evaluate(() => ({ frames: window.tap.frames, first: window.tap.first, begun: window.tap.begun }));

  // The wall clock of frame 0: told by fieldsim, else its earliest report (frames are painted at their time or later).
  const events = readFileSync(spec.fieldLog, 'utf8').split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l)).filter((e) => e.event === 'streaming');
  if (!events.length) throw new Error('fieldsim has not reported a stream');
  const told = events.map((e) => Date.parse(e.epoch)).filter(Number.isFinite);
  const epoch = told.length ? Math.min(...told) : Math.min(...events.map((e) => Date.parse(e.time) - (e.frame * 1000) / spec.fps));
  const read = frames.filter((f) => f.frame !== null);
  const lags = read.map((f) => f.at - epoch - (f.frame * 1000) / spec.fps).sort((a, b) => a - b);
  const at = (share) => lags[Math.round((lags.length - 1) * share)];
  const gaps = read.slice(1).map((f, n) => f.at - read[n].at).sort((a, b) => a - b);
  writeFileSync(spec.out, JSON.stringify({
    epoch_from: told.length ? 'fieldsim' : 'earliest report', read: read.length, unread: frames.length - read.length, due: spec.seconds * spec.fps,
    lag: { p50: at(0.5), p95: at(0.95), p99: at(0.99), min: lags[0], max: lags.at(-1) },
    painted_per_s: read.length / spec.seconds, longest_gap_ms: gaps.at(-1), first_picture_ms: first - begun,
    decode_ms: ((after.decodeTime - before.decodeTime) * 1000) / Math.max(1, after.decoded - before.decoded),
    jitter_buffer_ms: ((after.buffer - before.buffer) * 1000) / Math.max(1, after.emitted - before.emitted),
    mbit: ((after.bytes - before.bytes) * 8) / spec.seconds / 1e6,
    decoded: after.decoded - before.decoded, dropped: after.dropped - before.dropped, freezes: after.freezes - before.freezes, lost: after.lost - before.lost,
    nacks: after.nacks - before.nacks, plis: after.plis - before.plis,
  }, null, 2));
} finally {
  clearTimeout(dead);
  await browser.close();
}
