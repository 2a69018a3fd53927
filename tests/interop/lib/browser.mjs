// Chromium at the console: sign-in through its form, pictures read back frame by frame, sound measured.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { PASSWORD } from './gateway.mjs';
import { REPO } from './stage.mjs';

const READER = readFileSync(join(REPO, 'tests/fieldsim/reader/frame_code.mjs'), 'utf8').replaceAll('export ', '');

// Runs in the page. `interop.watch(key, video)` notes each frame shown: wall clock, painted number, camera, mean luma below the strip.
const INSIDE = `(() => {
  ${READER}
  const clock = () => performance.timeOrigin + performance.now();
  const taps = new Map();
  const look = (video, tools) => {
    const w = video.videoWidth, h = video.videoHeight;
    if (!w || !h) return null;
    const strip = Math.ceil(h / 9);
    if (tools.w !== w || tools.h !== h) {
      Object.assign(tools, { w, h, whole: undefined, code: new OffscreenCanvas(w, strip), small: new OffscreenCanvas(32, 18) });
      tools.codeDraw = tools.code.getContext('2d', { willReadFrequently: true });
      tools.smallDraw = tools.small.getContext('2d', { willReadFrequently: true });
    }
    // Only the strip is read at full size; the reader is given the picture's height and looks at rows within the strip alone.
    tools.codeDraw.drawImage(video, 0, 0, w, strip, 0, 0, w, strip);
    const pixels = tools.codeDraw.getImageData(0, 0, w, strip).data;
    tools.whole ??= new Uint8ClampedArray(w * h * 4);
    tools.whole.set(pixels);
    const read = readFrameCode(tools.whole, w, h);
    tools.smallDraw.drawImage(video, 0, strip, w, h - strip, 0, 0, 32, 18);
    const s = tools.smallDraw.getImageData(0, 0, 32, 18).data;
    let luma = 0;
    for (let i = 0; i < s.length; i += 4) luma += 0.299 * s[i] + 0.587 * s[i + 1] + 0.114 * s[i + 2];
    return { read, luma: luma / (s.length / 4), w, h };
  };
  window.interop = {
    clock,
    frames: (key) => taps.get(key)?.frames ?? [],
    drain: (key) => { const t = taps.get(key); const f = t ? t.frames : []; if (t) t.frames = []; return f; },
    watch(key, find) {
      if (taps.has(key)) return;
      const tap = { frames: [], tools: {}, video: null };
      taps.set(key, tap);
      const follow = () => {
        const video = find();
        if (video && video !== tap.video) {
          tap.video = video;
          const each = (now, meta) => {
            if (tap.video !== video) return;
            const shown = look(video, tap.tools);
            if (shown) tap.frames.push({ t: performance.timeOrigin + now, drawn: clock(), frame: shown.read?.frame ?? null, camera: shown.read?.camera ?? null, luma: Math.round(shown.luma * 10) / 10, presented: meta.presentedFrames, media: meta.mediaTime, rtp: meta.rtpTimestamp ?? null, w: shown.w, h: shown.h });
            video.requestVideoFrameCallback(each);
          };
          video.requestVideoFrameCallback(each);
        }
        setTimeout(follow, 50);
      };
      follow();
    },
    watchTile(n) { this.watch('tile' + n, () => window.skybridge?.tiles.get(n)?.video ?? null); },
    look: (video) => look(video, {}),
    image(image) {
      if (!image?.complete || !image.naturalWidth) return null;
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), draw = canvas.getContext('2d');
      draw.drawImage(image, 0, 0);
      return readFrameCode(draw.getImageData(0, 0, canvas.width, canvas.height).data, canvas.width, canvas.height);
    },
    clicks: [],
    // Loudness and tones of a remote sound track, by the page's own analyser.
    sounds: new Map(),
    async listen(key, track) {
      const context = (this.context ??= new AudioContext({ sampleRate: 48000 }));
      await context.resume();
      const stream = new MediaStream([track]);
      const puller = new Audio(); puller.srcObject = stream; puller.muted = true; await puller.play().catch(() => {});
      const source = context.createMediaStreamSource(stream);
      const analyser = context.createAnalyser();
      analyser.fftSize = 8192; analyser.smoothingTimeConstant = 0;
      source.connect(analyser);
      const silent = context.createGain(); silent.gain.value = 0; analyser.connect(silent).connect(context.destination);
      this.sounds.set(key, { analyser, puller, source });
    },
    /** dB of the bins around a frequency, the strongest over some looks; and the loudest frequency of all. */
    async spectrum(key, hertz, ms = 1500) {
      const { analyser } = this.sounds.get(key);
      const bins = new Float32Array(analyser.frequencyBinCount), width = 48000 / analyser.fftSize;
      const best = hertz.map(() => -200); let peak = { hertz: 0, db: -200 };
      const end = performance.now() + ms;
      while (performance.now() < end) {
        analyser.getFloatFrequencyData(bins);
        hertz.forEach((f, n) => { const c = Math.round(f / width); for (let i = c - 1; i <= c + 1; i++) best[n] = Math.max(best[n], bins[i]); });
        for (let i = 8; i < bins.length; i++) if (bins[i] > peak.db) peak = { hertz: Math.round(i * width), db: bins[i] };
        await new Promise((r) => setTimeout(r, 40));
      }
      return { db: best, peak };
    },
  };
  addEventListener('click', (e) => window.interop.clicks.push(performance.timeOrigin + e.timeStamp), true);
})();`;

/** The console's files from a folder in place of those built into the gateway: work on the console without building the gateway anew. */
function fromDist(context, dist) {
  const kinds = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
  return context.route((url) => !/^\/(api|sip|upload|healthz|metrics)/.test(url.pathname), (route) => {
    const path = new URL(route.request().url()).pathname;
    const file = join(dist, /\.\w+$/.test(path) ? path : path.startsWith('/join/') ? 'join.html' : 'index.html');
    return existsSync(file) ? route.fulfill({ body: readFileSync(file), contentType: kinds[file.split('.').pop()] ?? 'application/octet-stream' }) : route.fulfill({ status: 404, body: '' });
  });
}

export class Browser {
  static async open(stage, gateway, { camera, microphone, width = 1920, height = 1080, name = 'console' } = {}) {
    const b = new Browser();
    b.stage = stage;
    b.gateway = gateway;
    b.errors = [];
    const args = ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required', '--disable-background-networking', '--disable-component-update',
      '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding', '--disable-background-timer-throttling',
      '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'];
    if (camera) args.push(`--use-file-for-fake-video-capture=${camera}`);
    if (microphone) args.push(`--use-file-for-fake-audio-capture=${microphone}`);
    // A page that no server sent counts as foreign: it might not open a WebSocket to 127.0.0.1.
    if (process.env.CONSOLE_DIST) args.push('--disable-features=LocalNetworkAccessChecks');
    b.browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args, headless: true });
    stage.defer(() => b.browser.close());
    b.context = await b.browser.newContext({ viewport: { width, height }, locale: 'en-US', permissions: ['camera', 'microphone'], acceptDownloads: true });
    await b.context.addInitScript(INSIDE);
    if (process.env.CONSOLE_DIST) await fromDist(b.context, process.env.CONSOLE_DIST);
    b.page = await b.context.newPage();
    b.answers = [];
    b.page.on('response', (r) => { if (r.status() >= 400) b.answers.push(`${r.request().method()} ${r.status()} ${r.url()}`); });
    b.page.on('console', (m) => { if (m.type() === 'error') b.errors.push(`${m.text()} (${m.location().url})`); });
    b.page.on('pageerror', (e) => b.errors.push(`page: ${e.stack ?? e}`));
    b.name = name;
    return b;
  }

  at(testid) { return this.page.getByTestId(testid); }

  /** Through the form, as a person does. With `first`, the one-time password is changed through the console's own form. */
  async signIn({ account = 'admin', password = PASSWORD, first = null, path = '/' } = {}) {
    await this.page.goto(`${this.gateway.base}${path}`);
    await this.at('sign-in-name').fill(account);
    await this.at('sign-in-password').fill(first ?? password);
    await this.at('sign-in-submit').click();
    if (first) {
      await this.at('password-old').waitFor();
      await this.at('password-old').fill(first);
      await this.at('password-new').fill(password);
      await this.at('password-again').fill(password);
      await this.at('password-submit').click();
    }
    await this.page.locator('[data-testid="connection"][data-state="open"]').waitFor({ state: 'attached', timeout: 15_000 });
  }

  /**
   * Console errors that a test may hold against the page. Chromium notes each answer above 399; two of them are no troubles: the
   * question for a session before the sign-in (401), and the end of a leg that the gateway had ended already (DELETE, 404).
   */
  get troubles() {
    const ended = new Set(this.answers.filter((a) => /^DELETE 404 .*\/legs\//.test(a)).map((a) => a.split(' ')[2]));
    return this.errors.filter((e) => !(/401/.test(e) && /\/api\/v1\/session/.test(e)) && ![...ended].some((url) => e.includes(`(${url})`)));
  }

  layout(n) { return this.at(`layout-${n}`).click(); }

  /** Places a channel on a tile with clicks. */
  async place(n, channel) {
    const tile = this.at(`tile-${n}`);
    if ((await tile.getAttribute('aria-pressed')) !== 'true') await tile.click();
    await this.at(`channel-${channel}`).click();
    await this.page.locator(`[data-testid="tile-${n}"][data-source="${channel}"]`).waitFor({ timeout: 10_000 });
  }

  watchTile(n) { return this.page.evaluate((n) => window.interop.watchTile(n), n); }
  frames(n) { return this.page.evaluate((k) => window.interop.frames(k), `tile${n}`); }
  drain(n) { return this.page.evaluate((k) => window.interop.drain(k), `tile${n}`); }

  /** getStats of a tile's or the member's connection: the inbound streams. */
  inbound(where) {
    return this.page.evaluate(async (where) => {
      const pc = where === 'member' ? window.skybridge.member?.pc : window.skybridge.tiles.get(where)?.pc;
      if (!pc) return [];
      const out = [];
      for (const s of (await pc.getStats()).values()) if (s.type === 'inbound-rtp') out.push({ kind: s.kind, framesDecoded: s.framesDecoded, audioLevel: s.audioLevel, energy: s.totalAudioEnergy, duration: s.totalSamplesDuration, packets: s.packetsReceived, lost: s.packetsLost, nacks: s.nackCount, plis: s.pliCount, freezes: s.freezeCount, frozen: s.totalFreezesDuration, dropped: s.framesDropped });
      return out;
    }, where);
  }
  async video(where) { return (await this.inbound(where)).find((s) => s.kind === 'video'); }
  async audio(where) { return (await this.inbound(where)).find((s) => s.kind === 'audio'); }

  /** Mean loudness of the inbound sound over a while, from totalAudioEnergy: 0..1 as audioLevel, but without gaps between looks. */
  async loudness(where, ms = 2000) {
    const a = await this.audio(where);
    await this.page.waitForTimeout(ms);
    const b = await this.audio(where);
    const time = b.duration - a.duration;
    return time > 0 ? Math.sqrt(Math.max(0, b.energy - a.energy) / time) : 0;
  }

  listen(key, where) {
    return this.page.evaluate(async ([key, where]) => {
      const pc = where === 'member' ? window.skybridge.member.pc : window.skybridge.tiles.get(where).pc;
      await window.interop.listen(key, pc.getReceivers().find((r) => r.track.kind === 'audio').track);
    }, [key, where]);
  }
  spectrum(key, hertz, ms = 1500) { return this.page.evaluate(([k, f, ms]) => window.interop.spectrum(k, f, ms), [key, hertz, ms]); }

  async shot(name) {
    const png = await this.page.screenshot();
    writeFileSync(this.stage.file(`${name}.png`), png);
  }
}

/** Joins the conference by the console's page. Gives the member's id. */
export async function joinConference(browser, conference, { name } = {}) {
  await browser.at('nav-confer').click();
  await browser.at(`conference-${conference}`).click();
  if (name) await browser.at('conference-my-name').fill(name);
  await browser.at('conference-join').click();
  await browser.page.locator('[data-testid="conference-state"][data-phase="connected"]').waitFor({ timeout: 15_000 });
  return browser.page.evaluate(() => window.skybridge.member.id);
}

/** A moving picture for the fake camera. */
export async function cameraFile(stage) {
  const file = stage.file('camera.y4m');
  await stage.run('ffmpeg-camera', 'ffmpeg', ['-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=15', '-t', '4', '-pix_fmt', 'yuv420p', file]);
  return file;
}
