// Own camera and microphone into a conference (WHIP), and the mix back. Rejoins by itself until it is left or sent away.
import { api, asApiError, type ApiError, type SdpAnswer } from '../api/client';
import { Backoff } from './backoff';
import { endLeg, legBegan } from './legs';
import { gathered } from './whep';

export type WhipPhase = 'off' | 'joining' | 'connected' | 'waiting';
export interface WhipState { phase: WhipPhase; since: number; error: ApiError | null }

/** H.264 first: it goes to phones and recorders without work. VP8 stays in the offer for browsers without an encoder. */
function preferH264(t: RTCRtpTransceiver) {
  const all = RTCRtpSender.getCapabilities?.('video')?.codecs;
  if (!all || typeof t.setCodecPreferences !== 'function') return;
  const rank = (m: string) => (/h264/i.test(m) ? 0 : /vp8/i.test(m) ? 1 : 2);
  const kept = all.filter((c) => rank(c.mimeType) < 2 || /rtx/i.test(c.mimeType));
  try { t.setCodecPreferences([...kept].sort((a, b) => rank(a.mimeType) - rank(b.mimeType))); } catch { /* keep the default order */ }
}

/** How a leg is made and ended: as an account of the console, or as a guest. */
export interface WhipWire { offer: (sdp: string) => Promise<SdpAnswer>; leg: (id: string) => Promise<{ state: string }>; end: (leg: string) => void; began: (leg: string, hangUp: () => void) => void }

export class WhipMember {
  pc: RTCPeerConnection | null = null;
  id = '';
  state: WhipState = { phase: 'off', since: Date.now(), error: null };
  /** Where it is; an operator may move it into another one. */
  conference: string;
  readonly local: MediaStream;
  private leg = '';
  private run = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private backoff = new Backoff(500, 5_000);
  private readonly name: string;
  private readonly hooks: { mix: (s: MediaStream) => void; state: (s: WhipState) => void };

  private readonly wire: WhipWire;

  constructor(conference: string, name: string, local: MediaStream, hooks: { mix: (s: MediaStream) => void; state: (s: WhipState) => void }, wire?: WhipWire) {
    this.conference = conference; this.name = name; this.local = local; this.hooks = hooks;
    this.wire = wire ?? { offer: (sdp) => api.whip(this.conference, this.name, sdp), leg: api.leg, end: endLeg, began: legBegan };
  }

  join() { void this.connect(); }
  leave() { this.hangUp(); clearTimeout(this.timer); this.setState('off', null); }
  get connected() { return this.pc?.connectionState === 'connected'; }
  hurry() { if (this.state.phase === 'waiting') { clearTimeout(this.timer); void this.connect(); } }

  /** A device was changed: the track is replaced, nothing renegotiated. */
  async replace(kind: 'audio' | 'video', track: MediaStreamTrack) {
    for (const old of this.local.getTracks()) if (old.kind === kind) { this.local.removeTrack(old); old.stop(); }
    this.local.addTrack(track);
    const sender = this.pc?.getTransceivers().find((t) => t.receiver.track.kind === kind)?.sender;
    await sender?.replaceTrack(track);
  }

  private setState(phase: WhipPhase, error: ApiError | null) {
    this.state = { phase, since: phase === this.state.phase ? this.state.since : Date.now(), error };
    this.hooks.state(this.state);
  }
  private hangUp() {
    this.run++;
    const { pc, leg } = this;
    this.pc = null; this.leg = ''; this.id = '';
    if (pc) { pc.onconnectionstatechange = null; pc.close(); }
    if (leg) this.wire.end(leg);
  }
  private retry(error: ApiError | null) {
    this.hangUp();
    if (error && error.status >= 400 && error.status < 500 && error.status !== 429 && error.status !== 408) { this.setState('off', error); return; }
    this.timer = setTimeout(() => void this.connect(), this.backoff.next());
    this.setState('waiting', error);
  }

  private async connect() {
    const run = ++this.run;
    this.setState('joining', this.state.error);
    const pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle' });
    this.pc = pc;
    const mix = new MediaStream();
    const mic = this.local.getAudioTracks()[0];
    const cam = this.local.getVideoTracks()[0];
    pc.addTransceiver(mic ?? 'audio', { direction: mic ? 'sendrecv' : 'recvonly', streams: [this.local] });
    if (cam) preferH264(pc.addTransceiver(cam, { direction: 'sendonly', streams: [this.local] }));
    pc.ontrack = (e) => { if (e.track.kind === 'audio') { mix.addTrack(e.track); this.hooks.mix(mix); } };
    pc.onconnectionstatechange = () => {
      if (run !== this.run) return;
      if (pc.connectionState === 'connected') { this.backoff.reset(); this.setState('connected', null); }
      else if (pc.connectionState === 'failed' || pc.connectionState === 'closed') this.retry(null);
      else if (pc.connectionState === 'disconnected') void this.askLeg(run);
    };
    try {
      await pc.setLocalDescription();
      await gathered(pc);
      if (run !== this.run) return;
      const a = await this.wire.offer(pc.localDescription!.sdp);
      if (run !== this.run) { this.wire.end(a.leg); return; }
      this.leg = a.leg; this.wire.began(a.leg, () => this.leave()); this.id = a.member ?? '';
      await pc.setRemoteDescription({ type: 'answer', sdp: a.answer });
      this.setState(pc.connectionState === 'connected' ? 'connected' : 'joining', null);
      setTimeout(() => { if (run === this.run && pc.connectionState !== 'connected') this.retry(null); }, 8_000);
    } catch (e) {
      if (run === this.run) this.retry(asApiError(e));
    }
  }

  private async askLeg(run: number) {
    if (!this.leg) return;
    try {
      const l = await this.wire.leg(this.leg);
      if (run === this.run && l.state === 'closed') this.retry(null);
    } catch (e) { if (run === this.run && asApiError(e).status === 404) { this.leg = ''; this.retry(null); } }
  }
  /** The event socket came back: look whether the gateway still knows this leg. */
  check() { if (this.state.phase === 'waiting') this.hurry(); else void this.askLeg(this.run); }
}
