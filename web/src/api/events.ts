// The event socket: one WebSocket, reconnected for ever, with a full re-read after each (re)connection, gap or `lagged`.
import { BASE } from './client';
import type { ServerEvent } from './types';
import { Backoff } from '../media/backoff';

export interface EventSocketHooks {
  /** Reads everything anew. Events that arrive meanwhile are held back and applied after it. */
  reread: () => Promise<void>;
  apply: (e: ServerEvent) => void;
  state: (s: 'connecting' | 'open' | 'lost') => void;
}

const QUIET_MS = 30_000; // the gateway sends `system` every 5 s: 30 s of silence means the line is dead

export class EventSocket {
  private ws: WebSocket | null = null;
  private held: ServerEvent[] | null = null;
  private seq: number | null = null;
  private backoff = new Backoff(500, 5_000);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setInterval> | undefined;
  private heardAt = 0;
  private closed = false;
  private again = false;
  private generation = 0;
  private readonly hooks: EventSocketHooks;
  private readonly url: string;

  constructor(hooks: EventSocketHooks, url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${BASE}/events`) {
    this.hooks = hooks; this.url = url;
  }

  start() {
    this.open();
    this.watchdog = setInterval(() => {
      if (this.ws && this.ws.readyState === WebSocket.OPEN && Date.now() - this.heardAt > QUIET_MS) this.drop();
    }, 5_000);
    window.addEventListener('online', this.hurry);
    document.addEventListener('visibilitychange', this.hurry);
  }

  stop() {
    this.closed = true;
    clearTimeout(this.timer); clearInterval(this.watchdog);
    window.removeEventListener('online', this.hurry);
    document.removeEventListener('visibilitychange', this.hurry);
    this.generation++;
    this.ws?.close();
    this.ws = null;
  }

  /** Network back or page woken: do not wait for the back-off. */
  private hurry = () => {
    if (this.closed || document.visibilityState === 'hidden') return;
    if (!this.ws) { clearTimeout(this.timer); this.backoff.reset(); this.open(); }
  };

  private open() {
    if (this.closed || this.ws) return;
    const gen = ++this.generation;
    this.hooks.state('connecting');
    const ws = new WebSocket(this.url);
    this.ws = ws;
    this.seq = null;
    this.heardAt = Date.now();
    const limit = setTimeout(() => { if (ws.readyState === WebSocket.CONNECTING) ws.close(); }, 6_000);
    ws.onmessage = (m) => {
      if (gen !== this.generation) return;
      this.heardAt = Date.now();
      let e: ServerEvent;
      try { e = JSON.parse(String(m.data)) as ServerEvent; } catch { return; }
      this.take(e, gen);
    };
    ws.onclose = () => { clearTimeout(limit); if (gen === this.generation) this.lost(); };
  }

  private drop() { this.generation++; this.ws?.close(); this.lost(); }

  private lost() {
    this.ws = null;
    this.held = null;
    if (this.closed) return;
    this.hooks.state('lost');
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), this.backoff.next());
  }

  private take(e: ServerEvent, gen: number) {
    if (e.type === 'hello') {
      this.seq = e.seq ?? null;
      this.hooks.apply(e);
      void this.reread(gen, true);
      return;
    }
    if (e.type === 'lagged') { this.seq = null; void this.reread(gen, false); return; }
    const gap = this.seq !== null && e.seq !== this.seq + 1;
    this.seq = e.seq;
    if (this.held) this.held.push(e); else this.hooks.apply(e);
    if (gap) void this.reread(gen, false);
  }

  private async reread(gen: number, fresh: boolean) {
    if (this.held && !fresh) { this.again = true; return; } // one is under way, and all events since are held
    this.held = [];
    do {
      this.again = false;
      try {
        await this.hooks.reread();
      } catch {
        if (gen === this.generation) this.drop();
        return;
      }
      if (gen !== this.generation) return;
    } while (this.again);
    const held = this.held;
    this.held = null;
    for (const e of held) this.hooks.apply(e);
    this.backoff.reset();
    this.hooks.state('open');
  }
}
