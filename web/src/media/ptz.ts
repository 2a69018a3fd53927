// Camera movement: sent at once, repeated each second while held (the gateway stops after 2 s without a repeat),
// stopped on release. One request at a time, so that a stop can never be overtaken by a move.

export interface Move { pan: number; tilt: number; zoom: number }
export const STOP: Move = { pan: 0, tilt: 0, zoom: 0 };
const still = (m: Move) => m.pan === 0 && m.tilt === 0 && m.zoom === 0;

export class PtzControl {
  private want: Move = STOP;
  private sent: Move = STOP;
  private busy = false;
  private repeat: ReturnType<typeof setInterval> | undefined;
  private readonly send: (m: Move) => Promise<void>;
  private readonly failed: (e: unknown) => void;

  constructor(send: (m: Move) => Promise<void>, failed: (e: unknown) => void = () => {}) { this.send = send; this.failed = failed; }

  get moving() { return !still(this.want); }

  move(m: Move) {
    if (m.pan === this.want.pan && m.tilt === this.want.tilt && m.zoom === this.want.zoom) return;
    this.want = m;
    clearInterval(this.repeat);
    if (!still(m)) this.repeat = setInterval(() => { this.sent = { pan: NaN, tilt: NaN, zoom: NaN }; void this.pump(); }, 900);
    void this.pump();
  }
  stop() { this.move(STOP); }

  private async pump() {
    if (this.busy) return;
    this.busy = true;
    let stopTries = 0;
    while (this.want.pan !== this.sent.pan || this.want.tilt !== this.sent.tilt || this.want.zoom !== this.sent.zoom) {
      const m = this.want;
      try {
        await this.send(m);
        this.sent = m;
      } catch (e) {
        this.failed(e);
        if (still(m) && ++stopTries < 3) continue; // a lost stop is tried again; the gateway's 2 s is the last guard
        this.sent = m;
        if (!still(m)) { clearInterval(this.repeat); this.want = STOP; }
      }
    }
    this.busy = false;
  }
}
