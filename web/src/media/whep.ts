// One WHEP viewer: posts an offer, keeps the leg, comes back by itself. No React, no DOM beyond RTCPeerConnection.
import { api, asApiError, type ApiError, type SdpAnswer } from '../api/client';
import { Backoff } from './backoff';
import { endLeg, legBegan } from './legs';
import { readStats, type ViewStats } from './stats';

export type WhepPhase = 'off' | 'connecting' | 'connected' | 'waiting';
export interface WhepState { phase: WhepPhase; since: number; error: ApiError | null; tries: number }

export interface WhepHooks {
  /** A new peer connection has its tracks; the owner shows the stream. */
  tracks: (stream: MediaStream, pc: RTCPeerConnection) => void;
  /** The leg is about to end: the owner keeps the last picture. */
  ending?: () => void;
  state: (s: WhepState) => void;
  stats?: (s: ViewStats) => void;
}

const GATHER_MS = 200;
const STALL_ASK_MS = 3_000; // connected but no packet for so long: ask the gateway whether the leg still lives

/** ICE lite at the other end: our candidates are not needed, so wait only shortly. */
export function gathered(pc: RTCPeerConnection, ms = GATHER_MS): Promise<void> {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((done) => {
    const end = () => { clearTimeout(t); pc.removeEventListener('icegatheringstatechange', look); done(); };
    const look = () => { if (pc.iceGatheringState === 'complete') end(); };
    const t = setTimeout(end, ms);
    pc.addEventListener('icegatheringstatechange', look);
  });
}

/** How a leg is made, ended and told of: as an account of the console, or as a guest. */
export interface WhepWire {
  offer: (sdp: string, signal: AbortSignal) => Promise<SdpAnswer>; leg: (id: string) => Promise<{ state: string }>; end: (leg: string) => void; began: (leg: string, hangUp: () => void) => void;
  report: (leg: string, what: Parameters<typeof api.report>[1]) => Promise<unknown>;
}

export class WhepViewer {
  pc: RTCPeerConnection | null = null;
  leg = '';
  state: WhepState = { phase: 'off', since: Date.now(), error: null, tries: 0 };
  stats: ViewStats | null = null;
  /** When a frame was last decoded (performance.now), 0 when never on this leg. */
  lastFrameAt = 0;
  firstFrameMs: number | null = null;

  private backoff = new Backoff(500, 5_000);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ticker: ReturnType<typeof setInterval> | undefined;
  private abort: AbortController | null = null;
  private run = 0;
  private lastPacketAt = 0;
  private lastAsked = 0;
  private askedAt = 0;
  private reported = false;
  private reportedFrozen = 0;
  readonly stream: string;
  private readonly hooks: WhepHooks;
  private readonly want: { audio: boolean; video: boolean };

  private readonly wire: WhepWire;

  constructor(stream: string, hooks: WhepHooks, want = { audio: true, video: true }, wire?: WhepWire) {
    this.stream = stream; this.hooks = hooks; this.want = want;
    this.wire = wire ?? { offer: (sdp, signal) => api.whep(this.stream, sdp, this.want.audio, signal), leg: api.leg, end: endLeg, began: legBegan, report: api.report };
  }

  start() {
    if (this.state.phase !== 'off') return;
    this.backoff.reset();
    void this.connect();
  }

  stop() {
    this.hangUp();
    clearTimeout(this.timer);
    this.setState('off', null);
  }

  /** Something changed for the better (socket back, page woken): try now rather than at the end of the back-off. */
  hurry() {
    if (this.state.phase === 'waiting') { clearTimeout(this.timer); void this.connect(); }
    else if (this.state.phase === 'connected') void this.askLeg();
  }

  private setState(phase: WhepPhase, error: ApiError | null) {
    const since = phase === this.state.phase ? this.state.since : Date.now();
    this.state = { phase, since, error, tries: this.backoff.tries };
    this.hooks.state(this.state);
  }

  private hangUp() {
    this.run++;
    this.abort?.abort();
    clearInterval(this.ticker);
    const { pc, leg } = this;
    if (pc) this.hooks.ending?.();
    this.pc = null; this.leg = ''; this.lastFrameAt = 0; this.firstFrameMs = null; this.stats = null;
    if (pc) { pc.onconnectionstatechange = null; pc.ontrack = null; pc.close(); }
    if (leg) this.wire.end(leg);
  }

  private retry(error: ApiError | null) {
    this.hangUp();
    clearTimeout(this.timer);
    const wait = Math.max(this.backoff.next(), (error?.retryAfterS ?? 0) * 1000);
    this.timer = setTimeout(() => void this.connect(), Math.min(wait, 30_000));
    this.setState('waiting', error);
  }

  private async connect() {
    const run = ++this.run;
    this.abort = new AbortController();
    this.askedAt = performance.now();
    this.reported = false; this.reportedFrozen = 0;
    this.setState('connecting', this.state.error);
    const pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle' });
    this.pc = pc;
    const media = new MediaStream();
    if (this.want.video) pc.addTransceiver('video', { direction: 'recvonly' });
    if (this.want.audio) pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.ontrack = (e) => media.addTrack(e.track);
    let shown = false;
    pc.onconnectionstatechange = () => {
      if (run !== this.run) return;
      if (pc.connectionState === 'connected') {
        this.lastPacketAt = performance.now();
        this.setState('connected', null);
        if (!shown) { shown = true; this.hooks.tracks(media, pc); }
      } else if (pc.connectionState === 'failed' || pc.connectionState === 'closed') this.retry(null);
      else if (pc.connectionState === 'disconnected') void this.askLeg();
    };
    try {
      await pc.setLocalDescription();
      await gathered(pc);
      if (run !== this.run) return;
      const a = await this.wire.offer(pc.localDescription!.sdp, this.abort.signal);
      if (run !== this.run) { this.wire.end(a.leg); return; }
      this.leg = a.leg; this.wire.began(a.leg, () => this.stop());
      await pc.setRemoteDescription({ type: 'answer', sdp: a.answer });
      if (run !== this.run) return;
      this.ticker = setInterval(() => void this.tick(run), 1_000);
      // ICE lite answers at once or not at all
      setTimeout(() => { if (run === this.run && pc.connectionState !== 'connected') this.retry(null); }, 8_000);
    } catch (e) {
      if (run === this.run) this.retry(asApiError(e));
    }
  }

  /** Called by the owner of the <video> at the first frame it shows. */
  sawFirstFrame() {
    if (this.firstFrameMs !== null || !this.pc) return;
    this.firstFrameMs = Math.round(performance.now() - this.askedAt);
    this.lastFrameAt = performance.now();
    this.backoff.reset();
    void this.report();
  }

  private async report() {
    if (this.reported || !this.leg || !this.pc) return;
    this.reported = true;
    const s = await readStats(this.pc, this.stats);
    if (!this.leg) return;
    this.reportedFrozen = s.frozenMs;
    this.wire.report(this.leg, { first_frame_ms: this.firstFrameMs, frames_decoded: Math.max(1, s.framesDecoded), frozen_ms: s.frozenMs, width: s.width, height: s.height, codec: s.codec }).catch(() => {});
  }

  private async tick(run: number) {
    if (run !== this.run || !this.pc) return;
    const before = this.stats;
    const s = await readStats(this.pc, before);
    if (run !== this.run) return;
    this.stats = s;
    const now = performance.now();
    if (!before || s.framesDecoded > before.framesDecoded) { if (s.framesDecoded > 0) this.lastFrameAt = now; }
    if (!before || s.packets > before.packets) this.lastPacketAt = now;
    if (!this.want.video && s.packets > 0) this.backoff.reset();
    if (s.framesDecoded > 0 && this.firstFrameMs === null) this.sawFirstFrame();
    if (this.reported && s.frozenMs > this.reportedFrozen + 2_000) { // a picture that froze goes to the trace too
      this.reportedFrozen = s.frozenMs;
      if (this.leg) this.wire.report(this.leg, { first_frame_ms: this.firstFrameMs, frames_decoded: s.framesDecoded, frozen_ms: s.frozenMs }).catch(() => {});
    }
    if (now - this.lastPacketAt > STALL_ASK_MS && now - this.lastAsked > STALL_ASK_MS) void this.askLeg();
    this.hooks.stats?.(s);
  }

  /** A gateway that has restarted does not know the leg: post a new offer at once, long before ICE notices. */
  private async askLeg() {
    const run = this.run;
    this.lastAsked = performance.now();
    if (!this.leg) return;
    try {
      const l = await this.wire.leg(this.leg);
      if (run === this.run && l.state === 'closed') this.retry(null);
    } catch (e) {
      const err = asApiError(e);
      if (run === this.run && (err.status === 404 || err.status === 410)) { this.leg = ''; this.retry(null); }
    }
  }
}
