// The picture of one program: owns its <video> for as long as it is wanted, whatever React draws around it.
// A page change or a layout change moves the element; the connection and the track stay.
import { WhepViewer, type WhepState } from '../media/whep';
import type { ViewStats } from '../media/stats';
import { connection } from '../state/live';
import { createStore, type Store } from '../state/store';

export interface PlayerView { whep: WhepState; hasPicture: boolean; lastPictureAt: number; stats: ViewStats | null; firstFrameMs: number | null }

export class Player {
  readonly el = document.createElement('div');
  readonly video = document.createElement('video');
  readonly view: Store<PlayerView>;
  readonly viewer: WhepViewer;
  readonly stream: string;
  private readonly hold = document.createElement('canvas');
  private linger: ReturnType<typeof setTimeout> | undefined;
  private users = 0;
  private asleep = false;

  constructor(stream: string) {
    this.stream = stream;
    this.el.className = 'player';
    this.hold.className = 'player-hold';
    this.hold.hidden = true;
    Object.assign(this.video, { autoplay: true, muted: true, playsInline: true, disablePictureInPicture: true });
    this.video.setAttribute('playsinline', '');
    this.el.append(this.video, this.hold);
    this.viewer = new WhepViewer(stream, {
      tracks: (s) => this.show(s),
      ending: () => this.keepPicture(),
      state: () => this.publish(),
      stats: () => this.publish(),
    });
    this.view = createStore<PlayerView>({ whep: this.viewer.state, hasPicture: false, lastPictureAt: 0, stats: null, firstFrameMs: null });
  }

  private publish() {
    const ago = this.viewer.lastFrameAt ? performance.now() - this.viewer.lastFrameAt : Infinity;
    const now = this.view.get();
    this.view.set({
      whep: this.viewer.state,
      hasPicture: now.hasPicture || ago !== Infinity,
      lastPictureAt: ago === Infinity ? now.lastPictureAt : Math.max(now.lastPictureAt, Date.now() - ago),
      stats: this.viewer.stats, firstFrameMs: this.viewer.firstFrameMs,
    });
  }

  /** The last frame stays on a canvas above the video until the next one is there: never black. */
  private keepPicture() {
    const v = this.video;
    if (!this.hold.hidden || !v.videoWidth || v.readyState < 2) return; // what is held is newer than an ended video
    this.hold.width = v.videoWidth; this.hold.height = v.videoHeight;
    try { this.hold.getContext('2d')!.drawImage(v, 0, 0); this.hold.hidden = false; } catch { /* keep what there is */ }
  }

  private show(s: MediaStream) {
    const v = this.video;
    v.srcObject = s;
    void v.play().catch(() => {});
    this.onFrame(() => {
      if (v.srcObject !== s) return;
      this.hold.hidden = true;
      this.viewer.sawFirstFrame();
      this.publish();
    });
  }

  private onFrame(f: () => void) {
    const v: HTMLVideoElement = this.video;
    if (typeof v.requestVideoFrameCallback === 'function') v.requestVideoFrameCallback(f); else v.addEventListener('timeupdate', f, { once: true });
  }

  attach(host: HTMLElement) {
    clearTimeout(this.linger);
    this.users++;
    host.append(this.el);
    this.wake();
    void this.video.play().catch(() => {});
    if (this.viewer.state.phase === 'connected') this.onFrame(() => { if (this.viewer.state.phase === 'connected') this.hold.hidden = true; });
  }
  detach(host: HTMLElement) {
    this.users = Math.max(0, this.users - 1);
    if (this.el.parentElement === host) { this.keepPicture(); this.el.remove(); }
    if (this.users === 0) this.linger = setTimeout(() => this.close(), 20_000);
  }
  /** Unseen for a while: the connection ends, the last picture stays. */
  sleep() { if (!this.asleep) { this.asleep = true; this.viewer.stop(); } }
  wake() { if (this.asleep || this.viewer.state.phase === 'off') { this.asleep = false; this.viewer.start(); } }
  get sleeping() { return this.asleep; }

  private close() {
    this.viewer.stop();
    this.video.srcObject = null;
    players.delete(this.stream);
  }
}

const players = new Map<string, Player>();
export function playerOf(stream: string): Player {
  let p = players.get(stream);
  if (!p) { p = new Player(stream); players.set(stream, p); }
  return p;
}
export const allPlayers = () => [...players.values()];

// A restarted gateway knows no leg of ours: look at once when the socket is back.
connection.subscribe(() => { if (connection.get().state === 'open') for (const p of players.values()) p.viewer.hurry(); });
if (typeof window !== 'undefined') {
  window.addEventListener('online', () => { for (const p of players.values()) p.viewer.hurry(); });
  window.addEventListener('pagehide', () => { for (const p of players.values()) p.viewer.stop(); });
  window.addEventListener('pageshow', (e) => { if (e.persisted) for (const p of players.values()) p.wake(); });
}
